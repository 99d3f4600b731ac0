"""The rules of a shop, read from YAML and checked as a whole before any of them is used."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.options import choice, number
from serving.rules import checks, overlays
from serving.rules.condition import Condition, read_condition
from serving.rules.kinds import DROP, KEEP, KINDS, Rule
from serving.rules.reader import Place, Readers, Section, as_list, as_section, as_text, as_texts, build, read_yaml
from serving.rules.review_rule import ReviewRule, read_review_rule
from serving.rules.scale import LOG_PROBABILITY, RANK, STANDARD
from serving.rules.where import STANDARD_FIELDS, Where, read_where

#: Values of `review.pending`: items that wait for a person.
HIDE, SHOW = "hide", "show"
LISTS, RULES, OVERLAYS, REVIEW_IF = "lists", "rules", "overlays", "review_if"


@dataclass(frozen=True)
class ReviewSettings:
    """The review queue that the rules go with.

    Attributes:
      dir: its folder, which must be there, counted from the rules' file; "" for none.
      pending: `hide` or `show` items that wait for a person.
    """

    dir: str = ""
    pending: str = choice(HIDE, SHOW)


@dataclass(frozen=True)
class RuleSettings:
    """What a file of rules says beside the rules.

    Attributes:
      unknown_items: `drop` or `keep` what the catalogue does not know.
      scale: what boosts act on (`serving.rules.scale`).
      forbidden: files of forbidden items (`serving.rules.forbidden`), counted from the rules' file.
      review: the review queue.
      check_every_ms: how often, at most, these files, the queue and files of lists are looked at; milliseconds, 0 for
        each answer.
    """

    unknown_items: str = choice(DROP, KEEP)
    scale: str = choice(STANDARD, LOG_PROBABILITY, RANK)
    forbidden: tuple[str, ...] = ()
    review: ReviewSettings = field(default_factory=ReviewSettings)
    check_every_ms: float = number(0.0, 0, 60_000)


@dataclass(frozen=True)
class RuleSet:
    """Rules that fit together.

    Attributes:
      origin: the file they are from; paths in it count from its folder.
      settings: what holds for all of them.
      lists: name -> item ids, best first, or the file that has one a line.
      rules: those that hold where no overlay does.
      overlays: arm of an experiment -> the rules that hold there, all of them.
      review_if: what must be seen by a person.
    """

    origin: pathlib.Path
    settings: RuleSettings
    lists: Mapping[str, tuple[str, ...] | pathlib.Path]
    rules: tuple[Rule, ...]
    overlays: Mapping[str, tuple[Rule, ...]]
    review_if: tuple[ReviewRule, ...]

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path,
        known_fields: Collection[str] = STANDARD_FIELDS,
        context_columns: Collection[str] = ("country",),
    ) -> RuleSet:
        """Reads and checks a file.

        Args:
          path: YAML, such as configs/serving/rules.yaml.
          known_fields: fields of items that rules may name: `catalogue.fields`.
          context_columns: the declared context columns, which conditions may name.

        Raises:
          RulesError: for anything that cannot be used: an unknown key, field or list, a value of the wrong kind or out
            of its range, a name that is there twice, pins that contradict each other, a cap that caps nothing.
        """
        path = pathlib.Path(path)
        content = read_yaml(path)
        place = Place(str(path), content.line)
        columns, fields = tuple(context_columns), tuple(known_fields)

        def read_review(value: Any, there: Place, name: str) -> ReviewSettings:
            return build(ReviewSettings, value, Place(there.file, there.line, "`review`: "), {})

        readers: Readers = {
            Condition: lambda value, there, name: read_condition(value, there, name, columns),
            Where: lambda value, there, name: read_where(value, there, name, fields),
            ReviewSettings: read_review,
        }
        own_keys = (LISTS, RULES, OVERLAYS, REVIEW_IF)
        settings = build(RuleSettings, content, place, readers, ignore=own_keys)
        lists = _read_lists(content.get(LISTS), place.at(content.lines.get(LISTS, 1)), path.parent)
        check = checks.Checks(lists, fields, columns)

        def read_rules(value: Any, there: Place, name: str) -> list[overlays.Placed]:
            return [_read_rule(one, there, name, readers, check) for one in as_list(value, there, name)]

        rules = read_rules(content.get(RULES, []), place.at(content.lines.get(RULES, 1)), RULES)
        check.together(rules)
        of_arms = {}
        there = place.at(content.lines.get(OVERLAYS, 1))
        section = as_section(content.get(OVERLAYS, Section(1)), there, OVERLAYS)
        for arm, change in section.items():
            at = Place(there.file, section.lines[arm], f"overlay `{arm}`: ")
            if not arm:
                raise at.error("has no name; expected that of an arm.")
            changed = overlays.apply(rules, as_section(change, at), at, read_rules, readers, check)
            check.together(changed, f"in overlay `{arm}` ")
            of_arms[arm] = tuple(one.rule for one in changed)
        there = place.at(content.lines.get(REVIEW_IF, 1))
        review_if = [
            read_review_rule(one, there, readers) for one in as_list(content.get(REVIEW_IF, []), there, REVIEW_IF)
        ]
        check.names([(rule.name, at) for rule, at in review_if])
        return cls(
            path, settings, lists, tuple(one.rule for one in rules), of_arms, tuple(rule for rule, _ in review_if)
        )

    def rules_of(self, arm: str) -> tuple[Rule, ...]:
        """The rules of an arm of an experiment; those without overlay where it has none."""
        return self.overlays.get(arm, self.rules)

    def paths(self, names: Collection[str]) -> list[pathlib.Path]:
        """Paths that the file names, counted from its folder."""
        return [self.origin.parent / name for name in names]


def _read_rule(value: Any, place: Place, name: str, readers: Readers, check: checks.Checks) -> overlays.Placed:
    section = as_section(value, place, name)
    at = Place(place.file, section.line, place.part)
    for key in ("name", "kind"):
        if key not in section:
            raise at.error(f"a rule has no `{key}`; expected one.")
    called = as_text(section["name"], at.at(section.lines["name"]), "name")
    at = Place(at.file, at.line, f"{place.part}rule `{called}`: ")
    kind = section["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise at.at(section.lines["kind"]).error(f"`kind` is {kind!r}; expected one of {', '.join(KINDS)}.")
    rule = build(KINDS[kind], section, at, readers, ignore=("kind",))
    check.alone(rule, at)
    return overlays.Placed(rule, at, section)


def _read_lists(value: Any, place: Place, folder: pathlib.Path) -> dict[str, tuple[str, ...] | pathlib.Path]:
    lists: dict[str, tuple[str, ...] | pathlib.Path] = {}
    section = Section(place.line) if value is None else as_section(value, place, LISTS)
    for name, content in section.items():
        there = place.at(section.lines[name])
        full = f"{LISTS}.{name}"
        if not isinstance(content, Section):
            lists[name] = as_texts(as_list(content, there, full), there, full)
            continue
        if set(content) != {"file"}:
            raise there.error(
                f"`{full}` has the keys {', '.join(content) or 'of nothing'}; expected a list of items or `file`."
            )
        lists[name] = folder / as_text(content["file"], there.at(content.lines["file"]), f"{full}.file")
    return lists
