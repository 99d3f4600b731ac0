"""Metrics and differences against statsmodels' regressions, scipy's tests and formulas by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from serving.experiment import estimates
from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.experiment.metrics import CONVERSION, CTR, METRICS, REVENUE

SEQUENCE = ConfidenceSequence(0.05, 500.0)


def draw(rng, users, lift=1.0):
    answers = rng.geometric(0.3, users)
    chance = np.minimum(rng.beta(0.5, 1.5, users) * lift, 1)
    bought = rng.random(users) < 0.2 * lift
    return pd.DataFrame(
        {
            "answers": answers,
            "clicked": rng.binomial(answers, chance),
            "bought": bought,
            "revenue": bought * rng.lognormal(3, 1, users),
        }
    )


@pytest.fixture(scope="module")
def arms():
    rng = np.random.default_rng(5)
    return draw(rng, 300, 1.3), draw(rng, 200)


def requests(users):
    """A row for each answer, as clicks are logged."""
    row = np.repeat(np.arange(len(users)), users["answers"])
    place = np.arange(len(row)) - np.repeat(users["answers"].cumsum() - users["answers"], users["answers"]).to_numpy()
    return row, (place < users["clicked"].to_numpy()[row]).astype(float)


def test_ctr_is_a_regression_over_answers_clustered_by_user(arms):
    for users in arms:
        row, clicks = requests(users)
        fit = sm.OLS(clicks, np.ones(len(clicks))).fit(cov_type="cluster", cov_kwds={"groups": row})
        found = estimates.describe(users, 0.05)[CTR]
        assert found.value == pytest.approx(fit.params[0])
        assert found.standard_error == pytest.approx(fit.bse[0])
        naive = math.sqrt(found.value * (1 - found.value) / len(clicks))
        assert found.standard_error > 1.3 * naive
        half = stats.t.isf(0.025, len(users) - 1) * fit.bse[0]
        assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_the_difference_of_ctr_is_a_regression_too(arms):
    treatment, control = arms
    (row_t, clicks_t), (row_c, clicks_c) = requests(treatment), requests(control)
    design = sm.add_constant(np.r_[np.ones(len(row_t)), np.zeros(len(row_c))])
    groups = np.r_[row_t, row_c + len(treatment)]
    fit = sm.OLS(np.r_[clicks_t, clicks_c], design).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    found = compare(CTR, treatment, control)
    assert found.value == pytest.approx(fit.params[1])
    assert found.lift == pytest.approx(fit.params[1] / fit.params[0])
    # Ours divides each arm's squares by n-1, the regression's by n.
    assert (found.high - found.low) / 2 == pytest.approx(stats.t.isf(0.025, 400) * fit.bse[1], rel=0.01)


def compare(metric, treatment, control, sequence=SEQUENCE):
    return estimates.difference(
        metric, estimates.user_values(treatment, metric), estimates.user_values(control, metric), sequence
    )


def test_revenue_is_welchs_test(arms):
    treatment, control = (users["revenue"] for users in arms)
    found = compare(REVENUE, *arms)
    test = stats.ttest_ind(treatment, control, equal_var=False)
    assert found.p_value == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))
    assert found.value == pytest.approx(treatment.mean() - control.mean())
    one = estimates.describe(arms[0], 0.1)[REVENUE]
    assert (one.low, one.high) == pytest.approx(
        stats.t.interval(0.9, len(treatment) - 1, treatment.mean(), stats.sem(treatment))
    )


def test_conversion_by_hand(arms):
    bought, users = [int(arm["bought"].sum()) for arm in arms], [len(arm) for arm in arms]
    one = estimates.describe(arms[0], 0.05)[CONVERSION]
    wilson = stats.binomtest(bought[0], users[0]).proportion_ci(method="wilson")
    assert (one.low, one.high) == pytest.approx((wilson.low, wilson.high))
    # Agresti and Caffo add one buyer and one other user to each arm.
    p = [(k + 1) / (n + 2) for k, n in zip(bought, users, strict=True)]
    error = math.sqrt(sum(q * (1 - q) / (n + 2) for q, n in zip(p, users, strict=True)))
    found = compare(CONVERSION, *arms)
    assert (found.low, found.high) == pytest.approx((p[0] - p[1] - 1.959964 * error, p[0] - p[1] + 1.959964 * error))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(p[0] - p[1]) / error))
    assert found.value == pytest.approx(bought[0] / users[0] - bought[1] / users[1])


@pytest.mark.parametrize("metric", METRICS)
def test_the_sequential_interval_is_around_the_difference(arms, metric):
    found = compare(metric, *arms)
    both = CompareMeans(*(DescrStatsW(estimates.user_values(users, metric), ddof=1) for users in arms))
    error = max(both.std_meandiff_separatevar, both.std_meandiff_pooledvar)
    half = 3.0351224 * error  # 500 users were planned, and are there
    assert (found.sequential_low, found.sequential_high) == pytest.approx((found.value - half, found.value + half))
    assert found.sequential_p_value == pytest.approx(SEQUENCE.p_value(found.value / error, 500.0))
    assert found.sequential_p_value > found.p_value
    assert found.sequential_low < found.low and found.high < found.sequential_high


def arm(users, buyers):
    bought = np.arange(users) < buyers
    return pd.DataFrame({"answers": 1, "clicked": bought.astype(int), "bought": bought, "revenue": bought * 8.0})


@pytest.mark.parametrize(("treatment", "control"), [((100, 0), (1900, 19)), ((1900, 19), (100, 0)), ((50, 9), (70, 1))])
@pytest.mark.parametrize("metric", METRICS)
def test_a_small_arm_without_buyers_is_as_uncertain_as_the_other(metric, treatment, control):
    values = [DescrStatsW(estimates.user_values(arm(*one), metric), ddof=1) for one in (treatment, control)]
    both = CompareMeans(*values)
    expected = max(both.std_meandiff_pooledvar, both.std_meandiff_separatevar)
    ends = [estimates.describe(arm(*one), 0.05)[metric] for one in (treatment, control)]
    assert estimates.standard_error(*ends) == pytest.approx(expected)
    found = compare(metric, arm(*treatment), arm(*control))
    users = treatment[0] + control[0]
    assert found.sequential_p_value == pytest.approx(SEQUENCE.p_value(found.value / expected, float(users)))
    assert found.sequential_high - found.value == pytest.approx(SEQUENCE.width(float(users)) * expected)


def test_the_standard_error_against_a_part_of_control_by_hand():
    ends = [estimates.describe(arm(*one), 0.05)[CONVERSION] for one in ((100, 0), (1900, 19))]
    variance = 1900 / 1899 * 0.01 * 0.99  # of control; that of the treatment is 0
    pooled = 1899 * variance / 1998
    assert estimates.standard_error(*ends, 0.9) == pytest.approx(math.sqrt(pooled * (1 / 100 + 0.81 / 1900)))
    assert estimates.standard_error(*ends[::-1], 0.9) == pytest.approx(math.sqrt(pooled * (1 / 1900 + 0.81 / 100)))


def test_what_rounding_leaves_is_no_variance():
    alike = [pd.DataFrame({"answers": 1, "clicked": 1, "bought": True, "revenue": [0.1] * users}) for users in (3, 7)]
    assert 0 < np.std(alike[0]["revenue"], ddof=1) < 1e-16
    found = compare(REVENUE, *alike)
    assert {found.low, found.p_value, found.sequential_low, found.sequential_p_value} == {None}
    assert estimates.describe(alike[0], 0.05)[REVENUE].low is None


def test_without_variance_nothing_is_said():
    nobody = pd.DataFrame({"answers": [1, 1, 1], "clicked": [0, 0, 0], "bought": [False] * 3, "revenue": [0.0] * 3})
    for metric in (CTR, REVENUE):
        found = compare(metric, nobody, nobody)
        assert (found.value, found.lift) == (0.0, None)
        assert {found.low, found.p_value, found.sequential_low, found.sequential_p_value} == {None}
        assert estimates.describe(nobody, 0.05)[metric].low is None
    found = compare(CONVERSION, nobody, nobody)
    assert found.low < 0 < found.high and found.p_value == 1.0 and found.sequential_low is None
    assert estimates.describe(nobody, 0.05)[CONVERSION].high > 0.4
    alone = estimates.describe(nobody[:1], 0.05)[CONVERSION]
    assert alone.users == 1 and alone.low is None and math.isnan(alone.standard_error)
