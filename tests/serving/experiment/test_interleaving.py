"""Interleaved lists and the preference that clicks on them say."""

import random
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.errors import ExperimentError
from serving.experiment.interleaving import interleave
from serving.experiment.outcome import Outcome
from serving.experiment.preference import preference

RANKINGS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


class Coins:
    """Says heads (ranker a first) or tails as it was told."""

    def __init__(self, *heads):
        self._heads = list(heads)

    def random(self):
        return 0.0 if self._heads.pop(0) else 0.9


def test_team_draft_by_hand():
    a, b = ["1", "2", "3", "4"], ["2", "5", "1", "6"]
    found = interleave(a, b, Coins(True, False, True), 6)
    # a takes 1, b takes 2 (its best); b first: 5, a takes 3; a first: 4, b takes 6.
    assert [(pick.item_id, pick.team) for pick in found] == [
        ("1", "a"), ("2", "b"), ("5", "b"), ("3", "a"), ("4", "a"), ("6", "b")
    ]  # fmt: skip
    assert interleave(a, b, Coins(True, False), 3) == found[:3]
    # The second pick of b is taken already, by a: it takes the next one.
    assert [pick.item_id for pick in interleave(["2"], ["2", "5"], Coins(False, True), 5)] == ["2", "5"]


@given(RANKINGS, RANKINGS, st.integers(0, 10), st.integers(0, 1000))
def test_every_list_is_fair_and_keeps_the_rankers_orders(a, b, length, seed):
    picks = interleave(a, b, random.Random(seed), length)
    items = [pick.item_id for pick in picks]
    assert len(set(items)) == len(items) == min(length, len({*a, *b}))
    teams = Counter(pick.team for pick in picks)
    assert abs(teams["a"] - teams["b"]) <= 1
    for team, ranking in (("a", a), ("b", b)):
        for place, pick in enumerate(picks):
            if pick.team == team:  # the best of the ranker that was not shown before
                assert pick.item_id == next(item for item in ranking if item not in items[:place])
    # What is credited to nobody comes last.
    assert "".join(pick.team or "-" for pick in picks).rstrip("-").count("-") == 0


def test_equal_rankers_get_equal_places_and_generators_of_numpy_do():
    rng = np.random.default_rng(0)
    first = Counter(interleave("xyz", "xyz", rng, 3)[0].team for _ in range(2000))
    assert stats.binomtest(first["a"], 2000).pvalue > 0.01


@pytest.fixture
def logs(experiment, shown):
    """Clicks by hand: users p and q for b, r for a, s and t for neither."""
    teams = {"item_ids": ("1", "2", "3", "4"), "teams": ("a", "b", "b", "")}
    exposures = [shown(1, user, f"{user}{number}", **teams) for user in "pqrst" for number in (1, 2)]
    exposures.append(shown(1, "z", "plain"))
    clicks = [
        ("p1", "2"), ("p1", "3"), ("p2", "1"), ("p1", "2"),  # 2 to 1; the second click on 2 is the same item
        ("q1", "3"),
        ("r1", "1"),
        ("s1", "4"),  # credited to nobody
        ("t1", "1"), ("t2", "2"),
        ("r2", "9"),  # was not shown
    ]  # fmt: skip
    outcomes = [
        Outcome(experiment.start_time + 3600 + 10 * number, "click", "", request, item)
        for number, (request, item) in enumerate(clicks, start=1)
    ]
    outcomes.append(Outcome(outcomes[0].time, "purchase", "", "r1", "2", 5.0))
    return exposures, outcomes


def test_the_preference_by_hand(experiment, logs):
    found = preference(experiment, *logs)
    assert (found.answers, found.users) == (10, 5)
    assert (found.for_a, found.for_b, found.ties) == (1, 2, 2)
    assert (found.credits_a, found.credits_b) == (3, 4)
    assert found.share_b == pytest.approx(2 / 3)
    assert found.p_value == 1.0
    wilson = stats.binomtest(2, 3).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high))
    # By hand: the mean of 1, 1, -1, 0, 0, and the root of the mean square .6 over 5 users.
    sequence = ConfidenceSequence(0.05, 2000.0)
    half = sequence.width(5.0) * np.sqrt(0.6 / 5)
    assert (found.sequential_low, found.sequential_high) == pytest.approx((0.2 - half, 0.2 + half))
    assert found.sequential_p_value == pytest.approx(sequence.p_value(0.2 / np.sqrt(0.6 / 5), 5.0))
    assert set(found.notes) == {
        "Not counted: 1 exposure without `teams`.",
        "Not counted: 1 click without an item that the answer showed.",
    }
    bought = preference(experiment, *logs, credit="purchase")
    assert (bought.for_a, bought.for_b, bought.credits_b) == (0, 1, 1)
    with pytest.raises(ExperimentError, match="`credit` is 'view'; expected click or purchase"):
        preference(experiment, *logs, credit="view")


def test_nobody_and_no_preference(experiment, logs):
    empty = preference(experiment, [], [])
    assert (empty.users, empty.share_b, empty.p_value, empty.sequential_p_value) == (0, None, None, None)
    silent = preference(experiment, logs[0], [])
    assert (silent.users, silent.ties, silent.share_b, silent.sequential_low) == (5, 5, None, None)


def test_users_who_all_agree_are_not_without_variance(experiment, shown):
    shows = {"item_ids": ("1", "2"), "teams": ("a", "b")}
    exposures = [shown(1, f"u{number}", f"r{number}", **shows) for number in range(200)]
    outcomes = [Outcome(one.time + 1, "click", "", one.request_id, "2") for one in exposures]
    few, all_of_them = (preference(experiment, exposures[:number], outcomes[:number]) for number in (3, 200))
    assert few.sequential_low < 0 and few.sequential_p_value > 0.05
    assert all_of_them.sequential_low > 0.5 and all_of_them.sequential_p_value < 1e-6


def test_a_better_ranker_wins_and_an_equal_one_does_not(experiment, shown):
    rng, coin = np.random.default_rng(4), random.Random(4)
    items = [str(number) for number in range(20)]
    p_values = []
    for chance in (0.0, 0.25):  # of the second ranker, to move the item that is clicked up to its top
        exposures, outcomes = [], []
        for number in range(400):
            a, wanted = list(rng.permutation(items)), str(rng.integers(20))
            b = list(rng.permutation(items))
            if rng.random() < chance:
                b = [wanted, *(item for item in b if item != wanted)]
            picks = interleave(a, b, coin, 8)
            request = f"r{chance}{number}"
            shows = {"item_ids": tuple(p.item_id for p in picks), "teams": tuple(p.team for p in picks)}
            exposures.append(shown(1, f"u{number // 2}", request, **shows))
            if wanted in shows["item_ids"]:
                outcomes.append(Outcome(exposures[-1].time + 1, "click", "", request, wanted))
        found = preference(experiment, exposures, outcomes)
        assert found.users == 200
        p_values.append((found.p_value, found.sequential_p_value))
    assert min(p_values[0]) > 0.05 and max(p_values[1]) < 0.01
