"""Writes logs beside the requests."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from serving.gateway.json_logs import log
from serving.gateway.metrics import Metric, Metrics

_MOST_WAITING = 10_000
WRITTEN, DROPPED = "written", "dropped"


class LogWriter:
    """A thread that writes what is put into its queue, so that no answer waits for a disk.

    A record that finds the queue full, or that cannot be written, is dropped and counted. The end of the process loses
    what is still in the queue, unless it is closed.

    Args:
      metrics: that count.
      most_waiting: records in the queue.
    """

    def __init__(self, metrics: Metrics, most_waiting: int = _MOST_WAITING) -> None:
        self._metrics = metrics
        self._queue: queue.Queue[tuple[Metric, Callable[[], object]] | None] = queue.Queue(most_waiting)
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="log writer", daemon=True)
        self._thread.start()

    def put(self, metric: Metric, write: Callable[[], object]) -> None:
        """Has something written.

        Args:
          metric: that counts it, with the label `result`.
          write: does it; an error means that it could not.
        """
        try:
            self._queue.put_nowait((metric, write))
        except queue.Full:
            self._metrics.add(metric, DROPPED)

    def close(self) -> None:
        """Waits until everything is written."""
        self._queue.put(None)
        self._thread.join()

    def flush(self) -> None:
        """Waits until everything that was put is written or dropped."""
        self._queue.join()

    def _work(self) -> None:
        while (record := self._queue.get()) is not None:
            metric, write = record
            try:
                write()
            except Exception as error:  # whatever is wrong with one record, the next ones are written
                self._metrics.add(metric, DROPPED)
                if not self._failing:  # once, not for every line
                    log("a log cannot be written", logging.ERROR, error, metric=metric.name)
                self._failing = True
            else:
                self._metrics.add(metric, WRITTEN)
                self._failing = False
            finally:
                self._queue.task_done()
