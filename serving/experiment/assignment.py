"""Where a user falls in [0, 1), and which part of it is whose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from serving.experiment.arm import Arm

#: Sums of shares may be off by so much, as decimal fractions are.
TOLERANCE = 1e-9


class Place(NamedTuple):
    """The part [low, high) of an arm."""

    low: float
    high: float


def position(salt: str, unit: str) -> float:
    """Where a user falls: the first 53 bits of SHA-256 of salt, a zero byte and id (UTF-8), as a number in [0, 1).

    It is the same on every machine and in every language, and independent between salts.

    Args:
      salt: of the experiment.
      unit: id of the user or of the session.
    """
    digest = hashlib.sha256(f"{salt}\0{unit}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def places(treatments: Sequence[Arm]) -> Mapping[str, Place]:
    """The parts of the treatments, by name; what is left is control's.

    [0, 1) is cut into equal rooms, one for each treatment in the order of the file. The first of each pair of rooms is
    filled from its left end, the second from its right end, so that the two grow towards each other. Where a part
    begins depends on no share, so a part that grows only takes from control and gives nobody away: who is in a
    treatment stays in it as long as its share does not shrink, whatever becomes of the others' shares. It does depend
    on the number of treatments: a second one leaves the first where it is, further ones move others.

    Raises:
      ValueError: if a part would not fit: two treatments have all the room there is, and of more, each pair has its
        rooms' size.
    """
    room = 1 / max(len(treatments), 1)
    found = {}
    for number, arm in enumerate(treatments):
        if number % 2:
            found[arm.name] = Place((number + 1) * room - arm.share, (number + 1) * room)
        else:
            found[arm.name] = Place(number * room, number * room + arm.share)
            pair = treatments[number : number + 2]
            share, size = sum(one.share for one in pair), room * len(pair)
            if share > size + TOLERANCE:
                names = " and ".join(repr(one.name) for one in pair)
                raise ValueError(
                    f"the shares of {names}, of {len(treatments)} treatments, sum to {share:g}; expected at most "
                    f"{size:.4g}, so that they can grow without taking users from others."
                )
    return found
