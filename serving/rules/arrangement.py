"""Gives every place of an answer to an item: pins, MMR and caps together, so that each holds beside the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.rules.kinds import RELAX, Cap
from serving.rules.mmr import MarginalRelevance


@dataclass
class Arranged:
    """The outcome.

    Attributes:
      places: candidates in order.
      promoted: those that MMR put before a better one that no cap was against.
      held_back: name of a cap -> those that it was against while a worse one, or none, got one of its places.
    """

    places: list[int] = field(default_factory=list)
    promoted: list[int] = field(default_factory=list)
    held_back: dict[str, list[int]] = field(default_factory=dict)


class Arrangement:
    """One answer's places.

    Pinned items have theirs and count from the start in caps and MMR. Each other one of the first places, as far as a
    cap or MMR reaches, goes to the best candidate that no cap is against; the rest follows in order. What a cap is
    against waits until its places are over. Where nothing is left for one of them, fallback items come (while the
    answer is shorter than `least`), then candidates that only caps with `relax` are against; else the answer ends
    there, and pins that are still to come close up.

    Args:
      order: int [n], candidates, best first, without pinned ones.
      pins: position from 1 -> candidate.
      codes: text column -> int [candidates], 0 for nothing known.
      caps: that hold.
      mmr: over the first ones of `order`, None without.
      diverse: so many places are chosen by it.
      least: items that the answer should have.
      more: makes fallback candidates, best first, and `codes` that have them too; called at most once.
    """

    _front: int

    def __init__(
        self,
        order: np.ndarray,
        pins: Mapping[int, int],
        codes: Mapping[str, np.ndarray],
        caps: Sequence[Cap] = (),
        mmr: MarginalRelevance | None = None,
        diverse: int = 0,
        least: int = 0,
        more: Callable[[], tuple[np.ndarray, Mapping[str, np.ndarray]]] | None = None,
    ) -> None:
        self._queue = order
        self._ranked = len(order)  # what lies behind in the queue are fallback items
        self._pins = dict(sorted(pins.items()))
        self._mmr, self._diverse = mmr, diverse if mmr else 0
        self._least, self._more = least, more
        self._limits = [
            _Limit(cap, codes[cap.by], order, [place for position, place in pins.items() if position <= cap.within])
            for cap in caps
        ]
        self._free = np.ones(len(order), bool)
        self._found = Arranged(held_back={cap.name: [] for cap in caps})
        self._worst = 0  # of the queue, that got a place
        self._reopen(1)

    def run(self) -> Arranged:
        """Gives the places away; once."""
        places = self._found.places
        ends = {limit.cap.within for limit in self._limits}
        for position in range(1, max(self._diverse, *ends, 0) + 1):
            if position - 1 in ends:
                self._hold_back([limit for limit in self._limits if limit.cap.within == position - 1], self._worst)
                self._reopen(position)
            if position in self._pins:
                places.append(self._pins.pop(position))
                continue
            at = self._choose(position)
            if at is None:
                self._hold_back([limit for limit in self._limits if limit.cap.within >= position], self._ranked)
                places += self._pins.values()
                return self._found
            self._take(at, position)
        self._hold_back([limit for limit in self._limits if limit.cap.within == len(places)], self._worst)
        rest = self._queue[: self._ranked][self._free[: self._ranked]].tolist()
        missing = self._least - len(places) - len(rest) - len(self._pins)
        if missing > 0:
            self._extend(len(places) + 1)
            rest += self._queue[self._ranked :][self._free[self._ranked :]].tolist()[:missing]
        for position, place in self._pins.items():
            rest.insert(min(position - 1 - len(places), len(rest)), place)
        places += rest
        return self._found

    def _choose(self, position: int) -> int | None:
        """A place of the queue."""
        first = self._first()
        if first is not None and first < self._ranked:
            if self._mmr is None or position > self._diverse or first >= self._mmr.size:
                return first
            best = self._mmr.best()
            if best != first:
                self._found.promoted.append(int(self._queue[best]))
            return best
        if position <= self._least:
            self._extend(position)
            fallback = self._first()
            if fallback is not None:
                return fallback
        relaxed = self._allowed(position, relaxed=True)[: self._ranked].nonzero()[0]
        if not relaxed.size:
            return None
        at = int(relaxed[0])
        if at < self._worst:
            self._hold_back([limit for limit in self._limits if limit.cap.within >= position], at + 1, at)
        return at

    def _first(self) -> int | None:
        """The first of the queue that may have a place."""
        if not self._open.size:
            return None
        if not self._open[self._front]:
            self._front = int(self._open.argmax())
        return self._front if self._open[self._front] else None

    def _take(self, at: int, position: int) -> None:
        self._free[at] = self._open[at] = False
        place = int(self._queue[at])
        self._found.places.append(place)
        self._worst = max(self._worst, min(at, self._ranked))
        if self._mmr is not None and position <= self._diverse:
            self._mmr.choose(place, at)
        for limit in self._limits:
            if position <= limit.cap.within and (code := limit.count(place)):
                self._open &= limit.of_queue != code
                if self._mmr is not None:
                    self._mmr.allow(self._open[: self._mmr.size])

    def _allowed(self, position: int, relaxed: bool = False) -> np.ndarray:
        """bool [queue], what is left and no cap (none that cannot be relaxed) is against at a position."""
        allowed = self._free.copy()
        for limit in self._limits:
            if position <= limit.cap.within and not (relaxed and limit.cap.if_short == RELAX):
                for code in limit.full:
                    allowed &= limit.of_queue != code
        return allowed

    def _reopen(self, position: int) -> None:
        """What may have a place from a position on."""
        self._open = self._allowed(position)
        self._front = 0  # of the queue, before which nothing is open
        if self._mmr is not None:
            self._mmr.allow(self._open[: self._mmr.size])

    def _hold_back(self, limits: Sequence[_Limit], end: int, start: int = 0) -> None:
        """Notes what is left of a part of the queue for the caps that are against it."""
        limits = [limit for limit in limits if limit.full]
        if not limits:
            return
        waiting = start + self._free[start:end].nonzero()[0]
        places = self._queue[waiting].tolist()
        for limit in limits:
            codes = limit.of_queue[waiting].tolist()
            against = [place for place, code in zip(places, codes, strict=True) if code in limit.full]
            self._found.held_back[limit.cap.name] += against

    def _extend(self, position: int) -> None:
        """Puts the fallback items behind the queue."""
        if self._more is None:
            return
        fallback, codes = self._more()
        self._more = None
        self._queue = np.concatenate([self._queue, fallback])
        self._free = np.concatenate([self._free, np.ones(len(fallback), bool)])
        for limit in self._limits:
            limit.codes = codes[limit.cap.by]
            limit.of_queue = limit.codes[self._queue]
        self._reopen(position)


class _Limit:
    """A cap while places are given away."""

    def __init__(self, cap: Cap, codes: np.ndarray, queue: np.ndarray, pinned: Sequence[int]) -> None:
        self.cap = cap
        self.codes = codes
        self.of_queue = codes[queue]
        self._counts: dict[int, int] = {}
        self.full: set[int] = set()
        for place in pinned:
            self.count(place)

    def count(self, place: int) -> int:
        """Counts an item; its code if that was the last one with it, else 0."""
        code = int(self.codes[place])
        if not code:
            return 0
        count = self._counts[code] = self._counts.get(code, 0) + 1
        if count < self.cap.at_most:
            return 0
        self.full.add(code)
        return code
