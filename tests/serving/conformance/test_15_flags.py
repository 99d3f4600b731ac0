"""Section 15: flags; most is put to the class that reads them."""

import os
import socket

import pytest

from serving.server.errors import ServingError
from serving.server.flags import WITHOUT_EFFECT, FlagError, Flags, parse_flags
from serving.server.loading import Loader
from serving.server.metrics import Metrics

CPUS = os.cpu_count()
DEFAULTS = {
    "port": 8500,
    "rest_api_port": 0,
    "model_name": "default",
    "model_base_path": "",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "file_system_poll_wait_seconds": 1,
    "enable_batching": False,
    "batching_parameters_file": "",
    "monitoring_config_file": "",
    "ssl_config_file": "",
    "grpc_channel_arguments": "",
    "grpc_socket_path": "",
    "grpc_max_threads": 4 * CPUS,
    "rest_api_num_threads": 4 * CPUS,
    "rest_api_timeout_in_ms": 30000,
    "num_load_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60000000,
    "enable_model_warmup": True,
    "allow_version_labels_for_unavailable_models": False,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "saved_model_tags": "serve",
    "enable_grpc_healthcheck_service": False,
}


@pytest.mark.embedded
@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_default(name, value):
    assert getattr(parse_flags([]), name) == value


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["num_unload_threads", "prefer_tflite_model"])
def test_the_others_of_the_list_are_known(name, capsys):
    assert name in WITHOUT_EFFECT
    assert parse_flags([f"--{name}=1"]) == Flags()
    assert "unknown argument" not in capsys.readouterr().err


FORMS = [
    (["--port=9000"], {"port": 9000}),
    (["--model_name=a=b"], {"model_name": "a=b"}),
    (["--enable_batching"], {"enable_batching": True}),
    (["--enable_batching=true"], {"enable_batching": True}),
    (["--enable_batching=1"], {"enable_batching": True}),
    (["--enable_model_warmup=false"], {"enable_model_warmup": False}),
    (["--enable_model_warmup=0"], {"enable_model_warmup": False}),
    (["--port=1", "--port=2"], {"port": 2}),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("arguments", "expected"), FORMS)
def test_forms(arguments, expected):
    assert parse_flags(arguments) == Flags(**expected)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        (["--no_such_flag=1"], ["--no_such_flag=1"]),
        (["--port", "9000"], ["--port", "9000"]),  # `--name value` does not parse
        (["-port=9000"], ["-port=9000"]),
        (["stray"], ["stray"]),
    ],
)
def test_unknown_flags_are_said_and_passed_over(arguments, unknown, capsys):
    assert parse_flags(arguments) == Flags()
    assert capsys.readouterr().err.splitlines() == [f"unknown argument: {argument}" for argument in unknown]


@pytest.mark.embedded
@pytest.mark.parametrize(
    "argument",
    ["--port=70000", "--port=-1", "--rest_api_port=70000", "--rest_api_port=-2"]
    + ["--rest_api_num_threads=0", "--grpc_max_threads=0", "--grpc_max_threads=-4"],
)
def test_values_out_of_range(argument):
    name, _, value = argument.removeprefix("--").partition("=")
    with pytest.raises(FlagError, match=f"The flag {name} is {value}; expected"):
        parse_flags([argument])


@pytest.mark.embedded
@pytest.mark.parametrize("argument", ["--port=x", "--port=", "--enable_batching=maybe", "--rest_api_timeout_in_ms=1s"])
def test_values_of_the_wrong_type(argument):
    with pytest.raises(FlagError, match="Couldn't interpret value"):
        parse_flags([argument])


@pytest.mark.embedded
def test_parallelism():
    def threads(**flags):
        config = Loader(Flags(**flags), Metrics())._session_config
        return config.intra_op_parallelism_threads, config.inter_op_parallelism_threads

    assert threads() == (0, 0)
    assert threads(tensorflow_session_parallelism=3) == (3, 3)
    assert threads(tensorflow_intra_op_parallelism=2) == (2, 0)
    assert threads(tensorflow_session_parallelism=3, tensorflow_inter_op_parallelism=2) == (0, 2)
    with pytest.raises(ServingError, match="You cannot configure all"):
        threads(tensorflow_session_parallelism=3, tensorflow_intra_op_parallelism=2, tensorflow_inter_op_parallelism=1)


@pytest.mark.embedded
def test_rest_port_must_differ(serve, shelf, tmp_path, caplog):
    """Sec. 10 and 15: REST is left out then, and the server goes on."""
    shelf.put(tmp_path, 1)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    with serve(model_base_path=tmp_path, port=port, rest_api_port=port) as caller:
        assert caller.half() == (3.0, 1)
        assert caller.server.rest_port is None
    assert "http_port cannot be same as grpc_port" in caplog.text


def test_saved_model_tags(serve, shelf, tmp_path):
    """Sec. 3: `tagged` is saved for serve and gpu."""
    shelf.put(tmp_path / "tagged", 1, "tagged")
    with serve(model_base_path=tmp_path / "tagged", saved_model_tags="gpu,serve") as caller:
        assert caller.half() == (4.0, 1)


@pytest.mark.embedded
def test_saved_model_tags_that_no_graph_has(serve, shelf, tmp_path):
    shelf.put(tmp_path, 1)
    with (
        pytest.raises(ServingError, match="1 servable\\(s\\) did not become available"),
        serve(model_base_path=tmp_path, saved_model_tags="serve,gpu"),
    ):
        pass
