"""The files of configs/serving as the tests read them; helpers of this folder may be imported by name."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    return ROOT


@pytest.fixture(scope="session")
def configs() -> pathlib.Path:
    return ROOT / "configs" / "serving"
