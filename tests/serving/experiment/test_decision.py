"""What is decided, from numbers of users and buyers made for it."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from serving.experiment.arm import Arm
from serving.experiment.decision import PROMOTE, ROLLBACK, WAIT, decide, judge
from serving.experiment.errors import ExperimentError
from serving.experiment.observations import Observations
from serving.experiment.outcome import Outcome
from serving.experiment.report import compare


def users(arm, number, buyers, basket=10.0):
    bought = np.arange(number) < buyers
    clicked = np.arange(number) % 2
    return pd.DataFrame({"arm": arm, "answers": 1, "clicked": clicked, "bought": bought, "revenue": bought * basket})


def decided(experiment, *arms, days=10.0, arm=""):
    observations = Observations(pd.concat([users(*one) for one in arms]), days, ())
    return judge(experiment, compare(experiment, observations), arm)


def test_better_is_promoted_and_worse_rolled_back(experiment):
    found = decided(experiment, ("stable", 1000, 200), ("canary", 1000, 300))
    assert found.action == PROMOTE and found.arm == "canary" and found.users == {"stable": 1000, "canary": 1000}
    # By hand: .1 ± 3.035 (2,000 users as planned) times the root of .2·.8/999 + .3·.7/999
    assert found.evidence["conversion"].low == pytest.approx(0.1 - 3.0351224 * np.sqrt(0.16 / 999 + 0.21 / 999))
    assert found.reason == ("conversion of canary is better: difference +0.1, sequential interval +0.04159 to +0.1584.")
    assert decided(experiment, ("stable", 1000, 300), ("canary", 1000, 200)).action == ROLLBACK


def test_what_is_not_sure_waits(experiment):
    # 2.6 standard errors would do for somebody who looks once.
    found = decided(experiment, ("stable", 1000, 200), ("canary", 1000, 248))
    assert found.action == WAIT and "with 2,000 users where 2,000 were planned" in found.reason
    found = decided(experiment, ("stable", 500, 100), ("canary", 500, 130))
    assert found.action == WAIT and "planned" not in found.reason
    found = decided(experiment, ("stable", 500, 0), ("canary", 500, 0))
    assert found.action == WAIT and "no variance to tell from" in found.reason


def test_days_are_waited_for_before_promoting_not_before_rolling_back(experiment):
    found = decided(experiment, ("stable", 1000, 200), ("canary", 1000, 300), days=6.9)
    assert found.action == WAIT and "only 6.9 days are over; expected at least 7" in found.reason
    assert decided(experiment, ("stable", 1000, 300), ("canary", 1000, 200), days=0.5).action == ROLLBACK


def test_few_users_wait(experiment):
    found = decided(experiment, ("stable", 101, 5), ("canary", 99, 99))
    assert found.action == WAIT and found.reason == "canary has 99 users; expected at least 100."
    assert decided(experiment, ("stable", 1000, 5)).reason.startswith("the arms' numbers of users do not fit")
    assert decided(experiment, ("stable", 4, 4)).reason == "stable has 4 users; expected at least 100."


def test_a_small_arm_is_not_rolled_back_because_nobody_in_it_has_bought_yet(experiment):
    small = dataclasses.replace(experiment, arms=(Arm("stable", "ranker", 0.95), Arm("canary", "ranker", 0.05)))
    # Of 100 users at 1 %, nobody buys in more than a third of all cases.
    found = decided(small, ("stable", 1900, 19), ("canary", 100, 0))
    assert found.action == WAIT and found.evidence["conversion"].high > 0
    assert decided(small, ("stable", 38000, 380), ("canary", 2000, 0)).action == ROLLBACK


def test_a_sample_ratio_mismatch_believes_nothing(experiment):
    # p = .00122 by hand: (75² / 1075)·2 = 10.47 with one degree of freedom
    found = decided(experiment, ("stable", 1000, 200), ("canary", 1150, 900))
    assert found.action == PROMOTE and found.mismatch_p_value == pytest.approx(0.001216, abs=2e-6)
    found = decided(experiment, ("stable", 1000, 200), ("canary", 1200, 900))
    assert found.action == WAIT and found.mismatch_p_value < 0.001
    assert found.evidence["conversion"].low > 0


def test_a_margin_promotes_what_is_as_good(judged_by):
    equal = (("stable", 1000, 500), ("canary", 1000, 500))
    assert decided(judged_by(margin=0.0), *equal).action == WAIT
    found = decided(judged_by(margin=0.2), *equal)
    assert found.action == PROMOTE and "loses less than 20.0%" in found.reason
    # By hand: .5 - .8·.5 ± 3.035·root of (1 + .64)·.25/999
    half = 3.0351224 * np.sqrt(1.64 * 0.25 / 999)
    evidence = found.evidence["conversion"]
    assert (evidence.value, evidence.low, evidence.high) == pytest.approx((0.1, 0.1 - half, 0.1 + half))
    assert decided(judged_by(margin=0.1), *equal).action == WAIT


def test_a_guardrail_rolls_back_what_sells_more_for_less(judged_by):
    arms = (("stable", 1000, 200, 20.0), ("canary", 1000, 300, 5.0))
    assert decided(judged_by(), *arms).action == PROMOTE
    found = decided(judged_by(guardrails={"revenue_per_user": 0.1, "ctr": 0.02}), *arms)
    assert found.action == ROLLBACK and found.reason.startswith("revenue_per_user of canary loses more than 10.0%")
    # 62.5 % is lost; by more than 60 % is not sure.
    assert decided(judged_by(guardrails={"revenue_per_user": 0.6}), *arms).action == PROMOTE


def test_treatments_share_alpha_and_one_must_be_named(experiment):
    names = ("stable", "b", "c")
    three = dataclasses.replace(
        experiment, arms=tuple(Arm(name, "ranker", share) for name, share in zip(names, (0.4, 0.3, 0.3), strict=True))
    )
    # Better by 3.2 standard errors: enough at .05, not at .025.
    arms = (("stable", 1000, 200), ("b", 750, 197), ("c", 750, 150))
    two = dataclasses.replace(experiment, arms=(Arm("stable", "ranker", 4 / 7), Arm("b", "ranker", 3 / 7)))
    assert decided(two, *arms[:2]).action == PROMOTE
    assert decided(three, *arms, arm="b").action == WAIT
    for arm in ("", "stable", "d"):
        with pytest.raises(ExperimentError, match=f"the arm to decide on is '{arm}'; expected one of b, c"):
            decided(three, *arms, arm=arm)


def test_decide_reads_logs(experiment, shown):
    exposures, outcomes = [], []
    for number in range(1600):
        user = f"u{number}"
        arm = experiment.arm(user).name
        exposures.append(shown(number / 8, user, f"r{number}", arm))
        if number % 5 < (1 if arm == "stable" else 2):
            outcomes.append(Outcome(exposures[-1].time + 60, "purchase", user, revenue=5.0))
    found = decide(experiment, exposures, outcomes)
    assert found.action == PROMOTE and found.days == pytest.approx(1599 / 8 / 24)
    early = decide(experiment, exposures, outcomes, until=experiment.start_time + 5 * 86400)
    assert early.action == WAIT and sum(early.users.values()) == 960
    assert early.days == pytest.approx(959 / 8 / 24)
