"""From which probability on a tag is said of a text: chosen on held-out texts."""

from __future__ import annotations

import numpy as np

#: A tag that fewer texts have shares the threshold of all: its own would follow a handful of texts. (Halves of the
#: synthetic shop's held-out texts, thresholds chosen on one and measured on the other, 40 times: macro-F1 .884 with
#: 10, .887 with 30 and with one threshold for all.)
LEAST = 30

_GRID = np.linspace(0.02, 0.9, 45)


def best_thresholds(probability: np.ndarray, true: np.ndarray, least: int = LEAST) -> np.ndarray:
    """For each tag the threshold with the highest F1 on these texts.

    Args:
      probability: float [N, T].
      true: bool [N, T].
      least: texts that must have a tag for it to get a threshold of its own; the others share the one with the highest
        mean F1 over all tags that are true somewhere.

    Returns:
      float32 [T], halfway between the two probabilities that it parts; a tag is said from it on.
    """
    probability, true = np.asarray(probability, np.float64), np.asarray(true, bool)
    positives = true.sum(0)
    shared = max(_GRID, key=lambda cut: _mean_f1(probability >= cut, true, positives))
    thresholds = np.full(probability.shape[1], shared)
    for tag in np.flatnonzero(positives >= least):
        order = np.argsort(-probability[:, tag], kind="stable")
        sorted_p, hits = probability[order, tag], np.cumsum(true[order, tag])
        said = np.arange(1, len(order) + 1)
        f1 = 2 * hits / (said + positives[tag])
        following = np.append(sorted_p[1:], -1.0)
        f1[sorted_p == following] = -1  # what is as probable cannot be parted
        best = int(np.argmax(f1))
        thresholds[tag] = max(0.0, (sorted_p[best] + following[best]) / 2)
    return thresholds.astype(np.float32)


def _mean_f1(said: np.ndarray, true: np.ndarray, positives: np.ndarray) -> float:
    there = positives > 0
    if not there.any():
        return 0.0
    f1 = 2 * (said & true).sum(0) / np.maximum(said.sum(0) + positives, 1)
    return float(f1[there].mean())
