"""Section 7: versions on disk; what concerns a `Manager` alone is put to one whose servables only note what is done."""

import contextlib
import shutil
import signal
import threading

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.server.__main__ import main
from serving.server.errors import ServingError
from serving.server.manager import Manager
from serving.server.storage import parse_version, wanted_versions

AVAILABLE, END = 30, 50


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("name", "number"),
    [("123", 123), ("00000123", 123), ("0", 0), ("9223372036854775807", 2**63 - 1), ("9223372036854775808", None)]
    + [(name, None) for name in ("124.tmp", "v1", "tmp-3", "1a", " ", "1.0", "0x7b")],
)
def test_a_version_is_a_name_that_parses_as_int64(name, number):
    assert parse_version(name) == number


POLICIES = [
    ({}, [10]),
    ({"latest": {}}, [10]),
    ({"latest": {"num_versions": 0}}, [10]),
    ({"latest": {"num_versions": 2}}, [9, 10]),
    ({"latest": {"num_versions": 9}}, [1, 9, 10]),
    ({"all": {}}, [1, 9, 10]),
    ({"specific": {"versions": [9]}}, [9]),
    ({"specific": {"versions": [1, 9, 77]}}, [1, 9]),
    ({"specific": {"versions": []}}, []),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("policy", "expected"), POLICIES, ids=str)
def test_policies(tmp_path, policy, expected):
    for name in ("1", "9", "10", "tmp-11", "12.part"):
        (tmp_path / name).mkdir()
    config = ModelConfig(name="m", base_path=str(tmp_path), model_version_policy=policy)
    assert sorted(wanted_versions(config)) == expected


@pytest.mark.embedded
def test_two_names_for_one_number_and_missing_specific_versions_are_warned_of(tmp_path, caplog):
    for name in ("7", "007"):
        (tmp_path / name).mkdir()
    config = ModelConfig(name="m", base_path=str(tmp_path), model_version_policy={"specific": {"versions": [7, 8]}})
    assert list(wanted_versions(config)) == [7]
    assert "Duplicate version directories detected" in caplog.text
    assert "Version 8 of servable m" in caplog.text


@pytest.mark.embedded
def test_files_are_not_told_from_directories(tmp_path):
    (tmp_path / "5").write_text("a file")
    assert list(wanted_versions(ModelConfig(name="m", base_path=str(tmp_path)))) == [5]


@pytest.mark.embedded
def test_a_base_path_that_no_file_system_has(tmp_path):
    for base_path in ("/a\0b", "/" + "a" * 5000, "s3://bucket/model", str(tmp_path / "none")):
        with pytest.raises(ServingError, match="Could not find base path"):
            wanted_versions(ModelConfig(name="m", base_path=base_path))


class Fake:
    """A servable that notes what is done with it; `bad` in its directory makes the load fail."""

    log: list[tuple[str, str]] = []

    def __init__(self, path):
        if (path / "bad").exists():
            raise ServingError(grpc.StatusCode.DATA_LOSS, "bad")
        self.name = path.name
        self.log.append(("load", path.name))

    def close(self):
        self.log.append(("close", self.name))


@pytest.fixture
def manage():
    Fake.log = []
    managers = []

    def start(*configs, **options):
        manager = Manager(Fake, **{"poll_seconds": 0.02, "max_retries": 0, **options})
        managers.append(manager)
        manager.serve([ModelConfig(**config) for config in configs])
        manager.start()
        return manager

    yield start
    for manager in managers:
        manager.stop()


def states(manager, name="m"):
    return {status.version: int(status.state) for status in manager.statuses(name)}


@pytest.mark.embedded
def test_all_versions_are_served_the_highest_is_loaded_first(tmp_path, manage, wait_for):
    for name in ("9", "10", "8"):
        (tmp_path / name).mkdir()
    manager = manage({"name": "m", "base_path": str(tmp_path), "model_version_policy": {"all": {}}})
    wait_for(lambda: states(manager) == {8: AVAILABLE, 9: AVAILABLE, 10: AVAILABLE})
    with manager.use("m") as (_, version):
        assert version == 10
    with manager.use("m", 8) as (servable, _):
        assert servable.name == "8"


@pytest.mark.embedded
def test_loads_one_after_the_other_from_the_highest(tmp_path, manage, wait_for):
    (tmp_path / "1").mkdir()
    manager = manage({"name": "m", "base_path": str(tmp_path), "model_version_policy": {"all": {}}})
    assert manager.wait_until_available(["m"]) == []
    staged = tmp_path.with_name(tmp_path.name + "_staged")
    staged.mkdir()
    for name in ("1", "3", "5", "4"):
        (staged / name).mkdir()
    tmp_path.rename(tmp_path.with_name(tmp_path.name + "_old"))
    staged.rename(tmp_path)
    wait_for(lambda: set(states(manager).values()) == {AVAILABLE} and len(states(manager)) == 4)
    assert [name for what, name in Fake.log if what == "load"] == ["1", "5", "4", "3"]


@pytest.mark.embedded
def test_specific_versions_are_taken_when_they_appear(tmp_path, manage, wait_for):
    (tmp_path / "1").mkdir()
    policy = {"specific": {"versions": [1, 4]}}
    manager = manage({"name": "m", "base_path": str(tmp_path), "model_version_policy": policy})
    wait_for(lambda: states(manager) == {1: AVAILABLE})
    for name in ("3", "4"):
        (tmp_path / name).mkdir()
    wait_for(lambda: states(manager) == {1: AVAILABLE, 4: AVAILABLE})


@pytest.mark.embedded
def test_latest_two_drop_the_lowest(tmp_path, manage, wait_for):
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    manager = manage({"name": "m", "base_path": str(tmp_path), "model_version_policy": {"latest": {"num_versions": 2}}})
    wait_for(lambda: states(manager) == {1: AVAILABLE, 2: AVAILABLE})
    (tmp_path / "3").mkdir()
    wait_for(lambda: states(manager) == {1: END, 2: AVAILABLE, 3: AVAILABLE})


@pytest.mark.embedded
def test_new_is_loaded_before_old_is_unloaded(tmp_path, manage, wait_for):
    (tmp_path / "1").mkdir()
    manager = manage({"name": "m", "base_path": str(tmp_path)})
    wait_for(lambda: states(manager) == {1: AVAILABLE})
    (tmp_path / "2").mkdir()
    wait_for(lambda: states(manager) == {1: END, 2: AVAILABLE})
    assert Fake.log == [("load", "1"), ("load", "2"), ("close", "1")]


@pytest.mark.embedded
def test_deleting_all_unloads_all_and_a_missing_base_path_changes_nothing(tmp_path, manage, wait_for):
    base = tmp_path / "m"
    (base / "1").mkdir(parents=True)
    manager = manage({"name": "m", "base_path": str(base)})
    wait_for(lambda: states(manager) == {1: AVAILABLE})
    base.rename(tmp_path / "away")
    assert not wait_briefly(lambda: states(manager) != {1: AVAILABLE})
    (tmp_path / "away").rename(base)
    (base / "1").rmdir()
    wait_for(lambda: states(manager) == {1: END})
    (base / "1").mkdir()
    wait_for(lambda: states(manager) == {1: AVAILABLE})


def wait_briefly(condition, seconds=0.3):
    """Whether something that must not happen does."""
    with contextlib.suppress(AssertionError):
        deadline = threading.Event()
        for _ in range(int(seconds / 0.02)):
            if condition():
                return True
            deadline.wait(0.02)
    return False


@pytest.mark.embedded
def test_a_missing_base_path_ends_the_whole_poll_round(tmp_path, manage, wait_for):
    """Sec. 7: other models see no new versions meanwhile."""
    for name in ("a", "b"):
        (tmp_path / name / "1").mkdir(parents=True)
    manager = manage(*({"name": name, "base_path": str(tmp_path / name)} for name in ("a", "b")))
    wait_for(lambda: states(manager, "a") == states(manager, "b") == {1: AVAILABLE})
    (tmp_path / "a").rename(tmp_path / "away")
    (tmp_path / "b" / "2").mkdir()
    assert not wait_briefly(lambda: 2 in states(manager, "b"))
    (tmp_path / "away").rename(tmp_path / "a")
    wait_for(lambda: states(manager, "b") == {1: END, 2: AVAILABLE})


@pytest.mark.embedded
def test_a_load_that_waits_for_its_retry_holds_up_the_others(tmp_path, manage, wait_for):
    """Sec. 7: with --num_load_threads=0, but not with 2."""
    for name in ("a", "b"):
        (tmp_path / name / "1").mkdir(parents=True)
    configs = [{"name": name, "base_path": str(tmp_path / name)} for name in ("a", "b")]
    options = {"max_retries": 5, "retry_seconds": 60}
    blocked, free = manage(*configs, **options), manage(*configs, **options, load_threads=2)
    for manager in (blocked, free):
        assert manager.wait_until_available(["a", "b"]) == []
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "bad").touch()
    (tmp_path / "hidden").rename(tmp_path / "a" / "2")
    wait_for(lambda: states(blocked, "a").get(2) == states(free, "a").get(2) == 20)
    (tmp_path / "b" / "2").mkdir()
    wait_for(lambda: states(free, "b") == {1: END, 2: AVAILABLE})
    assert not wait_briefly(lambda: states(blocked, "b").get(2) == AVAILABLE)


@pytest.mark.embedded
def test_poll_zero_looks_once_and_below_zero_never(tmp_path, manage, wait_for):
    (tmp_path / "1").mkdir()
    once = manage({"name": "m", "base_path": str(tmp_path)}, poll_seconds=0)
    never = manage({"name": "m", "base_path": str(tmp_path)}, poll_seconds=-1)
    wait_for(lambda: states(once) == {1: AVAILABLE})
    (tmp_path / "2").mkdir()
    assert not wait_briefly(lambda: 2 in states(once) or states(never))


def test_overwriting_files_of_a_loaded_version_has_no_effect(serve, shelf, tmp_path):
    path = shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path) as caller:
        assert caller.half() == (3.0, 1)
        shutil.copytree(shelf.folder / "half_plus_three", path, dirs_exist_ok=True)
        assert not wait_briefly(lambda: caller.half() != (3.0, 1))


def test_requests_under_way_finish_on_their_version(serve, shelf, tmp_path, wait_for):
    """Sec. 7: reference-counted handles; `Latest` moves in one step."""
    shelf.put(tmp_path, 1, "kinds")
    count = 30_000
    with serve(model_base_path=tmp_path, enable_batching=True) as caller:
        request = caller.predict_request({"n": tf.constant([count], tf.int64)}, signature="slow")
        under_way = caller.prediction.Predict.future(request)
        wait_for(lambda: caller.batches() == 1)
        shelf.put(tmp_path, 2)
        wait_for(lambda: caller.status()[0] == (2, AVAILABLE))
        assert caller.half() == (3.0, 2)
        response = under_way.result(60)
        assert (response.model_spec.version.value, response.outputs["n"].int64_val[0]) == (1, 2 * count)
        wait_for(lambda: caller.status() == [(2, AVAILABLE), (1, END)])


@pytest.mark.embedded
def test_start_up_with_a_model_that_fails(tmp_path, capsys, caplog, monkeypatch):
    """Sec. 7: exit status 255 and the reason, after the retries."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (tmp_path / "4").mkdir()
    flags = ["--port=0", "--model_name=m", f"--model_base_path={tmp_path}"]
    assert main([*flags, "--max_num_load_retries=1", "--load_retry_interval_micros=1000"]) == 255
    assert (
        "Failed to start server. Error: Unknown: 1 servable(s) did not become available: {{{name: m version: 4} "
        "due to error: NOT_FOUND: Could not find SavedModel" in capsys.readouterr().err
    )
    assert "attempt 2 of 2" in caplog.text
