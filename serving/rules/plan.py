"""The rules of one arm by what they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from serving.rules.kinds import FILTERS, Boost, Cap, Fallback, Mmr, Pin, Rule

R = TypeVar("R", bound=Rule)


class Plan:
    """Sorts rules into stages, in the file's order within each.

    Args:
      rules: that hold together.

    Attributes:
      filters, boosts, mmr, caps, pins: of the stages of these names.
      fallbacks: by what they are on.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        def of(kind: type[R]) -> list[R]:
            return [rule for rule in rules if isinstance(rule, kind)]

        self.filters = [rule for rule in rules if isinstance(rule, FILTERS)]
        self.boosts, self.mmr, self.caps, self.pins = of(Boost), of(Mmr), of(Cap), of(Pin)
        self.fallbacks: dict[str, list[Fallback]] = {}
        for rule in of(Fallback):
            self.fallbacks.setdefault(rule.on, []).append(rule)
