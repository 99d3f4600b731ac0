"""The servers' configuration, the experiment's file, the journal, the lock and the settings."""

import fcntl
import json
import os
import pathlib
import threading

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from serving.experiment.experiment import Experiment
from serving.release import clock, files
from serving.release.config_file import ConfigFile
from serving.release.errors import ReleaseError
from serving.release.experiment_file import ExperimentFile
from serving.release.journal import Entry, Journal
from serving.release.lock import only_operator
from serving.release.settings import ReleaseSettings
from serving.release.state import State

ROOT = pathlib.Path(__file__).parents[3]


def entry(**more):
    values = {"by": "anna", "model": "ranker", "action": "canary", "phase": "done", "reason": "新 model"}
    return Entry(time=clock.now(), before=State(3, 3), after=State(3, 5, 0.1), **{**values, **more})


def test_a_file_is_replaced_whole(tmp_path):
    file, link = tmp_path / "a", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    files.write_whole(link, "new")
    assert (link.is_symlink(), file.read_text(), file.stat().st_mode & 0o777) == (True, "new", 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "link"]


def test_a_configuration_that_would_lose_something_is_refused(tmp_path):
    file = ConfigFile(tmp_path / "models.config", "ranker", "/models/ranker")
    assert file.models() == [] and file.entry() is None
    file.write([5, 3, 3], {"stable": 3})
    assert file.path.read_text() == (
        "model_config_list {\n"
        "  config {\n"
        '    name: "ranker"\n'
        '    base_path: "/models/ranker"\n'
        '    model_platform: "tensorflow"\n'
        "    model_version_policy {\n"
        "      specific {\n"
        "        versions: 3\n"
        "        versions: 5\n"
        "      }\n"
        "    }\n"
        "    version_labels {\n"
        '      key: "stable"\n'
        "      value: 3\n"
        "    }\n"
        "  }\n"
        "}\n"
    )
    with pytest.raises(ReleaseError, match=r"has base_path '/models/ranker', and the release's settings say '/other'"):
        ConfigFile(file.path, "ranker", "/other").entry()
    content = file.path.read_text()
    file.path.write_text(content.replace("  config {", "  config {\n    logging_config { }"))
    with pytest.raises(ReleaseError, match=r"models.config: not a configuration of models .*logging_config"):
        file.write([3], {})


def test_shares_change_where_they_stand(tmp_path):
    path = tmp_path / "experiment.yaml"
    shipped = (ROOT / "configs/serving/experiment.yaml").read_text(encoding="utf-8")
    path.write_text(shipped, encoding="utf-8")
    file = ExperimentFile(path, "ranker")
    file.set_share(0.05)
    before, after = shipped.splitlines(), path.read_text(encoding="utf-8").splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new for _, new in changed[1:]] == [
        "  - {name: stable, share: 0.95, model: ranker, label: stable}",
        "  - {name: canary, share: 0.05, model: ranker, label: canary}",
    ]
    (old, new), *_ = changed
    assert old.startswith("start: 2024-06-03T00:00:00Z  #") and new.endswith(old.partition("Z")[2])
    assert abs(Experiment.read(path).start_time - clock.seconds(clock.now())) < 60
    assert Experiment.read(path).analysis == Experiment.read(ROOT / "configs/serving/experiment.yaml").analysis


THREE = """\
name: a
salt: b
control: now
start: "2024-01-01"
arms:
- name: now
  share: 0.6
  model: ranker
  label: stable
- {share: 0.3, name: "other arm", model: ranker, version: 2}
- label: canary
  model: ranker
  name: new
  share: 1.0e-1   # few
"""


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 0.7))
def test_other_arms_keep_their_share(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("arms") / "experiment.yaml"
    path.write_text(THREE)
    file = ExperimentFile(path, "ranker")
    file.set_share(share)
    arms = {arm.name: arm.share for arm in Experiment.read(path).arms}
    assert arms == {"now": pytest.approx(0.7 - share), "other arm": 0.3, "new": pytest.approx(share, abs=1e-9)}
    assert "  # few\n" in path.read_text()
    assert file.canary().share == arms["new"]


@pytest.mark.parametrize(
    ("old", "new", "share", "error"),
    [
        ("label: canary", "label: other", 0.1, "expected control with the label stable of `ranker`, and one treatment"),
        ("label: stable", "label: other", 0.1, "expected control with the label stable of `ranker`"),
        ("share: 0.3", "share: 0.3", 0.9, "a share of 0.9 is not left for 'new'"),
        ("name: a\n", "", 0.1, "`name` is missing"),
        ("share: 0.6", "share: &rest 0.6", 0.1, "shares cannot be changed in place"),
    ],
)
def test_experiments_that_cannot_be_changed(tmp_path, old, new, share, error):
    path = tmp_path / "experiment.yaml"
    text = THREE.replace(old, new)
    if "&rest" in new:
        text = text.replace("share: 0.3", "share: 0.0").replace("share: 1.0e-1", "share: *rest").replace("0.6", "0.5")
    path.write_text(text)
    with pytest.raises(ReleaseError, match=error):
        ExperimentFile(path, "ranker").set_share(share)
    assert path.read_text() == text


def test_the_journal_keeps_what_was_written(tmp_path):
    path = tmp_path / "logs" / "releases.jsonl"
    journal = Journal(path, "ranker")
    assert journal.read() == []
    written = [entry(), entry(action="stage", details={"version": 7}), entry(model="tagger"), entry(phase="begun")]
    for one in written:
        journal.append(one)
    assert journal.read() == [written[0], written[1], written[3]]
    assert journal.moves() == [written[0], written[3]]
    assert (written[0].is_open, written[3].is_open) == (False, True)
    assert Journal(path, "tagger").read() == [written[2]]
    with path.open("ab") as file:  # a crash in the middle of a line
        file.write(b'{"time": "2024')
    assert journal.read() == [written[0], written[1], written[3]]
    journal.append(written[0])
    assert journal.read()[-1] == written[0] and len(path.read_bytes().splitlines()) == 5


UNKNOWN_PHASE = json.dumps({**vars(entry()), "before": {}, "after": {}, "phase": "x"})


@pytest.mark.parametrize("line", ["no", "[]", '{"time": "2024"}', UNKNOWN_PHASE])
def test_a_journal_of_something_else(tmp_path, line):
    path = tmp_path / "releases.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ReleaseError, match=r"releases.jsonl: line 1 is no entry of a journal of releases\."):
        Journal(path, "ranker").read()


def test_one_operator_at_a_time(tmp_path):
    path = tmp_path / "lock"
    with only_operator(path, "promote of `ranker` by anna"):
        with pytest.raises(ReleaseError) as caught, only_operator(path, "rollback of `ranker` by ben"):
            pass
        assert str(caught.value).startswith(f"promote of `ranker` by anna (process {os.getpid()} on ")
        assert str(caught.value).endswith(") is under way; expected one operator at a time.")
    with only_operator(path, "rollback of `ranker` by ben"):
        assert path.read_text().startswith("rollback of `ranker` by ben (")
    with pytest.raises(ReleaseError, match="cannot be written"), only_operator(tmp_path, "x"):
        pass


def test_two_operators_at_once(shop):
    release = shop.started(3, 5)
    told, waiting = threading.Event(), threading.Event()

    def hold(line):
        if line.startswith("loading"):
            told.set()
            assert waiting.wait(30)

    first = shop.release(by="anna")
    first.steps._say = hold
    thread = threading.Thread(target=first.canary, args=(5,))
    thread.start()
    assert told.wait(30)
    for command in (release.promote, release.rollback, lambda: release.stage(shop.folder / "5")):
        with pytest.raises(ReleaseError, match=r"canary of `ranker` by anna \(process .* is under way; expected one"):
            command()
    waiting.set()
    thread.join()
    assert release.steps.state() == State(3, 5)


def test_the_shipped_settings_are_read():
    found = ReleaseSettings.read(ROOT / "configs/serving/release.yaml")
    assert found.folder == str(ROOT / "runs/released/ranker") == found.served_path
    assert found.lock_file == ROOT / "runs/released/.models.config.lock"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"modell": "x"}, "unknown key `modell`"),
        ({"model": ""}, "`model`, `folder`, `config_file` or `journal` is empty"),
        ({"servers": []}, "`servers` is empty; expected host:port of each server"),
        ({"reload": "soon"}, "`reload` is 'soon'; expected one of rpc, poll"),
        ({"grace_seconds": 0}, "`grace_seconds` is 0; expected a number from 0.05"),
        ({"tls": {"enabled": True, "key": "k"}}, "only one of them is given"),
        ({"watch": {"stable": {"pages": ["http://a"]}}}, "`pages` are given without `requests` or `errors`"),
        (
            {"watch": {"stable": {"pages": ["http://a"], "requests": "a", "errors": "b"}}},
            "`watch` has metrics of one of stable and canary",
        ),
        ({"watch": {"stable": {"requests": "a{"}}}, "'a{' selects no series"),
        ({"watch": {"exposures": "a"}}, "`watch` has one of `exposures` and `outcomes`"),
    ],
)
def test_settings_that_cannot_be_used(shop, change, error):
    with pytest.raises(ReleaseError, match=error):
        shop.settings(**change)


def test_tls_and_paths_of_the_settings(shop):
    found = shop.settings(
        base_path="/models/ranker", tls={"enabled": True, "certificate": "c.pem", "key": "/k.pem", "server_name": "a"}
    )
    assert (found.served_path, found.journal) == ("/models/ranker", str(shop.home / "releases.jsonl"))
    tls = found.tls.tls()
    assert (tls.root_certificates, tls.certificate, tls.key, tls.server_name) == (
        None,
        str(shop.home / "c.pem"),
        "/k.pem",
        "a",
    )
    assert shop.settings().tls.tls() is None


def test_a_lock_that_a_file_system_lacks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(ReleaseError, match=r"lock: cannot be locked \(No locks available\)"),
        only_operator(tmp_path / "lock", "x"),
    ):
        pass
