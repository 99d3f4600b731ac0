"""The served folder through the eyes of a server: whole versions only, rising, never twice the same model."""

import json
import os
import pathlib
import threading
import time

import pytest
from tfx import types
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import path_utils, proto_utils

from serving import contract
from tfx_pipeline.components import pusher


def make_model(folder, content=b"graph", parts=3):
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    for i in range(parts):
        (folder / "variables" / f"part-{i}").write_bytes(bytes([i]) * 200_000)
    return folder


def test_push_copies_the_model_whole(tmp_path):
    source = make_model(tmp_path / "model")
    before = int(time.time())
    pushed = pusher.push(source, tmp_path / "served")
    assert pushed.anew and before <= pushed.version <= time.time()
    assert pushed.path == tmp_path / "served" / str(pushed.version)
    assert (pushed.path / "saved_model.pb").read_bytes() == b"graph"
    assert (pushed.path / "variables" / "part-2").read_bytes() == b"\2" * 200_000


def test_a_model_that_was_refreshed_since_is_not_pushed_again(tmp_path):
    source, served = make_model(tmp_path / "model"), tmp_path / "served"
    first = pusher.push(source, served).version
    for version, before in ((first + 1, first), (first + 2, first + 1)):
        folder = make_model(served / str(version), b"graph", parts=2)
        (folder / "assets.extra").mkdir()
        (folder / contract.CATALOGUE_FILE).write_text(json.dumps({"refreshed_from": before}), encoding="utf-8")
    assert pusher.push(source, served) == (first + 2, served / str(first + 2), False)
    other = pusher.push(make_model(tmp_path / "other", b"another"), served)
    assert other.anew and other.version > first + 2


def test_a_watcher_never_sees_a_half_copied_version(tmp_path, monkeypatch):
    source, served = make_model(tmp_path / "model", parts=12), tmp_path / "served"
    served.mkdir()
    copy = pusher.shutil.copy2
    monkeypatch.setattr(pusher.shutil, "copytree", lambda a, b: slow_copytree(a, b, copy))
    seen, done = [], threading.Event()

    def watch():
        while not done.is_set():
            for version in served.iterdir():
                if version.name.isdecimal():
                    seen.append(sorted(p.name for p in version.rglob("*") if p.is_file()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        pusher.push(source, served)
        until = time.monotonic() + 60
        while not seen:
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        done.set()
        watcher.join()
    whole = sorted(p.name for p in source.rglob("*") if p.is_file())
    assert seen and all(files == whole for files in seen)


def slow_copytree(source, target, copy):
    for file in sorted(p for p in pathlib.Path(source).rglob("*") if p.is_file()):
        destination = pathlib.Path(target) / file.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        copy(file, destination)
        time.sleep(0.01)


def test_a_push_that_dies_leaves_no_version_and_the_next_sweeps_it(tmp_path, monkeypatch):
    source, served = make_model(tmp_path / "model"), tmp_path / "served"

    def dies(path):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(pusher, "flush", dies)
        with pytest.raises(OSError, match="killed"):
            pusher.push(source, served)
    assert pusher.versions(served) == []
    assert any(p.name.startswith(".pushing-") for p in served.iterdir())
    pushed = pusher.push(source, served)
    assert sorted(p.name for p in served.iterdir()) == [".push.lock", str(pushed.version)]


def test_everything_is_flushed_before_the_rename(tmp_path, monkeypatch):
    source, served = make_model(tmp_path / "model"), tmp_path / "served"
    calls = []
    fsync, rename = os.fsync, pathlib.Path.rename

    def noted_fsync(descriptor):
        calls.append(str(pathlib.Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(pathlib.Path, "rename", lambda self, to: (calls.append("rename"), rename(self, to))[1])
    pusher.push(source, served)
    before = [pathlib.Path(c).name for c in calls[: calls.index("rename")]]
    assert {"saved_model.pb", "part-0", "part-1", "part-2", "variables"} <= set(before)
    assert calls[calls.index("rename") + 1 :] == [str(served)]


def test_versions_rise_although_the_clock_goes_back(tmp_path, monkeypatch):
    served = tmp_path / "served"
    monkeypatch.setattr(pusher.time, "time", lambda: 5_000.0)
    assert pusher.push(make_model(tmp_path / "a", b"a"), served).version == 5_000
    monkeypatch.setattr(pusher.time, "time", lambda: 4_000.0)
    assert pusher.push(make_model(tmp_path / "b", b"b"), served).version == 5_001
    monkeypatch.setattr(pusher.time, "time", lambda: 5_001.5)
    assert pusher.push(make_model(tmp_path / "c", b"c"), served).version == 5_002


def test_the_very_same_model_is_not_pushed_anew(tmp_path):
    served = tmp_path / "served"
    first = pusher.push(make_model(tmp_path / "a"), served)
    again = pusher.push(make_model(tmp_path / "copy"), served)
    assert (again.version, again.path, again.anew) == (first.version, first.path, False)
    other = pusher.push(make_model(tmp_path / "other", b"other"), served)
    back = pusher.push(tmp_path / "a", served)
    assert other.anew and back.anew and pusher.versions(served) == [first.version, other.version, back.version]


def test_content_hash_sees_names_and_bytes(tmp_path):
    for folder, name, content in (("a", "x", b"1"), ("b", "y", b"1"), ("c", "x", b"2"), ("d", "x", b"1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    a, b, c, d = (pusher.content_hash(tmp_path / folder) for folder in "abcd")
    assert a == d and len({a, b, c}) == 3


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no saved_model\.pb"):
        pusher.push(tmp_path / "empty", tmp_path / "served")
    assert pusher.versions(tmp_path / "served") == []


@pytest.mark.parametrize(("blessed", "infra", "expected"), [(1, 1, 1), (0, 1, 0), (1, 0, 0)])
def test_executor_pushes_only_what_both_bless(tmp_path, blessed, infra, expected):
    model = artifact(standard_artifacts.Model, tmp_path / "model")
    make_model(pathlib.Path(path_utils.serving_model_dir(model.uri)))
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    blessing.set_int_custom_property("blessed", blessed)
    infra_blessing = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra")
    infra_blessing.set_int_custom_property("blessed", infra)
    pushed = artifact(standard_artifacts.PushedModel, tmp_path / "pushed")
    destination = pusher_pb2.PushDestination()
    destination.filesystem.base_directory = str(tmp_path / "served")
    pusher.Executor().Do(
        {"model": [model], "model_blessing": [blessing], "infra_blessing": [infra_blessing]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    assert pushed.get_int_custom_property("pushed") == expected
    standing = pusher.versions(tmp_path / "served")
    assert len(standing) == expected
    if expected:
        assert pushed.get_string_custom_property("pushed_version") == str(standing[0])
        assert pushed.get_string_custom_property("pushed_destination") == str(tmp_path / "served" / str(standing[0]))
        assert pushed.get_int_custom_property(pusher.PUSHED_ANEW) == 1
        assert (tmp_path / "pushed" / "saved_model.pb").read_bytes() == b"graph"


def artifact(kind: type[types.Artifact], folder):
    folder.mkdir()
    made = kind()
    made.uri = str(folder)
    return made
