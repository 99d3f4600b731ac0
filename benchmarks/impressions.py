"""The protocol `click`: what was shown from a moment on, and which of it was clicked."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.protocol import request_of
from models import features
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables import synthetic_sessions
from tfx_pipeline.raw_tables.read import RawTables
from tfx_pipeline.settings import SettingsError

#: What the synthetic shop's generator writes beside its tables.
ORACLE_TABLE = "oracle.parquet"


@dataclass(frozen=True)
class Impressions:
    """Decisions that were shown something, all of it candidates.

    Attributes:
      requests: what was known at the moment of each, with the items shown as candidates.
      labels: of the candidates of each, 1 clicked, 0 not.
      boundary: seconds since 1970-01-01 UTC; all decisions are at it or later.
    """

    requests: tuple[Request, ...]
    labels: tuple[np.ndarray, ...]
    boundary: int

    @property
    def users(self) -> list[str]:
        """Of each decision."""
        return [request.user_id for request in self.requests]

    @property
    def clicks(self) -> int:
        """How many impressions were clicked."""
        return int(sum(labels.sum() for labels in self.labels))


def read_impressions(
    settings: settings_lib.Settings, tables: RawTables, validation: bool
) -> tuple[Impressions, Impressions]:
    """(what was shown before the benchmark's window, what was shown in it).

    Args:
      settings: `data` and `decisions`, of kind `session`; what was shown is told by `impression_event_types`.
      tables: cleaned and merged.
      validation: the window of the eval split, instead of all that comes after it.

    Raises:
      SettingsError: if decisions are no sessions by time, or nothing comes after the eval split.
    """
    decisions = dataclasses.replace(settings.decisions, negatives=0, keep_unlabelled=True)
    if decisions.kind != "session" or decisions.split == settings_lib.LEAVE_ONE_OUT:
        raise SettingsError("`decisions` are no sessions split by time; expected kind `session` for the task click.")
    times = tables.events["timestamp"]
    first, last = int(times.min()), int(times.max())
    boundaries = Boundaries.resolve(decisions, first, last)
    boundary = boundaries.train_until if validation else boundaries.eval_until
    if not validation:
        if boundaries.eval_until > last:
            raise SettingsError(
                f"`decisions.eval_until` is {decisions.eval_until!r}, so nothing comes after; expected --validation "
                "or an earlier moment."
            )
        until = str(np.datetime64(boundary, "s"))
        decisions = dataclasses.replace(decisions, train_until=until, eval_until="1.0")
    prepared = prepare(tables, dataclasses.replace(settings, decisions=decisions))
    found: dict[str, tuple[list[Request], list[np.ndarray]]] = {name: ([], []) for name in ("train", "eval")}
    for log in prepared.logs():
        for decision in prepared.builder.decisions(log):
            if decision.split == features.RECENT_SPLIT:
                continue
            real = decision.labels >= 0
            ids, texts = (
                [value for value, kept in zip(values, real, strict=True) if kept]
                for values in (decision.candidate_item_ids, decision.candidate_text)
            )
            requests, labels = found[decision.split]
            requests.append(dataclasses.replace(request_of(decision), candidates=ids, candidate_text=texts))
            labels.append(decision.labels[real])
    start = boundaries.train_start
    before, window = (
        Impressions(tuple(requests), tuple(labels), moment)
        for (requests, labels), moment in zip(found.values(), (start, boundary), strict=True)
    )
    return before, window


def oracle_scores(folder: pathlib.Path, tables: RawTables, shown: Impressions) -> dict[str, list[np.ndarray]] | None:
    """Logits that the synthetic shop's generator knows, by the name of who knows them; None for other data.

    `oracle` knows the place in the slate, which nobody knows when a request comes; `oracle_without_position` is the
    utility that a click at the first place would have.
    """
    path = folder / ORACLE_TABLE
    if not path.is_file():
        return None
    truth = pd.read_parquet(path)
    logits = np.log(truth["click_probability"]) - np.log1p(-truth["click_probability"])
    level = logits + synthetic_sessions.POSITION_BIAS * truth["position"]
    keys = list(zip(truth["session_id"], truth["item_id"], strict=True))
    by_name = {
        "oracle": dict(zip(keys, logits, strict=True)),
        "oracle_without_position": dict(zip(keys, level, strict=True)),
    }
    opened = tables.events.groupby("session_id", sort=False).agg({"user_id": "first", "timestamp": "min"})
    sessions = {
        (user, int(time)): session
        for session, user, time in zip(opened.index, opened["user_id"], opened["timestamp"], strict=True)
    }
    names = [sessions[request.user_id, request.request_time] for request in shown.requests]
    return {
        name: [
            np.array([known[session, item] for item in request.candidates])
            for session, request in zip(names, shown.requests, strict=True)
        ]
        for name, known in by_name.items()
    }


def click_rates(before: Impressions, shown: Impressions, strength: float) -> list[np.ndarray]:
    """Logits of (clicks + a·rate) / (impressions + a) of each candidate, counted before the window.

    Args:
      before: what is counted.
      shown: what is scored.
      strength: a, impressions that the rate of all items weighs; infinity takes that rate for every item.
    """
    items = [item for request in before.requests for item in request.candidates]
    counted = pd.Series(np.concatenate(before.labels), index=items).groupby(level=0).agg(["sum", "count"])
    rate = counted["sum"].sum() / counted["count"].sum()
    rates: dict[str, float] = {}
    if math.isfinite(strength):
        rates = ((counted["sum"] + strength * rate) / (counted["count"] + strength)).to_dict()
    scores = []
    for request in shown.requests:
        found = np.array([rates.get(item, rate) for item in request.candidates])
        scores.append(np.log(found) - np.log1p(-found))
    return scores
