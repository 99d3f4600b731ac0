"""Versions on disk: found, swapped, refused, unloaded; start-up, signals, flags."""

import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.request

import grpc
import pytest
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.client import Client, Request
from serving.server import embedded
from serving.server import manager as manager_module
from serving.server.__main__ import main
from serving.server.embedded import Server
from serving.server.errors import ServingError
from serving.server.flags import FlagError, Flags, parse_flags
from serving.server.manager import Manager
from serving.server.process import ServerProcess
from serving.server.storage import parse_version, wanted_versions
from serving.server.transport import start_grpc
from serving.server.versions import State

ASKED = Request(candidates=["ab"])


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)


def states(manager, name="m"):
    return {status.version: status.state for status in manager.statuses(name)}


class FakeServable:
    """Says where it came from and whether it was closed."""

    tried: list[str] = []

    def __init__(self, path: pathlib.Path) -> None:
        self.tried.append(path.name)
        if (path / "bad").exists():
            raise ServingError(grpc.StatusCode.DATA_LOSS, "bad one")
        self.path = path
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def make_manager(tmp_path):
    managers = []

    def make(**options):
        manager = Manager(FakeServable, **{"poll_seconds": 0.01, "max_retries": 0, **options})
        managers.append(manager)
        manager.serve([ModelConfig(name="m", base_path=str(tmp_path))])
        manager.start()
        return manager

    yield make
    for manager in managers:
        manager.stop()


def newest(manager):
    with manager.use("m") as (_, version):
        return version


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("7", 7),
        ("00000123", 123),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("124.tmp", None),
        (".8.part", None),
        ("v1", None),
        ("tmp-3", None),
        ("", None),
        ("１２", None),
    ],
)
def test_parse_version(name, number):
    assert parse_version(name) == number


def test_a_version_in_use_is_closed_only_after_its_last_request(tmp_path, make_manager):
    (tmp_path / "1").mkdir()
    manager = make_manager()
    assert manager.wait_until_available(["m"]) == []
    with manager.use("m") as (old, version):
        assert version == 1
        (tmp_path / "2").mkdir()
        wait_for(lambda: states(manager) == {2: State.AVAILABLE, 1: State.UNLOADING})
        assert newest(manager) == 2
        with pytest.raises(ServingError, match=r"Specific\(m, 1\)"), manager.use("m", 1):
            pass
        assert not old.closed
    wait_for(lambda: states(manager)[1] == State.END)
    assert old.closed


def test_highest_number_wins_and_deleting_goes_back(tmp_path, make_manager):
    for name in ("9", "10", "8"):
        (tmp_path / name).mkdir()
    manager = make_manager()
    assert manager.wait_until_available(["m"]) == []
    assert states(manager) == {10: State.AVAILABLE}
    (tmp_path / "10").rmdir()
    wait_for(lambda: states(manager) == {10: State.END, 9: State.AVAILABLE})
    (tmp_path / "10").mkdir()
    wait_for(lambda: states(manager) == {10: State.AVAILABLE, 9: State.END})
    for name in ("10", "9", "8"):
        (tmp_path / name).rmdir()
    wait_for(lambda: set(states(manager).values()) == {State.END})
    with pytest.raises(ServingError, match=r"Latest\(m\)"):
        newest(manager)


def test_a_missing_base_path_changes_nothing(tmp_path, make_manager):
    (tmp_path / "1").mkdir()
    manager = make_manager()
    assert manager.wait_until_available(["m"]) == []
    tmp_path.rename(tmp_path.with_name("away"))
    time.sleep(0.3)
    assert states(manager) == {1: State.AVAILABLE}


def test_a_failed_version_is_tried_again_only_when_it_comes_back(tmp_path, make_manager):
    (tmp_path / "1").mkdir()
    manager = make_manager()
    assert manager.wait_until_available(["m"]) == []
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "bad").touch()
    (tmp_path / "hidden").rename(tmp_path / "2")
    wait_for(lambda: states(manager).get(2) == State.END)
    (tmp_path / "2" / "bad").unlink()
    time.sleep(0.3)
    assert states(manager) == {2: State.END, 1: State.AVAILABLE}
    (status,) = [status for status in manager.statuses("m") if status.version == 2]
    assert (status.error.code, status.error.message) == (grpc.StatusCode.DATA_LOSS, "bad one")
    (tmp_path / "2").rename(tmp_path / "hidden")
    wait_for(lambda: not manager._models["m"].versions[2].wanted)
    (tmp_path / "hidden").rename(tmp_path / "2")
    wait_for(lambda: states(manager) == {2: State.AVAILABLE, 1: State.END})


def test_a_look_that_fails_is_not_the_last(tmp_path, make_manager, monkeypatch, caplog):
    looks = []

    def fail_first(*arguments):
        looks.append(arguments)
        if len(looks) == 1:
            raise ZeroDivisionError
        return wanted_versions(*arguments)

    monkeypatch.setattr(manager_module, "wanted_versions", fail_first)
    (tmp_path / "1").mkdir()
    assert make_manager().wait_until_available(["m"]) == []
    assert "ZeroDivisionError" in caplog.text


def test_a_load_is_tried_once_at_least(tmp_path, make_manager):
    (tmp_path / "1").mkdir()
    assert make_manager(max_retries=-3).wait_until_available(["m"]) == []


def test_retries(tmp_path, make_manager):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "bad").touch()
    FakeServable.tried.clear()
    manager = make_manager(max_retries=3, retry_seconds=0.2)
    wait_for(lambda: states(manager).get(1) == State.LOADING)
    (tmp_path / "1" / "bad").unlink()
    assert manager.wait_until_available(["m"]) == []
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "bad").touch()
    (tmp_path / "hidden").rename(tmp_path / "2")
    wait_for(lambda: states(manager).get(2) == State.END)
    assert FakeServable.tried.count("2") == 4


def test_hot_swap_under_sixteen_clients_fails_no_request(toys, toy_flags, tmp_path):
    toys.put(tmp_path, 1)
    answers, failures = [], []
    stop = threading.Event()

    with Server(dataclasses.replace(toy_flags, model_base_path=str(tmp_path))) as server:
        address = f"127.0.0.1:{server.port}"

        def ask():
            with Client(address, "toy", ("country",), timeout=60) as client:
                while not stop.is_set():
                    try:
                        ranking = client.rank(ASKED)
                        answers.append((ranking.version, float(ranking.scores[0])))
                    except Exception as error:
                        failures.append(str(error))

        def ask_rest():
            url = f"http://127.0.0.1:{server.rest_port}/v1/models/toy:predict"
            while not stop.is_set():
                try:
                    with urllib.request.urlopen(url, b'{"instances": [[1, 2]]}', timeout=60) as answer:
                        answer.read()
                except Exception as error:
                    failures.append(str(error))

        threads = [threading.Thread(target=target) for target in [*[ask] * 12, *[ask_rest] * 4]]
        for thread in threads:
            thread.start()
        try:
            for version, factor in ((2, 3), (3, 2), (4, 3)):
                toys.put(tmp_path, version, factor)
                wait_for(lambda version=version: states(server.manager, "toy").get(version) == State.AVAILABLE)
                wait_for(lambda version=version: any(answered == version for answered, _ in answers))
            toys.put_broken(tmp_path, 5)
            wait_for(lambda: states(server.manager, "toy").get(5) == State.END)
            (tmp_path / ".6.part").mkdir()
            shutil.rmtree(tmp_path / "5")
            shutil.rmtree(tmp_path / "4")
            wait_for(lambda: states(server.manager, "toy")[4] == State.END)
            time.sleep(0.2)
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
    assert failures == []
    assert {version for version, _ in answers} == {1, 2, 3, 4}
    # Each answer is of the version it names: 2 letters times that version's factor.
    assert {answer for answer in answers} == {(1, 4.0), (2, 6.0), (3, 4.0), (4, 6.0)}


def test_a_broken_version_names_its_error_and_leaves_the_old_serving(toys, toy_flags, tmp_path):
    toys.put(tmp_path, 1)
    with (
        Server(dataclasses.replace(toy_flags, model_base_path=str(tmp_path))) as server,
        Client(f"127.0.0.1:{server.port}", "toy", ("country",)) as client,
    ):
        (tmp_path / ".2.part").mkdir()
        (tmp_path / ".2.part").rename(tmp_path / "2")
        wait_for(lambda: states(server.manager, "toy").get(2) == State.END)
        newest_first = client.status()
        assert [(status.version, status.state) for status in newest_first] == [(2, "END"), (1, "AVAILABLE")]
        assert newest_first[0].error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert newest_first[0].error_message.startswith("Could not find SavedModel .pb or .pbtxt")
        assert client.rank(ASKED).version == 1
        shutil.rmtree(tmp_path / "1")
        time.sleep(0.3)
        assert client.rank(ASKED).version == 1


def test_ports_open_only_with_a_version_and_stop_ends_the_wait(toy_flags, tmp_path, caplog):
    server = Server(dataclasses.replace(toy_flags, model_base_path=str(tmp_path / "none")))
    starter = threading.Thread(target=server.start)
    starter.start()
    wait_for(lambda: "Could not find base path" in caplog.text)
    (tmp_path / "none").mkdir()
    wait_for(lambda: "No versions of servable toy found" in caplog.text)
    assert server.port == 0
    server.stop()
    starter.join(20)
    assert not starter.is_alive()


def test_stop_closes_ports_that_are_just_being_opened(toy_base, toy_flags, monkeypatch):
    server = Server(dataclasses.replace(toy_flags, model_base_path=str(toy_base)))
    stopper = threading.Thread(target=server.stop)

    def start_late(*arguments):
        stopper.start()
        stopper.join(0.3)
        return start_grpc(*arguments)

    monkeypatch.setattr(embedded, "start_grpc", start_late)
    server.start()
    stopper.join(20)
    for port in (server.port, server.rest_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_server_refuses_what_it_cannot_serve(toy_base, toy_server, toy_flags):
    with pytest.raises(ServingError, match=r"model_base_path and .* are empty!"):
        Server(toy_flags)
    with pytest.raises(ServingError, match="Expected model toy to have an absolute path or URI; got base_path"):
        Server(dataclasses.replace(toy_flags, model_base_path="relative/path")).start()
    flags = dataclasses.replace(toy_flags, model_base_path=str(toy_base))
    with pytest.raises(ServingError, match=f"gRPC port {toy_server.port} cannot be bound"):
        Server(dataclasses.replace(flags, port=toy_server.port)).start()
    with pytest.raises(ServingError, match=f"REST port {toy_server.rest_port} cannot be bound"):
        Server(dataclasses.replace(flags, rest_api_port=toy_server.rest_port)).start()


def test_flags(capsys):
    flags = parse_flags(
        ["--port=1", "--model_name=a=b", "--enable_model_warmup=false", "--file_system_poll_wait_seconds=0.5"]
        + ["--never_heard_of=1", "--port", "stray", "--enable_model_warmup"]
    )
    assert flags == Flags(port=1, model_name="a=b", enable_model_warmup=True, file_system_poll_wait_seconds=0.5)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"unknown argument: {what}" for what in ("--never_heard_of=1", "--port", "stray")]
    with pytest.raises(FlagError, match="Couldn't interpret value x for flag port"):
        parse_flags(["--port=x"])
    with pytest.raises(FlagError, match="Couldn't interpret value maybe for flag enable_model_warmup"):
        parse_flags(["--enable_model_warmup=maybe"])


@pytest.mark.long
def test_process_serves_and_ends_on_sigterm(toy_base):
    with ServerProcess(toy_base, "toy", flags=("--tensorflow_inter_op_parallelism=1", "--unknown=1")) as server:
        with Client(server.address, "toy", ("country",)) as client:
            assert client.rank(ASKED).scores.tolist() == [4.0]
        with urllib.request.urlopen(f"{server.rest_url}/v1/models/toy", timeout=10) as answer:
            assert answer.status == 200
        server._process.send_signal(signal.SIGTERM)
        assert server._process.wait(60) == 0


def test_main_that_cannot_start_says_why(tmp_path, toys, capsys, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    toys.put_broken(tmp_path, 3)
    arguments = ["--port=0", "--model_name=toy", f"--model_base_path={tmp_path}", "--max_num_load_retries=0"]
    assert main(arguments) == 255
    said = capsys.readouterr().err
    assert "Failed to start server. Error: Unknown: 1 servable(s) did not become available: " in said
    assert "{{name: toy version: 3} due to error: " in said
    assert main(["--port=0"]) == 255
    assert "Failed to start server. Error: Invalid argument: Both server_options" in capsys.readouterr().err
    (tmp_path / "bad.config").write_text("improperly formatted file")
    assert main(["--port=0", f"--model_config_file={tmp_path}/bad.config"]) == 255
    assert f"Error: Invalid argument: Invalid protobuf file: '{tmp_path}/bad.config'" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["__init__", "start"])
def test_main_that_fails_in_an_unforeseen_way_says_so(tmp_path, capsys, caplog, monkeypatch, where):
    def fail(*_):
        raise OverflowError("too much")

    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Server, where, fail)
    assert main(["--port=0", f"--model_base_path={tmp_path}"]) == 255
    assert "Failed to start server. Error: Unknown: OverflowError: too much" in capsys.readouterr().err
    assert "Traceback" in caplog.text


def test_main_ends_when_stdin_closes(tmp_path, monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        threading.Timer(0.5, os.close, [writer]).start()
        started = time.monotonic()
        assert main(["--port=0", f"--model_base_path={tmp_path}", "--exit_on_stdin_close"]) == 0
        assert time.monotonic() - started > 0.4


def test_process_that_cannot_start_says_why(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with status 255: .*Couldn't interpret value x for flag port"):
        ServerProcess(tmp_path, "toy", flags=("--port=x",))
