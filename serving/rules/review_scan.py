"""Puts into the review queue what the rules want a person to see."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from serving.review.queue import ReviewQueue
from serving.rules.candidates import Candidates
from serving.rules.review_rule import ReviewRule
from serving.rules.rule_set import RuleSet
from serving.rules.snapshot import Snapshot

#: The column that words are looked for in.
TITLE = "title"


def scan(rules: RuleSet, snapshot: Snapshot, queue: ReviewQueue, now: float | None = None) -> list[str]:
    """Flags the items of a catalogue that `review_if` is about, each once for each of its rules.

    Args:
      rules: with `review_if`.
      snapshot: of the catalogue, read with the column `title` if a rule has words.
      queue: that gets them.
      now: seconds since 1970-01-01 UTC; None for the clock's.

    Returns:
      Ids of the items that are new in the queue.

    Raises:
      ReviewError: if the queue cannot be written.
    """
    moment = time.time() if now is None else now
    candidates = Candidates(dict(snapshot.index), snapshot)
    found = [flag for rule in rules.review_if for flag in _found(rule, candidates, moment)]
    return queue.flag_once(found) if found else []


def needs_titles(rules: RuleSet) -> bool:
    """Whether a rule of `review_if` looks for words."""
    return any(rule.words.en or rule.words.zh for rule in rules.review_if)


def _found(rule: ReviewRule, candidates: Candidates, now: float) -> Iterator[tuple[str, str, str]]:
    places = np.flatnonzero(rule.where.mask(candidates, now)).tolist()
    titles: dict[str, str | None] = {}
    for place in places:
        title = ""
        if needs_words := bool(rule.words.en or rule.words.zh):
            column = candidates.snapshot.texts[TITLE]
            title = column.names[candidates.codes(TITLE)[place]]
        if title not in titles:
            titles[title] = rule.found(title)
        word = titles[title]
        if word is not None:
            said = f"{word!r} in its title" if needs_words else ""
            yield candidates.item_ids[place], "; ".join(filter(None, [rule.reason, said])) or rule.name, rule.name
