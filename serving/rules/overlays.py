"""What an arm of an experiment changes of the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serving.rules.checks import Checks
from serving.rules.kinds import Rule
from serving.rules.reader import Place, Readers, Section, as_section, as_texts, build

CHANGE, REMOVE, ADD = "change", "remove", "add"


@dataclass(frozen=True)
class Placed:
    """A rule, where it stands, and what the file has there."""

    rule: Rule
    place: Place
    section: Section


def apply(
    base: list[Placed],
    overlay: Section,
    place: Place,
    read_rules: Callable[[Any, Place, str], list[Placed]],
    readers: Readers,
    check: Checks,
) -> list[Placed]:
    """The rules of an arm: those it adds, then the others, some of them changed, without those it removes.

    Args:
      base: the rules without overlay.
      overlay: `change` (name -> the keys of the rule that become others), `remove` (names), `add` (whole rules).
      place: of it.
      read_rules: of a list of the file.
      readers, check: of rules.

    Raises:
      RulesError: for another key, a rule that is not there or both changed and removed, or what rules may not say.
    """
    for key in overlay:
        if key not in (CHANGE, REMOVE, ADD):
            there = place.at(overlay.lines[key])
            raise there.error(f"unknown key `{key}`; expected one of {CHANGE}, {REMOVE}, {ADD}.")
    by_name = {one.rule.name: one for one in base}

    def known(name: str, there: Place, key: str) -> str:
        if name not in by_name:
            raise there.error(f"`{key}` names the rule {name!r}; expected one of {', '.join(by_name) or 'none'}.")
        return name

    removed: set[str] = set()
    if REMOVE in overlay:
        there = place.at(overlay.lines[REMOVE])
        removed = {known(name, there, REMOVE) for name in as_texts(overlay[REMOVE], there, REMOVE)}
    changes = as_section(overlay.get(CHANGE, Section(place.line)), place, CHANGE)
    changed = dict(by_name)
    for name, keys in changes.items():
        there = place.at(changes.lines[name])
        if known(name, there, CHANGE) in removed:
            raise there.error(f"rule `{name}` is both changed and removed; expected one of the two.")
        changed[name] = _changed(by_name[name], as_section(keys, there, name), there, readers, check)
    added = read_rules(overlay[ADD], place.at(overlay.lines[ADD]), ADD) if ADD in overlay else []
    return added + [changed[name] for name in by_name if name not in removed]


def _changed(one: Placed, keys: Section, place: Place, readers: Readers, check: Checks) -> Placed:
    at = Place(place.file, place.line, f"{place.part}rule `{one.rule.name}`: ")
    for fixed in ("name", "kind"):
        if fixed in keys:
            raise at.at(keys.lines[fixed]).error(f"`{fixed}` cannot be changed; expected `{REMOVE}` and `{ADD}`.")
    section = Section(keys.line)
    section.update({**one.section, **keys})
    section.lines = {**one.section.lines, **keys.lines}
    rule = build(type(one.rule), section, at, readers, ignore=("kind",))
    check.alone(rule, at)
    return Placed(rule, at, section)
