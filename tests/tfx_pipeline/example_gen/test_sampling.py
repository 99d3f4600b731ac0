import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from tfx_pipeline.example_gen.boundaries import DAY
from tfx_pipeline.example_gen.item_table import NEVER, ItemStats
from tfx_pipeline.example_gen.sampling import PopularitySampler, generator

NOTHING = np.empty(0, np.int64)
THEN = 5 * DAY + 77


def sampler_of(weights):
    """A sampler in which each item has this weight at THEN; 0 for an item without an event before."""
    weights = np.array(weights)
    sold = np.flatnonzero(weights > 1)
    first = np.where(weights > 0, THEN - 1, NEVER)
    return PopularitySampler(ItemStats(first, sold, np.full(len(sold), 4), weights[sold] - 1))


def test_the_first_draw_follows_popularity():
    counts = np.array([50, 0, 30, 15, 5])
    sampler = sampler_of(counts)
    draws = [sampler.draw(generator(1, "u", time), 1, NOTHING, THEN)[0] for time in range(4000)]
    seen = np.bincount(draws, minlength=5)
    assert seen[1] == 0
    assert stats.chisquare(seen[counts > 0], 4000 * counts[counts > 0] / 100).pvalue > 1e-3


@pytest.mark.parametrize("counts", [[6, 3, 1], [10**7, 3, 1]], ids=["by rejection", "by exponential races"])
def test_the_order_is_that_of_drawing_without_replacement(counts):
    sampler = sampler_of(counts)
    draws = [tuple(sampler.draw(generator(2, time), 3, NOTHING, THEN)) for time in range(3000)]
    a, b, c = np.array(counts) / sum(counts)
    if counts[0] > 100:
        assert all(draw[0] == 0 for draw in draws)
        second = np.bincount([draw[1] for draw in draws], minlength=3)[1:]
        assert stats.chisquare(second, 3000 * np.array([0.75, 0.25])).pvalue > 1e-3
        return
    orders = {(0, 1, 2): a * b / (b + c), (0, 2, 1): a * c / (b + c), (1, 0, 2): b * a / (a + c)}
    orders |= {(1, 2, 0): b * c / (a + c), (2, 0, 1): c * a / (a + b), (2, 1, 0): c * b / (a + b)}
    seen = [draws.count(order) for order in orders]
    assert stats.chisquare(seen, 3000 * np.array(list(orders.values()))).pvalue > 1e-3


def test_excluded_items_are_never_drawn_and_all_others_are():
    sampler = sampler_of([100, 5, 0, 1, 7])
    for time in range(200):
        drawn = sampler.draw(generator(3, time), 10, np.array([0, 4]), THEN)
        assert sorted(drawn) == [1, 3]


def test_nothing_to_draw():
    assert len(sampler_of([0, 0, 0]).draw(generator(0), 5, NOTHING, THEN)) == 0
    assert len(sampler_of([1, 1, 1]).draw(generator(0), 0, NOTHING, THEN)) == 0


def test_weights_are_those_of_the_moment():
    """Item 0 was first seen on day 0 and sells 9 on day 1 and 90 on day 2; item 1 was seen at noon of day 1."""
    stats_then = ItemStats(np.array([0, DAY * 3 // 2]), np.array([0, 0]), np.array([1, 2]), np.array([9, 90]))
    sampler = PopularitySampler(stats_then)

    def share_of_1(moment):
        return np.mean([sampler.draw(generator(4, time), 1, NOTHING, moment)[0] for time in range(4000)])

    assert len(sampler.draw(generator(4), 2, NOTHING, 0)) == 0
    assert sampler.draw(generator(4), 2, NOTHING, 1).tolist() == [0]
    assert share_of_1(DAY * 3 // 2) == 0  # the moment itself is not before it
    assert share_of_1(DAY * 2 - 1) == pytest.approx(1 / 2, abs=0.03)  # sales of the moment's own day do not count
    assert share_of_1(DAY * 2) == pytest.approx(1 / 11, abs=0.02)
    assert share_of_1(DAY * 3) == pytest.approx(1 / 101, abs=0.01)


def test_the_same_in_every_process():
    code = (
        "import numpy as np; from tfx_pipeline.example_gen.sampling import *;"
        "few = np.arange(50); stats = ItemStats(few, few, few, few);"
        "print(PopularitySampler(stats).draw(generator(7, '用户', 99), 9, np.array([49]), 10**7).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    few = np.arange(50)
    here = PopularitySampler(ItemStats(few, few, few, few)).draw(generator(7, "用户", 99), 9, np.array([49]), 10**7)
    assert outputs == {f"{here.tolist()}\n"}


def test_user_and_time_are_kept_apart():
    assert generator(1, "a", 23).random() != generator(1, "a2", 3).random()
