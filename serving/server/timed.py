"""How long requests and their runs take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from serving.server.errors import ServingError
from serving.server.metrics import Metrics
from serving.server.servable import Runner

#: APIs whose one input are examples.
_OF_EXAMPLES = ("Classify", "Regress")
#: Of a name that a caller may choose.
_LONGEST_NAME = 256


class TimedRunner:
    """A runner for the length of one request, whose successful runs are measured, and their examples counted.

    Args:
      runner: that does the work.
      metrics: take the time.
      model_name: as the request names it.
      api: `Predict`, `Classify` or `Regress`; other runs are not measured.
    """

    def __init__(self, runner: Runner, metrics: Metrics, model_name: str, api: str) -> None:
        self.signatures = runner.signatures
        self._runner = runner
        self._metrics = metrics
        self._model_name = model_name
        self._api = api

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None = None
    ) -> list[np.ndarray]:
        """As `Servable.run`."""
        started = time.perf_counter()
        arrays = self._runner.run(feeds, fetches, timeout_ms)
        microseconds = (time.perf_counter() - started) * 1e6
        self._metrics.runtime_latency.add(self._model_name, self._api, "TF1", value=microseconds)
        if self._api in _OF_EXAMPLES:
            examples = sum(map(len, feeds.values()))
            self._metrics.example_counts.add(self._model_name, value=examples)
            self._metrics.example_count_total.add(self._model_name, amount=examples)
        return arrays


@contextlib.contextmanager
def measured_request(
    metrics: Metrics, model_name: str, known: Callable[[str], bool], api: str, entrypoint: str
) -> Iterator[None]:
    """Counts a request by its outcome, and takes its time if it succeeds.

    Args:
      metrics: take both.
      model_name: as the request names it.
      known: whether there is such a model; the names that callers invent are counted only up to a limit.
      api: method, as `Predict` (gRPC) or `predict` (REST).
      entrypoint: `GRPC` or `REST`.
    """
    name, model_name = model_name, model_name[:_LONGEST_NAME]
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        status = error.code.name if isinstance(error, ServingError) else "INTERNAL"
        metrics.request_count.add(model_name, status, invented=not known(name))
        raise
    metrics.request_count.add(model_name, "OK")
    microseconds = (time.perf_counter() - started) * 1e6
    metrics.request_latency.add(model_name, api, entrypoint, value=microseconds)
