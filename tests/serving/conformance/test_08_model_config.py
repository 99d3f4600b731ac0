"""Section 8: the model config file and HandleReloadConfigRequest."""

import concurrent.futures
import contextlib
import threading

import pytest
from tensorflow_serving.apis import model_management_pb2

from serving.server.errors import ServingError
from serving.server.process import ServerProcess

AVAILABLE, END = 30, 50


@pytest.fixture(scope="module")
def bases(shelf, tmp_path_factory):
    """Base paths by model; `empty` has no version, `broken` one that does not load."""
    root = tmp_path_factory.mktemp("bases")
    shelf.put(root / "half_plus_two", 123)
    shelf.put(root / "half_plus_three", 124, "half_plus_three")
    (root / "empty").mkdir()
    (root / "broken" / "5").mkdir(parents=True)
    return {path.name: str(path) for path in root.iterdir()}


@pytest.fixture(scope="module")
def caller(serve, bases, config_file, tmp_path_factory):
    file = config_file(tmp_path_factory.mktemp("config") / "m", {"half_plus_two": (bases["half_plus_two"], "")})
    with serve(model_config_file=file) as caller:
        yield caller


@pytest.fixture
def both(caller, bases):
    """The reload of both models, which also is what each test starts with."""
    models = [{"name": name, "base_path": bases[name]} for name in ("half_plus_two", "half_plus_three")]
    caller.reload(*models)
    return models


def error(caller, *models, **options):
    return caller.error(caller.model.HandleReloadConfigRequest, caller.reload_request(*models), **options)


def test_upstreams_good_model_config(serve, bases, config_file, tmp_path):
    """testGoodModelConfig: 3.0 of half_plus_two, 4.0 of half_plus_three; name and base path flags are ignored."""
    models = {name: (bases[name], "") for name in ("half_plus_two", "half_plus_three")}
    file = config_file(tmp_path / "good.config", models)
    with serve(model_config_file=file, model_name="ignored", model_base_path="/ignored") as caller:
        assert caller.half(name="half_plus_two") == (3.0, 123)
        assert caller.half(name="half_plus_three") == (4.0, 124)
        assert caller.predict_error(name="ignored")[0] == "NOT_FOUND"


BAD_FILES = [
    'model_config_list: { config: { name: "m", no_such_field: 1 } }',
    "improperly formatted file",
    'model_config_list { config { name: "m" base_path: "/m" model_version_policy { newest {} } } }',
]


@pytest.mark.embedded
@pytest.mark.parametrize("text", BAD_FILES)
def test_upstreams_bad_model_config(serve, tmp_path, caplog, text):
    """testBadModelConfig: the error names the message type."""
    (tmp_path / "bad.config").write_text(text)
    with pytest.raises(ServingError, match="Invalid protobuf file"), serve(model_config_file=tmp_path / "bad.config"):
        pass
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in caplog.text


@pytest.mark.long
def test_a_config_that_does_not_parse_ends_the_command(tmp_path):
    """Sec. 8: exit, and the text on stderr; the test above has the text too."""
    (tmp_path / "bad.config").write_text("improperly formatted file")
    said = r"ended with status 255: .*Error parsing text-format tensorflow\.serving\.ModelServerConfig"
    with pytest.raises(RuntimeError, match=said):
        ServerProcess(flags=(f"--model_config_file={tmp_path}/bad.config",))


@pytest.mark.embedded
def test_neither_base_path_nor_config_file(serve):
    with (
        pytest.raises(
            ServingError, match=r"Both server_options\.model_base_path and server_options\.model_config_file are empty!"
        ),
        serve(),
    ):
        pass


REFUSED = [
    ([{"name": "m", "base_path": "/a"}] * 2, "Illegal to list model m multiple times in config list"),
    (
        [{"name": "m", "base_path": "relative/path"}],
        "Expected model m to have an absolute path or URI; got base_path()=relative/path",
    ),
    ([{"name": "m"}], "Expected model m to have an absolute path or URI; got base_path()="),
    (
        [{"name": "half_plus_two", "base_path": "/a", "model_platform": "other"}],
        "Illegal to change a model's platform. For model half_plus_two platform was tensorflow and new platform "
        "requested is other",
    ),
]


@pytest.mark.parametrize(("models", "details"), REFUSED, ids=[case[1][:30] for case in REFUSED])
def test_refusals_that_store_nothing(caller, both, models, details):
    assert error(caller, *models) == ("INVALID_ARGUMENT", details)
    assert caller.half(name="half_plus_two") == (3.0, 123)
    caller.reload(*both)


def test_rpc_without_a_model_config_list(caller):
    expected = (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently "
        "supported",
    )
    asked = model_management_pb2.ReloadConfigRequest()
    assert caller.error(caller.model.HandleReloadConfigRequest, asked) == expected
    asked.config.custom_model_config.type_url = "x"
    assert caller.error(caller.model.HandleReloadConfigRequest, asked) == expected


def test_success_says_so(caller, both):
    response = caller.reload(*both)
    assert response.HasField("status")
    assert response.status.error_code == 0
    assert not response.metric


def test_a_reload_replaces_the_whole(caller, both, wait_for):
    caller.reload(both[1])
    wait_for(lambda: caller.status(name="half_plus_two")[0] == (123, END))
    assert caller.predict_error(name="half_plus_two") == (
        "NOT_FOUND",
        "Servable not found for request: Latest(half_plus_two)",
    )
    caller.reload(*both)  # returns when half_plus_two serves again
    assert caller.half(name="half_plus_two") == (3.0, 123)


def test_a_model_left_out_and_taken_back_at_once_serves_from_the_return_on(serve, bases):
    """Sec. 8: the call returns when each new model serves, not when it has not gone yet; with polls as they are."""
    models = [{"name": name, "base_path": bases[name]} for name in ("half_plus_two", "half_plus_three")]
    with serve(
        model_name="half_plus_two", model_base_path=bases["half_plus_two"], file_system_poll_wait_seconds=1
    ) as caller:
        for _ in range(3):
            caller.reload(models[1])
            caller.reload(*models)
            for _ in range(100):
                assert caller.half(name="half_plus_two") == (3.0, 123)


def test_an_empty_list_unloads_everything(caller, both, wait_for):
    caller.reload()
    for model in both:
        wait_for(lambda name=model["name"]: caller.predict_error(name=name)[0] == "NOT_FOUND")
    caller.reload(*both)


def test_a_new_model_with_an_empty_base_path_is_waited_for(caller, both, bases):
    """Sec. 8: for ever, so one sets a deadline; what was asked for stays in force, and the server is not stuck."""
    empty = {"name": "empty", "base_path": bases["empty"]}
    assert error(caller, *both, empty, timeout=0.8)[0] == "DEADLINE_EXCEEDED"
    assert caller.half(name="half_plus_three") == (4.0, 124)
    caller.reload(*both, timeout=20)


def test_a_changed_policy_takes_effect_at_the_next_poll(serve, shelf, tmp_path, wait_for):
    for version in (1, 2):
        shelf.put(tmp_path, version)
    model = {"name": "default", "base_path": str(tmp_path)}
    with serve(model_base_path=tmp_path, file_system_poll_wait_seconds=0.4) as caller:
        caller.reload({**model, "model_version_policy": {"specific": {"versions": [1]}}})
        assert caller.half() == (3.0, 2)
        wait_for(lambda: caller.status() == [(2, END), (1, AVAILABLE)])


def test_a_new_model_that_fails_to_load(caller, both, bases):
    code, details = error(caller, *both, {"name": "broken", "base_path": bases["broken"]})
    assert code == "UNKNOWN"
    assert details.startswith(
        "1 model(s) did not become available: {{{name: broken version: 5} due to error: NOT_FOUND: Could not find "
        "SavedModel"
    )
    assert details.endswith("}, }")
    assert caller.half(name="half_plus_two") == (3.0, 123)  # the rest stays in force
    assert caller.status(name="broken") == [(5, END)]
    caller.reload(*both)


def test_metric_names_are_answered_with_their_increase(serve, shelf, bases, tmp_path, wait_for):
    """Sec. 8, and model_service_impl.cc: of a metric's first series, of whatever happens during the call."""
    models = {"default": bases["half_plus_two"], "half_plus_three": bases["half_plus_three"], "late": str(tmp_path)}
    asked = [{"name": name, "base_path": base} for name, base in models.items()]
    names = ["/tensorflow/serving/request_count", "/no/such/metric", "/tensorflow/serving/request_latency"]
    with serve(model_base_path=bases["half_plus_two"]) as caller, concurrent.futures.ThreadPoolExecutor() as pool:
        caller.half()
        reload = pool.submit(caller.reload, *asked, metric_names=names)
        wait_for(lambda: available(caller))
        for _ in range(3):
            caller.half()
        shelf.put(tmp_path, 1)
        increases = [(metric.name, metric.int64_value_increase) for metric in reload.result(60).metric]
    assert increases == [(names[0], 3), (names[1], 0), (names[2], 0)]


def test_an_unsupported_platform(serve, bases):
    with serve(model_base_path=bases["half_plus_two"]) as caller:
        new = {"name": "m", "base_path": "/a", "model_platform": "pytorch"}
        expected = ("INVALID_ARGUMENT", "Model m requests unsupported platform pytorch")
        assert error(caller, {"name": "default", "base_path": bases["half_plus_two"]}, new) == expected


def test_an_empty_platform_poisons_later_reloads(serve, bases):
    """Sec. 8: the config is stored before its routes are checked."""
    good = {"name": "default", "base_path": bases["half_plus_two"]}
    with serve(model_base_path=bases["half_plus_two"]) as caller:
        for models in ([good, {"name": "m", "base_path": "/m", "model_platform": ""}], [good], []):
            code, details = error(caller, *models)
            assert code == "INVALID_ARGUMENT"
            assert details.startswith(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                "ModelServerConfig::model_platform"
            )
        assert caller.half() == (3.0, 123)


def test_a_logging_config_needs_a_logger_that_the_server_does_not_have(serve, bases):
    """core/server_request_logger.cc; the models are in force by then."""
    with serve(model_base_path=bases["half_plus_two"]) as caller:
        new = {"name": "m", "base_path": bases["half_plus_three"], "logging_config": {"sampling_config": {}}}
        assert error(caller, new) == ("INVALID_ARGUMENT", "No request-logger-creator provided.")
        assert caller.half(name="m") == (4.0, 124)


def test_the_deprecated_model_type_is_a_platform_too(serve, bases):
    good = {"name": "default", "base_path": bases["half_plus_two"]}
    with serve(model_base_path=bases["half_plus_two"]) as caller:
        caller.reload({**good, "model_platform": "", "model_type": 1})
        assert error(caller, {**good, "model_type": 1})[1].startswith(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform"
        )


def test_upstreams_model_config_reload(serve, bases, config_file, tmp_path, caplog, wait_for):
    """testModelConfigReload; sec. 8: the file undoes an RPC, and one that does not parse keeps the old config."""
    two, three = ({name: (bases[name], "")} for name in ("half_plus_two", "half_plus_three"))
    file = config_file(tmp_path / "models.config", two)
    with serve(model_config_file=file, model_config_file_poll_wait_seconds=0.2) as caller:
        assert caller.half(name="half_plus_two") == (3.0, 123)
        config_file(file, three)
        wait_for(lambda: available(caller))
        assert caller.half(name="half_plus_three") == (4.0, 124)
        file.write_text("not { a config")
        wait_for(lambda: "Invalid protobuf file" in caplog.text)
        assert caller.half(name="half_plus_three") == (4.0, 124)
        config_file(file, three)
        caller.reload({"name": "half_plus_two", "base_path": bases["half_plus_two"]})
        wait_for(lambda: caller.predict_error(name="half_plus_two")[0] == "NOT_FOUND")
        wait_for(lambda: available(caller))


def available(caller):
    with contextlib.suppress(Exception):
        return caller.status(name="half_plus_three")[0] == (124, AVAILABLE)
    return False


def test_upstreams_zero_poll_period(serve, bases, config_file, tmp_path):
    """testModelConfigReloadWithZeroPollPeriod: a changed file is not read again."""
    file = config_file(tmp_path / "models.config", {"half_plus_two": (bases["half_plus_two"], "")})
    with serve(model_config_file=file, model_config_file_poll_wait_seconds=0) as caller:
        config_file(file, {"half_plus_three": (bases["half_plus_three"], "")})
        threading.Event().wait(0.5)
        assert caller.half(name="half_plus_two") == (3.0, 123)
        assert not available(caller)


def test_an_empty_file_serves_nothing_until_a_reload(serve, bases, tmp_path):
    (tmp_path / "empty.config").write_text("")
    with serve(model_config_file=tmp_path / "empty.config") as caller:
        assert caller.predict_error(name="m")[0] == "NOT_FOUND"
        caller.reload({"name": "m", "base_path": bases["half_plus_two"]})
        assert caller.half(name="m") == (3.0, 123)


@pytest.mark.embedded
def test_a_custom_model_config_is_fatal(serve, tmp_path):
    (tmp_path / "custom.config").write_text('custom_model_config { type_url: "x" }')
    with (
        pytest.raises(ServingError, match="does not yet support custom model config"),
        serve(model_config_file=tmp_path / "custom.config"),
    ):
        pass
