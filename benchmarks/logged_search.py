"""The protocol `logged_search`: what people really typed; what they then clicked and bought is to be found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.protocol import Part, request_of
from benchmarks.search import MOST_WORDS, all_words, asked_in_parts
from models import features
from serving import contract
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables.read import RawTables

#: Relevance of an item by the strongest event that followed; 1 for any other label event.
RELEVANCE = {"cart": 2, "purchase": 3}


@dataclass(frozen=True)
class LoggedSearch:
    """Each user's first session with a query after the boundary, and the items of its label events.

    All items that had an event before the boundary are ranked, the others are no targets. Parts are those of `Search`.
    Groups are the users by the number of words of their queries, `3_words` standing for more too, and by whether the
    query is `ideographic`.

    Attributes:
      boundary: `eval_until` of the configuration, or `train_until` for validation, seconds.
      requests: sorted by user id; each has its query and what was known of the user.
      relevance: user id -> item id -> 1, 2 (cart) or 3 (purchase).
      known: ids of the items to be ranked.
      titles: item id -> title.
    """

    task: ClassVar[str] = "logged_search"
    signature: ClassVar[str] = contract.SEARCH

    boundary: int
    requests: tuple[Request, ...]
    relevance: Mapping[str, Mapping[str, int]]
    known: frozenset[str]
    titles: Mapping[str, str]

    @classmethod
    def build(cls, settings: settings_lib.Settings, tables: RawTables, validation: bool = False) -> LoggedSearch:
        """Asks of what comes after `decisions.eval_until`, or for validation of what lies between the boundaries.

        Args:
          settings: `data` and `decisions` are read.
          tables: cleaned and merged.
          validation: see above.

        Raises:
          SettingsError: if the configuration does not cut by time into sessions, or nothing is left after the boundary.
        """
        decisions = settings.decisions
        if decisions.split == settings_lib.LEAVE_ONE_OUT or decisions.kind != "session":
            raise settings_lib.SettingsError(
                f"decisions.split is {decisions.split!r} and decisions.kind {decisions.kind!r}; expected 'global_time' "
                f"and 'session' for the task {cls.task}."
            )
        times = tables.events["timestamp"]
        if not validation:
            until = Boundaries.resolve(decisions, int(times.min()), int(times.max())).eval_until
            decisions = dataclasses.replace(decisions, train_until=str(np.datetime64(until, "s")), eval_until="1.0")
        # Nobody ranks ExampleGen's sampled negatives here.
        decisions = dataclasses.replace(decisions, negatives=0)
        prepared = prepare(tables, dataclasses.replace(settings, decisions=decisions))
        builder = prepared.builder
        boundary, ids = builder.boundaries.train_until, builder.table.ids
        known = builder.stats.first_event < boundary
        requests, relevance = [], {}
        for log in prepared.logs():
            for moment in builder.moments(log):
                items = log.items[moment.labels]
                found: dict[str, int] = {}
                for item, kind in zip(items, log.type_names[log.types[moment.labels]], strict=True):
                    if known[item]:
                        found[ids[item]] = max(found.get(ids[item], 0), RELEVANCE.get(kind, 1))
                if moment.split == features.EVAL_SPLIT and moment.query and found:
                    requests.append(request_of(builder.build(log, moment)))
                    relevance[log.user_id] = found
                    break
        titles = dict(zip(ids.tolist(), builder.table.titles.tolist(), strict=True))
        return cls(boundary, tuple(requests), relevance, frozenset(ids[known].tolist()), titles)

    def parts(self) -> list[Part]:
        groups: dict[str, set[str]] = {}
        for request in self.requests:
            asked = request.query
            length = f"{min(len(all_words(asked)), MOST_WORDS)}_words"
            for name in (length, "ideographic") if any(letter > "\u2e80" for letter in asked) else (length,):
                groups.setdefault(name, set()).add(request.user_id)
        targets = {user: frozenset(items) for user, items in self.relevance.items()}
        return asked_in_parts(self.requests, targets, groups, self.relevance)
