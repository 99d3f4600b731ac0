"""Experiments that are looked at every day: how often they are wrong without an effect, and right with one."""

import math

import numpy as np
import pandas as pd
import pytest

from serving.experiment import estimates
from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.metrics import METRICS
from serving.experiment.power import users_needed
from serving.experiment.simulation import daily_scores, simulate
from serving.experiment.traffic import Traffic

RUNS, DAYS, LIFT = 1000, 14, 0.5
NEEDED = users_needed(0.2, LIFT, power=0.8)


def test_scores_of_all_runs_are_those_of_each():
    done = Traffic(150, 5, lift=0.3).draw(3, np.random.default_rng(0))
    for values in done.values():
        values[1, 1, 40:] = 0  # a small arm
    scores = daily_scores(done)
    sequence = ConfidenceSequence(0.05, 300.0)
    for run, day in ((0, 4), (1, 4), (2, 1)):
        treatment, control = (
            pd.DataFrame({name: values[run, arm, :, day] for name, values in done.items()}).query("present > 0")
            for arm in (1, 0)
        )
        for metric in METRICS:
            found = estimates.difference(
                metric, estimates.user_values(treatment, metric), estimates.user_values(control, metric), sequence
            )
            half = found.sequential_high - found.value
            error = half / sequence.width(float(len(treatment) + len(control)))
            assert scores[metric][run, day] == pytest.approx(found.value / error)


def test_traffic_is_what_it_says():
    done = Traffic(3000, 10, conversion=0.2, ctr=0.25, answers=0.6, lift=0.4).draw(1, np.random.default_rng(1))
    present, answers, clicked, bought, revenue = (done[name][0] for name in done)
    assert list(done) == ["present", "answers", "clicked", "bought", "revenue"]
    assert present[..., -1].all() and present[..., 0].mean() == pytest.approx(0.1, abs=0.02)
    assert ((answers > 0) == (present > 0)).all() and (clicked <= answers).all() and (bought <= present).all()
    for values in (present, answers, clicked, bought, revenue):
        assert (np.diff(values, axis=-1) >= 0).all()
    assert bought[..., -1].mean(1) == pytest.approx([0.2, 0.28], abs=0.03)
    assert (clicked.sum(1) / answers.sum(1))[:, -1] == pytest.approx([0.25, 0.35], abs=0.02)
    # One answer, and .6 for each of the 5.5 days that are left on average, the first included.
    assert answers[..., -1].mean() == pytest.approx(1 + 0.6 * 5.5, rel=0.05)


def test_a_small_arm_that_seldom_buys_is_seldom_wrong():
    # Both arms alike, 20 of 21 users control's; some 2 of the treatment's 200 users buy.
    rng, users, looks = np.random.default_rng(6), 4000, 14
    present, scores = [], []
    for _ in range(20):
        done = Traffic(users, looks, conversion=0.01).draw(20, rng)
        for values in done.values():
            values[:, 1, 200:] = 0
        present.append(done["present"].sum(2))
        scores.append(daily_scores(done))
    number = np.concatenate(present)
    looked = number.min(1) >= 100
    for metric in METRICS:
        z = np.where(looked, np.concatenate([one[metric] for one in scores]), 0.0)
        wrong = (ConfidenceSequence(0.05, 4000.0).p_value(z, number.sum(1)) <= 0.05).any(1)
        # By the arms' own variances alone it is more than half, of conversion.
        assert wrong.mean() <= 0.05, metric


@pytest.fixture(scope="module")
def without_effect():
    return simulate(Traffic(NEEDED.control, DAYS), RUNS, seed=1)


@pytest.mark.parametrize("metric", METRICS)
def test_looking_every_day_is_seldom_wrong(without_effect, metric):
    rates = without_effect[metric]
    # 64 of 1,000 is what a level of 5 % stays below with a probability of 98 %; a test that never speaks would too.
    assert 1 <= rates.sequential <= 64
    assert 30 <= rates.fixed <= 70
    assert rates.peeking > 100


def test_the_planted_effect_is_seen_as_often_as_computed():
    rates = simulate(Traffic(NEEDED.control, DAYS, lift=LIFT), RUNS, seed=2)["conversion"]
    # Two standard deviations of 1,000 runs are 2.5 %; the normal approximation is off by as much again.
    assert rates.fixed / RUNS == pytest.approx(0.8, abs=0.05)
    # Looking every day costs power, and saves users where the effect is seen early.
    assert 0.35 < rates.sequential / RUNS < 0.65
    assert rates.users_at_end < 0.97 * NEEDED.planned_users


def test_the_users_computed_for_looking_every_day_are_enough():
    runs = 400
    rates = simulate(Traffic(NEEDED.sequential_control, DAYS, lift=LIFT), runs, seed=3)["conversion"]
    assert rates.sequential / runs > 0.8 - 2 * math.sqrt(0.16 / runs)
    assert rates.users_at_end < 0.9 * NEEDED.sequential_planned_users
