"""The examples in the docstrings run."""

import doctest
import importlib
import pathlib

import pytest

import serving.experiment

MODULES = sorted(path.stem for path in pathlib.Path(serving.experiment.__path__[0]).glob("[a-z]*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"serving.experiment.{name}")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples():
    counts = {
        name: doctest.testmod(importlib.import_module(f"serving.experiment.{name}")).attempted for name in MODULES
    }
    assert {name for name, count in counts.items() if count} >= {"confidence_sequence", "experiment", "interleaving"}
