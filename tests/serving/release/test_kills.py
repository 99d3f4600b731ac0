"""Commands that are killed at every step, and what the next command makes of what they left."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from serving.client.model_config import read_model_config
from serving.release.errors import ReleaseError
from serving.release.state import State

KILLED = pathlib.Path(__file__).with_name("killed.py")
#: What a killed command may leave beside a file; the next one to write the file takes it.
PARTS = {".experiment.yaml.part", ".models.config.part"}


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(params=[5, pytest.param(1, marks=pytest.mark.long)], ids=["every_fifth_step", "every_step"])
def until_done(request, monkeypatch):
    """Kills a command before its first step that lasts (a flush, a rename), calls `then`, kills the command at a later
    step, and so on, until it comes through; returns how many steps it has."""

    def run(command, then):
        for number in range(1, 100, request.param):
            taken = 0

            def counted(real, number=number):
                def step(*arguments, **options):
                    nonlocal taken
                    taken += 1
                    if taken == number:
                        raise Killed
                    return real(*arguments, **options)

                return step

            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", counted(os.fsync))
                patched.setattr(pathlib.Path, "replace", counted(pathlib.Path.replace))
                patched.setattr(pathlib.Path, "rename", counted(pathlib.Path.rename))
                try:
                    command()
                    return taken
                except Killed:
                    pass
            then()
        raise AssertionError("it never came through")

    return run


def check(shop, release, stable, canary, share):
    """All that there is agrees."""
    (server,) = shop.servers
    assert release.steps.state() == State(stable, canary, share)
    assert server.labels() == {"stable": stable, "canary": canary}
    assert server.loaded() == sorted({stable, canary})
    assert read_model_config(shop.config)[0].versions == tuple(sorted({stable, canary}))
    assert release.unfinished() is None
    assert {path.name for path in shop.home.rglob(".*")} <= {".models.config.lock", ".stage.lock", *PARTS}


@pytest.mark.parametrize("then", ["again", "rollback"])
@pytest.mark.parametrize("action", ["canary", "promote"])
def test_a_killed_command_is_finished_or_undone(shop, until_done, action, then):
    shop.experimented()
    release = shop.started(3, 5)
    shop.ask(pause=0.03)
    commands = {
        "canary": (lambda: release.canary(5, 0.1), (3, 5, 0.1)),
        "promote": (lambda: release.promote(5), (5, 5, 0.0)),
    }
    command, after = commands[action]

    def next_command():
        if then == "again":
            command()
            check(shop, release, *after)
        if release.unfinished() or release.steps.state().stable == 5 or release.steps.state().has_canary:
            release.rollback(3)
        check(shop, release, 3, 3, 0.0)

    steps = until_done(command, next_command)
    check(shop, release, *after)
    failures, versions = shop.answered()
    assert failures == []
    assert set(versions["stable"]) == ({3} if action == "canary" else {3, 5})
    assert steps >= 12


def test_a_killed_rollback_is_finished(shop, until_done):
    shop.experimented()
    release = shop.started(3, 5)
    release.canary(5, 0.1)
    shop.ask(pause=0.03)

    def again():
        release.rollback()
        check(shop, release, 3, 3, 0.0)
        release.canary(5, 0.1)

    assert until_done(release.rollback, again) >= 12
    check(shop, release, 3, 3, 0.0)
    assert shop.answered()[0] == []


def test_a_killed_rollback_of_a_promotion_is_finished(shop, until_done):
    release = shop.started(3, 5)
    release.promote(5)
    shop.ask(pause=0.03)

    def again():
        release.rollback()
        check(shop, release, 3, 3, 0.0)
        release.promote(5)

    assert until_done(release.rollback, again) >= 10
    check(shop, release, 3, 3, 0.0)
    assert shop.answered()[0] == []


def test_the_first_promotion_is_finished(shop, until_done):
    shop.version(3)
    shop.serve()
    release = shop.release()

    def again():
        with pytest.raises(ReleaseError, match=r"nothing served before|no version served as stable before"):
            release.rollback()
        release.promote(3)
        check(shop, release, 3, 3, 0.0)
        shop.journal.unlink()
        shop.config.unlink()
        release.steps.config.write([3], {})
        shop.servers[0]._labels = {}

    assert until_done(release.promote, again) >= 8
    check(shop, release, 3, 3, 0.0)


def test_what_does_not_fit_an_unfinished_command_is_refused(shop, until_done):
    release = shop.started(3, 5, 7)

    class Stop(Exception):
        pass

    def refused():
        if release.unfinished() is None:  # killed before its first entry
            return
        with pytest.raises(ReleaseError, match=r"canary by anna at .* \(stable 3 -> stable 3, canary 5\) is not"):
            release.promote()
        with pytest.raises(ReleaseError, match="expected the same again, or `rollback`"):
            release.canary(7)
        raise Stop

    with pytest.raises(Stop):
        until_done(lambda: release.canary(5), refused)
    with pytest.raises(ReleaseError, match="is not finished; expected `canary` again"):
        release.promote(5)
    assert release.canary() == State(3, 5)
    assert release.promote() == State(5, 5)


def test_a_killed_stage_leaves_nothing_half(shop, until_done):
    release = shop.started(3)
    source = shop.home / "pushed" / "5"
    (shop.version(99)).rename(shop.home / "model")
    source.parent.mkdir()
    (shop.home / "model").rename(source)

    def again():
        staged = release.stage(source)
        assert (staged.version, staged.path) == (5, shop.folder / "5")
        assert {path.name for path in shop.folder.iterdir()} == {"3", "5", ".stage.lock"}
        assert [one.details["version"] for one in release.journal.read() if one.action == "stage"] == [5]
        (shop.folder / "5").rename(shop.home / f"gone{len(list(shop.home.iterdir()))}")
        lines = [line for line in shop.journal.read_text().splitlines(True) if '"action": "stage"' not in line]
        shop.journal.write_text("".join(lines))

    assert until_done(lambda: release.stage(source), again) >= 6
    assert {path.name for path in shop.folder.iterdir()} == {"3", "5", ".stage.lock"}


@pytest.mark.parametrize("number", [6, *(pytest.param(step, marks=pytest.mark.long) for step in (3, 9))])
def test_a_process_that_is_really_killed(shop, number):
    release = shop.started(3, 5)
    shop.ask(pause=0.03)
    command = [sys.executable, str(KILLED), str(number), "promote", "--config", str(shop.home / "release.yaml")]
    root = str(KILLED.parents[3])
    done = subprocess.run([*command, "--version", "5"], env={**os.environ, "PYTHONPATH": root}, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert release.promote(5) == State(5, 5)  # the lock went with the process
    check(shop, release, 5, 5, 0.0)
    assert shop.answered()[0] == []
