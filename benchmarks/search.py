"""The protocol `search`: words of the title of a user's last item are typed; the item is to be found."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.leave_one_out import LeaveOneOut
from benchmarks.protocol import Case, Part
from serving import contract
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.sampling import generator
from tfx_pipeline.raw_tables.read import RawTables

#: Of the drawing of queries; the same for every model and run.
SEED = 20_000
MOST_WORDS = 3
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Search:
    """The cases of `LeaveOneOut` with a query, for users whose target has a word in its title.

    The whole catalogue is ranked, nothing left out. The main part brings all that is known of the user, the part
    `no_history` the query alone.

    Attributes:
      boundary, known, fitted: of `LeaveOneOut`.
      cases: sorted by user id; each request has its query.
    """

    task: ClassVar[str] = "search"
    signature: ClassVar[str] = contract.SEARCH

    boundary: int
    cases: tuple[Case, ...]
    known: frozenset[str]
    fitted: tuple[tuple[str, ...], ...]

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
        return cls(base.boundary, tuple(cases), base.known, base.fitted)

    def parts(self) -> list[Part]:
        targets = {case.request.user_id: case.targets for case in self.cases}
        requests = [case.request for case in self.cases]
        return [Part("", requests, targets), Part("no_history", list(map(_without_history, requests)), targets)]


def words(text: str) -> list[str]:
    """The distinct words of a text in lower case, in the order of their first place."""
    return list(dict.fromkeys(_WORD.findall(text.lower())))


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


def _without_history(request: Request) -> Request:
    return Request(user_id=request.user_id, query=request.query, request_time=request.request_time)
