"""Who asks, and where the answer is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serving.rules.condition import AGE, ARM, KNOWN, NEW, PAGE, PLACEMENT, UNKNOWN, USER


@dataclass(frozen=True)
class Shopper:
    """What rules look at of a request; whatever is left out is not known.

    Attributes:
      history: (item_id, event_type, timestamp) triples before the request, oldest first, as `serving.requests.Request`
        has them.
      context: value of each declared context column that is known.
      age: in years.
      is_new: None for "has no history".
      page, placement: where the answer is shown, such as "home" and "top".
      arm: of the experiment that the rules are part of, "" for none; the overlay of that name holds.
      time: seconds since 1970-01-01 UTC; 0 for now.
    """

    history: Sequence[tuple[str, str, int]] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    age: float | None = None
    is_new: bool | None = None
    page: str = ""
    placement: str = ""
    arm: str = ""
    time: float = 0.0

    def facts(self) -> dict[str, str]:
        """What conditions look at."""
        is_new = not self.history if self.is_new is None else self.is_new
        return {
            **self.context,
            ARM: self.arm,
            PAGE: self.page,
            PLACEMENT: self.placement,
            USER: NEW if is_new else KNOWN,
            AGE: UNKNOWN if self.age is None else KNOWN,
        }
