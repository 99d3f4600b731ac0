"""What another policy would have earned, estimated from a log with propensities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from serving.experiment import answers, off_policy_estimators
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.metrics import CLICK, PURCHASE
from serving.experiment.off_policy_estimators import Value, Weighted
from serving.experiment.outcome import Outcome
from serving.experiment.policy_answer import PolicyAnswer

#: What an item earns: 1 if it was clicked, 1 if it was bought, or what was paid for it.
REWARDS = (CLICK, PURCHASE, "revenue")


@dataclass(frozen=True)
class OffPolicy:
    """What another policy would have earned, estimated from a log with propensities.

    The estimand is the expected reward of an answer, summed over its first K positions:
    V(π) = E_x Σ_k Σ_a π_k(a|x)·r(x, a, k). For K = 1 that is the value of the top item. For more it takes for granted
    that what an item earns depends on the request, the item and its position, and not on the other items shown
    (item-position model); every item that the policy shows must have had a chance to be shown there.

    Attributes:
      experiment: its name.
      reward: what counts.
      positions: K.
      answers, users: that the estimates are of.
      logged, ips, snips: the value of the logging policy, and two estimates of the new one's.
      doubly_robust: the third; None where the policy's answers have no predicted rewards.
      effective_sample_size: answers that would tell as much without weights, of each position.
      mean_weight: of each position, before clipping; far from 1, the log lacks what the policy shows, or propensities
        are wrong.
      largest_weight: before clipping.
      clipped: share of the weights that were clipped, which biases the estimates.
      notes: what does not count, and why.

    Source: Li, Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay and Wen, Offline Evaluation of Ranking Policies with Click
    Models, KDD 2018.
    """

    experiment: str
    reward: str
    positions: int
    answers: int
    users: int
    logged: Value
    ips: Value
    snips: Value
    doubly_robust: Value | None
    effective_sample_size: tuple[float, ...]
    mean_weight: tuple[float, ...]
    largest_weight: float
    clipped: float
    notes: tuple[str, ...]


def evaluate(
    experiment: Experiment,
    exposures: Iterable[Exposure],
    outcomes: Iterable[Outcome],
    policy: Iterable[PolicyAnswer],
    until: float | None = None,
    reward: str = CLICK,
    positions: int = 1,
    clip: float = math.inf,
) -> OffPolicy:
    """What another policy would have earned.

    Args:
      experiment: whose name, `start`, attribution and alpha hold.
      exposures: those with propensities count, whatever their arm.
      outcomes: those with the id of an item that the answer showed count.
      policy: what the other policy answers to the same requests; others do not count.
      until: seconds since 1970-01-01 UTC; what is later, or at that moment, does not count.
      reward: of `REWARDS`.
      positions: K; shorter answers do not count.
      clip: largest weight.

    Raises:
      ExperimentError: if nothing is left, the policy's answers do not fit the log, or an argument is none of what it
        may be.
    """
    if reward not in REWARDS:
        raise ExperimentError(f"`reward` is {reward!r}; expected one of {', '.join(REWARDS)}.")
    if positions < 1 or not clip > 0:
        raise ExperimentError(f"`positions` is {positions} and `clip` {clip:g}; expected at least 1, and above 0.")
    found = answers.collect(
        experiment,
        exposures,
        outcomes,
        until,
        lambda one: "" if one.propensities else "without propensities",
        whole=True,
    )
    asked: dict[str, PolicyAnswer] = {}
    for answer in policy:
        if answer.request_id in asked:
            raise ExperimentError(f"the policy answers {answer.request_id} twice; expected once.")
        asked[answer.request_id] = answer
    kept: list[tuple[int, Exposure, PolicyAnswer]] = []
    missing = short = 0
    for row, exposure in enumerate(found.exposures["exposure"]):
        other = asked.get(exposure.request_id)
        if other is None:
            missing += 1
        elif min(len(exposure.item_ids), len(other.item_ids or other.probabilities)) < positions:
            short += 1
        else:
            kept.append((row, exposure, other))
    if not kept:
        raise ExperimentError(
            f"no exposure of {experiment.name} has propensities, an answer of the policy, and {positions} or more "
            "items in both; expected some."
        )
    notes = answers.not_counted(
        {
            "answer{s} that the policy has none for": missing,
            f"answer{{s}} of fewer than {positions} items, in the log or of the policy": short,
        }
    )
    shape = (len(kept), positions)
    weights = np.empty(shape)
    for number, (_, exposure, answer) in enumerate(kept):
        weights[number] = _chances(exposure, answer, positions) / np.array(exposure.propensities[:positions])
    rewards = _rewards(found, kept, reward, shape)
    users = np.unique([exposure.user_id for _, exposure, _ in kept], return_inverse=True)[1]
    blind = [str(place) for place, weight in enumerate(weights.sum(0), start=1) if not weight]
    if blind:
        notes += (
            f"Nothing that the policy shows is in the log at position {', '.join(blind)}: IPS and SNIPS count 0 there.",
        )
    log = Weighted(np.minimum(weights, clip), rewards, users, *_predictions(kept, positions))
    alpha = experiment.analysis.alpha
    return OffPolicy(
        experiment.name,
        reward,
        positions,
        len(kept),
        int(users.max()) + 1,
        off_policy_estimators.logged(log, alpha),
        off_policy_estimators.ips(log, alpha),
        off_policy_estimators.snips(log, alpha),
        None if log.predicted is None else off_policy_estimators.doubly_robust(log, alpha),
        tuple(off_policy_estimators.effective_sample_size(log.weights).tolist()),
        tuple(weights.mean(0).tolist()),
        float(weights.max()),
        float((weights > clip).mean()),
        found.notes + notes,
    )


def _chances(exposure: Exposure, answer: PolicyAnswer, positions: int) -> np.ndarray:
    """With what probability the policy shows what was logged, at each position."""
    if answer.probabilities:
        if len(answer.probabilities) != len(exposure.item_ids):
            raise ExperimentError(
                f"the policy's answer to {exposure.request_id} has {len(answer.probabilities)} `probabilities` for "
                f"{len(exposure.item_ids)} items; expected one each."
            )
        return np.array(answer.probabilities[:positions])
    pairs = zip(exposure.item_ids[:positions], answer.item_ids[:positions], strict=True)
    return np.array([float(shown == other) for shown, other in pairs])


def _rewards(
    found: answers.Answers, kept: list[tuple[int, Exposure, PolicyAnswer]], reward: str, shape: tuple[int, int]
) -> np.ndarray:
    rewards = np.zeros(shape)
    numbers = {row: number for number, (row, _, _) in enumerate(kept)}
    kind = CLICK if reward == CLICK else PURCHASE
    done = found.outcomes[found.outcomes["kind"] == kind]
    for row, item, revenue in zip(done["row"], done["item"], done["revenue"], strict=True):
        number = numbers.get(row)
        if number is None:
            continue
        shown = kept[number][1].item_ids[: shape[1]]
        if item in shown:
            if reward in (CLICK, PURCHASE):
                rewards[number, shown.index(item)] = 1
            else:
                rewards[number, shown.index(item)] += revenue
    return rewards


def _predictions(
    kept: list[tuple[int, Exposure, PolicyAnswer]], positions: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The predicted rewards of what was logged, and of what the policy shows; None where no answer has them."""
    if not any(answer.predicted for _, _, answer in kept):
        return None, None
    for _, exposure, answer in kept:
        if min(len(answer.predicted), len(answer.expected)) < positions:
            raise ExperimentError(
                f"the policy's answer to {exposure.request_id} has {len(answer.predicted)} `predicted` and "
                f"{len(answer.expected)} `expected` rewards; expected {positions} of each, as other answers have them."
            )
    predicted = np.array([answer.predicted[:positions] for _, _, answer in kept])
    return predicted, np.array([answer.expected[:positions] for _, _, answer in kept])
