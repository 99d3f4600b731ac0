"""Numbers as people write them: groups of digits with separators between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: What may stand between two groups of one number, after folding (dashes and spaces of any kind are "-" and " ").
_JOIN = r"(?: - | {1,2}|[-.]|\) ?[-.]?|[-. ]?\()"
_CHAIN = re.compile(rf"[0-9]+(?:{_JOIN}[0-9]+)*")
_GROUP = re.compile(r"[0-9]+")


class Chain:
    """Groups of digits that follow each other, as many as there are: "(020) 7946 0958" has three.

    Args:
      text: that it is in, folded.
      start, end: where.
    """

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        self.groups = [group.span() for group in _GROUP.finditer(text, start, end)]
        self._lengths = tuple(end - start for start, end in self.groups)

    def shapes(self, first: int, most: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(last place, lengths of the groups) of every window that begins with a group, the longest first.

        Args:
          first: the group's place.
          most: groups of the longest window.
        """
        for end in range(min(first + most, len(self.groups)), first, -1):
            yield end - 1, self._lengths[first:end]

    def join(self, place: int) -> str:
        """What stands between a group and the one after it."""
        return self.text[self.groups[place][1] : self.groups[place + 1][0]]


@dataclass(frozen=True)
class Window:
    """Some neighbouring groups of a chain, which may be one number.

    Attributes:
      chain: that they are of.
      first, last: places of its first and last group.
    """

    chain: Chain
    first: int
    last: int

    @property
    def digits(self) -> str:
        """All digits, without what is between them."""
        return "".join(self.chain.text[start:end] for start, end in self.chain.groups[self.first : self.last + 1])

    @property
    def joins(self) -> list[str]:
        """What stands between the groups."""
        return [self.chain.join(place) for place in range(self.first, self.last)]

    @property
    def spaced(self) -> bool:
        """Whether there are several groups with nothing but spaces between them, as in a list of sizes."""
        return self.first < self.last and not "".join(self.joins).strip(" ")

    @property
    def mixes_dots(self) -> bool:
        """Whether dots and other separators take turns, as in a list of decimals ("2.00 2.50")."""
        first, *others = [join == "." for join in self.joins if not set(join) & {"(", ")"}] or [False]
        return len(set(others)) > 1 or (first and others[:1] == [False])

    @property
    def is_whole(self) -> bool:
        """Whether the chain has no other group."""
        return self.first == 0 and self.last == len(self.chain.groups) - 1

    @property
    def start(self) -> int:
        """Where it starts, with the bracket that is closed in it."""
        start = self.chain.groups[self.first][0]
        opened = self.first < self.last and self.chain.join(self.first).startswith(")")
        return start - 1 if opened and self.chain.text[start - 1 : start] == "(" else start

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.chain.groups[self.last][1]


def chains(text: str) -> Iterator[Chain]:
    """All chains of a folded text, in order."""
    for found in _CHAIN.finditer(text):
        yield Chain(text, *found.span())
