"""Versions appear whole, one after the other, and what was left half done goes."""

import pathlib
import threading

import pytest

from serving.refresh_catalogue import version_folders
from serving.refresh_catalogue.errors import RefreshError


def _put(base, version):
    (base / str(version)).mkdir(parents=True)
    (base / str(version) / "saved_model.pb").write_bytes(b"x")


def test_the_newest_version_or_the_one_that_is_named(tmp_path):
    with pytest.raises(RefreshError, match="holds no version"):
        version_folders.find(tmp_path / "none")
    for version in (9, 10, 2):
        _put(tmp_path, version)
    (tmp_path / "20.part").mkdir()
    (tmp_path / "30").write_bytes(b"no folder")
    assert version_folders.versions(tmp_path) == [2, 9, 10]
    assert version_folders.find(tmp_path) == tmp_path / "10"
    assert version_folders.find(tmp_path / "9") == tmp_path / "9"


def test_a_version_appears_whole_or_not_at_all(tmp_path):
    _put(tmp_path, 7)
    left = tmp_path / ".refreshing-3"
    left.mkdir()

    def write(folder: pathlib.Path) -> None:
        assert not left.exists() and version_folders.versions(tmp_path) == [7]
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("all of it", encoding="utf-8")

    assert version_folders.place(tmp_path, write) == 8
    assert (tmp_path / "8" / "deep" / "file").read_text(encoding="utf-8") == "all of it"

    def fail(folder: pathlib.Path) -> None:
        (folder / "half").write_text("half", encoding="utf-8")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        version_folders.place(tmp_path, fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8"]


def test_one_at_a_time(tmp_path):
    order, inside = [], threading.Event()

    def second():
        inside.wait()
        with version_folders.only_one(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with version_folders.only_one(tmp_path):
        thread.start()
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
