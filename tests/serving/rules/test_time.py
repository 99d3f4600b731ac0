"""What an answer costs, as ratios within one process: the machine may be busy, and by turns it disturbs both sides."""

import dataclasses
import pathlib
import time

import numpy as np
import pytest

from serving.rules import bench
from serving.rules.engine import Engine
from serving.rules.rule_set import RuleSet
from serving.rules.shopper import Shopper

EXAMPLE = pathlib.Path(__file__).parents[3] / "configs" / "serving" / "rules.yaml"


@pytest.fixture(scope="module")
def rules():
    return RuleSet.load(EXAMPLE)


@pytest.fixture(scope="module")
def relative(rules):
    """Times the processor works for an answer of 500 candidates by one engine, beside another."""
    catalogue = bench.synthetic_catalogue(10_000, 16, 0, {"i000042"})
    rng = np.random.default_rng(0)
    ids = [f"i{at:06d}" for at in rng.permutation(10_000)[:500]]
    history = [(item_id, "purchase", int(time.time()) - 3600) for item_id in ids[::5]]
    shopper = Shopper(history, {"country": "DE"}, page="home")

    def measured(one, other):
        engines, seconds = [Engine(some, catalogue) for some in (one, other)], [[], []]
        for turn in range(60):
            for engine, spent in zip(engines, seconds, strict=True):
                fresh = bench.BenchRanking([item_id[:1] + item_id[1:] for item_id in ids], -np.arange(500.0))
                start = time.thread_time()
                engine.apply(fresh, shopper)
                if turn >= 10:
                    spent.append(time.thread_time() - start)
        return np.median(seconds[0]) / np.median(seconds[1])

    return measured


def test_a_long_list_of_what_is_forbidden_costs_next_to_nothing(rules, relative, tmp_path):
    (tmp_path / "short.csv").write_text("item_id\ni000100\n")
    (tmp_path / "long.csv").write_text("item_id\n" + "".join(f"x{at:06d}\n" for at in range(100_000)))
    short, long = (
        dataclasses.replace(
            rules,
            origin=tmp_path / "rules.yaml",
            settings=dataclasses.replace(rules.settings, forbidden=(name,)),
        )
        for name in ("short.csv", "long.csv")
    )
    assert relative(long, short) < 1.5


def test_every_kind_of_rule_together_costs_no_more_than_three_answers_without_rules(rules, relative):
    assert relative(rules, dataclasses.replace(rules, rules=(), overlays={})) < 4
