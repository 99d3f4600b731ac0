"""What a new policy would have answered to a logged request."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PolicyAnswer:
    """What a new policy would have answered to a logged request.

    Attributes:
      request_id: of the exposure.
      item_ids: what the policy shows, best first, if it always shows the same.
      probabilities: of a policy that draws: of each item that was logged, with what probability this policy shows it at
        the same place; then `item_ids` is not needed.
      expected: of each place, the reward that a model predicts for what the policy shows there (its mean, of a policy
        that draws); empty without a model.
      predicted: of each item that was logged, the reward that the model predicts for it there.

    Raises:
      ValueError: when the parts do not fit together.
    """

    request_id: str
    item_ids: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    expected: tuple[float, ...] = ()
    predicted: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.item_ids) == bool(self.probabilities):
            raise ValueError("both or neither of `item_ids` and `probabilities` are there; expected one of them.")
        if bool(self.expected) != bool(self.predicted):
            raise ValueError("one of `expected` and `predicted` is there; expected both or neither.")
        for probability in self.probabilities:
            if not 0 <= probability <= 1:
                raise ValueError(f"`probabilities` holds {probability}; expected from 0 to 1.")
        for reward in (*self.expected, *self.predicted):
            if not math.isfinite(reward):
                raise ValueError(f"`expected` or `predicted` holds {reward}; expected a number.")
