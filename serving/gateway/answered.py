"""What is answered, and what of it is counted and logged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from serving.experiment.arm import Arm
from serving.gateway import metrics as named
from serving.gateway.metrics import Metrics
from serving.gateway.models import Target
from serving.results import Recommendation
from serving.rules import checks
from serving.rules.answer import Answer
from serving.rules.kinds import FILTERS

#: Kinds of rules that take items out.
_REJECTING = frozenset(kind.KIND for kind in FILTERS) | {checks.UNKNOWN_ITEMS, checks.FORBIDDEN, checks.REVIEW}
#: Reasons of answers that the arm's model did not make, beside those of `models.ModelError`.
WELCOME, CONTROL = "new_user", "control"
_MODEL, _CONTROL, _RULES, _FALLBACK = "model", "control", "rules", "fallback"


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
      answer: of the rules.
    """

    request_id: str
    experiment: str
    arm: Arm
    asked: Arm
    ranking: Recommendation | None
    fallback: str
    history_known: bool
    answer: Answer

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
                for position, item in enumerate(self.answer.items, 1)
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
            "items": len(self.answer.items),
        }

    def count(self, metrics: Metrics, route: str) -> None:
        """Counts it."""
        # Control's answer is none of the arm's model: a canary that fails must not look well.
        if self.ranking is not None:
            source = _CONTROL if self.fallback else _MODEL
        else:
            source = _RULES if self.fallback == WELCOME else _FALLBACK
        metrics.add(named.ANSWERS, self.arm.name, source)
        if self.fallback:
            metrics.add(named.FALLBACKS, self.fallback)
        if not self.answer.items:
            metrics.add(named.EMPTY_ANSWERS, route)
        if not self.history_known:
            metrics.add(named.HISTORY_MISSING)
        metrics.add(named.ITEMS_RANKED, amount=self.answer.ranked)
        for fired in self.answer.fired:
            metrics.add(named.RULES_FIRED, fired.name, fired.kind)
            if fired.kind in _REJECTING:
                metrics.add(named.ITEMS_REJECTED, fired.name, amount=fired.count)
        if self.ranking is not None:
            label = Target.of(self.asked).name
            for item in self.answer.items:
                if item.score is not None and math.isfinite(item.score):
                    metrics.observe(named.SCORE, item.score, self.asked.model, label)
