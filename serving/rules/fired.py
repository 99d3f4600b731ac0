"""Keeps account of which rules made a difference to which items while an answer is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from serving.rules.answer import FiredRule


class FiredRules:
    """What fired for one answer.

    Args:
      stages: name of all that can fire -> its place in the order of `rules`.
    """

    def __init__(self, stages: Mapping[str, int]) -> None:
        self._stages = stages
        self._found: dict[str, tuple[str, list[str]]] = {}
        self._seen_in_answer: list[str] = []

    def rule_out(self, name: str, kind: str, item_ids: Iterable[str]) -> None:
        """A rule took items out."""
        self._found.setdefault(name, (kind, []))[1].extend(item_ids)

    def touch(self, name: str, kind: str, item_ids: Iterable[str]) -> None:
        """A rule did something to items that may be in the answer."""
        self.rule_out(name, kind, item_ids)
        self._seen_in_answer.append(name)

    def rules(self) -> list[FiredRule]:
        """All of them, in order."""
        found = sorted(self._found.items(), key=lambda one: self._stages[one[0]])
        return [FiredRule(name, kind, tuple(item_ids)) for name, (kind, item_ids) in found]

    def reasons(self) -> dict[str, tuple[str, ...]]:
        """Item id -> names of the rules that did something to it."""
        reasons: dict[str, tuple[str, ...]] = {}
        for name in self._seen_in_answer:
            item_ids = self._found[name][1]
            if reasons:
                reasons.update([(item_id, (*reasons.get(item_id, ()), name)) for item_id in item_ids])
            else:
                reasons = dict.fromkeys(item_ids, (name,))
        return reasons
