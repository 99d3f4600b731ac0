"""The moments that separate the splits."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

from models import features
from tfx_pipeline import settings as settings_lib

DAY = features.SECONDS_PER_DAY

#: `leave_one_out`: the moment of everybody's last label event, on the clock of `example_gen.leave_one_out`.
TEST = 20_000 * DAY


@dataclass(frozen=True)
class Boundaries:
    """The moments of `DecisionSettings`, resolved against the events' time range; seconds since 1970-01-01 UTC.

    Attributes:
      train_start: no train decision is earlier.
      train_until: the label windows of `train` end by then, those of `eval` start at or after it.
      eval_until: every label window ends by then, and the catalogue knows what was there before.
    """

    train_start: int
    train_until: int
    eval_until: int

    @classmethod
    def resolve(cls, settings: settings_lib.DecisionSettings, first: int, last: int) -> Boundaries:
        """Resolves dates and shares of the time range.

        Args:
          settings: how decisions are cut; with `leave_one_out` the boundaries are those of its clock.
          first, last: times of the first and the last event.

        Raises:
          SettingsError: if a boundary is neither a date nor a share, or if they are not in order.
        """
        if settings.split == settings_lib.LEAVE_ONE_OUT:
            return cls(0, TEST - DAY, TEST)
        start = boundary(settings.train_start, first, last) if settings.train_start else first
        train = boundary(settings.train_until, first, last)
        end = boundary(settings.eval_until, first, last)
        if not start < train < end:
            raise settings_lib.SettingsError(
                f"decisions: train_start {iso(start)}, train_until {iso(train)} and eval_until {iso(end)} are not in "
                f"order; expected each later than the one before (the events lie between {iso(first)} and {iso(last)})."
            )
        return cls(start, train, end)

    def known_until(self, split: str) -> int:
        """Up to when the model that a split serves knows items: `recent` only serves the final fit."""
        return self.eval_until if split == features.RECENT_SPLIT else self.train_until

    def labels_until(self, split: str) -> int:
        """The end of every label window of a split."""
        return self.train_until if split == features.TRAIN_SPLIT else self.eval_until

    def cuts(self, split: str, every_days: float, horizon_days: float, min_horizon_days: float = 0) -> np.ndarray:
        """Decision times of kind `window`, oldest first.

        Cuts are counted back from the split's last boundary, `every_days` apart. A window [cut, cut + horizon) of
        `train` ends by train_until, one of `recent` ends after it and by eval_until; `eval` has the one cut at
        train_until, whose window is cut off at eval_until.

        Args:
          split: `train`, `eval` or `recent`.
          every_days, horizon_days: positive numbers of days.
          min_horizon_days: the last windows of `train` and `recent` may be cut off too, if so long a part of them is
            left; 0 takes whole ones only.
        """
        if split == features.EVAL_SPLIT:
            return np.array([self.train_until], np.int64)
        end = self.labels_until(split)
        every, horizon = round(every_days * DAY), round(horizon_days * DAY)
        shortest = round(min_horizon_days * DAY) or horizon
        cuts = end - every * np.arange(1 + (end - self.train_start) // every, dtype=np.int64)[::-1]
        usable = (cuts >= self.train_start) & (cuts + shortest <= end)
        if split == features.RECENT_SPLIT:
            usable &= cuts + horizon > self.train_until
        return cuts[usable]


def boundary(value: str, first: int, last: int) -> int:
    """A moment given as an ISO date or as a share of the time range.

    Args:
      value: such as "2011-10-01" (UTC) or "0.8".
      first, last: the range of the events' times, in seconds.

    Returns:
      Seconds since 1970-01-01 UTC. The share "1.0" lies just after the last event.

    Raises:
      SettingsError: if the value is neither; a year alone, such as "2012", is none.
    """
    try:
        share = float(value)
    except ValueError:
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise settings_lib.SettingsError(
                f"a boundary is {value!r}; expected an ISO date or a share such as 0.8."
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return int(moment.timestamp())
    if not 0 <= share <= 1:
        raise settings_lib.SettingsError(f"a boundary is {value!r}; expected an ISO date or a share from 0 to 1.")
    return first + round((last + 1 - first) * share)


def iso(moment: int) -> str:
    """A moment as a person reads it, to the minute, UTC."""
    return str(np.datetime64(int(moment), "s"))[:16].replace("T", " ")
