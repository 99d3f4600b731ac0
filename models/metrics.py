"""Ranking metrics of one list of candidates: tie-aware, masked, in NumPy, a batch of lists at a time.

A list is a row of labels (1 positive, 0 negative, -1 padding) and a row of scores (higher is better). Where scores are
equal, the value is its expectation over random orders of the tied candidates, exactly and in closed form, so a model
that gives every candidate the same score gets chance level and nothing better.

| name       | of one list, with P positives and the positive labels' ranks from 1                                  |
|------------|-----------------------------------------------------------------------------------------------------|
| `ndcg@K`   | sum of 1 / log2(1 + rank) over positives in the top K, divided by the same sum with all positives    |
|            | first (also cut at K); labels are binary, for which the gain 2^label - 1 is the label itself         |
| `recall@K` | positives in the top K / min(K, P)                                                                   |
| `hr@K`     | 1 if a positive is in the top K, else 0                                                              |
| `mrr`      | 1 / rank of the first positive                                                                       |
| `map`      | mean over positives of (positives down to its rank) / rank                                           |
| `auc`      | share of (positive, negative) pairs in the right order, a tie counting half                          |

A list without a positive (for `auc` also one without a negative) has no value: it is left out of means and counted.
A score that is NaN makes the list's value NaN, and so every mean it is in: such a model passes no threshold.

Ties after F. McSherry and M. Najork, "Computing information retrieval performance measures efficiently in the presence
of tied scores", ECIR 2008.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

#: (labels [B, N], scores [B, N]) -> (values [B], counted [B] bool); values are 0 where a list is not counted.
RankingMetric = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class RankingMetrics:
    """Means of several ranking metrics over batches of lists.

    ```python
    metrics = RankingMetrics(["ndcg@10", "auc"])
    for labels, scores in batches:
        metrics.update(labels, scores)
    print(metrics.result(), metrics.left_out())
    ```

    Args:
      names: of metrics, see the table above.

    Raises:
      ValueError: for an unknown name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._metrics = {name: _parse(name) for name in names}
        cuts = [int(name.partition("@")[2] or 0) for name in self._metrics]
        # Where nothing below the cut counts, long lists need not be sorted.
        self._cut = max(cuts) if cuts and all(cuts) else 0
        self.reset()

    def reset(self) -> None:
        """Forgets every list."""
        self._sums = dict.fromkeys(self._metrics, 0.0)
        self._counts = dict.fromkeys(self._metrics, 0)
        self._rows = 0

    def update(self, labels: np.ndarray, scores: np.ndarray) -> None:
        """Adds a batch.

        Args:
          labels: [B, N] (or [N] for one list), 1, 0 or -1 (padding). Anything `np.asarray` takes, tensors included.
          scores: of the same shape; those of padding are ignored.

        Raises:
          ValueError: if the shapes differ or a label is none of the three.
        """
        labels, scores = _checked(labels, scores)
        lists = _top(labels, scores, self._cut) if self._cut else _rank(labels, scores)
        self._rows += len(lists.nan)
        for name, metric in self._metrics.items():
            values, counted = _evaluate(metric, lists)
            self._sums[name] += float(values.sum())
            self._counts[name] += int(counted.sum())

    def merge(self, other: RankingMetrics) -> None:
        """Adds what another instance with the same names has seen."""
        self._rows += other._rows
        for name in self._metrics:
            self._sums[name] += other._sums[name]
            self._counts[name] += other._counts[name]

    def result(self) -> dict[str, float]:
        """Name -> mean over the lists that have a value; NaN when there is none."""
        return {n: self._sums[n] / self._counts[n] if self._counts[n] else float("nan") for n in self._metrics}

    def left_out(self) -> dict[str, int]:
        """Name -> how many lists had no value."""
        return {name: self._rows - count for name, count in self._counts.items()}


def ranking_metric(name: str) -> RankingMetric:
    """The metric of that name, as a function of labels and scores.

    Args:
      name: `ndcg@K`, `recall@K`, `hr@K` (K from 1), `mrr`, `map` or `auc`.

    Returns:
      A function (labels [B, N], scores [B, N]) -> (values [B] float64, counted [B] bool). `values` is 0 where a list
      has no value, so the mean is `values.sum() / counted.sum()`. It raises ValueError as `RankingMetrics.update`.

    Raises:
      ValueError: for any other name.
    """
    metric = _parse(name)
    return lambda labels, scores: _evaluate(metric, _rank(*_checked(labels, scores)))


@dataclass(frozen=True)
class _Lists:
    """Lists sorted by score, padding last; the arrays are [B, N], position by position, unless said otherwise.

    Every position of a group of ties is equally likely to hold each of the group's candidates.

    Attributes:
      positives: [B], number of positives.
      negatives: [B], number of negatives.
      share: chance that the position holds a positive = share of positives in its group of ties.
      size: candidates in the group.
      offset: position within the group, from 0.
      hits: positives in the group.
      hits_above: positives in better groups.
      nan: [B], a candidate's score is NaN.
    """

    positives: np.ndarray
    negatives: np.ndarray
    share: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    hits: np.ndarray
    hits_above: np.ndarray
    nan: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """[N], from 1."""
        return np.arange(1, self.share.shape[1] + 1)

    def chance_of_none(self) -> np.ndarray:
        """[B, N]: chance that no position down to this one holds a positive.

        Within a group this is drawing without replacement: each further candidate is a negative with chance
        (size - hits - offset) / (size - offset).
        """
        factor = np.maximum(self.size - self.hits - self.offset, 0) / (self.size - self.offset)
        return np.cumprod(factor, axis=1)


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as [B, N], scores in float64."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.shape != scores.shape or labels.ndim not in (1, 2) or not labels.shape[-1]:
        raise ValueError(
            f"labels have shape {labels.shape} and scores {scores.shape}; "
            "expected the same shape, [B, N] or [N] with N >= 1."
        )
    labels, scores = np.atleast_2d(labels), np.atleast_2d(scores).astype(np.float64)
    wrong = ~np.isin(labels, (1, 0, -1))
    if wrong.any():
        raise ValueError(f"labels hold {labels[wrong][0]}; expected 1 (positive), 0 (negative) or -1 (padding).")
    return labels, scores


def _top(labels: np.ndarray, scores: np.ndarray, k: int) -> _Lists:
    """What `_rank` gives, without what is ranked below the first k and what ties with them."""
    length = labels.shape[1]
    if length <= 4 * k:
        return _rank(labels, scores)
    real = labels >= 0
    values = np.where(real & ~np.isnan(scores), scores, -np.inf)
    kept = real & (values >= np.partition(values, length - k, axis=1)[:, length - k, np.newaxis])
    number = kept.sum(1)
    width = max(int(number.max()), k)
    if width > length // 2:
        return _rank(labels, scores)
    rows, columns = np.nonzero(kept)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
    short_labels = np.full([len(labels), width], -1)
    short_scores = np.full([len(labels), width], -np.inf)
    short_labels[rows, places] = labels[rows, columns]
    short_scores[rows, places] = scores[rows, columns]
    positives = (labels == 1).sum(1)
    return dataclasses.replace(
        _rank(short_labels, short_scores),
        positives=positives,
        negatives=real.sum(1) - positives,
        nan=(np.isnan(scores) & real).any(1),
    )


def _rank(labels: np.ndarray, scores: np.ndarray) -> _Lists:
    padding = labels < 0
    nan = (np.isnan(scores) & ~padding).any(axis=1)
    scores = np.where(padding | np.isnan(scores), -np.inf, scores)
    order = np.lexsort((-scores, padding), axis=1)
    scores, labels, padding = (np.take_along_axis(array, order, axis=1) for array in (scores, labels, padding))

    rows, length = labels.shape
    position = np.broadcast_to(np.arange(length), (rows, length))
    opens = np.ones((rows, length), dtype=bool)
    opens[:, 1:] = (scores[:, 1:] != scores[:, :-1]) | (padding[:, 1:] != padding[:, :-1])
    closes = np.roll(opens, -1, axis=1)
    closes[:, -1] = True
    start = np.maximum.accumulate(np.where(opens, position, 0), axis=1)
    end = np.minimum.accumulate(np.where(closes, position + 1, length)[:, ::-1], axis=1)[:, ::-1]

    total = np.zeros((rows, length + 1), dtype=np.int64)
    np.cumsum(labels == 1, axis=1, out=total[:, 1:])
    above = np.take_along_axis(total, start, axis=1)
    hits = np.take_along_axis(total, end, axis=1) - above
    size = end - start
    positives = total[:, -1]
    return _Lists(
        positives=positives,
        negatives=(~padding).sum(axis=1) - positives,
        share=hits / size,
        size=size,
        offset=position - start,
        hits=hits,
        hits_above=above,
        nan=nan,
    )


def _evaluate(metric: Callable[[_Lists], np.ndarray], lists: _Lists) -> tuple[np.ndarray, np.ndarray]:
    counted = lists.positives > 0
    if metric is _auc:
        counted = counted & (lists.negatives > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(lists.nan, np.nan, metric(lists))
    return np.where(counted, values, 0.0), counted


def _ndcg(lists: _Lists, k: int) -> np.ndarray:
    discount = np.where(lists.rank <= k, 1.0 / np.log2(1.0 + lists.rank), 0.0)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    return lists.share @ discount / ideal[np.minimum(lists.positives, len(discount))]


def _recall(lists: _Lists, k: int) -> np.ndarray:
    return lists.share[:, :k].sum(axis=1) / np.minimum(lists.positives, k)


def _hit_rate(lists: _Lists, k: int) -> np.ndarray:
    return 1.0 - lists.chance_of_none()[:, :k][:, -1]


def _mrr(lists: _Lists) -> np.ndarray:
    none = lists.chance_of_none()
    first_here = np.concatenate([np.ones_like(none[:, :1]), none[:, :-1]], axis=1) - none
    return (first_here / lists.rank).sum(axis=1)


def _map(lists: _Lists) -> np.ndarray:
    # Given a positive here, each of the `offset` group members before it is one of the other hits - 1 positives.
    before = lists.hits_above + lists.offset * (lists.hits - 1) / np.maximum(lists.size - 1, 1)
    return (lists.share * (1.0 + before) / lists.rank).sum(axis=1) / lists.positives


def _auc(lists: _Lists) -> np.ndarray:
    tied = lists.size - lists.hits
    above = lists.rank - 1 - lists.offset - lists.hits_above
    below = lists.negatives[:, None] - above - tied
    pairs = (lists.share * (below + 0.5 * tied)).sum(axis=1)
    return pairs / (lists.positives * lists.negatives)


_WITH_CUT = {"ndcg": _ndcg, "recall": _recall, "hr": _hit_rate}
_WITHOUT_CUT = {"mrr": _mrr, "map": _map, "auc": _auc}


def _parse(name: str) -> Callable[[_Lists], np.ndarray]:
    if name in _WITHOUT_CUT:
        return _WITHOUT_CUT[name]
    match = re.fullmatch(r"([a-z]+)@([1-9][0-9]*)", name)
    if not match or match[1] not in _WITH_CUT:
        raise ValueError(
            f"unknown ranking metric {name!r}; expected ndcg@K, recall@K or hr@K with a whole number K from 1, "
            "or mrr, map or auc."
        )
    metric, k = _WITH_CUT[match[1]], int(match[2])
    return lambda lists: metric(lists, k)
