"""The client's own messages beside those of tensorflow-serving-api, and its configuration files read with those."""

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from serving import protos
from serving.client import ModelConfig, read_model_config, write_model_config
from serving.client.model_config import server_config

REAL = [
    predict_pb2.PredictRequest,
    predict_pb2.PredictResponse,
    get_model_metadata_pb2.GetModelMetadataRequest,
    get_model_metadata_pb2.GetModelMetadataResponse,
    get_model_metadata_pb2.SignatureDefMap,
    get_model_status_pb2.GetModelStatusRequest,
    get_model_status_pb2.GetModelStatusResponse,
    model_management_pb2.ReloadConfigRequest,
    model_management_pb2.ReloadConfigResponse,
]
MODELS = [
    ModelConfig("ranker", "/models/ranker", versions=(3, 5), labels={"stable": 3, "canary": 5}),
    ModelConfig("模型", "/models/模型", latest=2),
]


def compare(own, real, seen):
    """Every field and enum value of ours is there, by name, with its number and type."""
    if own.full_name in seen:
        return
    seen.add(own.full_name)
    assert own.full_name == real.full_name
    for field in own.fields:
        other = real.fields_by_name[field.name]
        what = f"{own.full_name}.{field.name}"
        assert (field.number, field.label) == (other.number, other.label), what
        if (field.type, other.type) != (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM):  # gRPC's codes
            assert field.type == other.type, what
        assert field.containing_oneof is None or other.containing_oneof is not None, what
        if field.message_type:
            assert field.message_type.GetOptions().map_entry == other.message_type.GetOptions().map_entry
            compare(field.message_type, other.message_type, seen)
        if field.enum_type:
            assert field.enum_type.full_name == other.enum_type.full_name
            for value in field.enum_type.values:
                assert other.enum_type.values_by_name[value.name].number == value.number, value.name


def test_messages_are_those_of_tensorflow_serving():
    seen = set()
    for real in REAL:
        compare(getattr(protos, real.DESCRIPTOR.name).DESCRIPTOR, real.DESCRIPTOR, seen)
    assert {"tensorflow.TensorProto", "tensorflow.serving.ModelConfig", "google.protobuf.Any"} <= seen
    assert {name.upper() for name in protos.DATA_TYPES} == {
        types_pb2.DataType.Name(number).removeprefix("DT_") for number in protos.DATA_TYPES.values()
    }


def test_services_are_those_of_tensorflow_serving():
    real = {}
    for module in (prediction_service_pb2, model_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                real[method.name] = (
                    f"/{service.full_name}/{method.name}",
                    method.input_type.full_name,
                    method.output_type.full_name,
                )
    for name, (path, request, response) in protos.METHODS.items():
        assert (path, request.DESCRIPTOR.full_name, response.DESCRIPTOR.full_name) == real[name]


def test_tensorflow_serving_reads_the_configuration_that_is_written(tmp_path):
    file = tmp_path / "models.config"
    write_model_config(file, MODELS)
    real = text_format.Parse(file.read_text(encoding="utf-8"), model_server_config_pb2.ModelServerConfig())
    ranker, other = real.model_config_list.config
    assert (ranker.name, ranker.base_path, ranker.model_platform) == ("ranker", "/models/ranker", "tensorflow")
    assert list(ranker.model_version_policy.specific.versions) == [3, 5]
    assert dict(ranker.version_labels) == {"stable": 3, "canary": 5}
    assert (other.name, other.model_version_policy.latest.num_versions) == ("模型", 2)
    assert real.SerializeToString(deterministic=True) == server_config(MODELS).SerializeToString(deterministic=True)


@pytest.mark.parametrize("as_utf8", [True, False])
def test_a_configuration_that_tensorflow_serving_wrote_is_read(tmp_path, as_utf8):
    real = model_server_config_pb2.ModelServerConfig.FromString(server_config(MODELS).SerializeToString())
    file = tmp_path / "models.config"
    file.write_text(text_format.MessageToString(real, as_utf8=as_utf8), encoding="utf-8")
    assert read_model_config(file) == MODELS


def test_a_reload_is_understood():
    own = protos.ReloadConfigRequest(config=server_config(MODELS))
    real = model_management_pb2.ReloadConfigRequest.FromString(own.SerializeToString())
    assert [config.name for config in real.config.model_config_list.config] == ["ranker", "模型"]
    answer = model_management_pb2.ReloadConfigResponse()
    answer.status.error_code, answer.status.error_message = 3, "no"
    read = protos.ReloadConfigResponse.FromString(answer.SerializeToString())
    assert (read.status.error_code, read.status.error_message) == (3, "no")
