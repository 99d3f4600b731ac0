"""Collects tasks into batches, in a queue for each kind of run, and hands them to one pool of threads."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping

import grpc
import numpy as np

from serving.server.batching_options import BatchingOptions
from serving.server.errors import ServingError, invalid_argument

log = logging.getLogger("serving.server")


@dataclasses.dataclass
class BatchTask:
    """One request's rows, or a part of them.

    Attributes:
      feeds: tensor name -> array; all have the same number of rows.
      rows: that number.
      deadline: on the monotonic clock; None for none.
      outputs: of the run, tensor name -> array.
      enqueued: on the monotonic clock.
    """

    feeds: Mapping[str, np.ndarray]
    rows: int
    deadline: float | None = None
    outputs: concurrent.futures.Future[dict[str, np.ndarray]] = dataclasses.field(
        default_factory=concurrent.futures.Future
    )
    enqueued: float = dataclasses.field(default_factory=time.monotonic)

    def parts(self, sizes: list[int]) -> list[BatchTask]:
        """The same rows in tasks of these sizes."""
        tasks, start = [], 0
        for size in sizes:
            feeds = {name: array[start : start + size] for name, array in self.feeds.items()}
            tasks.append(BatchTask(feeds, size, self.deadline, enqueued=self.enqueued))
            start += size
        return tasks


@dataclasses.dataclass
class _Batch:
    tasks: list[BatchTask] = dataclasses.field(default_factory=list)
    rows: int = 0
    opened: float = 0.0


class BatchQueue:
    """Tasks of one kind. The last batch is open, the others wait for a thread.

    Made by `BatchScheduler.add_queue`; `_lock` is the scheduler's.
    """

    def __init__(
        self,
        options: BatchingOptions,
        process: Callable[[list[BatchTask]], None],
        lock: threading.Condition,
    ) -> None:
        self.process = process
        self._options = options
        self._lock = lock
        self._batches = collections.deque([_Batch()])

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return len(self._batches) == 1 and not self._batches[0].tasks

    def schedule(self, task: BatchTask) -> list[BatchTask]:
        """Takes a task.

        Returns:
          The tasks that it was split into, itself if it was not; their outputs follow.

        Raises:
          ServingError: INVALID_ARGUMENT for too many rows, UNAVAILABLE when too many batches wait.
        """
        options = self._options
        with self._lock:
            self._check_capacity(task)
            free = options.max_execution_batch_size - self._batches[-1].rows
            parts = [task]
            if options.enable_large_batch_splitting and task.rows > free:
                sizes, left = [free] if free else [], task.rows - free
                while left:
                    sizes.append(min(left, options.max_execution_batch_size))
                    left -= sizes[-1]
                parts = task.parts(sizes)
            for part in parts:
                if self._batches[-1].rows + part.rows > options.max_execution_batch_size:
                    self._batches.append(_Batch())
                batch = self._batches[-1]
                if not batch.tasks:
                    batch.opened = time.monotonic()
                batch.tasks.append(part)
                batch.rows += part.rows
            if len(self._batches[-1].tasks) == 1 or self.wait_seconds(time.monotonic()) == 0:
                self._lock.notify(len(self._batches))
        return parts

    def wait_seconds(self, now: float) -> float | None:
        """Until a batch may run; 0: now, None: there is none. Holds the lock."""
        if len(self._batches) > 1:
            return 0.0
        batch = self._batches[0]
        if not batch.tasks:
            return None
        if batch.rows >= self._options.max_execution_batch_size:
            return 0.0
        return max(0.0, batch.opened + self._options.batch_timeout_micros / 1e6 - now)

    def pop(self) -> list[BatchTask]:
        """The tasks of the first batch, which is closed. Holds the lock."""
        tasks = self._batches.popleft().tasks
        if not self._batches:
            self._batches.append(_Batch())
        return tasks

    def drain(self) -> list[BatchTask]:
        """All tasks that wait, which are forgotten. Holds the lock."""
        tasks = [task for batch in self._batches for task in batch.tasks]
        self._batches = collections.deque([_Batch()])
        return tasks

    def _check_capacity(self, task: BatchTask) -> None:
        options, waiting, open_rows = self._options, len(self._batches), self._batches[-1].rows
        full = "The batch scheduling queue to which this task was submitted is full"
        if task.rows > options.max_batch_size:
            raise invalid_argument(
                f"Task size {task.rows} is larger than maximum input batch size {options.max_batch_size}"
            )
        if options.enable_large_batch_splitting:
            limit = options.max_execution_batch_size
            capacity = (options.max_enqueued_batches - waiting) * limit + limit - open_rows
            if task.rows > capacity:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    f"{full}; task size is {task.rows} but scheduling capacity is only {capacity} "
                    f"(num_enqueued_batches={waiting}, max_enqueued_batches={options.max_enqueued_batches}, "
                    f"open_batch_size={open_rows}, max_execution_batch_size={limit})",
                )
        elif open_rows + task.rows > options.max_batch_size and waiting >= options.max_enqueued_batches:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE,
                f"{full}; currently {waiting} batches enqueued and max_enqueued_batches is "
                f"{options.max_enqueued_batches}",
            )


class BatchScheduler:
    """Runs the batches of all queues, one queue after the other, in a pool of threads.

    Follows TensorFlow's SharedBatchScheduler.

    Args:
      threads: batches that run at the same time.
      name: of the threads.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._lock = threading.Condition()
        self._queues: collections.deque[BatchQueue] = collections.deque()
        self._closed = False
        for number in range(threads):
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True).start()

    def add_queue(self, options: BatchingOptions, process: Callable[[list[BatchTask]], None]) -> BatchQueue:
        """A queue whose batches are given to `process`, which sets the outputs of every task."""
        queue = BatchQueue(options, process, self._lock)
        with self._lock:
            self._queues.append(queue)
        return queue

    def remove_queue(self, queue: BatchQueue) -> None:
        """Forgets a queue that is empty."""
        with self._lock:
            self._queues.remove(queue)

    def close(self) -> None:
        """Ends the threads after the batches that they run now; what waits fails with UNAVAILABLE."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            waiting = [task for queue in self._queues for task in queue.drain()]
        for task in waiting:
            task.outputs.set_exception(ServingError(grpc.StatusCode.UNAVAILABLE, "The server stops."))

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._closed:
                    queue, seconds = self._next_queue()
                    if queue:
                        break
                    self._lock.wait(seconds)
                else:
                    return
                tasks = queue.pop()
            try:
                queue.process(tasks)
            except Exception as failure:
                log.exception("A batch failed in the server itself")
                for task in tasks:
                    if not task.outputs.done():
                        task.outputs.set_exception(failure)

    def _next_queue(self) -> tuple[BatchQueue | None, float | None]:
        """The next queue with a batch to run, or how long to wait for one."""
        now, shortest = time.monotonic(), None
        for _ in range(len(self._queues)):
            queue = self._queues[0]
            self._queues.rotate(-1)
            seconds = queue.wait_seconds(now)
            if seconds == 0:
                return queue, None
            if seconds is not None and (shortest is None or seconds < shortest):
                shortest = seconds
        return None, shortest
