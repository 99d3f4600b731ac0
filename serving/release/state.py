"""What serves: the versions that have the labels, and the share of the users who are asked of the canary."""

from __future__ import annotations

from dataclasses import dataclass

#: The labels that clients ask for. Both are always there: without a canary they name one version, so that a gateway
#: which has not yet heard of the end of a canary gets answers too.
STABLE, CANARY = "stable", "canary"


@dataclass(frozen=True)
class State:
    """What serves.

    Attributes:
      stable: version with the label of that name; 0 before the first promotion.
      canary: version with the label of that name; the stable one where there is no canary.
      share: of the users, from 0 to 1, who are asked of the canary; 0 where no experiment shares them out.
    """

    stable: int = 0
    canary: int = 0
    share: float = 0.0

    @property
    def has_canary(self) -> bool:
        """Whether another version than the stable one is tried."""
        return self.canary != self.stable

    def __str__(self) -> str:
        if not self.stable:
            return "nothing"
        if not self.has_canary:
            return f"stable {self.stable}"
        return f"stable {self.stable}, canary {self.canary}" + (f" for {self.share:.4g}" if self.share else "")
