"""Off-policy estimates by hand, and on a bandit whose values are known."""

import dataclasses

import numpy as np
import pytest
import statsmodels.api as sm

from serving.experiment import off_policy_estimators as estimators
from serving.experiment.errors import ExperimentError
from serving.experiment.off_policy import evaluate
from serving.experiment.off_policy_estimators import Weighted
from serving.experiment.outcome import Outcome
from serving.experiment.policy_answer import PolicyAnswer

#: Three answers of one position each, to three users.
HAND = Weighted(
    weights=np.array([[2.0], [0.0], [4.0]]),
    rewards=np.array([[1.0], [1.0], [0.0]]),
    users=np.arange(3),
    predicted=np.array([[0.5], [0.5], [0.25]]),
    expected=np.array([[0.6], [0.2], [0.4]]),
)


def test_three_answers_by_hand():
    assert estimators.logged(HAND, 0.05).value == pytest.approx(2 / 3)
    assert estimators.ips(HAND, 0.05).value == pytest.approx((2 + 0 + 0) / 3)
    assert estimators.snips(HAND, 0.05).value == pytest.approx(2 / 6)
    # .6 + 2·(1 - .5), .2 + 0, .4 + 4·(0 - .25)
    assert estimators.doubly_robust(HAND, 0.05).value == pytest.approx((1.6 + 0.2 - 0.6) / 3)
    assert estimators.effective_sample_size(HAND.weights) == pytest.approx([36 / 20])
    # Standard deviation of 2, 0, 0 over the root of 3; gains are 1, -1, 0.
    ips = estimators.ips(HAND, 0.05)
    assert ips.standard_error == pytest.approx(np.std([2, 0, 0], ddof=1) / np.sqrt(3))
    assert (ips.low, ips.high) == pytest.approx((2 / 3 - 1.959964 * 2 / 3, 2 / 3 + 1.959964 * 2 / 3))
    assert ips.gain == pytest.approx(0) and ips.gain_high == pytest.approx(1.959964 / np.sqrt(3))
    # With a model that is right about the log, weights do not matter.
    right = estimators.doubly_robust(dataclasses.replace(HAND, predicted=HAND.rewards), 0.05)
    assert right.value == pytest.approx(0.4)
    with pytest.raises(ValueError, match="needs `predicted` and `expected`"):
        estimators.doubly_robust(dataclasses.replace(HAND, predicted=None), 0.05)


def test_snips_is_a_weighted_regression_clustered_by_user():
    rng = np.random.default_rng(2)
    log = Weighted(rng.gamma(1, 1, (60, 1)), rng.random((60, 1)), rng.integers(0, 25, 60))
    fit = sm.WLS(log.rewards[:, 0], np.ones(60), weights=log.weights[:, 0]).fit(
        cov_type="cluster", cov_kwds={"groups": log.users}
    )
    found = estimators.snips(log, 0.05)
    assert found.value == pytest.approx(fit.params[0])
    assert found.standard_error == pytest.approx(fit.bse[0])


def test_a_position_that_the_log_says_nothing_of_counts_0():
    log = dataclasses.replace(HAND, weights=np.c_[HAND.weights, np.zeros(3)], rewards=np.ones((3, 2)))
    assert estimators.snips(log, 0.05).value == pytest.approx(1.0)
    assert estimators.effective_sample_size(log.weights)[1] == 0


def bandit(rng, users, mu, pi, reward, predicted):
    """A log of 4 answers to each user, who is of one of 3 kinds and likes or dislikes everything a little."""
    kind = np.repeat(rng.integers(0, 3, users), 4)
    user = np.repeat(np.arange(users), 4)
    action = (rng.random((len(kind), 1)) > mu[kind].cumsum(1)).sum(1)
    mood = np.repeat(rng.choice([-0.1, 0.1], users), 4)
    rewards = (rng.random(len(kind)) < reward[kind, action] + mood).astype(float)
    return Weighted(
        (pi / mu)[kind, action][:, None],
        rewards[:, None],
        user,
        predicted[kind, action][:, None],
        (pi * predicted).sum(1)[kind][:, None],
    )


def test_intervals_cover_the_known_value_of_a_bandit():
    rng = np.random.default_rng(7)
    mu = np.array([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4]])
    pi = np.array([[0.0, 0.1, 0.1, 0.8], [0.0, 0.0, 1.0, 0.0], [0.2, 0.5, 0.2, 0.1]])
    reward = np.array([[0.2, 0.3, 0.4, 0.6], [0.5, 0.2, 0.7, 0.3], [0.8, 0.4, 0.2, 0.15]])
    truth = float((pi * reward).sum(1).mean())
    good, bad = reward + 0.02, np.full_like(reward, 0.9)
    methods = {
        "ips": (estimators.ips, good),
        "snips": (estimators.snips, good),
        "doubly robust": (estimators.doubly_robust, good),
        "doubly robust, wrong model": (estimators.doubly_robust, bad),
        "logged": (estimators.logged, good),
    }
    draws, errors = 300, {}
    for name, (method, predicted) in methods.items():
        found = [method(bandit(rng, 200, mu, pi, reward, predicted), 0.05) for _ in range(draws)]
        true = float((mu * reward).sum(1).mean()) if name == "logged" else truth
        covered = np.mean([one.low <= true <= one.high for one in found])
        # Two standard deviations of 300 draws are 2.5 %.
        assert 0.92 <= covered <= 0.98, name
        values = np.array([one.value for one in found])
        assert values.mean() == pytest.approx(true, abs=3.5 * values.std() / np.sqrt(draws)), name
        assert np.mean([one.standard_error for one in found]) == pytest.approx(values.std(), rel=0.1)
        gains = [one.gain_low <= true - float((mu * reward).sum(1).mean()) <= one.gain_high for one in found]
        assert np.mean(gains) >= 0.92, name
        errors[name] = values.std()
    assert max(errors["doubly robust"], errors["snips"]) < min(errors["ips"], errors["doubly robust, wrong model"])


@pytest.fixture
def logs(experiment, shown):
    """Two answers with propensities, one without and one that is too short, and what followed."""
    exposures = [
        shown(1, "u", "r1", item_ids=("x", "y"), propensities=(0.5, 0.25)),
        shown(2, "v", "r2", item_ids=("y", "z", "x"), propensities=(0.1, 0.5, 0.5)),
        shown(3, "v", "r3", item_ids=("y", "z")),
        shown(4, "v", "r4", item_ids=("y",), propensities=(0.5,)),
        shown(5, "w", "r5", item_ids=("y", "x"), propensities=(0.5, 0.5)),
    ]
    time = experiment.start_time + 6 * 3600
    outcomes = [
        Outcome(time, "click", "", "r1", "y"),
        Outcome(time + 1, "click", "", "r1", "y"),
        Outcome(time, "click", "", "r2", "z"),
        Outcome(time, "click", "", "r2", "x"),  # beyond the second position
        Outcome(time, "click", "", "r2", "q"),  # not shown
        Outcome(time, "purchase", "", "r1", "x", 3.0),
        Outcome(time + 1, "purchase", "", "r1", "x", 4.0),
    ]
    return exposures, outcomes


def test_slates_of_the_logs_by_hand(experiment, logs):
    policy = [PolicyAnswer("r1", ("z", "y")), PolicyAnswer("r2", ("y", "x")), PolicyAnswer("r4", ("y", "x"))]
    found = evaluate(experiment, *logs, policy, positions=2)
    # Weights: r1 0 and 1/.25; r2 1/.1 and 0. Clicks: r1 on the second, r2 on the second.
    assert (found.answers, found.users) == (2, 2)
    assert found.logged.value == 1.0
    assert found.ips.value == pytest.approx(4 / 2)
    assert found.snips.value == pytest.approx(0 + 4 / 4)
    assert found.doubly_robust is None
    assert found.effective_sample_size == pytest.approx((1, 1))
    assert found.mean_weight == pytest.approx((5, 2)) and found.largest_weight == pytest.approx(10)
    assert set(found.notes) == {
        "Not counted: 1 exposure without propensities.",
        "Not counted: 1 answer that the policy has none for.",
        "Not counted: 1 answer of fewer than 2 items, in the log or of the policy.",
    }
    clipped = evaluate(experiment, *logs, policy, positions=2, clip=3)
    assert clipped.ips.value == pytest.approx(3 / 2) and clipped.clipped == 0.5 and clipped.largest_weight == 10
    bought = evaluate(experiment, *logs, [PolicyAnswer("r1", ("x",))], reward="revenue")
    assert bought.ips.value == pytest.approx(7 / 0.5) and bought.logged.value == 7
    assert np.isnan(bought.ips.standard_error)
    assert evaluate(experiment, *logs, [PolicyAnswer("r1", ("x",))], reward="purchase").ips.value == pytest.approx(2)


def test_what_the_log_says_nothing_of_is_said(experiment, logs):
    policy = [PolicyAnswer(request, ("q", items)) for request, items in (("r1", "y"), ("r2", "z"), ("r5", "q"))]
    found = evaluate(experiment, *logs, policy, positions=2)
    assert found.mean_weight[0] == 0 < found.mean_weight[1]
    assert found.notes[-1].endswith("is in the log at position 1: IPS and SNIPS count 0 there.")


def test_a_policy_that_draws_and_a_model_by_hand(experiment, logs):
    policy = [
        PolicyAnswer("r1", probabilities=(0.1, 0.5), expected=(0.2, 0.4), predicted=(0.3, 0.5)),
        PolicyAnswer("r5", probabilities=(0.25, 0.0), expected=(0.1, 0.1), predicted=(0.2, 0.9)),
    ]
    found = evaluate(experiment, *logs, policy, positions=2)
    # r1: .2·0 and 2·1; r5: .5·0 and 0
    assert found.ips.value == pytest.approx(2 / 2)
    # r1: .2 + .2·(0 - .3) + .4 + 2·(1 - .5); r5: .1 + .5·(0 - .2) + .1 + 0
    assert found.doubly_robust.value == pytest.approx((0.2 - 0.06 + 0.4 + 1.0 + 0.1 - 0.1 + 0.1) / 2)


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ([], {}, "no exposure of affinity has propensities, an answer of the policy, and 1 or more items in both"),
        ([PolicyAnswer("r1", ("x",))] * 2, {}, "the policy answers r1 twice"),
        ([PolicyAnswer("r1", probabilities=(1.0,))], {}, "answer to r1 has 1 `probabilities` for 2 items"),
        (
            [PolicyAnswer("r1", ("x",)), PolicyAnswer("r2", ("x",), (), (0.5,), (0.5,))],
            {},
            "r1 has 0 `predicted` and 0",
        ),
        ([PolicyAnswer("r1", ("x",))], {"reward": "revenue_per_user"}, "expected one of click, purchase, revenue"),
        ([PolicyAnswer("r1", ("x",))], {"positions": 0}, "`positions` is 0"),
        ([PolicyAnswer("r1", ("x",))], {"clip": 0.0}, "`clip` 0; expected at least 1, and above 0"),
    ],
)
def test_what_does_not_fit_the_log_is_said(experiment, logs, policy, options, message):
    with pytest.raises(ExperimentError, match=message):
        evaluate(experiment, *logs, policy, **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "both or neither of `item_ids` and `probabilities`"),
        ({"item_ids": ("x",), "expected": (1.0,)}, "one of `expected` and `predicted` is there"),
        ({"probabilities": (1.5,)}, "`probabilities` holds 1.5; expected from 0 to 1"),
        ({"item_ids": ("x",), "expected": (float("nan"),), "predicted": (1.0,)}, "holds nan; expected a number"),
    ],
)
def test_a_policys_answer_that_does_not_fit_together(values, message):
    with pytest.raises(ValueError, match=message):
        PolicyAnswer("r", **values)
