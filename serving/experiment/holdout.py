"""Users whom an experiment leaves alone."""

from __future__ import annotations

from dataclasses import dataclass

from models.options import number

#: Name of the arm of those who are held out.
HOLDOUT = "holdout"


@dataclass(frozen=True)
class Holdout:
    """A share of the users is asked as control is, under a name of its own, and no treatment is compared with it.

    What many experiments changed together is seen by a holdout that they share: the same share and salt in each.

    Attributes:
      share: of all users, from 0 to 1; the arms' shares are of the others.
      salt: of its hash; "" for the experiment's own.
    """

    share: float = number(0.0, 0, 1)
    salt: str = ""
