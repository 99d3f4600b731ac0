"""What is answered, and what of it is counted and logged."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from serving.experiment.arm import Arm
from serving.gateway import metrics as named
from serving.gateway.metrics import Metrics
from serving.gateway.models import Target
from serving.results import Recommendation
from serving.rules import checks
from serving.rules.answer import Answer, RankedItem
from serving.rules.kinds import FILTERS, Fallback

#: Kinds of rules that take items out.
_REJECTING = frozenset(kind.KIND for kind in FILTERS) | {checks.UNKNOWN_ITEMS, checks.FORBIDDEN, checks.REVIEW}
_MODEL, _CONTROL, _FALLBACK = "model", "control", "fallback"


@dataclass(frozen=True)
class Answered:
    """The answer to one request of recommend or search.

    Attributes:
      request_id: of it.
      experiment: its name.
      arm: of the user.
      asked: the arm whose model answered: `arm`, or control in its place.
      ranking: of the model; None if none answered.
      fallback: why the arm's model did not answer; "" if it did.
      history_known: whether the store gave what it has.
      answer: of the rules, before what is excluded is left out.
      items: what is answered.
    """

    request_id: str
    experiment: str
    arm: Arm
    asked: Arm
    ranking: Recommendation | None
    fallback: str
    history_known: bool
    answer: Answer
    items: Sequence[RankedItem]

    def document(self) -> dict[str, Any]:
        """As JSON, of `messages.RecommendAnswer`'s form."""
        ranked = self.ranking is not None
        return {
            "request_id": self.request_id,
            "items": [
                {
                    "item_id": item.item_id,
                    "score": item.score if ranked and item.score is not None and math.isfinite(item.score) else None,
                    "position": position,
                    "reasons": list(item.reasons),
                }
                for position, item in enumerate(self.items, 1)
            ],
            "rules": [{"name": fired.name, "kind": fired.kind, "items": fired.count} for fired in self.answer.fired],
            "experiment": self.experiment,
            "arm": self.arm.name,
            "model": None if self.ranking is None else {"name": self.asked.model, "version": self.ranking.version},
            "fallback": self.fallback or None,
            "history_known": self.history_known,
        }

    def fields(self) -> dict[str, Any]:
        """For the log; nothing of them is about a person."""
        return {
            "arm": self.arm.name,
            "model": self.asked.model if self.ranking is not None else None,
            "version": None if self.ranking is None else self.ranking.version,
            "fallback": self.fallback or None,
            "history_known": self.history_known,
            "items": len(self.items),
        }

    def count(self, metrics: Metrics, route: str) -> None:
        """Counts it."""
        # Control's answer is none of the arm's model: a canary that fails must not look well.
        source = _FALLBACK if self.ranking is None else _CONTROL if self.fallback else _MODEL
        metrics.add(named.ANSWERS, self.arm.name, source)
        if self.fallback:
            metrics.add(named.FALLBACKS, self.fallback)
        if not self.items:
            metrics.add(named.EMPTY_ANSWERS, route)
        if not self.history_known:
            metrics.add(named.HISTORY_MISSING)
        metrics.add(named.ITEMS_RANKED, amount=self._ranked())
        for fired in self.answer.fired:
            metrics.add(named.RULES_FIRED, fired.name, fired.kind)
            if fired.kind in _REJECTING:
                metrics.add(named.ITEMS_REJECTED, fired.name, amount=fired.count)
        if self.ranking is not None:
            label = Target.of(self.asked).name
            for item in self.items:
                if item.score is not None and math.isfinite(item.score):
                    metrics.observe(named.SCORE, item.score, self.asked.model, label)

    def _ranked(self) -> int:
        """How many items the rules had to choose from."""
        if self.ranking is not None:
            return len(self.ranking.item_ids)
        lists = sum(fired.count for fired in self.answer.fired if fired.kind == Fallback.KIND)
        return lists or len(self.answer.items)


def shown(answer: Answer, exclude: Collection[str], top: int) -> list[RankedItem]:
    """The items of an answer without those that must not be in it, at most `top`."""
    if exclude:
        excluded = frozenset(exclude)
        return [item for item in answer.items if item.item_id not in excluded][:top]
    return answer.items[:top]
