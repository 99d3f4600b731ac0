"""What Prometheus' metrics say of the requests to stable, or to the canary, since one began to look."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from serving.release.errors import ReleaseError
from serving.release.selector import Selector
from serving.release.watch_settings import ArmMetrics

_SECONDS = 10.0
#: name, labels, value
Sample = tuple[str, dict[str, str], float]


@dataclass(frozen=True)
class Counts:
    """Requests since one began to look.

    Attributes:
      requests: how many.
      errors: how many of them failed.
      latency: their mean, in the histogram's own unit; None without one, or without requests.
    """

    requests: float
    errors: float
    latency: float | None


class Traffic:
    """Adds up by how much counters rise from look to look; one that falls belongs to a process that started anew.

    Args:
      metrics: where they are found.
      read: URL -> samples; raises a ReleaseError for what cannot be read.

    Attributes:
      unread: why pages could not be read in the last look; what they count meanwhile is in the next one.
    """

    def __init__(self, metrics: ArmMetrics, read: Callable[[str], Sequence[Sample]]) -> None:
        self._pages = metrics.pages
        self._read = read
        latency = Selector.parse(metrics.latency) if metrics.latency else None
        self._selectors = {"requests": Selector.parse(metrics.requests), "errors": Selector.parse(metrics.errors)}
        if latency:
            self._selectors |= {"seconds": latency.part("_sum"), "timed": latency.part("_count")}
        self._risen = dict.fromkeys(self._selectors, 0.0)
        self._seen: dict[str, dict[tuple[str, str], float]] = {}
        self.unread: list[str] = []

    def look(self) -> Counts:
        """What has come since the first look, which counts nothing.

        Raises:
          ReleaseError: if no page can be read.
        """
        self.unread = []
        for page in self._pages:
            try:
                samples = self._read(page)
            except ReleaseError as error:
                self.unread.append(str(error))
                if len(self.unread) == len(self._pages):
                    raise
                continue
            now: dict[tuple[str, str], float] = {}
            before = self._seen.get(page)
            for what, selector in self._selectors.items():
                for name, labels, value in samples:
                    if not selector.matches(name, labels):
                        continue
                    key = what, f"{name}{sorted(labels.items())}"
                    now[key] = value
                    if before is not None:
                        last = before.get(key, 0.0)
                        self._risen[what] += value - last if value >= last else value
            self._seen[page] = now
        timed = self._risen.get("timed", 0.0)
        return Counts(
            self._risen["requests"], self._risen["errors"], self._risen["seconds"] / timed if timed > 0 else None
        )


def read_page(url: str) -> list[Sample]:
    """The samples of a page.

    Raises:
      ReleaseError: if it cannot be read.
    """
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            text = answer.read().decode("utf-8")
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ReleaseError(f"{url}: holds no metrics that could be read ({error}).") from None
