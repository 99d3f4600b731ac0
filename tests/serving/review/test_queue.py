"""The review queue: what may follow on what, and that nothing of it is lost."""

import fcntl
import gc
import os
import pathlib
import subprocess
import sys
import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serving.review.entry import ACTIONS, Entry
from serving.review.journal import Journal
from serving.review.queue import ReviewQueue
from serving.review.state import APPROVED, BANNED, WAITING, ReviewError
from serving.rules.forbidden import read_forbidden

ROOT = pathlib.Path(__file__).parents[3]

#: (status before, action) -> status after; what is missing is refused.
NEXT = {
    (None, "flag"): WAITING,
    (WAITING, "flag"): WAITING,
    (APPROVED, "flag"): WAITING,
    (BANNED, "flag"): BANNED,
    (WAITING, "approve"): APPROVED,
    (None, "ban"): BANNED,
    (WAITING, "ban"): BANNED,
    (APPROVED, "ban"): BANNED,
    (BANNED, "unban"): APPROVED,
}


def act(queue, action, item_id):
    if action == "flag":
        queue.flag(item_id, "looks odd", "a rule")
    else:
        getattr(queue, action)(item_id, "because", by="anna")


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from("ab")), max_size=12))
def test_what_follows_on_what(tmp_path_factory, actions):
    queue = ReviewQueue(tmp_path_factory.mktemp("queue"))
    statuses, done = {"a": None, "b": None}, []
    for action, item_id in actions:
        after = NEXT.get((statuses[item_id], action))
        if after is None:
            with pytest.raises(ReviewError, match=f"item '{item_id}' "):
                act(queue, action, item_id)
            continue
        act(queue, action, item_id)
        statuses[item_id] = after
        done.append((action, item_id))
    other = ReviewQueue(queue.path.parent)  # what another process would read
    for one in (queue, other):
        assert [(entry.action, entry.item_id) for entry in one.history()] == done
        assert one.banned() == {item_id for item_id, status in statuses.items() if status == BANNED}
        assert set(one.waiting()) == {item_id for item_id, status in statuses.items() if status == WAITING}
    if done:
        assert read_forbidden(queue.path) == queue.banned()


def test_refusals_say_why(tmp_path):
    queue = ReviewQueue(tmp_path)
    for call, says in {
        lambda: queue.approve(
            "tea", by="anna"
        ): "item 'tea' was never flagged nor banned; expected an item that is waiting.",
        lambda: queue.unban(
            "tea", by="anna"
        ): "item 'tea' was never flagged nor banned; expected an item that is banned.",
        lambda: queue.ban("tea", " ", by="anna"): "no reason is given to ban 'tea'; expected one.",
        lambda: queue.ban("tea", "bad", by=""): "the item is 'tea' and `by` ''; expected both.",
        lambda: queue.flag(" ", "bad", "a rule"): "the item is '' and `by` 'a rule'; expected both.",
        # What Python makes of an argument in another encoding.
        lambda: queue.ban(
            "t\udce9", "bad", by="anna"
        ): r"`item_id` is 't\udce9'; expected a text that UTF-8 can write.",
        lambda: queue.ban("tea", "\udce9", by="anna"): r"`reason` is '\udce9'; expected a text that UTF-8 can write.",
        lambda: queue.flag("tea", "", "\udce9"): r"`by` is '\udce9'; expected a text that UTF-8 can write.",
    }.items():
        with pytest.raises(ReviewError) as error:
            call()
        assert str(error.value) == says
    queue.ban("tea", "bad", by="anna")
    with pytest.raises(ReviewError, match="item 'tea' is banned; expected an item that is not banned yet"):
        queue.ban("tea", "bad", by="ben")
    assert len(queue.history()) == 1


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for folder, why in {tmp_path / "typo": "No such file or directory", file: "Not a directory"}.items():
        with pytest.raises(ReviewError) as error:
            ReviewQueue(folder)
        assert str(error.value) == (
            f"{folder}: cannot be used ({why}); expected the review queue's folder, made beforehand."
        )
    assert list(tmp_path.iterdir()) == [file]


def test_what_waits_is_listed_with_what_was_said_since(tmp_path):
    queue = ReviewQueue(tmp_path)
    queue.flag("tea", "first", "rule a")
    queue.approve("tea", by="anna")
    queue.flag("pot", "old", "rule a")
    queue.flag("tea", "again", "support")
    queue.flag("tea", "and again", "rule b")
    waiting = queue.waiting()
    assert {item_id: [(entry.reason, entry.by) for entry in entries] for item_id, entries in waiting.items()} == {
        "pot": [("old", "rule a")],
        "tea": [("again", "support"), ("and again", "rule b")],
    }
    assert [entry.action for entry in queue.history("tea")] == ["flag", "approve", "flag", "flag"]
    assert queue.history()[0].time.endswith("Z") and not queue.history("mug")


def test_a_source_flags_an_item_once(tmp_path):
    queue = ReviewQueue(tmp_path)
    found = [("tea", "new", "rule a"), ("tea", "word", "rule b"), ("pot", "new", "rule a"), ("tea", "twice", "rule a")]
    assert queue.flag_once(found) == ["tea", "pot"]
    assert [(entry.item_id, entry.by) for entry in queue.history()] == [
        ("tea", "rule a"), ("tea", "rule b"), ("pot", "rule a"),
    ]  # fmt: skip
    queue.approve("tea", by="anna")
    assert queue.flag_once(found) == [] and set(queue.waiting()) == {"pot"}
    assert queue.flag_once([("tea", "other", "rule c")]) == ["tea"]


def test_texts_of_any_kind_come_back(tmp_path):
    queue = ReviewQueue(tmp_path)
    queue.flag("85123A/é", 'line\nbreak "quote" 高仿 \u2028', "rule")
    (entry,) = ReviewQueue(tmp_path).history()
    assert (entry.item_id, entry.reason) == ("85123A/é", 'line\nbreak "quote" 高仿')
    assert len(queue.path.read_text(encoding="utf-8").split("\n")) == 2


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_line_that_was_cut_off_is_passed_over_and_removed(tmp_path):
    queue = ReviewQueue(tmp_path)
    queue.ban("tea", "bad", by="anna")
    whole = queue.path.read_bytes()
    with queue.path.open("ab") as file:
        file.write(whole[:-9])  # a crash while the next line was written
    for reader in (queue, ReviewQueue(tmp_path)):
        assert len(reader.history()) == 1 and reader.banned() == {"tea"}
    queue.unban("tea", by="ben")
    assert queue.path.read_bytes().startswith(whole) and queue.path.read_bytes().count(b"\n") == 2
    assert [entry.action for entry in ReviewQueue(tmp_path).history()] == ["ban", "unban"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is not JSON; expected one object a line."),
        ('{"item_id": "a", "action": "ban"}', "line 2 has no `time`; expected an entry of the review queue."),
        (
            '{"item_id": "a", "action": "hide", "time": "", "reason": "", "by": ""}',
            "line 2 has the action 'hide'; expected flag, approve, ban, unban.",
        ),
        (
            '{"item_id": "a", "action": "unban", "time": "", "reason": "", "by": ""}',
            "line 2: unban: item 'a' was never flagged nor banned; expected an item that is banned.",
        ),
        ("\udcff", "line 2 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte."),
    ],
)
def test_a_journal_that_somebody_broke(tmp_path, line, says):
    queue = ReviewQueue(tmp_path)
    queue.ban("tea", "bad", by="anna")
    with queue.path.open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(line + "\n")
    for call in (queue.history, lambda: queue.ban("pot", "bad", by="anna")):
        with pytest.raises(ReviewError) as error:
            call()
        assert str(error.value) == f"{queue.path}: {says}"


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    queue = ReviewQueue(tmp_path)
    queue.ban("tea", "bad", by="anna")
    before, write = queue.path.read_bytes(), os.write

    def full(descriptor, content):
        write(descriptor, bytes(content)[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ReviewError, match=r"cannot be written \(No space left on device\)"):
        queue.ban("pot", "bad", by="anna")
    monkeypatch.undo()
    assert queue.path.read_bytes() == before
    queue.ban("pot", "bad", by="anna")
    assert queue.banned() == {"tea", "pot"}


def test_each_entry_is_on_the_disk_before_it_is_answered(tmp_path, monkeypatch):
    queue, calls = ReviewQueue(tmp_path), []
    for name in ("write", "fsync", "close"):
        real = getattr(os, name)

        def noted(descriptor, *rest, name=name, real=real):
            calls.append((name, os.fstat(descriptor).st_ino))
            return real(descriptor, *rest)

        monkeypatch.setattr(os, name, noted)
    queue.ban("tea", "bad", by="anna")
    monkeypatch.undo()
    journal = queue.path.stat().st_ino
    assert [name for name, inode in calls if inode == journal] == ["write", "fsync", "close"]
    assert ("fsync", tmp_path.stat().st_ino) in calls  # the new file's name, too


def test_another_file_in_its_place_is_read_from_the_start(tmp_path):
    queue = ReviewQueue(tmp_path)
    queue.ban("tea", "bad", by="anna")
    assert queue.banned() == {"tea"}
    (tmp_path / "other").mkdir()
    other = ReviewQueue(tmp_path / "other")
    other.ban("pot", "bad", by="anna")
    other.path.replace(queue.path)
    assert queue.banned() == {"pot"}
    queue.path.unlink()
    assert queue.banned() == frozenset()


def test_what_was_put_in_its_place_while_the_lock_was_waited_for_gets_the_entry(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    queue, other = ReviewQueue(tmp_path), ReviewQueue(tmp_path / "other")
    queue.ban("tea", "bad", by="anna")
    other.ban("pot", "bad", by="anna")
    waits, lock = threading.Event(), fcntl.flock

    def flock(descriptor, operation):
        waits.set()
        lock(descriptor, operation)

    with queue.path.open("rb") as held:
        lock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(fcntl, "flock", flock)
        thread = threading.Thread(target=queue.ban, args=("mug", "bad"), kwargs={"by": "ben"})
        thread.start()
        assert waits.wait(30)
        old = queue.path.read_bytes()
        other.path.replace(queue.path)
        assert os.pread(held.fileno(), 10_000, 0) == old
        lock(held, fcntl.LOCK_UN)
        thread.join(30)
        assert os.pread(held.fileno(), 10_000, 0) == old
    assert queue.banned() == ReviewQueue(tmp_path).banned() == {"pot", "mug"}


def test_who_follows_a_journal_does_not_keep_what_is_decided(tmp_path):
    def alive():
        gc.collect()
        return sum(isinstance(one, Entry) for one in gc.get_objects())

    queue, before = ReviewQueue(tmp_path), alive()
    for at in range(20):
        queue.flag(f"i{at}", "odd", "a rule")
        queue.approve(f"i{at}", by="anna")
    queue.flag("i3", "odd", "another rule")
    journal = Journal(tmp_path)
    assert journal.read(lambda state: set(state.waiting)) == set(queue.waiting()) == {"i3"}
    assert alive() - before == 2  # of each of the two readers: what was said of the item that waits
    assert len(journal.entries()) == 41


FLAG_MANY = """
import sys
from serving.review.queue import ReviewQueue
folder, own = sys.argv[1:]
queue = ReviewQueue(folder)
print("ready", flush=True)
sys.stdin.readline()
for at in range(12):
    queue.flag(f"{own}-{at}", "x" * 200, f"process {own}")
"""


def test_processes_append_side_by_side(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FLAG_MANY, tmp_path, str(own)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for own in range(3)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    history = ReviewQueue(tmp_path).history()
    assert sorted(entry.item_id for entry in history) == sorted(f"{own}-{at}" for own in range(3) for at in range(12))
    for own in range(3):  # each in its own order
        mine = [entry.item_id for entry in history if entry.by == f"process {own}"]
        assert mine == [f"{own}-{at}" for at in range(12)]


def test_of_many_bans_of_one_item_one_is_made(tmp_path):
    """Whoever comes second sees the first one's entry before it writes."""
    command = [sys.executable, "-m", *f"serving.review ban --dir {tmp_path} --item tea --reason bad --by".split()]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*command, name], cwd=ROOT, **quiet) for name in ("anna", "ben", "cem")]
    assert sorted(process.wait(60) for process in processes) == [0, 1, 1]
    assert len(ReviewQueue(tmp_path).history()) == 1
