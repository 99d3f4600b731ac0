"""A real server answers for the model before anything counts as pushable."""

import os
import pathlib
import tempfile

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that an exported text encoder needs
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tfx import v1 as tfx
from tfx.utils import io_utils, path_utils

from models import features
from serving import contract
from serving.server.process import ServerProcess
from serving.warmup import WARMUP_FILE

#: Largest difference of an output between the server and the model in this process, absolute and relative.
TOLERANCE = 1e-4

_ONCE = ("--max_num_load_retries=0",)

#: Seconds for the server to have the model ready, and for one answer.
START_SECONDS = 300.0
ANSWER_SECONDS = 60.0

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class ServingError(RuntimeError):
    """The servable does not answer as it should; the message is one sentence for a person."""


@tfx.dsl.components.component
def ServingCheck(
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    model_name: tfx.dsl.components.Parameter[str],
    source_hash: tfx.dsl.components.Parameter[str] = "",
) -> None:
    """Blesses a model that the embedded server serves; raises `ServingError` otherwise, so nothing is pushed.

    Args:
      model: of a Trainer.
      blessing: marked as blessed.
      model_name: under which the server offers it.
      source_hash: of the code of server and check, for the cache only.
    """
    checked = check(path_utils.serving_model_path(model.uri), model_name)
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_string_custom_property("signatures", ", ".join(checked))


def check(model_path: str, model_name: str) -> list[str]:
    """Serves a SavedModel and compares the server's answers with the model's own.

    The requests are the SavedModel's warm-up records and, for signatures without one, neutral ones.

    Args:
      model_path: folder of a SavedModel.
      model_name: under which the server offers it.

    Returns:
      The signatures that were asked, sorted.

    Raises:
      ServingError: if the server does not get ready, refuses a request, or answers otherwise than the model.
    """
    with tempfile.TemporaryDirectory(prefix="serving_check_") as folder:
        version = pathlib.Path(folder, "models", "1")
        version.parent.mkdir()
        if "://" in model_path:
            io_utils.copy_dir(model_path, str(version))
        else:
            version.symlink_to(pathlib.Path(model_path).resolve(), target_is_directory=True)
        try:
            loaded = tf.saved_model.load(str(version))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ServingError(f"{model_path}: is no SavedModel that TensorFlow loads: {error}") from None
        requests = requests_of(version, loaded)
        # transformers sets this for itself; a child of this process would then look for another Keras, and find none.
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        try:
            server = ServerProcess(version.parent, model_name, rest=False, flags=_ONCE, timeout=START_SECONDS)
        except RuntimeError as error:
            what, _, lines = str(error).partition(": ")
            raise ServingError(f"{what}: {lines.rpartition(' | ')[2]}") from None
        with server, grpc.insecure_channel(server.address, options=_UNLIMITED) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for request in requests:
                request.model_spec.name = model_name
                request.model_spec.ClearField("version_choice")
                compare(stub, loaded, request)
    return sorted({request.model_spec.signature_name for request in requests})


def requests_of(model: pathlib.Path, loaded: tf.Module) -> list[predict_pb2.PredictRequest]:
    """At least one request per signature: recorded ones, else a neutral one.

    Args:
      model: folder of the SavedModel.
      loaded: the same, loaded.
    """
    requests = []
    if (model / WARMUP_FILE).is_file():
        for record in tf.data.TFRecordDataset(str(model / WARMUP_FILE)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            if log.HasField("predict_log"):
                requests.append(log.predict_log.request)
    recorded = {request.model_spec.signature_name for request in requests}
    for name, function in loaded.signatures.items():
        if name not in recorded:
            requests.append(_neutral_request(name, function.structured_input_signature[1]))
    return requests


def _neutral_request(signature: str, specs: dict[str, tf.TensorSpec]) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, spec in specs.items():
        if name == contract.EXAMPLES:
            value = np.array([_neutral_example()], object)
        else:
            value = np.full([1] * spec.shape.rank, "" if spec.dtype == tf.string else 0)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, spec.dtype))
    return request


def _neutral_example() -> bytes:
    example = tf.train.Example()
    for name, (dtype, _) in features.REQUEST_FEATURES.items():
        if dtype == "string":
            example.features.feature[name].bytes_list.value.append(b"")
        else:
            example.features.feature[name].int64_list.value.append(0)
    return example.SerializeToString()


def compare(
    stub: prediction_service_pb2_grpc.PredictionServiceStub, loaded: tf.Module, request: predict_pb2.PredictRequest
) -> None:
    """Sends a request and compares the outputs; raises `ServingError` where they differ.

    Names of a ranking may differ where two scores are so close that rounding decides which one comes first.
    """
    signature = request.model_spec.signature_name
    try:
        answer = stub.Predict(request, timeout=ANSWER_SECONDS)
    except grpc.RpcError as error:
        raise ServingError(f"signature {signature}: the server refuses a request: {error.details()}") from None
    inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
    expected = loaded.signatures[signature](**inputs)
    if set(answer.outputs) != set(expected):
        raise ServingError(
            f"signature {signature}: the server answers {sorted(answer.outputs)}; expected {sorted(expected)}."
        )
    ours = {name: tensor.numpy() for name, tensor in expected.items()}
    theirs = {name: tf.make_ndarray(answer.outputs[name]) for name in expected}
    for name, want in ours.items():
        if theirs[name].shape != want.shape:
            raise ServingError(f"signature {signature}: {name} has shape {theirs[name].shape}; expected {want.shape}.")
    for name, want in ours.items():
        got, floating = theirs[name], np.issubdtype(want.dtype, np.floating)
        if floating and np.isnan(want).any():
            raise ServingError(f"signature {signature}: {name} holds NaN; expected numbers.")
        same = _close(got, want) if floating else got == want
        if (scores := contract.RANKED.get(name)) in ours:
            same = same | _changed_places(got, theirs[scores], want, ours[scores])
        if not np.all(same):
            where = tuple(int(i) for i in np.argwhere(~same)[0])
            raise ServingError(
                f"signature {signature}: {name}{list(where)} is {got[where]!r} from the server and {want[where]!r} "
                f"in this process, one of {int(np.sum(~same))} values further apart than {TOLERANCE}."
            )


def _close(got: npt.ArrayLike, want: npt.ArrayLike) -> np.ndarray:
    return np.isclose(got, want, rtol=TOLERANCE, atol=TOLERANCE)


def _changed_places(got: np.ndarray, got_scores: np.ndarray, want: np.ndarray, want_scores: np.ndarray) -> np.ndarray:
    """Where both names of a place, [B, K], have close scores on both sides; one that a side lacks fell off its end."""
    changed = np.zeros(want.shape, bool)
    for row in np.flatnonzero((got != want).any(-1)):
        theirs = dict(zip(got[row], got_scores[row], strict=True))
        ours = dict(zip(want[row], want_scores[row], strict=True))
        in_ours = [ours.get(name, want_scores[row, -1]) for name in got[row]]
        in_theirs = [theirs.get(name, got_scores[row, -1]) for name in want[row]]
        changed[row] = _close(got_scores[row], in_ours) & _close(want_scores[row], in_theirs)
    return changed
