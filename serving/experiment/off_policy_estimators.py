"""Estimates of a policy's value from another one's log: IPS, SNIPS and doubly robust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Value:
    """The estimated value of a policy: reward of an answer.

    Attributes:
      value: of it.
      low, high: its interval (normal, by user).
      standard_error: of the value.
      gain: the value less that of the logging policy on the same answers.
      gain_low, gain_high: its interval.
    """

    value: float
    low: float
    high: float
    standard_error: float
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True)
class Weighted:
    """What the estimators see of n answers and K positions, n at least 1.

    Attributes:
      weights: [n, K], the new policy's probability of what was shown at a position over the logging policy's.
      rewards: [n, K], of what was shown there.
      users: [n], whose answer it is: number from 0.
      predicted: [n, K], the reward that a model predicts for what was shown.
      expected: [n, K], the reward that it predicts for what the new policy shows there, its mean if that is drawn.
    """

    weights: np.ndarray
    rewards: np.ndarray
    users: np.ndarray
    predicted: np.ndarray | None = None
    expected: np.ndarray | None = None


def logged(log: Weighted, alpha: float) -> Value:
    """The logging policy's own value: the mean reward of an answer."""
    return _value(log, log.rewards.sum(1), alpha)


def ips(log: Weighted, alpha: float) -> Value:
    """Inverse propensity scoring: V = 1/n Σ_i Σ_k w_ik·r_ik. Unbiased; its variance grows with the weights.

    Source: Horvitz and Thompson, A Generalization of Sampling Without Replacement, JASA 1952.
    """
    return _value(log, (log.weights * log.rewards).sum(1), alpha)


def snips(log: Weighted, alpha: float) -> Value:
    """Self-normalised IPS: V = Σ_k (Σ_i w_ik·r_ik / Σ_i w_ik). Consistent, and steadier than IPS.

    A position at which the new policy shows nothing of what was logged counts 0.

    Source: Swaminathan and Joachims, The Self-Normalized Estimator for Counterfactual Learning, NIPS 2015.
    """
    means = log.weights.mean(0)
    safe = np.where(means > 0, means, 1.0)
    values = (log.weights * log.rewards).mean(0) / safe
    # Linearised: V + (deviation of each answer), whose mean is V and whose spread is V's.
    influence = (log.weights * (log.rewards - values) / safe).sum(1)
    return _value(log, values.sum() + influence, alpha)


def doubly_robust(log: Weighted, alpha: float) -> Value:
    """Doubly robust: V = 1/n Σ_i Σ_k (q̂(x_i, π, k) + w_ik·(r_ik - q̂(x_i, a_ik, k))).

    Right if the propensities or the predicted rewards are; the better the latter, the less variance. The model must not
    have been fitted on the same answers.

    Raises:
      ValueError: without predicted rewards.

    Source: Dudík, Langford and Li, Doubly Robust Policy Evaluation and Learning, ICML 2011.
    """
    if log.predicted is None or log.expected is None:
        raise ValueError("a doubly robust estimate needs `predicted` and `expected` rewards.")
    return _value(log, (log.expected + log.weights * (log.rewards - log.predicted)).sum(1), alpha)


def effective_sample_size(weights: np.ndarray) -> np.ndarray:
    """Of each position, how many equally weighted answers tell as much (Kish): (Σw)² / Σw²; [n, K] -> [K]."""
    squares = np.square(weights).sum(0)
    return np.divide(np.square(weights.sum(0)), squares, out=np.zeros(weights.shape[1]), where=squares > 0)


def _value(log: Weighted, answers: np.ndarray, alpha: float) -> Value:
    """The mean of one number for each answer, with intervals that hold though answers of a user are alike."""
    value, error = _mean(answers, log.users)
    gain, gain_error = _mean(answers - log.rewards.sum(1), log.users)
    z = float(stats.norm.isf(alpha / 2))
    return Value(value, value - z * error, value + z * error, error, gain, gain - z * gain_error, gain + z * gain_error)


def _mean(answers: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """Mean over answers and its standard error, clustered by user; that is NaN for one user."""
    mean = float(answers.mean())
    deviations = np.bincount(users, answers - mean)
    number = np.count_nonzero(np.bincount(users))
    if number < 2:
        return mean, float("nan")
    return mean, float(np.sqrt(np.square(deviations).sum() * number / (number - 1)) / len(answers))
