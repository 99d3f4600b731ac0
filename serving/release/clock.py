"""Times as the journal and the experiment have them."""

from __future__ import annotations

import datetime


def now() -> str:
    """The moment in UTC, such as 2024-06-03T08:00:00.000Z."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def seconds(text: str) -> float:
    """Seconds since 1970-01-01 UTC of what `now` wrote.

    Raises:
      ValueError: for anything else.
    """
    moment = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
