"""Runs the requests that a SavedModel brings along, so that the first caller does not wait for lazy initialisation."""

from __future__ import annotations

import pathlib
import time

import grpc
import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.errors import ServingError, invalid_argument
from serving.server.inference import classify, multi_inference, regress
from serving.server.metrics import Metrics
from serving.server.predict import predict
from serving.server.servable import Runner

WARMUP_FILE = pathlib.Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000
_CALLS = {
    "predict_log": predict,
    "classify_log": classify,
    "regress_log": regress,
    "multi_inference_log": multi_inference,
}


def run_warmup(runner: Runner, path: pathlib.Path, metrics: Metrics, iterations: int = 1) -> int:
    """Runs every record of the version's warm-up file.

    Args:
      runner: of the version, just loaded.
      path: its directory. The file is a TFRecord of PredictionLog.
      metrics: take the time and the number of records.
      iterations: how often each request is run.

    Returns:
      How many records there were; 0 without a file.

    Raises:
      ServingError: for a request that fails, a record that is not one, or one record more than 1000: each of these
        makes the load fail.
    """
    file = path / WARMUP_FILE
    if not file.exists():
        return 0
    started, count, status = time.perf_counter(), 0, "OK"
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            log = _parse(record, count, file)
            for _ in range(iterations):
                _run(runner, log)
            count += 1
            metrics.warmup_records.add(str(path))
            if count > MAX_RECORDS:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
    except Exception as error:
        failure = ServingError.wrap(error)
        if isinstance(error, tf.errors.DataLossError):
            failure.message += ". Please verify your warmup data is in TFRecord format."
        status = failure.code.name
        raise failure from None
    finally:
        metrics.warmup_latency.add(str(path), status, value=(time.perf_counter() - started) * 1e6)
    return count


def _parse(record: bytes, place: int, file: pathlib.Path) -> prediction_log_pb2.PredictionLog:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except message.DecodeError:
        # The real server puts the record itself here: data of users, for whoever asks for the model's status.
        raise invalid_argument(
            f"Failed to parse warmup record: number {place + 1}, {len(record)} bytes, from {file}"
        ) from None


def _run(runner: Runner, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    if kind not in _CALLS:
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    _CALLS[kind](runner, None, getattr(log, kind).request)
