"""The steps of a call, as the two clients carry them out.

A call is a generator that yields `Attempt` (send this; the answer is sent in, or the error thrown in) and `Pause`, and
returns the result. `Client` and `AsyncClient` only differ in how they wait, as httpx does it with authentication flows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

#: Seconds before retries: the first at most, then twice as many each time up to a most; chance takes off up to a half.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
#: Seconds, a year of them: gRPC takes a number that is too large for it as one that is over.
LONGEST_TIMEOUT = 365 * 86400

Result = TypeVar("Result")


@dataclass(frozen=True)
class Attempt:
    """One message to send.

    Attributes:
      method: a key of `protos.METHODS`.
      request: its message.
      timeout: seconds; None for no limit.
      headers: gRPC's metadata.
    """

    method: str
    request: Any
    timeout: float | None
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


Steps = Generator[Attempt | Pause, Any, Result]


class Asked:
    """Which version one call asks, and until when.

    Args:
      version: None for the newest, or the one with the label.
      label: of a version, such as "stable"; None for none.
      timeout: seconds that the call may take, retries included; none are left from 0 on; None for no limit.

    Raises:
      ValueError: for a version and a label, or no number of seconds up to a year.
    """

    def __init__(self, version: int | None, label: str | None, timeout: float | None) -> None:
        if version is not None and label is not None:
            raise ValueError(f"Version {version} and label {label!r} are asked for at once; expected one of them.")
        if timeout is not None and not timeout <= LONGEST_TIMEOUT:
            raise ValueError(f"`timeout` is {timeout}; expected at most {LONGEST_TIMEOUT} seconds, or None.")
        self.version = version
        self.label = label
        self.timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds until the deadline, not below 0."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def backoff(retries: int) -> Iterator[float]:
    """Seconds to wait before each retry: exponential, with jitter so that clients do not come back all at once."""
    longest = _FIRST_PAUSE
    for _ in range(retries):
        yield random.uniform(longest / 2, longest)
        longest = min(2 * longest, _LONGEST_PAUSE)
