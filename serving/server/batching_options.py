"""How requests are joined: the values of a BatchingParameters message."""

from __future__ import annotations

import dataclasses
import itertools
import os
from typing import Any

from serving.server.errors import invalid_argument


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """The values of `tensorflow.serving.BatchingParameters`, with TensorFlow Serving's defaults.

    Attributes:
      max_batch_size: rows of one request at most.
      batch_timeout_micros: that the first request of a batch waits for others while a thread is free.
      max_enqueued_batches: that wait; beyond them requests are refused.
      num_batch_threads: batches that run at the same time, of all models together.
      thread_pool_name: of these threads.
      allowed_batch_sizes: rising; a batch is filled up to the next of them. Empty: any size.
      pad_variable_length_inputs: fill inputs of different shapes up to the largest of the batch.
      enable_large_batch_splitting: spread requests of more than `max_execution_batch_size` rows over several batches.
      max_execution_batch_size: rows of one batch at most; with splitting only, else `max_batch_size`.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000

    @classmethod
    def from_proto(cls, proto: Any) -> BatchingOptions:
        """The options that a message spells.

        Args:
          proto: `textproto.BatchingParameters`.

        Raises:
          ServingError: INVALID_ARGUMENT for values that do not fit each other.
        """
        given: dict[str, Any] = {}
        for descriptor, value in proto.ListFields():
            if descriptor.name == "allowed_batch_sizes":
                given[descriptor.name] = tuple(value)
            else:
                given[descriptor.name] = getattr(value, "value", value)
        options = cls(**given)
        if not options.enable_large_batch_splitting or "max_execution_batch_size" not in given:
            options = dataclasses.replace(options, max_execution_batch_size=options.max_batch_size)
        if not options.enable_large_batch_splitting:
            options = dataclasses.replace(options, max_enqueued_batches=max(1, options.max_enqueued_batches))
        options._check()
        return options

    def padded(self, rows: int) -> int:
        """The size that a batch of so many rows is filled up to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def _check(self) -> None:
        sizes = self.allowed_batch_sizes
        for name, value in (
            ("max_batch_size", self.max_batch_size),
            ("max_enqueued_batches", self.max_enqueued_batches),
            ("num_batch_threads", self.num_batch_threads),
            ("max_execution_batch_size", self.max_execution_batch_size),
        ):
            if value < 1:
                raise invalid_argument(f"{name} must be positive; was {value}")
        if self.batch_timeout_micros < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.max_batch_size < self.max_execution_batch_size:
            raise invalid_argument(
                "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
                "max_execution_batch_size."
            )
        if any(second <= first for first, second in itertools.pairwise(sizes)):
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.max_batch_size:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.max_batch_size}"
            )
