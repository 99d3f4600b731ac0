"""Times as texts: ISO dates and times, UTC where they name no zone."""

from __future__ import annotations

import datetime

#: Seconds of an hour and of a day.
HOUR, DAY = 3600.0, 86400.0


def seconds(text: str) -> float:
    """Seconds since 1970-01-01 UTC of an ISO date or time, such as 2024-06-03 or 2024-06-03T08:00:00Z.

    Raises:
      ValueError: for a text that is neither.
    """
    try:
        # Python 3.10 reads no Z.
        moment = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; expected one such as 2024-06-03T08:00:00Z.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp()


def iso(moment: float) -> str:
    """The ISO time, to the second, of seconds since 1970-01-01 UTC."""
    found = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)
    return found.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def day(moment: float) -> str:
    """The date in UTC, such as 2024-06-03, of seconds since 1970-01-01 UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).date().isoformat()
