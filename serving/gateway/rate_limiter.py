"""How often each token may call."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.gateway.settings import AccessSettings
from serving.gateway.tokens import Token


class RateLimiter:
    """A token bucket for each token: it holds `burst` requests, and fills by `rate` a second.

    It counts within this process: two gateways let through twice as much.

    Args:
      settings: for tokens that say no rate of their own.
      clock: seconds that never go back.

    Example:
      >>> limiter = RateLimiter(AccessSettings(rate=2, burst=1), clock=lambda: 0.0)
      >>> shop = Token("shop", "0" * 64)
      >>> limiter.take(shop), limiter.take(shop)
      (0.0, 0.5)
    """

    def __init__(self, settings: AccessSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # name -> (requests left, when that was so)

    def take(self, token: Token) -> float:
        """Takes one request out of the bucket; 0 if there was one, else the seconds until there is one."""
        rate, burst = token.rate or self._settings.rate, token.burst or self._settings.burst
        now = self._clock()
        left, since = self._left.get(token.name, (float(burst), now))
        left = min(float(burst), left + (now - since) * rate)
        if left >= 1:
            self._left[token.name] = left - 1, now
            return 0.0
        self._left[token.name] = left, now
        return (1 - left) / rate
