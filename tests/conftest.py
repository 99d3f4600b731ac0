"""How all tests run: properties without a clock, and the slowest first where processes share the tests."""

import pathlib
from typing import Any

import hypothesis
import pytest

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "without a clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("without a clock")

#: Folders whose tests share what takes long to make: the run of a pipeline, fitted models, their exports.
TOGETHER = ("tests/e2e/", "tests/serving/refresh_catalogue/", "tests/tfx_pipeline/tagging/")
#: Those, and files that take a minute or more: the slowest first, so that no process waits for one of them at the end.
SLOWEST = (
    *TOGETHER,
    "tests/tfx_pipeline/test_trainer.py",
    "tests/models/test_ranker_switches.py",
    "tests/tfx_pipeline/test_preprocessing.py",
)
assert all((pathlib.Path(__file__).parents[1] / name).exists() for name in SLOWEST)


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out files whole (`--dist loadfile`), and folders of `TOGETHER` as if they were one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Scheduler(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # in a process of pytest-xdist
        place = {name: number for number, name in enumerate(SLOWEST)}
        items.sort(key=lambda item: place.get(_group(item.nodeid), len(SLOWEST)))


def _group(nodeid: str) -> str:
    name = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if name.startswith(folder)), name)
