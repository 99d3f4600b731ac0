"""Collects tasks into batches, in a queue for each kind of run, and lets few batches of all queues run at a time."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import threading
import time
import weakref
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


@dataclasses.dataclass(eq=False)
class _Batch:
    tasks: list[BatchTask] = dataclasses.field(default_factory=list)
    rows: int = 0
    #: Nothing more is waited for.
    complete: threading.Event = dataclasses.field(default_factory=threading.Event)


class BatchScheduler:
    """Limits how many batches run at the same time, of all queues together.

    Args:
      threads: that limit.
      name: of the threads that run the further batches of requests that were split.
    """

    def __init__(self, threads: int, name: str) -> None:
        self.slots = threading.BoundedSemaphore(threads)
        self.name = name
        self._lock = threading.Lock()
        self._queues: weakref.WeakSet[BatchQueue] = weakref.WeakSet()
        self._closed = False

    def add(self, queue: BatchQueue) -> None:
        """Takes a queue along to where it is closed, at once if that has been."""
        with self._lock:
            self._queues.add(queue)
            closed = self._closed
        if closed:
            queue.close()

    def close(self) -> None:
        """Lets what waits for others run at once, now and from now on."""
        with self._lock:
            self._closed = True
            queues = list(self._queues)
        for queue in queues:
            queue.close()


class BatchQueue:
    """Tasks of one kind. The last batch is open, the others wait for their turn.

    Follows a queue of TensorFlow's SharedBatchScheduler, but for who runs a batch: the caller whose task opened it,
    once it is complete, its time has come, and few enough others run. So a request that finds nobody else is run where
    it is, without waking a thread.

    Args:
      options: of the queue.
      scheduler: which it shares with others.
      process: runs a batch and sets the outputs of every task.
    """

    def __init__(
        self, options: BatchingOptions, scheduler: BatchScheduler, process: Callable[[list[BatchTask]], None]
    ) -> None:
        self._options = options
        self._scheduler = scheduler
        self._process = process
        self._lock = threading.Lock()
        self._closed = False
        self._batches = collections.deque([_Batch()])
        scheduler.add(self)

    @property
    def waiting(self) -> int:
        """How many batches wait, the open one included if there is anything in it."""
        return len(self._batches) - (not self._batches[-1].tasks)

    def run(self, task: BatchTask) -> list[dict[str, np.ndarray]]:
        """Runs a task in a batch with others.

        Returns:
          The outputs of the parts that it was split into, one if it was not.

        Raises:
          ServingError: INVALID_ARGUMENT for too many rows, UNAVAILABLE when too many batches wait, and whatever
            `process` has set.
        """
        with self._lock:
            self._check_capacity(task)
            parts = self._split(task)
            opened = [batch for batch in map(self._add, parts) if batch]
        for batch in opened[1:]:
            threading.Thread(target=self._lead, args=(batch,), name=self._scheduler.name, daemon=True).start()
        if opened:
            self._lead(opened[0])
        return [part.outputs.result() for part in parts]

    def close(self) -> None:
        """Lets what waits for others run at once, now and from now on."""
        with self._lock:
            self._closed = True
            for batch in self._batches:
                batch.complete.set()

    def _split(self, task: BatchTask) -> list[BatchTask]:
        most = self._options.max_execution_batch_size
        free = most - self._batches[-1].rows
        if not self._options.enable_large_batch_splitting or task.rows <= free:
            return [task]
        sizes, left = [free] if free else [], task.rows - free
        while left:
            sizes.append(min(left, most))
            left -= sizes[-1]
        return task.parts(sizes)

    def _add(self, task: BatchTask) -> _Batch | None:
        """Puts a task into a batch; the batch, if the task is its first. Holds the lock."""
        most = self._options.max_execution_batch_size
        if self._batches[-1].rows + task.rows > most:
            self._batches[-1].complete.set()
            self._batches.append(_Batch())
        batch = self._batches[-1]
        batch.tasks.append(task)
        batch.rows += task.rows
        if batch.rows >= most or self._closed:
            batch.complete.set()
        return batch if len(batch.tasks) == 1 else None

    def _lead(self, batch: _Batch) -> None:
        """Waits until a batch may run, and runs it."""
        seconds = self._options.batch_timeout_micros / 1e6
        if seconds:
            batch.complete.wait(max(0.0, batch.tasks[0].enqueued + seconds - time.monotonic()))
        with self._scheduler.slots:
            with self._lock:
                if batch is self._batches[-1]:
                    self._batches.append(_Batch())
                self._batches.remove(batch)
            try:
                self._process(batch.tasks)
            except Exception as failure:
                log.exception("A batch failed in the server itself")
                for task in batch.tasks:
                    if not task.outputs.done():
                        task.outputs.set_exception(failure)

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
