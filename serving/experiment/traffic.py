"""Made-up traffic with a planted effect, many experiments at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Traffic:
    """Made-up traffic of an experiment of two equal arms: users come back, and differ in what they do.

    Users arrive evenly over the days. On each of the days left a user has a Poisson number of answers (one more on the
    first), by a rate of the user's own (exponential), and clicks on each with a probability of the user's own (beta).
    With probability `conversion` the user buys once, on any of the days left, a basket of log-normal revenue.

    Attributes:
      users: of each arm.
      days: looks, one at the end of each.
      conversion: share of control's users who buy.
      ctr: mean probability of a click, over users.
      answers: of a user, mean of a day, over users.
      lift: of the treatment's conversion and click probabilities, as a share of control's.
    """

    users: int
    days: int
    conversion: float = 0.2
    ctr: float = 0.2
    answers: float = 0.5
    lift: float = 0.0

    def draw(self, runs: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """What every user has done by the end of every day.

        Returns:
          present, answers, clicked, bought and revenue: float [runs, 2, users, days], the second axis control and
          treatment; nothing before a user's first day.
        """
        shape = (runs, 2, self.users)
        day = np.arange(self.days)
        first = rng.integers(0, self.days, shape)[..., np.newaxis]
        present = (day >= first).astype(float)
        factor = np.array([1.0, 1.0 + self.lift])[:, np.newaxis]
        rate = rng.exponential(self.answers, shape)[..., np.newaxis]
        shown = np.where(present, rng.poisson(np.broadcast_to(rate, (*shape, self.days))), 0) + (day == first)
        # A beta of two and more keeps clear of 0 and 1; the lift may not take it past 1.
        chance = np.minimum(rng.beta(2.0, 2.0 / self.ctr - 2.0, shape) * factor, 1.0)[..., np.newaxis]
        clicked = rng.binomial(shown, np.broadcast_to(chance, shown.shape))
        buys = (rng.random(shape) < self.conversion * factor)[..., np.newaxis]
        last = first + np.floor(rng.random((*shape, 1)) * (self.days - first))
        bought = (buys & (day >= last)).astype(float)
        return {
            "present": present,
            "answers": shown.cumsum(-1).astype(float),
            "clicked": clicked.cumsum(-1).astype(float),
            "bought": bought,
            "revenue": bought * rng.lognormal(3.0, 1.0, (*shape, 1)),
        }
