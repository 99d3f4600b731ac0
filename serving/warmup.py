"""Warm-up requests inside the SavedModel: TensorFlow Serving runs them before a version is AVAILABLE."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving import contract
from serving.client import build_inputs
from serving.requests import Request

#: Where TensorFlow Serving looks for them in a version directory.
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    version_dir: str,
    model_name: str,
    requests: Sequence[Request],
    context_columns: tuple[str, ...],
    signatures: Sequence[str],
) -> int:
    """Writes one record per request and named signature.

    Args:
      version_dir: the SavedModel.
      model_name: under which it is served.
      requests: typical ones, with candidates.
      context_columns: declared context columns.
      signatures: that the SavedModel has; `serving_default` takes no requests.

    Returns:
      The number of records (TensorFlow Serving takes 1,000 at most).
    """
    logs = []
    for signature in signatures:
        if signature == contract.SERVING_DEFAULT:
            continue
        for request in requests:
            log = _log(model_name, signature)
            for name, values in build_inputs(signature, [request], context_columns).items():
                log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            logs.append(log)
    path = f"{version_dir}/{WARMUP_FILE}"
    tf.io.gfile.makedirs(path.rsplit("/", 1)[0])
    with tf.io.TFRecordWriter(path) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return len(logs)


def _log(model_name: str, signature: str) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
