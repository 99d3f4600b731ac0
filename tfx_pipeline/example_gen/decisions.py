"""From one user's log to decisions: which moments, what was known before each, what is to be ranked.

Everything here is a pure function of its arguments: no Beam, no clock, no global randomness.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models import features
from tfx_pipeline.example_gen.boundaries import DAY, Boundaries
from tfx_pipeline.example_gen.decision import Decision
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.sampling import PopularitySampler, generator
from tfx_pipeline.example_gen.user_log import UserLog
from tfx_pipeline.settings import LEAVE_ONE_OUT, DecisionSettings

SPLITS = (features.TRAIN_SPLIT, features.EVAL_SPLIT, features.RECENT_SPLIT)


@dataclass(frozen=True)
class Moment:
    """Where a decision is to be made.

    Attributes:
      split: of the decision.
      time: seconds.
      labels: places in the log of the label events that make positives, ascending.
      impressions: places in the log of the impressions that go with it, ascending.
      query: of the request.
    """

    split: str
    time: int
    labels: np.ndarray
    impressions: np.ndarray
    query: str = ""


@dataclass(frozen=True)
class _Places:
    """Places in a log, ascending: label events, impressions, what makes a history, what makes a user known."""

    labels: np.ndarray
    impressions: np.ndarray
    history: np.ndarray
    known: np.ndarray


def before(times: np.ndarray, moment: int) -> int:
    """How many of the ascending `times` lie strictly before `moment`: the one place that decides what was known."""
    return int(np.searchsorted(times, moment, side="left"))


class DecisionBuilder:
    """Builds the decisions of one user at a time.

    Kind `session`: one decision per session that has a label event before its split's end, at the session's first
    event. The query is the one that opens the session; one typed later is not known at that moment. Label events
    without a session are decisions of their own moment. With `keep_unlabelled` a session with impressions alone is one
    too, without a positive. Kind `window`: one per cut for a user with an event other than an impression before the
    cut and a label event in [cut, cut + horizon), cut off at the split's end.

    Split `leave_one_out` instead: one decision per label event but the user's last, at that event, with it as the one
    positive, if an event other than an impression is before it. The last but one is of `eval` and `recent`, the others
    are of `train`. Logs, boundaries and statistics are on the clock of `example_gen.leave_one_out`, so that what
    follows holds here too; what it means for several users stands there.

    Candidates: the positives (the newest `max_positives`), the impressions that are not positive, negatives by
    popularity as of the decision's time; shuffled, so that a place in the list says nothing, and padded to N. With
    fewer `train_negatives` than `negatives`, N is smaller by the difference for what is trained on. With
    `label_strengths` each positive says which of its label events is the strongest.

    What the bytes of a decision at time t depend on, given the boundaries, in every split:

    - Before t: the user's events, their context columns, and reviews, and which negatives can be drawn with which
      probability (the first events and the label events of all users).
    - At t, for `session`: the query that opens the session, and context columns of events.
    - At or after t: only what the decision is about, that is its label events (positives) and impressions; they are
      candidates, are not drawn as negatives, and take their room. `slice_items`, `slice_category` and
      `label_event_types` describe the positives, and `candidate_text` is there for a candidate whose first event is
      not before `known_until`: of a negative that lies before t, of the others not after the event that makes them
      candidates.
    - Without a time: the tables of users and items as they are.

    So events of other users at or after t, and the user's own that make no candidate of it, change nothing.

    Args:
      settings: how decisions are cut.
      boundaries: the settings' boundaries, resolved.
      table: the items.
      stats: what all the events say of the items.
    """

    def __init__(self, settings: DecisionSettings, boundaries: Boundaries, table: ItemTable, stats: ItemStats) -> None:
        self.settings = settings
        self._leave_one_out = settings.split == LEAVE_ONE_OUT
        self.boundaries = boundaries
        self.table = table
        self.stats = stats
        self._last: tuple[UserLog | None, _Places] = (None, _Places(*np.empty((4, 0), np.int64)))
        self._sampler = PopularitySampler(stats)
        room, negatives, wanted = settings.candidates, settings.negatives, settings.train_negatives
        fewer = max(0, negatives - wanted) if wanted >= 0 else 0
        #: Split -> length of the list of candidates, and negatives in it.
        self._rooms = {
            split: (room, negatives) if split == features.EVAL_SPLIT else (max(1, room - fewer), negatives - fewer)
            for split in SPLITS
        }
        self._cuts = {
            split: boundaries.cuts(split, settings.every_days, settings.horizon_days, settings.min_horizon_days)
            for split in SPLITS
            if settings.kind == "window" and not self._leave_one_out
        }

    def decisions(self, log: UserLog) -> list[Decision]:
        """All decisions of a user, by split and time."""
        return [self.build(log, moment) for moment in self.moments(log)]

    def moments(self, log: UserLog, left_out: collections.Counter[str] | None = None) -> list[Moment]:
        """Where decisions are to be made, by split and time.

        Args:
          log: of the user.
          left_out: counts what led to no decision, by reason.
        """
        left_out = collections.Counter() if left_out is None else left_out
        places = self._places(log)
        if not len(places.labels) and not (self.settings.keep_unlabelled and len(places.impressions)):
            left_out["users without a label event"] += 1
            return []
        if self._leave_one_out:
            cut = self._prefixes
        else:
            cut = self._windows if self.settings.kind == "window" else self._sessions
        return sorted(cut(log, places, left_out), key=lambda moment: SPLITS.index(moment.split))

    def build(self, log: UserLog, moment: Moment) -> Decision:
        """Builds the decision of one moment."""
        places = self._places(log)
        history = _until(places.history, log, moment.time)
        items = log.items[history]
        room, negatives = self._rooms[moment.split]
        candidates, labels, dropped = self._candidates(log, moment, room, negatives)
        new = self.stats.first_event[candidates] >= self.boundaries.known_until(moment.split)
        positives = labels > 0
        categories = self.table.category_codes
        seen = np.intersect1d(categories[candidates[positives]], categories[items])
        padding = room - len(candidates)
        return Decision(
            split=moment.split,
            user_id=log.user_id,
            time=moment.time,
            profile_text=self._profile_text(log, places, moment.time),
            query=moment.query,
            context=self._context(log, moment.time),
            history_item_ids=self.table.ids[items],
            history_event_types=log.type_names[log.types[history]],
            history_timestamps=log.times[history],
            candidate_item_ids=[*self.table.ids[candidates], *[""] * padding],
            candidate_text=[*np.where(new, self.table.texts[candidates], ""), *[""] * padding],
            labels=np.r_[labels, np.full(padding, -1)].astype(np.float32),
            label_event_types=self._strongest(log, moment, np.where(positives, candidates, -1), room),
            slices={
                features.SLICE_USER: "known" if len(_until(places.known, log, moment.time)) else "new",
                features.SLICE_ITEMS: "new" if (new & positives).any() else "known",
                features.SLICE_CATEGORY: "seen" if (seen > 0).any() else "unseen",
                features.SLICE_HISTORY: _length_slice(len(history)),
            },
            dropped_positives=dropped[0],
            dropped_impressions=dropped[1],
        )

    def _places(self, log: UserLog) -> _Places:
        if self._last[0] is not log:
            label, shown = (
                np.isin(log.types, [place for place, name in enumerate(log.type_names) if name in names])
                for names in (self.settings.label_event_types, self.settings.impression_event_types)
            )
            has_item = log.items >= 0
            masks = (label & has_item, shown & has_item, ~shown & has_item, ~shown)
            self._last = log, _Places(*map(np.flatnonzero, masks))
        return self._last[1]

    def _windows(self, log: UserLog, places: _Places, left_out: collections.Counter[str]) -> Iterator[Moment]:
        horizon = round(self.settings.horizon_days * DAY)
        known_from = log.times[places.known[0]]
        for split, cuts in self._cuts.items():
            ends = np.minimum(cuts + horizon, self.boundaries.labels_until(split))
            first, last = (np.searchsorted(log.times[places.labels], edge, side="left") for edge in (cuts, ends))
            for cut in np.flatnonzero(last > first):
                if known_from >= cuts[cut]:
                    left_out[f"{split}: windows of users without an earlier event"] += 1
                    continue
                labels = places.labels[first[cut] : last[cut]]
                shown = _until(places.impressions, log, ends[cut])[len(_until(places.impressions, log, cuts[cut])) :]
                yield Moment(split, int(cuts[cut]), labels, shown)

    def _prefixes(self, log: UserLog, places: _Places, left_out: collections.Counter[str]) -> Iterator[Moment]:
        none = np.empty(0, np.int64)
        trained, (validated, _) = places.labels[:-2], np.r_[[-1, -1], places.labels][-2:]
        if self.settings.train_prefixes:
            left_out["train: prefixes beyond train_prefixes"] += max(0, len(trained) - self.settings.train_prefixes)
            trained = trained[-self.settings.train_prefixes :]
        wanted = [(SPLITS[0], place) for place in trained]
        wanted += [(split, validated) for split in SPLITS[1:] if validated >= 0]
        for split, place in wanted:
            time = int(log.times[place])
            if not len(_until(places.known, log, time)):
                left_out[f"{split}: label events with nothing before them"] += 1
                continue
            yield Moment(split, time, np.array([place]), none)

    def _sessions(self, log: UserLog, places: _Places, left_out: collections.Counter[str]) -> Iterator[Moment]:
        # Events without a session belong together when they share the moment.
        moments = np.unique(log.times, return_inverse=True)[1]
        groups = np.where(log.sessions >= 0, log.sessions, log.sessions.max(initial=0) + 1 + moments)
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
        is_label, is_impression = np.zeros((2, len(log.times)), bool)
        is_label[places.labels], is_impression[places.impressions] = True, True
        makes_decision = is_label | is_impression if self.settings.keep_unlabelled else is_label
        sessions = [events for events in np.split(order, starts[1:]) if makes_decision[events].any()]
        for events in sorted(sessions, key=lambda events: events[0]):
            time = int(log.times[events[0]])
            if not self.boundaries.train_start <= time < self.boundaries.eval_until:
                left_out["sessions before train_start or from eval_until on"] += 1
                continue
            asked = events[log.queries[events] != ""]
            query = log.queries[asked[0]] if len(asked) and log.times[asked[0]] == time else ""
            if len(asked) and not query:
                left_out["queries later than their session's first event (kept for later profile texts)"] += 1
            for split in SPLITS[:1] if time < self.boundaries.train_until else SPLITS[1:]:
                inside = _until(events, log, self.boundaries.labels_until(split))
                if not makes_decision[inside].any():
                    left_out[f"{split}: sessions whose label events are later than the split's end"] += 1
                    continue
                yield Moment(split, time, inside[is_label[inside]], inside[is_impression[inside]], query)

    def _candidates(
        self, log: UserLog, moment: Moment, room: int, negatives: int
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Codes and labels in their shuffled order, and how many positives and impressions found no room."""
        bought = _distinct(log.items[moment.labels][::-1])
        positives = bought[: min(self.settings.max_positives, room)]
        shown = _distinct(log.items[moment.impressions])
        shown = shown[~np.isin(shown, bought)]
        kept = shown[: room - len(positives)]
        rng = generator(self.settings.seed, log.user_id, moment.time)
        number = min(negatives, room - len(positives) - len(kept))
        # A positive beyond max_positives is no negative either.
        sampled = self._sampler.draw(rng, number, np.concatenate([bought, kept]), moment.time)
        codes = np.concatenate([positives, kept, sampled])
        labels = np.repeat([1.0, 0.0], [len(positives), len(codes) - len(positives)])
        order = rng.permutation(len(codes))
        return codes[order], labels[order], (len(bought) - len(positives), len(shown) - len(kept))

    def _strongest(self, log: UserLog, moment: Moment, positives: np.ndarray, room: int) -> list[str] | None:
        """The strongest label event of each positive (an item's code), "" of -1 and of what is left of the room."""
        order = self.settings.label_strengths
        if not order:
            return None
        found: dict[int, int] = {}
        for item, kind in zip(log.items[moment.labels], log.type_names[log.types[moment.labels]], strict=True):
            found[item] = max(found.get(item, 0), order.index(kind))
        types = [order[found[item]] if item >= 0 else "" for item in positives]
        return [*types, *[""] * (room - len(types))]

    def _context(self, log: UserLog, time: int) -> dict[str, str]:
        """What is known of the user; a request that opens a session brings what its own event says."""
        until = time + (self.settings.kind == "session" and not self._leave_one_out)
        return {column: value for column, value in log.context.items() if log.context_since.get(column, 0) < until}

    def _profile_text(self, log: UserLog, places: _Places, time: int) -> str:
        wanted = self.settings.profile_text
        parts: list[str] = []
        for source in wanted.sources:
            if source == "free_text":
                parts.append(log.free_text)
            elif source == "queries":
                parts += _newest(log.queries[: before(log.times, time)], wanted.max_items)
            elif source == "reviews":
                parts += _newest(log.review_texts[: before(log.review_times, time)], wanted.max_items)
            else:
                items = _distinct(log.items[_until(places.labels, log, time)][::-1])[: wanted.max_items]
                parts += list(self.table.titles[items])
        return "; ".join(part for part in parts if part)[: wanted.max_chars]


def _until(places: np.ndarray, log: UserLog, moment: int) -> np.ndarray:
    """Those of ascending places in the log that lie strictly before a moment."""
    return places[: before(log.times[places], moment)]


def _distinct(values: np.ndarray) -> np.ndarray:
    """Distinct values in the order of their first place."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]


def _newest(texts: np.ndarray, number: int) -> list[str]:
    """The newest distinct texts, newest first."""
    found: dict[str, None] = {}
    for text in texts[::-1]:
        if len(found) == number:
            break
        if text:
            found[text] = None
    return list(found)


def _length_slice(length: int) -> str:
    return "0" if length == 0 else "1-9" if length < 10 else "10-49" if length < 50 else "50+"
