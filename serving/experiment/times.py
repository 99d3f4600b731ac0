"""Times in seconds, and as texts: ISO dates and times, UTC where they name no zone."""

from __future__ import annotations

import datetime

#: Seconds of an hour and of a day.
HOUR, DAY = 3600.0, 86400.0
#: The year 10000, which no date can name.
_END = 253402300800.0


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


def check(moment: float) -> None:
    """Raises a ValueError for what are no seconds since 1970: milliseconds are thousands of years ahead."""
    if not 0 <= moment < _END:
        raise ValueError(f"`time` is {moment}; expected seconds since 1970-01-01 UTC, before the year 10000.")


def day(moment: float) -> str:
    """The date in UTC, such as 2024-06-03, of seconds since 1970-01-01 UTC."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).date().isoformat()
