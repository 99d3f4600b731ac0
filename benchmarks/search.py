"""The protocol `search`: words of the title of a user's last item are typed; the item is to be found."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.leave_one_out import LeaveOneOut
from benchmarks.protocol import Case, Part
from serving import contract
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.sampling import generator
from tfx_pipeline.raw_tables.read import RawTables

#: Of the drawing of queries; the same for every model and run.
SEED = 20_000
TYPO_SEED = 20_001
MOST_WORDS = 3
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Search:
    """The cases of `LeaveOneOut` with a query, for users whose target has a word in its title.

    The whole catalogue is ranked, nothing left out. The main part brings all that is known of the user, the part
    `no_history` the query alone; `typo` and `typo_no_history` are the same with a typo in each query. Groups are the
    users by the number of words of their queries.

    Attributes:
      boundary, known, fitted: of `LeaveOneOut`.
      cases: sorted by user id; each request has its query.
      titles: item id -> title.
    """

    task: ClassVar[str] = "search"
    signature: ClassVar[str] = contract.SEARCH

    boundary: int
    cases: tuple[Case, ...]
    known: frozenset[str]
    fitted: tuple[tuple[str, ...], ...]
    titles: Mapping[str, str]

    @classmethod
    def build(cls, settings: settings_lib.Settings, tables: RawTables, validation: bool = False) -> Search:
        """As `LeaveOneOut.build`, with queries drawn."""
        base = LeaveOneOut.build(settings, tables, validation)
        titles = dict(zip(tables.items["item_id"], tables.items["title"], strict=True))
        cases = []
        for case in base.cases:
            (target,) = case.targets
            if query := draw_query(titles[target], case.request.user_id):
                cases.append(dataclasses.replace(case, request=dataclasses.replace(case.request, query=query)))
        return cls(base.boundary, tuple(cases), base.known, base.fitted, titles)

    def parts(self) -> list[Part]:
        targets = {case.request.user_id: case.targets for case in self.cases}
        groups: dict[str, set[str]] = {f"{number}_words": set() for number in range(1, MOST_WORDS + 1)}
        for case in self.cases:
            groups[f"{len(case.request.query.split())}_words"].add(case.request.user_id)
        return asked_in_parts([case.request for case in self.cases], targets, groups)


def asked_in_parts(
    requests: Sequence[Request],
    targets: Mapping[str, frozenset[str]],
    groups: Mapping[str, set[str]],
    relevance: Mapping[str, Mapping[str, int]] | None = None,
) -> list[Part]:
    """The parts of a search: with all that is known, without the user, and both with a typo in each query.

    Args:
      requests: one a user, each with its query.
      targets: user id -> what is to be found.
      groups: name -> users; those without any are left out.
      relevance: user id -> item id -> grade, where there are grades.
    """
    there = {name: frozenset(users) for name, users in sorted(groups.items()) if users}
    wrong = [dataclasses.replace(one, query=with_typo(one.query, one.user_id)) for one in requests]
    asked = {"": list(requests), "no_history": [_without_history(one) for one in requests], "typo": wrong}
    asked["typo_no_history"] = [_without_history(one) for one in wrong]
    return [Part(name, queries, targets, there, relevance or {}) for name, queries in asked.items()]


def all_words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.lower())


def words(text: str) -> list[str]:
    """The distinct words of a text in lower case, in the order of their first place."""
    return list(dict.fromkeys(all_words(text)))


def draw_query(title: str, user_id: str, seed: int = SEED) -> str:
    """1 to 3 distinct words of a title, each number as likely as the others, in the title's order; "" if it has none.

    Args:
      title: of the item that the user looks for.
      user_id: whose query it is; with `seed`, all that the drawing depends on beside the title.
      seed: of the drawing.
    """
    found = words(title)
    rng = generator(seed, user_id)
    number = min(int(rng.integers(1, MOST_WORDS + 1)), len(found))
    places: Iterable[int] = sorted(rng.choice(len(found), number, replace=False).tolist()) if number else ()
    return " ".join(found[place] for place in places)


def with_typo(query: str, user_id: str, seed: int = TYPO_SEED) -> str:
    """The query with one typo in one of its words of two letters or more; as it is if it has none.

    Each as likely: two neighbouring letters swapped, one dropped, one doubled, one replaced by another of the query's
    script (a letter of the Latin alphabet, or another character of the query).

    Args:
      query: words with a space between them.
      user_id: whose query it is; with `seed`, all that the drawing depends on beside the query.
      seed: of the drawing.
    """
    found = query.split()
    places = [place for place, word in enumerate(found) if len(word) > 1]
    if not places:
        return query
    rng = generator(seed, user_id)
    place = places[int(rng.integers(len(places)))]
    changed = word = found[place]
    while changed == word:  # a swap within "aa" is no typo
        changed = _mistyped(word, query, rng)
    found[place] = changed
    return " ".join(found)


def _mistyped(word: str, query: str, rng: np.random.Generator) -> str:
    letter, kind = int(rng.integers(len(word))), int(rng.integers(4))
    others = sorted(set(string.ascii_lowercase if word.isascii() else query.replace(" ", "")) - {word[letter]})
    if kind == 0:
        letter = min(letter, len(word) - 2)
        return word[:letter] + word[letter + 1] + word[letter] + word[letter + 2 :]
    if kind == 1 or (kind == 3 and not others):
        return word[:letter] + word[letter + 1 :]
    if kind == 2:
        return word[: letter + 1] + word[letter:]
    return word[:letter] + others[int(rng.integers(len(others)))] + word[letter + 1 :]


def _without_history(request: Request) -> Request:
    return Request(user_id=request.user_id, query=request.query, request_time=request.request_time)
