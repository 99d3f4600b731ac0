"""From a version directory to what answers requests: the Session, its batching, its warm-up."""

from __future__ import annotations

import pathlib

import tensorflow as tf

from serving.server.batch_scheduler import BatchScheduler
from serving.server.batched import BatchedServable
from serving.server.batching_options import BatchingOptions
from serving.server.errors import invalid_argument
from serving.server.flags import Flags
from serving.server.metrics import Metrics
from serving.server.servable import LoadedRunner, Servable
from serving.server.textproto import BatchingParameters, read_text_proto
from serving.server.warmup import run_warmup

BATCHING_FILE = "batching_params.pbtxt"
_DEFAULT_POOL = "model_server_batch_threads"


class Loader:
    """Loads versions as the flags say.

    Args:
      flags: of the server.
      metrics: of the server.

    Raises:
      ServingError: for flags that contradict each other, or a file of batching parameters that is refused.
    """

    def __init__(self, flags: Flags, metrics: Metrics) -> None:
        self._flags = flags
        self._metrics = metrics
        self._session_config = _session_config(flags)
        self._batching: BatchingOptions | None = None
        self._scheduler: BatchScheduler | None = None
        if flags.enable_batching:
            proto = BatchingParameters()
            proto.thread_pool_name.value = _DEFAULT_POOL
            if flags.batching_parameters_file:
                proto = read_text_proto(flags.batching_parameters_file, BatchingParameters)
            self._batching = BatchingOptions.from_proto(proto)
            self._scheduler = BatchScheduler(self._batching.num_batch_threads, self._batching.thread_pool_name)
        elif flags.batching_parameters_file:
            raise invalid_argument(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            )

    def load(self, path: pathlib.Path) -> LoadedRunner:
        """A version, ready to answer.

        Raises:
          ServingError: when it cannot be loaded, or its own batching parameters or warm-up requests fail.
        """
        flags = self._flags
        runner: LoadedRunner = Servable(path, flags.saved_model_tags.split(","), self._session_config)
        try:
            batching = self._options(path)
            if batching and self._scheduler:
                assert isinstance(runner, Servable)
                runner = BatchedServable(runner, batching, self._scheduler, self._metrics)
            if flags.enable_model_warmup:
                run_warmup(runner, path, self._metrics, max(1, flags.num_request_iterations_for_warmup))
        except BaseException:
            runner.close()
            raise
        return runner

    def close(self) -> None:
        """Lets batches that wait for more requests run at once."""
        if self._scheduler:
            self._scheduler.close()

    def _options(self, path: pathlib.Path) -> BatchingOptions | None:
        if not self._flags.enable_per_model_batching_parameters or not self._batching:
            return self._batching
        file = path / BATCHING_FILE
        return BatchingOptions.from_proto(read_text_proto(file, BatchingParameters)) if file.exists() else None


def _session_config(flags: Flags) -> tf.compat.v1.ConfigProto:
    both = flags.tensorflow_session_parallelism
    intra, inter = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    if both > 0 and intra > 0 and inter > 0:
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    if intra <= 0 and inter <= 0:
        intra = inter = both
    return tf.compat.v1.ConfigProto(intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter)
