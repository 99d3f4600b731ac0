"""The protocol `next_basket`: everything before a moment is known; what is bought from then on is to be found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.protocol import Case, Part, request_of
from models import features
from serving import contract
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.decisions import Moment, before
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables.read import RawTables


@dataclass(frozen=True)
class NextBasket:
    """The cases of a data set.

    Only customers with a target have a case. "Bought" means an event of `decisions.label_event_types`; an item is known
    when it has an event of any type before the boundary.

    Attributes:
      boundary: seconds since 1970-01-01 UTC; everything strictly before it is input.
      end: the window is [boundary, end); None for all that follows.
      cases: sorted by user id.
      known: ids of the items to be ranked.
    """

    task: ClassVar[str] = "next_basket"
    signature: ClassVar[str] = contract.RECOMMEND

    boundary: int
    end: int | None
    cases: tuple[Case, ...]
    known: frozenset[str]

    @classmethod
    def build(
        cls, settings: settings_lib.Settings, tables: RawTables, boundary: int, end: int | None = None
    ) -> NextBasket:
        """Cuts a log at `boundary`.

        Args:
          settings: `data` and `decisions` are read.
          tables: cleaned and merged.
          boundary, end: see the class.
        """
        # Nobody ranks ExampleGen's sampled negatives here.
        decisions = dataclasses.replace(settings.decisions, negatives=0)
        prepared = prepare(tables, dataclasses.replace(settings, decisions=decisions))
        builder = prepared.builder
        known = builder.stats.first_event < boundary
        none = np.empty(0, np.int64)
        moment = Moment(features.RECENT_SPLIT, boundary, none, none)
        cases = []
        for log in prepared.logs():
            first = before(log.times, boundary)
            last = len(log.times) if end is None else before(log.times, end)
            is_label = np.isin(log.type_names[log.types], settings.decisions.label_event_types) & (log.items >= 0)
            bought = np.unique(log.items[:first][is_label[:first]])
            targets = np.unique(log.items[first:last][is_label[first:last]])
            targets = targets[known[targets]]
            if len(bought) and len(targets):
                ids = (frozenset(builder.table.ids[items].tolist()) for items in (bought, targets))
                cases.append(Case(request_of(builder.build(log, moment)), *ids))
        return cls(boundary, end, tuple(cases), frozenset(builder.table.ids[known].tolist()))

    def requests(self, novel: bool) -> list[Request]:
        """The request of each case; with `novel`, of those with a novel target, leaving out what was bought before."""
        if not novel:
            return [case.request for case in self.cases]
        return [
            dataclasses.replace(case.request, exclude=sorted(case.bought)) for case in self.cases if case.novel_targets
        ]

    def targets(self, novel: bool) -> dict[str, frozenset[str]]:
        """User id -> what is to be found, never empty; with `novel`, only what was not bought before."""
        if not novel:
            return {case.request.user_id: case.targets for case in self.cases}
        return {case.request.user_id: case.novel_targets for case in self.cases if case.novel_targets}

    def parts(self) -> list[Part]:
        return [Part(name, self.requests(bool(name)), self.targets(bool(name))) for name in ("", "novel")]
