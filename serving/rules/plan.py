"""The rules of one arm by what they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from serving.rules.checks import RESERVED
from serving.rules.kinds import FILTERS, MODEL_DOWN, NEW_USER, TOO_FEW, Boost, Cap, Fallback, Mmr, Pin, Rule

R = TypeVar("R", bound=Rule)


class Plan:
    """Sorts rules into stages, in the file's order within each.

    Args:
      rules: that hold together.

    Attributes:
      filters, boosts, mmr, caps, pins: of the stages of these names.
      fallbacks: by what they are on.
      stages: name of all that can fire -> its place in the order of the stages.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        def of(kind: type[R]) -> list[R]:
            return [rule for rule in rules if isinstance(rule, kind)]

        self.filters = [rule for rule in rules if isinstance(rule, FILTERS)]
        self.boosts, self.mmr, self.caps, self.pins = of(Boost), of(Mmr), of(Cap), of(Pin)
        self.fallbacks: dict[str, list[Fallback]] = {}
        for rule in of(Fallback):
            self.fallbacks.setdefault(rule.on, []).append(rule)
        first = [*self.fallbacks.get(NEW_USER, ()), *self.fallbacks.get(MODEL_DOWN, ())]
        last = [*self.boosts, *self.mmr, *self.caps, *self.pins, *self.fallbacks.get(TOO_FEW, ())]
        names = [*(rule.name for rule in first), *RESERVED, *(rule.name for rule in [*self.filters, *last])]
        self.stages = {name: at for at, name in enumerate(names)}
