"""GetModelMetadata and GetModelStatus: what is there, and in what state."""

from __future__ import annotations

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.server.errors import ServingError, invalid_argument
from serving.server.models import Models
from serving.server.servable import LoadedRunner

SIGNATURE_DEF = "signature_def"


def get_model_metadata(
    models: Models[LoadedRunner], request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """All signatures of a version.

    Raises:
      ServingError: INVALID_ARGUMENT for fields other than `signature_def`, NOT_FOUND for what is not served.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with models.use(request.model_spec) as (runner, version):
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in runner.signatures.items():
            signatures.signature_def[name].CopyFrom(signature.proto)
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.metadata[SIGNATURE_DEF].Pack(signatures)
    return response


def get_model_status(
    models: Models[LoadedRunner], request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """State of every version ever tried, highest first, or of one; a label is not looked at.

    The text of a failed load is TensorFlow Serving's own and may name files of the server; it holds no request's data.

    Raises:
      ServingError: NOT_FOUND when there is none.
    """
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    statuses, what = models.statuses(spec.name), "any versions"
    if spec.HasField("version"):
        statuses = [status for status in statuses if status.version == spec.version.value]
        what = f"version {spec.version.value}"
    if not statuses:
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"Could not find {what} of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        item = response.model_version_status.add(version=status.version, state=int(status.state))
        item.status.SetInParent()
        if status.error:
            item.status.error_code = status.error.code.value[0]
            item.status.error_message = status.error.message
    return response
