"""A servable whose runs are joined with those of other requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

import grpc
import numpy as np

from serving.server import batch_arrays, tensors
from serving.server.batch_scheduler import BatchQueue, BatchScheduler, BatchTask
from serving.server.batching_options import BatchingOptions
from serving.server.errors import ServingError, invalid_argument
from serving.server.metrics import Metrics
from serving.server.servable import Servable

_MOST_QUEUES = 256
#: What a queue is for: names and ranks of the inputs, names of the outputs.
_Key = tuple[tuple[tuple[str, int], ...], tuple[str, ...]]


class BatchedServable:
    """Joins runs with the same inputs and outputs along the first dimension, and gives each caller its rows.

    As TensorFlow Serving's batching session, with these differences: a request that is sure to fail by its types or
    its empty inputs fails alone, one without rows runs alone, and requests whose inputs differ in the number of
    dimensions do not meet, for which the real server has no rule.

    Args:
      servable: that runs.
      options: of this version.
      scheduler: shared by all models.
      metrics: take sizes and waiting times.
    """

    def __init__(
        self, servable: Servable, options: BatchingOptions, scheduler: BatchScheduler, metrics: Metrics
    ) -> None:
        self.signatures = servable.signatures
        self._servable = servable
        self._options = options
        self._scheduler = scheduler
        self._metrics = metrics
        self._lock = threading.Lock()
        self._queues: dict[_Key, BatchQueue] = {}

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_ms: int | None = None
    ) -> list[np.ndarray]:
        """As `Servable.run`; waits for others as long as the options say.

        Raises:
          ServingError: as `Servable.run`; INVALID_ARGUMENT for inputs that have no common number of rows, or too
            many; UNAVAILABLE when too much waits; FAILED_PRECONDITION for a batch that does not fit together, or
            whose outputs cannot be divided; RESOURCE_EXHAUSTED when the time of all in the batch is over before the
            run.
        """
        self._servable.check(feeds, fetches)
        self._check_types(feeds)
        rows = batch_arrays.common_rows(feeds)
        for _ in feeds:
            self._metrics.input_batch_size.add(value=rows)
        if not rows:
            return self._servable.run(feeds, fetches, timeout_ms)
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        key = (tuple(sorted((name, array.ndim) for name, array in feeds.items())), tuple(sorted(set(fetches))))
        outputs = self._queue(key).run(BatchTask(feeds, rows, deadline))
        if len(outputs) == 1:
            return [outputs[0][name] for name in fetches]
        return [batch_arrays.join(name, [part[name] for part in outputs]) for name in fetches]

    def close(self) -> None:
        """Frees the model's memory; no request may be under way."""
        self._queues = {}
        self._servable.close()

    def _queue(self, key: _Key) -> BatchQueue:
        with self._lock:
            if key not in self._queues:
                if len(self._queues) >= _MOST_QUEUES:
                    self._queues = {old: queue for old, queue in self._queues.items() if queue.waiting}
                fetches = list(key[1])
                self._queues[key] = BatchQueue(
                    self._options, self._scheduler, lambda tasks: self._process(tasks, fetches)
                )
            return self._queues[key]

    def _check_types(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Refuses what the Session would refuse, with its text."""
        for place, name in enumerate(sorted(feeds)):
            expected, given = self._servable.dtypes[name], tensors.NUMBERS[feeds[name].dtype]
            if given != expected:
                raise invalid_argument(
                    f"Expects arg[{place}] to be {tensors.dtype_name(expected)} but {tensors.dtype_name(given)} is "
                    "provided"
                )

    def _process(self, tasks: list[BatchTask], fetches: list[str]) -> None:
        try:
            self._check_time(tasks)
            tasks = batch_arrays.refuse_unpaddable(tasks) if self._options.pad_variable_length_inputs else tasks
            if not tasks:
                return
            rows = sum(task.rows for task in tasks)
            size = self._options.padded(rows)
            self._metrics.padding_size.add(str(size), value=size - rows)
            self._metrics.processed_batch_size.add(value=size)
            merged = batch_arrays.merge([task.feeds for task in tasks], size, self._options.pad_variable_length_inputs)
            self._metrics.wrapped_run_count.add()
            arrays = self._servable.run(merged, fetches, _timeout_ms(tasks))
            divided = batch_arrays.split(arrays, [task.rows for task in tasks], size)
        except ServingError as error:
            for task in tasks:
                task.outputs.set_exception(error)
            return
        for task, parts in zip(tasks, divided, strict=True):
            task.outputs.set_result(dict(zip(fetches, parts, strict=True)))

    def _check_time(self, tasks: Sequence[BatchTask]) -> None:
        """Refuses a batch that nobody waits for any more."""
        now = time.monotonic()
        for task in tasks:
            waited = (now - task.enqueued) * 1e6
            self._metrics.queuing_latency.add("", value=waited)  # the real server does not say the pool's name either
        if all(task.deadline is not None and task.deadline <= now for task in tasks):
            raise ServingError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue"
            )


def _timeout_ms(tasks: Sequence[BatchTask]) -> int | None:
    """Of the run: that of the most patient caller."""
    deadlines = [task.deadline for task in tasks]
    if None in deadlines:
        return None
    latest = max(deadline for deadline in deadlines if deadline is not None)
    return max(1, int((latest - time.monotonic()) * 1000))
