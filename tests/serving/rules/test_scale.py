"""Comparable scores, computed by hand and by scipy."""

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis.extra import numpy as arrays

from serving.rules.scale import LOG_PROBABILITY, RANK, STANDARD, boosted, comparable

SCALES = (STANDARD, LOG_PROBABILITY, RANK)
scores = arrays.arrays(float, st.integers(1, 12), elements=st.integers(-50, 50).map(float))


def test_by_hand():
    np.testing.assert_allclose(comparable(np.array([1.0, 3.0]), STANDARD), [-1, 1])
    np.testing.assert_allclose(comparable(np.log([0.2, 0.6]), LOG_PROBABILITY), np.log([0.25, 0.75]))
    np.testing.assert_allclose(comparable(np.array([5.0, 9.0, 5.0, 1.0]), RANK), [0.75, 1, 0.75, 0.25])


@given(scores)
def test_as_scipy_has_it(values):
    np.testing.assert_allclose(comparable(values, LOG_PROBABILITY), scipy.special.log_softmax(values), atol=1e-12)
    ranks = scipy.stats.rankdata(-values, "min")
    np.testing.assert_allclose(comparable(values, RANK), 1 - (ranks - 1) / len(values))
    if len(np.unique(values)) > 1:
        np.testing.assert_allclose(comparable(values, STANDARD), scipy.stats.zscore(values), atol=1e-12)
    else:
        assert not comparable(values, STANDARD).any()


@given(scores, st.floats(0.1, 10), st.floats(-100, 100))
def test_units_and_zeros_do_not_matter(values, unit, zero):
    for scale, other in (
        (STANDARD, unit * values + zero),
        (RANK, unit * values + zero),
        (LOG_PROBABILITY, values + zero),
    ):
        np.testing.assert_allclose(comparable(other, scale), comparable(values, scale), atol=1e-6)


@given(scores, st.sampled_from(SCALES), st.floats(1, 100), st.floats(0, 100))
def test_a_factor_above_one_and_a_positive_summand_move_nothing_down(values, scale, factor, summand):
    """Log-probabilities are negative: a factor on the score itself would."""
    before = comparable(values, scale)
    assert (boosted(before, scale, factor, None) >= before).all()
    assert (boosted(before, scale, 1 / factor, None) <= before).all()
    assert (boosted(before, scale, None, summand) >= before).all()


def test_a_factor_is_one_on_the_probability():
    before = comparable(np.log([0.1, 0.2, 0.7]), LOG_PROBABILITY)
    np.testing.assert_allclose(np.exp(boosted(before, LOG_PROBABILITY, 3.0, None)), [0.3, 0.6, 2.1])
    np.testing.assert_allclose(
        boosted(before, LOG_PROBABILITY, 3.0, None), boosted(before, LOG_PROBABILITY, None, np.log(3))
    )
    np.testing.assert_allclose(boosted(np.array([0.5]), RANK, 1.5, None), [0.75])


@pytest.mark.parametrize("scale", SCALES)
def test_minus_infinity_is_last_and_changes_nothing_else(scale):
    with_it, without = comparable(np.array([2.0, -np.inf, 1.0]), scale), comparable(np.array([2.0, 1.0]), scale)
    assert with_it.argmin() == 1
    if scale != RANK:
        np.testing.assert_allclose(with_it[[0, 2]], without)
        assert np.isneginf(with_it[1])
    assert not np.isnan(comparable(np.array([-np.inf, -np.inf]), scale)).any()
    assert comparable(np.empty(0), scale).shape == (0,)
