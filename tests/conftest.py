"""How all tests run: properties without a clock, and the slowest files first where processes share the tests."""

import pathlib

import hypothesis
import pytest

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "without a clock", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("without a clock")

#: Files that take a minute or more, the slowest first, so that no process waits for one of them at the end.
SLOWEST = (
    "tests/e2e/test_pipeline.py",
    "tests/tfx_pipeline/test_trainer.py",
    "tests/models/test_ranker_switches.py",
    "tests/tfx_pipeline/test_preprocessing.py",
)
assert all((pathlib.Path(__file__).parents[1] / name).is_file() for name in SLOWEST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # in a process of pytest-xdist
        place = {name: number for number, name in enumerate(SLOWEST)}
        items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(SLOWEST)))
