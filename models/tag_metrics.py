"""Precision, recall and F1 of decisions about classes: tags of a text, labels of its words, its sentiment.

For each class the right decisions (tp), the wrong ones (fp) and the missed ones (fn) are counted over all texts, and

    precision = tp / (tp + fp)    recall = tp / (tp + fn)    F1 = 2·tp / (2·tp + fp + fn)    (0 for 0 / 0)

`macro` is the mean over the classes that were true or decided at least once, `micro` is of the sums over classes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import numpy as np

AVERAGES = ("macro", "micro")
MEASURES = ("precision", "recall", "f1")
#: What is decided about; `ClassCounts` is the same for all.
HEADS = ("tag", "word", "sentiment")


class ClassCounts:
    """Counts of right, wrong and missed decisions by class.

    Example:
      >>> counts = ClassCounts()
      >>> counts.add({"Hiking", "boots"}, {"Hiking", "lamp"})
      >>> counts.value("macro", "f1"), counts.value("micro", "precision")
      (0.3333333333333333, 0.5)
    """

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}

    def add(self, true: Collection[str], decided: Collection[str]) -> None:
        """One text with a set of classes."""
        for name in {*true, *decided}:
            column = 0 if name in true and name in decided else 1 if name in decided else 2
            self.counts.setdefault(name, [0, 0, 0])[column] += 1

    def add_pairs(self, true: Iterable[str], decided: Iterable[str], none: str) -> None:
        """Places with one class each, such as words; `none` is no class that counts."""
        for is_true, is_decided in zip(true, decided, strict=True):
            self.add({is_true} - {none}, {is_decided} - {none})

    def merge(self, other: ClassCounts) -> None:
        """Adds what another instance has counted."""
        for name, counts in other.counts.items():
            mine = self.counts.setdefault(name, [0, 0, 0])
            self.counts[name] = [a + b for a, b in zip(mine, counts, strict=True)]

    def value(self, average: str, measure: str) -> float:
        """`macro` or `micro`, of `precision`, `recall` or `f1`; NaN where no class was true or decided."""
        if not self.counts:
            return float("nan")
        counts = np.array(list(self.counts.values()), np.float64)
        if average == "micro":
            counts = counts.sum(0, keepdims=True)
        return float(np.mean(ratios(*counts.T)[MEASURES.index(measure)]))


def ratios(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(precision, recall, F1) of counts of any one shape; 0 where nothing is divided."""

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

    tp = np.asarray(tp, np.float64)
    return share(tp, tp + fp), share(tp, tp + fn), share(2 * tp, 2 * tp + fp + fn)


def parse(name: str) -> tuple[str, str, str]:
    """(head, average, measure) of a metric's name, such as `tag_macro_f1`.

    Raises:
      ValueError: for any other name.
    """
    found = re.fullmatch(f"({'|'.join(HEADS)})_({'|'.join(AVERAGES)})_({'|'.join(MEASURES)})", name)
    if not found:
        raise ValueError(
            f"unknown metric {name!r}; expected HEAD_AVERAGE_MEASURE with {', '.join(HEADS)}; {', '.join(AVERAGES)}; "
            f"{', '.join(MEASURES)}, such as tag_macro_f1."
        )
    return found[1], found[2], found[3]
