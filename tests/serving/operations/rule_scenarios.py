"""Runs a test file of `promtool test rules`: rules over made-up series, and what queries say then."""

import functools
import math
import pathlib
import re
from dataclasses import dataclass, field

import promql
import yaml
from promql_engine import NAME, Samples

_STEPS = re.compile(r"(?P<start>-?[\d.]+(?:e[+-]?\d+)?)(?:(?P<step>[+-][\d.]+(?:e[+-]?\d+)?)?x(?P<times>\d+))?")


@dataclass
class Alert:
    """An alert rule and since when each of its series has been true."""

    name: str
    tree: object
    wait: float
    labels: dict
    since: dict = field(default_factory=dict)

    def step(self, samples, time):
        """Evaluates the rule and writes ALERTS, as Prometheus does."""
        found = samples.evaluate(self.tree, time)
        self.since = {labels: self.since.get(labels, time) for labels in found}
        for labels, since in self.since.items():
            state = "firing" if time - since >= self.wait else "pending"
            own = {**dict(labels), **self.labels, NAME: "ALERTS", "alertname": self.name, "alertstate": state}
            samples.add(own, time, 1.0)


@dataclass
class Record:
    """A recording rule."""

    name: str
    tree: object

    def step(self, samples, time):
        """Evaluates the rule and writes what it says."""
        found = samples.evaluate(self.tree, time)
        for labels, value in ({frozenset(): found} if isinstance(found, float) else found).items():
            samples.add({**dict(labels), NAME: self.name}, time, value)


@functools.cache
def read(file):
    """A YAML file, which every scenario reads."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def read_rules(file):
    """The rules of a file, in their order."""
    for group in read(file.resolve())["groups"]:
        for rule in group["rules"]:
            tree = promql.parse(rule["expr"])
            if "record" in rule:
                yield Record(rule["record"], tree)
            else:
                wait = promql.seconds(rule["for"])
                yield Alert(rule["alert"], tree, wait, rule["labels"])


def series(notation, values, interval):
    """(labels, samples) of an `input_series`: values as `1`, `_`, `1x3` or `1+2x3`, one every `interval` seconds."""
    name, brace, matchers = notation.partition("{")
    selector = promql.parse(f"{name or 'nameless'}{brace}{matchers}")
    labels = {**({NAME: name} if name else {}), **{label: value for label, _, value in selector.matchers}}
    numbers = []
    for part in values.split():
        if part.startswith("_"):
            numbers += [None] * int(part[2:] or 1)
            continue
        match = _STEPS.fullmatch(part)
        start, step = float(match["start"]), float(match["step"] or 0)
        numbers += [start + step * place for place in range(int(match["times"] or 0) + 1)]
    return labels, [(place * interval, number) for place, number in enumerate(numbers) if number is not None]


def run(file, test):
    """What one test of a file finds: [(query, time, expected, found)], both as {labels: value}.

    Args:
      file: path of the test file.
      test: one of its `tests`.
    """
    content = read(file)
    rules = [rule for name in content["rule_files"] for rule in read_rules(pathlib.Path(file).parent / name)]
    samples = Samples()
    for each in test["input_series"]:
        labels, made = series(each["series"], each["values"], promql.seconds(test["interval"]))
        for time, value in made:
            samples.add(labels, time, value)
    questions = sorted(test["promql_expr_test"], key=lambda each: promql.seconds(each["eval_time"]))
    pause, time, found = promql.seconds(content["evaluation_interval"]), 0.0, []
    for question in questions:
        at = promql.seconds(question["eval_time"])
        while time <= at:
            for rule in rules:
                rule.step(samples, time)
            time += pause
        answer = samples.evaluate(promql.parse(question["expr"]), at)
        expected = {}
        for sample in question.get("exp_samples", []):
            labels, ((_, value),) = series(sample["labels"], str(sample["value"]), 1)
            expected[frozenset((name, text) for name, text in labels.items() if text)] = value
        found.append((question["expr"], at, expected, answer))
    return found


def same(expected, found):
    """Whether two answers are the same but for rounding."""
    return expected.keys() == found.keys() and all(
        math.isclose(value, found[labels], rel_tol=1e-6) for labels, value in expected.items()
    )
