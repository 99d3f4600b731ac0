"""What rules may not say, alone and together; each is an error of one sentence when they are loaded."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from serving.review.entry import ITEM_ID
from serving.rules.condition import met_at_once
from serving.rules.kinds import TOO_FEW, Boost, Cap, Fallback, Mmr, Pin, Region, Rule
from serving.rules.reader import Place, RulesError
from serving.rules.snapshot import Snapshot
from serving.rules.where import EVERYTHING, NUMBERS

if TYPE_CHECKING:
    from serving.rules.overlays import Placed

#: What answers say of items that no rule of the file was about, in the order in which it is looked for.
DUPLICATES, UNKNOWN_ITEMS, FORBIDDEN, REVIEW = "duplicates", "unknown_items", "forbidden", "review"
RESERVED = (DUPLICATES, UNKNOWN_ITEMS, FORBIDDEN, REVIEW)


class Checks:
    """The checks of one file.

    Args:
      lists: its lists by name.
      fields: of items that rules may name.
      columns: the declared context columns.
    """

    def __init__(
        self,
        lists: Mapping[str, tuple[str, ...] | pathlib.Path],
        fields: Collection[str],
        columns: Collection[str],
    ) -> None:
        self._lists = lists
        self._texts = [name for name in fields if name not in (ITEM_ID, *NUMBERS)]
        self._columns = columns

    def alone(self, rule: Rule, place: Place) -> None:
        """Raises a RulesError if a rule makes no sense on its own."""
        if rule.name in RESERVED:
            raise place.error("answers say this name of something else; expected another name.")
        if isinstance(rule, Boost):
            if (rule.multiply is None) == (rule.add is None):
                raise place.error("has `multiply` and `add` or neither; expected one of the two.")
            if rule.multiply == 1 or rule.add == 0:
                raise place.error("changes no score; expected a `multiply` other than 1 or an `add` other than 0.")
        if isinstance(rule, Region) and rule.column not in self._columns:
            known = ", ".join(self._columns) or "none"
            raise place.error(f"`column` is {rule.column!r}; expected a declared context column: {known}.")
        if isinstance(rule, Cap):
            if rule.by not in self._texts:
                raise place.error(f"`by` is {rule.by!r}; expected one of {', '.join(self._texts)}.")
            if rule.at_most >= rule.within:
                raise place.error(
                    f"allows {rule.at_most} of the first {rule.within} items and so all of them; expected an `at_most` "
                    "below `within`."
                )
        if isinstance(rule, Mmr) and rule.within > rule.pool:
            raise place.error(
                f"`within` is {rule.within} and `pool` {rule.pool}; expected a pool no smaller than that."
            )
        if isinstance(rule, Fallback):
            if rule.list not in self._lists:
                known = ", ".join(self._lists) or "none"
                raise place.error(f"`list` is {rule.list!r}; expected one of `lists`: {known}.")
            if (rule.on == TOO_FEW) != bool(rule.least):
                raise place.error(
                    f"is on {rule.on} with `least` {rule.least}; expected a `least` from 1 with {TOO_FEW} only."
                )

    def together(self, rules: Sequence[Placed], where: str = "") -> None:
        """Raises a RulesError if rules that hold in the same answers (`where`) contradict each other."""
        self.names([(one.rule.name, one.place) for one in rules])
        pins = [(one.rule, one.place) for one in rules if isinstance(one.rule, Pin)]
        for (first, _), (second, place) in itertools.combinations(pins, 2):
            if not first.when.may_meet(second.when):
                continue
            if first.position == second.position:
                raise place.error(
                    f"{where}pins {second.item!r} to position {second.position}, where `{first.name}` pins "
                    f"{first.item!r} for some of the same requests; expected another position, or conditions that "
                    "exclude each other."
                )
            if first.item == second.item:
                raise place.error(
                    f"{where}pins {second.item!r} to position {second.position}, and `{first.name}` to position "
                    f"{first.position} for some of the same requests; expected one position."
                )

    @staticmethod
    def names(placed: Iterable[tuple[str, Place]]) -> None:
        """Raises a RulesError if a name is there twice."""
        lines: dict[str, int] = {}
        for name, place in placed:
            if name in lines:
                raise place.error(f"the name is there already (line {lines[name]}); expected each name once.")
            lines[name] = place.line


def check_fields(rules: Iterable[Rule], snapshot: Snapshot, origin: str) -> None:
    """Raises a RulesError if rules name a text column that the catalogue lacks."""
    for rule in rules:
        named = {*getattr(rule, "where", EVERYTHING).texts, *([rule.by] if isinstance(rule, Cap) else [])}
        for name in sorted(named - set(snapshot.texts)):
            known = ", ".join(snapshot.texts)
            raise RulesError(
                f"{origin}: rule `{rule.name}`: the catalogue has no column `{name}`; expected one of {known}."
            )


def check_pins_against_caps(rules: Sequence[Rule], snapshot: Snapshot, origin: str) -> None:
    """Raises a RulesError if pins alone exceed a cap in some answer."""
    for cap in rules:
        if not isinstance(cap, Cap):
            continue
        column = snapshot.texts[cap.by]
        of_value: dict[int, list[Pin]] = {}
        for pin in rules:
            if isinstance(pin, Pin) and pin.position <= cap.within:
                code = int(column.codes[snapshot.index.get(pin.item, -1)])
                if code:
                    of_value.setdefault(code, []).append(pin)
        for code, pins in of_value.items():
            some = met_at_once(cap.when, [pin.when for pin in pins], cap.at_most + 1)
            if some is not None:
                names = ", ".join(f"`{pins[at].name}`" for at in some)
                raise RulesError(
                    f"{origin}: rule `{cap.name}`: allows {cap.at_most} of {cap.by} {column.names[code]!r} within "
                    f"the first {cap.within} items, and {names} pin {len(some)} there; expected room for the pins."
                )
