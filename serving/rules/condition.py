"""When a rule holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.rules.reader import Place, as_section, as_texts, as_time

#: What is known of every request, beside its context columns.
ARM, PAGE, PLACEMENT, USER, AGE = "arm", "page", "placement", "user", "age"
#: Values of `user` and of `age`.
NEW, KNOWN, UNKNOWN = "new", "known", "unknown"
_CHOICES = {USER: (NEW, KNOWN), AGE: (KNOWN, UNKNOWN)}
FROM, UNTIL = "from", "until"


@dataclass(frozen=True)
class Condition:
    """What a request must be like for a rule to hold; all parts must be met, and no part is met by everything.

    Attributes:
      facts: name (a context column, or `arm`, `page`, `placement`, `user`, `age`) -> values, one of which it must have.
      start, end: seconds since 1970-01-01 UTC; the rule holds from `start` until just before `end`.
    """

    facts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    start: float = -math.inf
    end: float = math.inf

    def holds(self, facts: Mapping[str, str], now: float) -> bool:
        """Whether it is met by what is known of a request at a time."""
        if not self.start <= now < self.end:
            return False
        return all(facts.get(name, "") in values for name, values in self.facts.items())

    def may_meet(self, other: Condition) -> bool:
        """Whether there may be a request and a time that meet both."""
        if max(self.start, other.start) >= min(self.end, other.end):
            return False
        shared = self.facts.keys() & other.facts.keys()
        return all(self.facts[name] & other.facts[name] for name in shared)


#: Held by every request.
ALWAYS = Condition()


def met_at_once(base: Condition, others: Sequence[Condition], number: int) -> list[int] | None:
    """Places of so many of the others as one request may meet, and `base` with them; None if there is no such request.

    Tries one moment and one value of each fact after the other, and goes no further where too few are left.
    """
    conditions = [base, *others]
    names = sorted({name for one in conditions for name in one.facts})
    tried: set[tuple[int, tuple[int, ...]]] = set()

    def search(left: tuple[int, ...], depth: int) -> tuple[int, ...] | None:
        if (depth, left) in tried or 0 not in left or len(left) <= number:
            return None
        tried.add((depth, left))
        if depth == len(names):
            return left
        facts = [conditions[at].facts.get(names[depth]) for at in left]
        for value in sorted(frozenset().union(*filter(None, facts))) or [""]:
            some = tuple(at for at, fact in zip(left, facts, strict=True) if fact is None or value in fact)
            if found := search(some, depth + 1):
                return found
        return None

    for moment in sorted({one.start for one in conditions}):
        found = search(tuple(at for at, one in enumerate(conditions) if one.start <= moment < one.end), 0)
        if found:
            return [at - 1 for at in found[1 : number + 1]]
    return None


def read_condition(value: Any, place: Place, name: str, columns: Collection[str]) -> Condition:
    """The condition that a file has under `name`.

    Args:
      value: such as {"country": ["DE", "AT"], "until": "2024-12-24"}.
      place: of it.
      name: its key.
      columns: the declared context columns.

    Raises:
      RulesError: for a name that is no fact of a request, a value that it cannot have, or a window without a moment.
    """
    known = (*dict.fromkeys([*columns, ARM, PAGE, PLACEMENT, USER, AGE]), FROM, UNTIL)
    facts: dict[str, frozenset[str]] = {}
    times = {FROM: -math.inf, UNTIL: math.inf}
    section = as_section(value, place, name)
    for key, content in section.items():
        there, full = place.at(section.lines[key]), f"{name}.{key}"
        if key not in known:
            raise there.error(f"unknown condition `{full}`; expected one of {', '.join(known)}.")
        if key in times:
            times[key] = as_time(content, there, full)
            continue
        values = as_texts(content, there, full)
        for one in values:
            if one not in _CHOICES.get(key, values):
                raise there.error(f"`{full}` is {one!r}; expected one of {', '.join(_CHOICES[key])}.")
        facts[key] = frozenset(values)
    if times[FROM] >= times[UNTIL]:
        raise place.error(f"`{name}` is from {section[FROM]} until {section[UNTIL]}; expected an end after its start.")
    return Condition(facts, times[FROM], times[UNTIL])
