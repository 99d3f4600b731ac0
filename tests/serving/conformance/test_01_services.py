"""Section 1: which gRPC methods there are, and what every error goes through."""

import threading

import grpc
import pytest

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED.name
METHODS = [
    "PredictionService/Predict",
    "PredictionService/Classify",
    "PredictionService/Regress",
    "PredictionService/MultiInference",
    "PredictionService/GetModelMetadata",
    "ModelService/GetModelStatus",
    "ModelService/HandleReloadConfigRequest",
]
#: In the API package and not registered by the server, or not there at all.
OTHERS = ["SessionService/SessionRun", "PredictionService/PredictStreamed", "ModelService/Predict"]


def call(standard, method):
    raw = standard.channel.unary_unary(f"/tensorflow.serving.{method}")
    return standard.error(raw, b"")


@pytest.mark.parametrize("method", METHODS)
def test_method_is_there(standard, method):
    """Sec. 1: every empty request is refused for what it lacks, not for its method."""
    assert call(standard, method)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("method", OTHERS)
def test_other_methods_are_unimplemented(standard, method):
    assert call(standard, method)[0] == UNIMPLEMENTED


def test_bytes_that_are_no_message_are_refused(standard):
    raw = standard.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert standard.error(raw, b"\xff\xff\xff")[0] == "INTERNAL"  # gRPC's own answer, in C++ too


def test_details_are_cut_to_1024_characters(standard):
    name = "x" * 3000
    _, details = standard.predict_error(name=name)
    assert details == f"Servable not found for request: Latest({name}"[:1024] + "...TRUNCATED"
    exact = "y" * (1024 - len("Servable not found for request: Latest()"))
    assert standard.predict_error(name=exact)[1] == f"Servable not found for request: Latest({exact})"


def test_details_in_other_scripts_are_cut_by_bytes_and_arrive(standard):
    _, details = standard.predict_error(name="茶" * 3000)
    assert details.endswith("茶...TRUNCATED")
    assert 1022 <= len(details.removesuffix("...TRUNCATED").encode()) <= 1024


def test_readiness_probe_of_upstreams_tests(standard):
    """WaitForServerReady asks for a model that does not exist and looks for `Servable`."""
    assert "Servable" in standard.predict_error({"x": [2.0]}, name="intentionally_missing_model")[1]


def test_port_opens_only_when_every_model_has_a_version(serve, shelf, config_file, tmp_path):
    """Sec. 1: no port while one of the configured models has none."""
    shelf.put(tmp_path / "one", 1)
    (tmp_path / "two").mkdir()
    models = {"one": (tmp_path / "one", ""), "two": (tmp_path / "two", "")}
    file = config_file(tmp_path / "models.config", models)
    opened = threading.Event()
    answers = []

    def run():
        with serve(model_config_file=file) as caller:
            opened.set()
            answers.append(caller.half(name="one"))

    thread = threading.Thread(target=run)
    thread.start()
    assert not opened.wait(1.5)
    shelf.put(tmp_path / "two", 1)
    assert opened.wait(60)
    thread.join(60)
    assert answers == [(3.0, 1)]
