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


@pytest.fixture(scope="session")
def kustomization(configs):
    import manifests

    (found,) = manifests.read(configs / "kustomization.yaml")
    return found


@pytest.fixture(scope="session")
def documents(configs, kustomization):
    """Every manifest that is applied."""
    import manifests

    return [document for name in kustomization["resources"] for document in manifests.read(configs / name)]
