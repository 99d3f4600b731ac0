"""Values that follow their files, and lists of items that are such."""

import errno
import os
import pathlib
import threading

import pytest

from serving.rules.item_list import ItemList, read_item_list
from serving.rules.reader import RulesError
from serving.rules.watched import Watched


@pytest.fixture
def clock(monkeypatch):
    """A clock that only a test moves, in seconds."""
    now = [100.0]
    monkeypatch.setattr("serving.rules.watched.time.monotonic", lambda: now[0])
    return now


def test_it_looks_so_often_and_reads_what_changed_only(tmp_path, clock):
    path, reads = tmp_path / "a.txt", []

    def read():
        reads.append(path.read_text())
        return reads[-1]

    path.write_text("one")
    watched = Watched(path, read, 200)
    path.write_text("two, later")
    clock[0] += 0.199
    assert watched.get() == "one"
    clock[0] += 0.001
    assert watched.get() == "two, later"
    clock[0] += 1
    assert watched.get() == "two, later" and len(reads) == 2


@pytest.mark.parametrize("how", ["size", "time", "inode"])
def test_each_sign_of_a_change_is_seen(tmp_path, how):
    path = tmp_path / "a.txt"
    path.write_text("one")
    before = path.stat()
    watched = Watched(path, path.read_text, 0)
    if how == "inode":
        other = tmp_path / "b.txt"
        other.write_text("two")
        other.replace(path)
    else:
        path.write_text("two" if how == "time" else "three")
    if how != "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert watched.get() == path.read_text() != "one"


def test_a_file_that_may_be_missing(tmp_path):
    path = tmp_path / "a.txt"
    watched = Watched(path, path.read_text, 0, missing="nothing")
    assert watched.get() == "nothing"
    path.write_text("one")
    assert watched.get() == "one"
    with pytest.raises(FileNotFoundError):
        Watched(tmp_path / "b.txt", (tmp_path / "b.txt").read_text, 0)


@pytest.mark.parametrize("missing", [None, "nothing"])
def test_a_file_that_cannot_be_looked_at(tmp_path, monkeypatch, caplog, missing):
    """A folder in its path became a file; the network is gone."""
    folder = tmp_path / "folder"
    path = folder / "a.txt"
    folder.mkdir()
    path.write_text("one")
    watched = Watched(path, path.read_text, 0, missing)
    folder.rename(tmp_path / "aside")
    folder.write_text("")
    assert [watched.get() for _ in range(3)] == ["one"] * 3
    folder.unlink()
    (tmp_path / "aside").rename(folder)
    with monkeypatch.context() as patched:

        def stat(path, **_):
            raise OSError(errno.ESTALE, "Stale file handle")

        patched.setattr(pathlib.Path, "stat", stat)
        assert [watched.get() for _ in range(3)] == ["one"] * 3
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        f"'{path}'",  # NotADirectoryError names it
        "[Errno 116] Stale file handle",
    ]
    path.write_text("two")
    assert watched.get() == "two"


@pytest.mark.parametrize("missing", [None, "nothing"])
def test_a_file_that_cannot_be_looked_at_from_the_start(tmp_path, missing):
    file = tmp_path / "a.txt"
    file.write_text("")
    path = file / "b.txt"
    with pytest.raises(NotADirectoryError):
        Watched(path, path.read_text, 0, missing)


def test_one_thread_reads_while_the_others_go_on(tmp_path):
    path, reading, finish = tmp_path / "a.txt", threading.Event(), threading.Event()
    path.write_text("one")
    watched = Watched(path, path.read_text, 0)

    def slow():
        reading.set()
        assert finish.wait(10)
        return path.read_text()

    watched._read = slow
    path.write_text("two!")
    found = []
    thread = threading.Thread(target=lambda: found.append(watched.get()))
    thread.start()
    assert reading.wait(10)
    assert watched.get() == "one"
    finish.set()
    thread.join(10)
    assert found == ["two!"] and watched.get() == "two!"


def test_lists_of_items(tmp_path):
    path = tmp_path / "popular.txt"
    path.write_text("\ufefftea\n\n pot \r\n0123", encoding="utf-8")
    assert ItemList(("a", "b"), 0).get() == ("a", "b")
    popular = ItemList(path, 0)
    assert popular.get() == ("tea", "pot", "0123")
    path.write_text("wine\n")
    assert popular.get() == ("wine",)
    for content, says in {
        "a\nb\na\n": r"popular\.txt: line 3 has 'a' again \(line 1\); expected each item once\.",
        "\n": r"popular\.txt: has no line; expected one item id a line, best first\.",
    }.items():
        path.write_text(content)
        with pytest.raises(RulesError, match=says):
            read_item_list(path)
    with pytest.raises(RulesError, match=r"none: cannot be read \(No such file or directory\); expected one item id"):
        read_item_list(tmp_path / "none")


def test_a_list_in_a_file_counts_from_the_rules_folder(engine, ranking, shopper, tmp_path):
    (tmp_path / "popular.txt").write_text("pot\ntea\n")
    text = (
        "check_every_ms: 0\nlists: {popular: {file: popular.txt}}\n"
        "rules: [{name: down, kind: fallback, on: model_down, list: popular}]\n"
    )
    made = engine(text)
    assert made.apply(None, shopper()).item_ids == ["pot", "tea"]
    (tmp_path / "popular.txt").write_text("wine\n")
    assert made.apply(None, shopper()).item_ids == ["wine"]
