"""The sequential interval and p-value against numerical integration, against each other, and on random walks."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import integrate, optimize, stats

from serving.experiment.confidence_sequence import ConfidenceSequence

SEQUENCE = ConfidenceSequence(0.05, 1000.0)


@pytest.mark.parametrize("users", [50.0, 1000.0, 20000.0])
@pytest.mark.parametrize("z", [0.3, 2.5, 4.0])
def test_the_p_value_is_one_over_the_mixed_likelihood_ratio(z, users):
    # Of a sum S = z·sqrt(n) of n standard normals, effects mixed by N(0, tau²), with the tau whose interval is
    # tightest at 1,000 users.
    best = optimize.minimize_scalar(
        lambda x: (1 + 1 / x) * (math.log1p(x) + 2 * math.log(20)), bounds=(1, 50), method="bounded"
    ).x
    tau = math.sqrt(best / 1000)

    def integrand(effect):
        return math.exp(effect * z * math.sqrt(users) - effect**2 * users / 2) * stats.norm.pdf(effect, scale=tau)

    ratio = integrate.quad(integrand, -12 * tau, 12 * tau, points=[z / math.sqrt(users)], limit=500)[0]
    assert SEQUENCE.p_value(z, users) == pytest.approx(min(1, 1 / ratio), rel=1e-4)


@given(st.floats(-8, 8), st.floats(2, 1e6), st.floats(1e-4, 0.4), st.floats(10, 1e6))
def test_the_p_value_is_at_most_alpha_where_the_interval_leaves_0_out(z, users, alpha, planned):
    sequence = ConfidenceSequence(alpha, planned)
    outside = abs(z) - float(sequence.width(users))
    if abs(outside) > 1e-6:
        assert (sequence.p_value(z, users) <= alpha) == (outside > 0)


def test_the_interval_is_tightest_where_it_was_planned():
    users = np.geomspace(10, 1e5, 2001)
    best = users[np.argmin(SEQUENCE.width(users))]
    assert best == pytest.approx(1000, rel=0.01)
    assert SEQUENCE.width(1000.0) / stats.norm.isf(0.025) == pytest.approx(1.55, abs=0.005)


def test_random_walks_leave_it_seldom_however_often_one_looks():
    rng = np.random.default_rng(3)
    ever = np.zeros(2000, bool)
    fixed = np.zeros(2000, bool)
    users = np.arange(1.0, 4001)
    for start in range(0, 2000, 200):
        z = rng.standard_exponential((200, 4000)).cumsum(1)  # skewed, mean 1, variance 1
        z = (z - users) / np.sqrt(users)
        looked = users >= 50
        ever[start : start + 200] = (SEQUENCE.p_value(z, users) <= 0.05)[:, looked].any(1)
        fixed[start : start + 200] = (np.abs(z) > 1.96)[:, looked].any(1)
    assert 0.01 < ever.mean() <= 0.05
    assert fixed.mean() > 0.4


@pytest.mark.parametrize(
    ("arrive", "variance", "rate"),
    [("new users alone", 1, 0.013), ("evenly, and come back", 2, 0.023), ("all on the first day", 1, 0.034)],
)
def test_users_who_come_back_make_it_wrong_more_often_but_seldom_enough(arrive, variance, rate):
    days = np.arange(1.0, 91)
    clock = days**variance  # variance of the sum that the walk is
    users = np.full(90, 1000.0) if arrive == "all on the first day" else 1000 * days / 90
    steps = np.random.default_rng(8).standard_normal((10_000, 90)) * np.sqrt(np.diff(clock, prepend=0))
    wrong = (np.abs(steps.cumsum(1) / np.sqrt(clock)) > SEQUENCE.width(users)).any(1).mean()
    assert wrong == pytest.approx(rate, abs=0.005) and wrong <= 0.05


def test_numbers_of_users_are_arrays_too():
    users = np.array([10.0, 100.0])
    np.testing.assert_array_equal(SEQUENCE.width(users), [SEQUENCE.width(10.0), SEQUENCE.width(100.0)])
    assert SEQUENCE.p_value(0.0, 100.0) == 1.0
