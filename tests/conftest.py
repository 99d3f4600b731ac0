"""How all tests run: properties without a clock, and the slowest first where processes share the tests."""

import pathlib

import hypothesis
import pytest

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "without a clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("without a clock")

#: Folder whose tests share the run of a pipeline, and files that take a minute or more: the slowest first, so that no
#: process waits for one of them at the end.
END_TO_END = "tests/e2e/"
SLOWEST = (
    END_TO_END,
    "tests/tfx_pipeline/test_trainer.py",
    "tests/models/test_ranker_switches.py",
    "tests/tfx_pipeline/test_preprocessing.py",
)
assert all((pathlib.Path(__file__).parents[1] / name).exists() for name in SLOWEST)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups and order for processes that share the tests (`--dist loadgroup`); what is end to end is one group."""
    if hasattr(config, "workerinput"):  # in a process of pytest-xdist
        place = {name: number for number, name in enumerate(SLOWEST)}
        groups = {item: _group(item) for item in items}
        for item, group in groups.items():
            item.add_marker(pytest.mark.xdist_group(group))
        items.sort(key=lambda item: place.get(groups[item], len(SLOWEST)))


def _group(item: pytest.Item) -> str:
    name = item.nodeid.partition("::")[0]
    return END_TO_END if name.startswith(END_TO_END) else name
