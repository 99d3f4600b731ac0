"""Numbers of users against the textbook's formula."""

import math

import pytest
from scipy import stats

from serving.experiment.errors import ExperimentError
from serving.experiment.power import users_needed

Z = stats.norm.isf(0.025) + stats.norm.ppf(0.8)


def test_a_share_of_the_users_by_the_arcsine_formula():
    found = users_needed(0.05, 0.1)
    size = 2 * math.asin(math.sqrt(0.055)) - 2 * math.asin(math.sqrt(0.05))
    assert found.control == found.treatment == math.ceil(2 * (Z / size) ** 2) == 31218
    assert found.planned_users == 62436


def test_any_metric_by_its_deviation_and_unequal_arms():
    found = users_needed(3.0, -0.1, power=0.9, alpha=0.01, share=0.2, deviation=12.0)
    z = stats.norm.isf(0.005) + stats.norm.ppf(0.9)
    # 1/n_t + 1/n_c = (effect / deviation / z)² with n_c = 4·n_t
    treatment = 1.25 * (z * 12 / 0.3) ** 2
    assert (found.treatment, found.control) == (math.ceil(treatment), math.ceil(4 * treatment))


def test_looking_every_day_takes_at_most_so_many_more():
    found = users_needed(0.2, 0.4)
    factor = ((3.0351224 + stats.norm.ppf(0.8)) / Z) ** 2
    assert factor == pytest.approx(1.915, abs=0.001)
    assert found.sequential_control == pytest.approx(factor * found.control, abs=2)
    assert found.sequential_planned_users == 2 * found.sequential_control


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"baseline": 0.6, "lift": 1.0}, "`baseline` is 0.6, with the lift 1.2; expected both between 0 and 1"),
        ({"baseline": 0.1, "lift": 0.0}, "`lift` 0; expected an effect other than 0"),
        ({"baseline": 3.0, "lift": math.nan, "deviation": 1.0}, "`lift` nan; expected an effect other than 0"),
        ({"baseline": 0.1, "lift": 0.1, "power": 1.0}, "`power` is 1; expected between 0 and 1"),
        ({"baseline": 0.1, "lift": 0.1, "power": 0.01}, "expected more than alpha"),
        ({"baseline": 0.1, "lift": 0.1, "share": 0.0}, "`share` is 0"),
        ({"baseline": 3, "lift": 0.1, "deviation": 0.0}, "`deviation` is 0; expected a number above 0"),
    ],
)
def test_what_cannot_be_computed_is_said(numbers, message):
    with pytest.raises(ExperimentError, match=message):
        users_needed(**numbers)
