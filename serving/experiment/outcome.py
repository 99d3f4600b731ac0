"""One thing a user did after an answer, or without one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.experiment import times
from serving.experiment.metrics import CLICK, PURCHASE


@dataclass(frozen=True)
class Outcome:
    """One thing a user did after an answer, or without one.

    Attributes:
      time: in seconds since 1970-01-01 UTC, at least 0.
      kind: click or purchase.
      user_id: as in the exposures; "" where `request_id` says enough.
      request_id: of the answer that it follows from, if that is known; else it is the user's latest one before.
      item_id: what was clicked or bought; "" where it is not known.
      revenue: of a purchase, in the shop's currency.

    Raises:
      ValueError: when the parts do not fit together.
    """

    time: float
    kind: str
    user_id: str = ""
    request_id: str = ""
    item_id: str = ""
    revenue: float = 0.0

    def __post_init__(self) -> None:
        times.check(self.time)
        if self.kind not in (CLICK, PURCHASE):
            raise ValueError(f"`kind` is {self.kind!r}; expected {CLICK} or {PURCHASE}.")
        if not self.user_id and not self.request_id:
            raise ValueError("`user_id` and `request_id` are empty; expected one of them.")
        if not (math.isfinite(self.revenue) and self.revenue >= 0):
            raise ValueError(f"`revenue` is {self.revenue}; expected an amount of at least 0.")
        if self.revenue and self.kind != PURCHASE:
            raise ValueError(f"`revenue` is {self.revenue} of a {self.kind}; expected it of a {PURCHASE} alone.")
