"""What the rules of Prometheus say of made-up troubles."""

import pathlib

import pytest
import rule_scenarios
import yaml

FILES = sorted(pathlib.Path(__file__).parent.glob("*_scenarios.yml"))
TESTS = [(file, test) for file in FILES for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]


@pytest.mark.parametrize(("file", "test"), TESTS, ids=[test["name"] for _, test in TESTS])
def test_scenario(file, test):
    for query, at, expected, found in rule_scenarios.run(file, test):
        assert rule_scenarios.same(expected, found), f"{query} after {at:g} s: {found}; expected {expected}"
