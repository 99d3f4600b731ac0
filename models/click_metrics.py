"""Metrics of click probabilities, in NumPy, over the candidates of all lists together.

Labels are 1 (clicked), 0 (shown and not clicked) or -1 (padding); scores are logits, the probability is their sigmoid.

| name         | over all candidates                                                                     | better |
|--------------|-----------------------------------------------------------------------------------------|--------|
| `pooled_auc` | share of (clicked, not clicked) pairs in the right order, a tie counting half; pairs of | higher |
|              | different lists and users count too (`auc` of `models.metrics` is a mean over lists)    |        |
| `gauc`       | Σ_u n_u·AUC_u / Σ_u n_u, AUC_u being that of user u's n_u candidates in all their lists; | higher |
|              | users with candidates of one kind alone are left out                                    |        |
| `log_loss`   | mean of -log p(label), natural logarithm                                                | lower  |
| `ece`        | expected calibration error: Σ_b n_b/n·abs(p_b - c_b), p_b and c_b being the mean        | lower  |
|              | probability and the share clicked in bin b of n_b candidates                            |        |

A score that is NaN makes every metric NaN. Without a candidate that counts a metric is NaN.

Reference: GAUC after Zhu et al., Optimized Cost per Click in Taobao Display Advertising (2017); ECE with bins of equal
width after Guo et al., On Calibration of Modern Neural Networks (2017).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

POOLED_AUC, GAUC, LOG_LOSS, ECE = "pooled_auc", "gauc", "log_loss", "ece"
CLICK_METRICS = (POOLED_AUC, GAUC, LOG_LOSS, ECE)

#: Metrics of which less is better; of all others, here and in `models.metrics`, more is.
LOWER_IS_BETTER = (LOG_LOSS, ECE)

#: Bins of equal width of the probability.
BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Attributes:
      low, high: edges of the probability, the lower one belonging to the bin.
      count: candidates in it.
      predicted: their mean probability.
      clicked: the share of them that was clicked.
    """

    low: float
    high: float
    count: int
    predicted: float
    clicked: float


class ClickMetrics:
    """Click metrics over batches of lists.

    ```python
    metrics = ClickMetrics()
    for labels, scores, users in batches:
        metrics.update(labels, scores, users)
    print(metrics.result(), metrics.reliability())
    ```

    `pooled_auc` and `gauc` are exact: they keep 9 bytes a candidate, `gauc` the user of each list beside. The other two
    keep sums.

    Args:
      names: of metrics, see the table above; all by default.

    Raises:
      ValueError: for an unknown name.
    """

    def __init__(self, names: Iterable[str] = CLICK_METRICS) -> None:
        self.names = tuple(names)
        for name in self.names:
            if name not in CLICK_METRICS:
                raise ValueError(f"unknown click metric {name!r}; expected one of {', '.join(CLICK_METRICS)}.")
        self._keeps_scores = bool({POOLED_AUC, GAUC} & set(self.names))
        self._labels: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._users: list[Hashable] = []
        self._sizes: list[int] = []
        self._loss = 0.0
        self._bins = np.zeros([3, BINS])  # candidates, sum of probabilities, clicks

    def update(self, labels: np.ndarray, scores: np.ndarray, users: Sequence[Hashable] | None = None) -> None:
        """Adds a batch.

        Args:
          labels: [B, N], or [N] for one list.
          scores: of the same shape, logits; those of padding are ignored.
          users: B users, all of a type; only `gauc` asks for them.

        Raises:
          ValueError: if shapes or numbers differ, a label is none of the three, or `gauc` has no users.
        """
        labels, scores = np.atleast_2d(np.asarray(labels)), np.atleast_2d(np.asarray(scores)).astype(np.float64)
        if labels.shape != scores.shape or labels.ndim != 2:
            raise ValueError(f"labels have shape {labels.shape} and scores {scores.shape}; expected the same, [B, N].")
        wrong = ~np.isin(labels, (1, 0, -1))
        if wrong.any():
            raise ValueError(f"labels hold {labels[wrong][0]}; expected 1 (clicked), 0 (not clicked) or -1 (padding).")
        if GAUC in self.names:
            if users is None or len(users) != len(labels):
                number = "none" if users is None else len(users)
                raise ValueError(f"gauc is given {len(labels)} lists and of users {number}; expected one a list.")
            self._users.extend(users)
            self._sizes.extend((labels >= 0).sum(1).tolist())
        clicked, logits = labels[labels >= 0] == 1, scores[labels >= 0]
        if self._keeps_scores:
            self._labels.append(clicked)
            self._scores.append(logits)
        with np.errstate(invalid="ignore"):
            self._loss += float(np.sum(np.logaddexp(0, np.where(clicked, -logits, logits))))
            probability = np.exp(-np.logaddexp(0, -logits))
        places = np.minimum(np.nan_to_num(probability * BINS).astype(np.int64), BINS - 1)
        for row, weights in enumerate((None, probability, clicked)):
            self._bins[row] += np.bincount(places, weights, minlength=BINS)

    def merge(self, other: ClickMetrics) -> None:
        """Adds what another instance with the same names has seen."""
        self._labels += other._labels
        self._scores += other._scores
        self._users += other._users
        self._sizes += other._sizes
        self._loss += other._loss
        self._bins = self._bins + other._bins

    def result(self) -> dict[str, float]:
        """Name -> value."""
        return {name: self._value(name) for name in self.names}

    def reliability(self) -> list[ReliabilityBin]:
        """The bins that hold a candidate, lowest first."""
        count, probability, clicks = self._bins
        return [
            ReliabilityBin(b / BINS, (b + 1) / BINS, int(n), float(probability[b] / n), float(clicks[b] / n))
            for b, n in enumerate(count)
            if n
        ]

    @property
    def candidates(self) -> int:
        """How many candidates were seen."""
        return int(self._bins[0].sum())

    def _value(self, name: str) -> float:
        if not self.candidates or np.isnan(self._loss):
            return float("nan")
        if name == LOG_LOSS:
            return self._loss / self.candidates
        if name == ECE:
            return float(np.abs(self._bins[1] - self._bins[2]).sum() / self.candidates)
        labels, scores = np.concatenate(self._labels), np.concatenate(self._scores)
        if name == POOLED_AUC:
            values, _ = _grouped_auc(labels, scores, np.zeros(len(labels), np.int64))
            return float(values[0])
        _, places = np.unique(np.array(self._users), return_inverse=True)
        values, sizes = _grouped_auc(labels, scores, np.repeat(places, self._sizes))
        counted = ~np.isnan(values)
        return float(np.average(values[counted], weights=sizes[counted])) if counted.any() else float("nan")


def _grouped_auc(clicked: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(AUC, size) of each group that there is, in their order; NaN for one of a single kind."""
    order = np.lexsort((scores, groups))
    clicked, scores, groups = clicked[order], scores[order], groups[order]
    opens = np.r_[True, groups[1:] != groups[:-1]]
    tied = np.flatnonzero(opens | np.r_[True, scores[1:] != scores[:-1]])
    positives = np.add.reduceat(clicked.astype(np.float64), tied)
    negatives = np.add.reduceat((~clicked).astype(np.float64), tied)
    starts = np.searchsorted(tied, np.flatnonzero(opens))
    total_positives, total_negatives = np.add.reduceat(positives, starts), np.add.reduceat(negatives, starts)
    group = np.cumsum(opens[tied]) - 1
    below = np.cumsum(negatives) - negatives
    below -= below[starts][group]
    pairs = np.add.reduceat(positives * (below + 0.5 * negatives), starts)
    with np.errstate(invalid="ignore"):
        return pairs / (total_positives * total_negatives), total_positives + total_negatives
