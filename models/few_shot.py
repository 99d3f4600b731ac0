"""Classes of short texts from a few labelled examples: what prompts and small heads share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize
import tensorflow as tf


def verbalizer_scores(log_probability: tf.Tensor, words: Sequence[Sequence[int]]) -> tf.Tensor:
    """How likely each class' words are at the [MASK]: the mean of their log-probabilities.

    Args:
      log_probability: float [B, W], of the vocabulary.
      words: ids of each class' words, at least one.

    Returns:
      float [B, C].

    Reference: Schick and Schuetze, Exploiting Cloze Questions for Few Shot Text Classification (PET, 2021).
    """
    return tf.stack([tf.reduce_mean(tf.gather(log_probability, list(ids), axis=1), 1) for ids in words], 1)


def without_prior(scores: np.ndarray, unlabelled: np.ndarray) -> np.ndarray:
    """Scores less their mean over texts without labels: a word that is likely everywhere says nothing.

    Args:
      scores: float [B, C].
      unlabelled: float [U, C], of texts of the same kind.

    Reference: Zhao et al., Calibrate Before Use (2021); Holtzman et al., Surface Form Competition (2021).
    """
    return scores - unlabelled.mean(0, keepdims=True)


def fit_scale_and_bias(scores: np.ndarray, labels: np.ndarray, strength: float = 1.0) -> tuple[float, np.ndarray]:
    """s and b of softmax(s·scores + b) by penalised likelihood; of few examples they stay near 1 and 0.

    Args:
      scores: float [n, C].
      labels: int [n].
      strength: of the penalty ½·strength·((s - 1)² + |b|²).

    Returns:
      (s, b [C]).
    """
    classes = scores.shape[1]

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        loss, by_logits = _cross_entropy(point[0] * scores + point[1:], labels)
        centred = point - np.eye(1, classes + 1)[0]
        gradient = np.concatenate([[np.sum(by_logits * scores)], by_logits.sum(0)])
        return loss + 0.5 * strength * centred @ centred, gradient + strength * centred

    found = scipy.optimize.minimize(objective, np.eye(1, classes + 1)[0], jac=True, method="L-BFGS-B").x
    return float(found[0]), found[1:]


def fit_logistic(
    vectors: np.ndarray, labels: np.ndarray, classes: int, strength: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Multinomial logistic regression: W and b of softmax(x·W + b), with the penalty ½·strength·|W|².

    Args:
      vectors: float [n, h].
      labels: int [n].
      classes: C.
      strength: of the penalty; b has none.

    Returns:
      (W [h, C], b [C]).
    """
    width = vectors.shape[1]

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = point[: width * classes].reshape(width, classes), point[width * classes :]
        loss, by_logits = _cross_entropy(vectors @ weights + bias, labels)
        gradient = np.concatenate([(vectors.T @ by_logits + strength * weights).ravel(), by_logits.sum(0)])
        return loss + 0.5 * strength * np.sum(weights**2), gradient

    start = np.zeros(classes * (width + 1))
    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B").x
    return found[: width * classes].reshape(width, classes), found[width * classes :]


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean over the classes of 2·TP / (2·TP + FP + FN); 0 for a class that is neither there nor predicted."""
    hits = np.array([np.sum((labels == c) & (predicted == c)) for c in range(classes)])
    either = np.array([np.sum(labels == c) + np.sum(predicted == c) for c in range(classes)])
    return float(np.mean(2 * hits / np.maximum(either, 1)))


def draw_examples(labels: np.ndarray, shots: int, rng: np.random.Generator) -> np.ndarray:
    """Places of `shots` examples of each class, shuffled.

    Raises:
      ValueError: if a class has fewer.
    """
    found = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        if len(places) < shots:
            raise ValueError(f"class {label} has {len(places)} examples; expected {shots} at least.")
        found.append(rng.choice(places, shots, replace=False))
    return rng.permutation(np.concatenate(found))


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """(sum of the cross-entropies, gradient by the logits)."""
    shifted = logits - logits.max(1, keepdims=True)
    probability = np.exp(shifted)
    probability /= probability.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(np.maximum(probability[rows, labels], 1e-300)).sum()
    probability[rows, labels] -= 1
    return float(loss), probability
