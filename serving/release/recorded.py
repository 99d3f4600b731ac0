"""Requests that were really made: warm-up of a version, and questions to compare two versions by."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from serving import contract, protos
from serving.client import build_inputs
from serving.client.tensors import fill_tensor
from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel
from serving.requests import Request

#: Where a version has its warm-up requests.
WARMUP_FILE = pathlib.Path("assets.extra") / "tf_serving_warmup_requests"
#: TensorFlow Serving takes no more.
MOST_RECORDS = 1000
_JSON_LINES = (".jsonl", ".ndjson", ".json")


class RecordedRequests:
    """Requests of a file.

    Args:
      path: JSON lines (by the ending .jsonl), each an object with fields of `serving.requests.Request`, which stand for
        all signatures; or a TFRecord of TensorFlow Serving's PredictionLog, each for its own signature (imports
        TensorFlow).

    Raises:
      ReleaseError: if it cannot be read; the sentence names the line.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._requests: list[Request] = []
        self._logs: list[Any] = []
        if path.suffix in _JSON_LINES:
            self._requests = _read_lines(path)
        else:
            self._logs = _read_records(path)
        if not self._requests and not self._logs:
            raise ReleaseError(f"{path}: holds no request.")

    def questions(self, model: SavedModel, name: str, most: int = MOST_RECORDS) -> list[Any]:
        """PredictRequests (`serving.protos`) for the named signatures of a model, the newest ones.

        Args:
          model: whose signatures are asked.
          name: of the model on a server.
          most: at most so many.

        Raises:
          ReleaseError: for a recorded request that the model does not take.
        """
        made = []
        for log in self._logs:
            self._check(log, model)
            question = protos.PredictRequest.FromString(log.SerializeToString())
            question.model_spec.name = name
            question.model_spec.ClearField("version")
            question.model_spec.ClearField("version_label")
            made.append(question)
        signatures = _named(model)
        for request in self._newest(most, signatures):
            for signature in signatures:
                if signature == contract.RANK and not request.candidates:
                    continue
                question = protos.PredictRequest()
                question.model_spec.name, question.model_spec.signature_name = name, signature
                for alias, array in self._inputs(signature, request, model).items():
                    fill_tensor(question.inputs[alias], array)
                made.append(question)
        return made[-most:]

    def write_warmup(self, model: SavedModel, name: str) -> int:
        """Writes the newest of them into a version, for every signature; imports TensorFlow.

        Args:
          model: the version, not yet served.
          name: of the model on a server.

        Returns:
          The number of records, at most 1,000.

        Raises:
          ReleaseError: for a recorded request that the model does not take.
        """
        from serving.warmup import write_warmup

        if self._requests:
            signatures = _named(model)
            requests = self._newest(MOST_RECORDS, signatures)
            for request in requests:
                self._inputs(contract.RANK, request, model)
            return write_warmup(str(model.path), name, requests, model.context_columns, signatures)
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        logs = self._logs[-MOST_RECORDS:]
        file = model.path / WARMUP_FILE
        file.parent.mkdir(exist_ok=True)
        with tf.io.TFRecordWriter(str(file)) as writer:
            for log in logs:
                self._check(log, model)
                record = prediction_log_pb2.PredictionLog()
                record.predict_log.request.CopyFrom(log)
                writer.write(record.SerializeToString())
        return len(logs)

    def _newest(self, most: int, signatures: Sequence[str]) -> list[Request]:
        return self._requests[-max(1, most // max(1, len(signatures))) :]

    def _inputs(self, signature: str, request: Request, model: SavedModel) -> dict[str, Any]:
        try:
            return build_inputs(signature, [request], model.context_columns)
        except ValueError as error:
            raise ReleaseError(f"{self.path}: a request does not fit {model.path}: {error}") from None

    def _check(self, log: Any, model: SavedModel) -> None:
        signature = log.model_spec.signature_name or contract.SERVING_DEFAULT
        if signature not in model.signatures:
            raise ReleaseError(f"{self.path}: has a request for the signature {signature}, which {model.path} lacks.")
        wanted = set(model.signatures[signature].inputs)
        if not wanted - model.optional[signature] <= set(log.inputs) <= wanted:
            raise ReleaseError(
                f"{self.path}: has a request for {signature} with the inputs {', '.join(sorted(log.inputs))}; "
                f"{model.path} takes {', '.join(sorted(wanted))}."
            )


def _named(model: SavedModel) -> list[str]:
    """Signatures of a model that take a `Request`."""
    return [name for name in contract.OUTPUTS if name in model.signatures and name != contract.SERVING_DEFAULT]


def _read_lines(path: pathlib.Path) -> list[Request]:
    known = [field.name for field in dataclasses.fields(Request)]
    requests = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            content = json.loads(line)
        except ValueError:
            raise ReleaseError(f"{where} is no JSON; expected an object on each line.") from None
        if not isinstance(content, dict):
            raise ReleaseError(f"{where} holds {content!r}; expected an object.")
        unknown = sorted(content.keys() - set(known))
        if unknown:
            raise ReleaseError(f"{where} has the unknown key `{unknown[0]}`; expected some of {', '.join(known)}.")
        try:
            requests.append(Request(**content))
            for signature in (contract.RANK, contract.RECOMMEND):
                build_inputs(signature, requests[-1:], tuple(requests[-1].context))
        except (ValueError, TypeError, AttributeError) as error:
            raise ReleaseError(f"{where} is no request: {error}") from None
    return requests


def _read_records(path: pathlib.Path) -> list[Any]:
    import tensorflow as tf
    from google.protobuf import message
    from tensorflow_serving.apis import prediction_log_pb2

    logs = []
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.HasField("predict_log"):
                logs.append(log.predict_log.request)
    except tf.errors.NotFoundError:
        raise ReleaseError(f"{path}: is not there.") from None
    except (tf.errors.OpError, message.DecodeError):
        raise ReleaseError(f"{path}: is no TFRecord of PredictionLog.") from None
    return logs
