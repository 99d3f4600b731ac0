"""Two rankers in one list, so that a user's clicks choose between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: The rankers that an item of an interleaved list may be credited to: control and treatment.
TEAMS = ("a", "b")


class Pick(NamedTuple):
    """One item of an interleaved list.

    Attributes:
      item_id: of it.
      team: "a" or "b", which ranker it is credited to; "" for neither.
    """

    item_id: str
    team: str


class Coin(Protocol):
    """What draws: `random.Random` or `numpy.random.Generator`."""

    def random(self) -> float:
        """A number in [0, 1)."""


def interleave(a: Sequence[str], b: Sequence[str], rng: Coin, length: int) -> list[Pick]:
    """Team-draft interleaving: the rankers take turns, as captains do who pick their teams.

    In each round both pick the best item of their list that is not taken yet; a coin says who goes first. Once there is
    a round for which one of them has no item left, what the other still has fills the list up and is credited to
    nobody, so that neither ranker gets more places than the other (by more than the one of a last, half round).

    Args:
      a, b: the rankers' item ids, best first.
      rng: draws the coin; one for each request.
      length: of the list, at most.

    Returns:
      The list, best first, without repetitions; its teams belong into `Exposure.teams`.

    Source: Radlinski, Kurup and Joachims, How Does Clickthrough Data Reflect Retrieval Quality?, CIKM 2008.

    Example:
      >>> import random
      >>> [f"{pick.item_id}:{pick.team}" for pick in interleave(["x", "y"], ["y", "z"], random.Random(1), 3)]
      ['x:a', 'y:b', 'z:']
    """
    picks: list[Pick] = []
    taken: set[str] = set()

    def best(ranking: Sequence[str]) -> str | None:
        return next((item for item in ranking if item not in taken), None)

    def pick(item: str, team: str) -> None:
        taken.add(item)
        picks.append(Pick(item, team))

    rankings = dict(zip(TEAMS, (a, b), strict=True))
    turns: list[str] = []
    while len(picks) < length:
        if not turns:
            if None in map(best, rankings.values()):
                break
            turns = list(TEAMS if rng.random() < 0.5 else TEAMS[::-1])
        team = turns.pop(0)
        item = best(rankings[team])
        if item is None:
            break
        pick(item, team)
    for rest in (*a, *b):
        if rest not in taken and len(picks) < length:
            pick(rest, "")
    return picks
