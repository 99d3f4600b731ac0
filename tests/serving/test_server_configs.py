"""The files of configs/serving: each parses as the message the server reads it as, and they fit together."""

import importlib.resources
import re

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.server import textproto
from serving.server.batching_options import BatchingOptions
from serving.server.flags import parse_flags

CONFIGS = importlib.resources.files("configs") / "serving"
_INT64, _STRING, _BOOL = 3, 9, 8
#: Of session_bundle_config.proto and monitoring_config.proto, which the API package lacks: name -> (number, type),
#: "[]" repeated; a str is a message.
WRAPPED = {"value": (1, _INT64)}
FLAG = {"value": (1, _BOOL)}
MESSAGES = {
    "Int64Value": WRAPPED,
    "BoolValue": FLAG,
    "BatchingParameters": {
        "max_batch_size": (1, "Int64Value"),
        "batch_timeout_micros": (2, "Int64Value"),
        "max_enqueued_batches": (3, "Int64Value"),
        "num_batch_threads": (4, "Int64Value"),
        "pad_variable_length_inputs": (7, _BOOL),
        "enable_large_batch_splitting": (8, "BoolValue"),
        "max_execution_batch_size": (9, "Int64Value"),
    },
    "PrometheusConfig": {"enable": (1, _BOOL), "path": (2, _STRING)},
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
}


def parse(name, message_name):
    file = descriptor_pb2.FileDescriptorProto(name="config.proto", syntax="proto3")
    for message_type, fields in MESSAGES.items():
        message = file.message_type.add(name=message_type)
        for field, (number, kind) in fields.items():
            made = message.field.add(name=field, number=number, label=1)
            if isinstance(kind, str):
                made.type, made.type_name = 11, f".{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(message_name))
    return text_format.Parse((CONFIGS / name).read_text(encoding="utf-8"), kind())


@pytest.fixture(scope="module")
def service():
    found = yaml.safe_load((CONFIGS / "compose.yaml").read_text(encoding="utf-8"))["services"]["serving"]
    # As they are when no variable is set that has a default.
    found["command"] = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", flag) for flag in found["command"]]
    return found


def test_compose_points_at_the_files_that_are_there(service):
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in service["command"])
    mounted = {volume.split(":")[-2]: volume.split(":")[0] for volume in service["volumes"]}
    assert mounted["/config"] == "."
    for flag in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        folder, _, name = flags[flag].rpartition("/")
        assert folder == "/config"
        assert (CONFIGS / name).is_file()
    assert flags["enable_batching"] == "true"
    assert [port.rpartition(":")[2] for port in service["ports"]] == [flags["port"], flags["rest_api_port"]]
    assert service["image"] == "tensorflow/serving:2.15.1"


def test_models(service):
    text = (CONFIGS / "models.config").read_text(encoding="utf-8")
    (model,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (model.name, model.model_platform) == ("ranker", "tensorflow")
    assert model.base_path in {volume.split(":")[-2] for volume in service["volumes"]}
    assert model.model_version_policy.latest.num_versions == 1


def test_batching_pads_variable_lengths():
    batching = parse("batching.config", "BatchingParameters")
    assert batching.pad_variable_length_inputs
    assert batching.enable_large_batch_splitting.value
    assert 0 < batching.max_execution_batch_size.value <= batching.max_batch_size.value


def test_monitoring():
    prometheus = parse("monitoring.config", "MonitoringConfig").prometheus_config
    assert prometheus.enable
    assert prometheus.path.startswith("/")


def test_the_embedded_server_takes_the_same_flags_and_files(service, capsys):
    flags = parse_flags(service["command"])
    assert capsys.readouterr().err == ""
    assert flags.enable_batching
    assert flags.model_config_file == "/config/models.config"
    models = textproto.read_text_proto(CONFIGS / "models.config", textproto.ModelServerConfig)
    assert models.model_config_list.config[0].name == "ranker"
    parameters = textproto.read_text_proto(CONFIGS / "batching.config", textproto.BatchingParameters)
    expected = parse("batching.config", "BatchingParameters")
    assert parameters.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    options = BatchingOptions.from_proto(parameters)
    assert options.max_execution_batch_size == expected.max_execution_batch_size.value
    assert options.batch_timeout_micros == expected.batch_timeout_micros.value
    monitoring = textproto.read_text_proto(CONFIGS / "monitoring.config", textproto.MonitoringConfig)
    assert monitoring.prometheus_config.enable
