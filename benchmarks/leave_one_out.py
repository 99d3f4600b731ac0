"""The protocol `leave_one_out`: everything but a user's last item is known; the last one is to be found."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.protocol import Case, Part, request_of
from models import features
from serving import contract
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import DAY, TEST
from tfx_pipeline.example_gen.decisions import Moment, before
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables.read import RawTables


@dataclass(frozen=True)
class LeaveOneOut:
    """The cases of a data set.

    The whole catalogue is ranked, without the items of the user's label events so far (a target among them cannot be
    found, and counts as missed). A user with a single label event has no case. Moments are on the clock of
    `tfx_pipeline.example_gen.leave_one_out`.

    Attributes:
      boundary: the moment that is asked of: `TEST`, or the day before it for validation.
      cases: sorted by user id, each with one target.
      known: ids of the items to be ranked: all.
      fitted: for each user, ids of the label events' items that a model may be fitted on: all but the last two.
    """

    task: ClassVar[str] = "leave_one_out"
    signature: ClassVar[str] = contract.RECOMMEND

    boundary: int
    cases: tuple[Case, ...]
    known: frozenset[str]
    fitted: tuple[tuple[str, ...], ...]

    @classmethod
    def build(cls, settings: settings_lib.Settings, tables: RawTables, validation: bool = False) -> LeaveOneOut:
        """Leaves each user's last label event out; the last but one for validation (the last is then not there).

        Args:
          settings: `data` and `decisions` are read.
          tables: cleaned and merged.
          validation: see above.

        Raises:
          SettingsError: if the configuration does not split so.
        """
        if settings.decisions.split != settings_lib.LEAVE_ONE_OUT:
            wanted, found = settings_lib.LEAVE_ONE_OUT, settings.decisions.split
            raise settings_lib.SettingsError(f"decisions.split is {found!r}; expected {wanted!r} for this task.")
        boundary = TEST - DAY if validation else TEST
        # Nobody ranks ExampleGen's sampled negatives here.
        decisions = dataclasses.replace(settings.decisions, negatives=0)
        prepared = prepare(tables, dataclasses.replace(settings, decisions=decisions))
        ids = prepared.builder.table.ids
        none = np.empty(0, np.int64)
        moment = Moment(features.RECENT_SPLIT, boundary, none, none)
        cases, fitted = [], []
        for log in prepared.logs():
            is_label = np.isin(log.type_names[log.types], settings.decisions.label_event_types) & (log.items >= 0)
            times, items = log.times[is_label], log.items[is_label]
            fitted.append(tuple(ids[items[: before(times, TEST - DAY)]].tolist()))
            bought, target = items[: before(times, boundary)], items[times == boundary]
            if len(bought) and len(target):
                parts = (frozenset(ids[codes].tolist()) for codes in (bought, target))
                cases.append(Case(request_of(prepared.builder.build(log, moment)), *parts))
        return cls(boundary, tuple(cases), frozenset(ids.tolist()), tuple(fitted))

    def parts(self) -> list[Part]:
        requests = [dataclasses.replace(case.request, exclude=sorted(case.bought)) for case in self.cases]
        return [Part("", requests, {case.request.user_id: case.targets for case in self.cases})]
