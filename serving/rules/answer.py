"""What the engine answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Scored(Protocol):
    """A model's answer: `serving.results.Ranking` and `Recommendation` are such."""

    @property
    def item_ids(self) -> Sequence[str]:
        """Items."""

    @property
    def scores(self) -> np.ndarray:
        """Float [items], higher is better."""


class RankedItem(NamedTuple):
    """One item of an answer.

    Attributes:
      item_id: of the item.
      score: the model's own, before any rule; None for what the model did not rank.
      position: from 1.
      reasons: names of the rules that brought it here, or to this place.
    """

    item_id: str
    score: float | None
    position: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FiredRule:
    """A rule that made a difference.

    Attributes:
      name: the rule's; or `duplicates`, `unknown_items`, `forbidden`, `review` for what no rule of the file is about.
      kind: the rule's, or that name again.
      items: that it ruled out, boosted, moved, held back, pinned or brought in.
    """

    name: str
    kind: str
    items: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many items that are."""
        return len(self.items)


@dataclass(frozen=True)
class Answer:
    """What may be shown, best first, and why.

    Attributes:
      items: in order.
      fired: in the order of the stages, whenever they were run; within a stage the file's order counts.
      ranked: how many items there were to choose from: those of the ranking, or of the list in its place, and those
        that a fallback brought to fill it up.
    """

    items: list[RankedItem]
    fired: list[FiredRule]
    ranked: int

    @property
    def item_ids(self) -> list[str]:
        """Ids in order."""
        return [item.item_id for item in self.items]
