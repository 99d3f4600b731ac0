"""The command line, the winner's settings and the image."""

import json
import re

import pytest
import yaml
from google.protobuf import text_format

from serving import protos
from serving.release import winner
from serving.release.__main__ import main
from serving.release.clock import now
from serving.release.errors import ReleaseError
from serving.release.image import write_image
from serving.release.journal import Entry
from serving.release.state import State

DIGEST = "sha256:" + "0f" * 32


@pytest.fixture
def run(shop, capsys):
    """Runs a command; returns the exit code and what it printed."""

    def command(name, *arguments):
        code = main([name, "--config", str(shop.home / "release.yaml"), "--by", "anna", *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_from_a_pushed_model_to_a_rollback(shop, write_model, run):
    shop.experimented()
    shop.settings()
    first, second = (str(write_model(shop.home / "pushed" / name, run=name)) for name in ("1700", "1800"))
    assert run("stage", "--source", first)[:2] == (0, f"Version 1700 is staged: {shop.folder}/1700\n")
    shop.serve()
    shop.settings()
    code, out, err = run("promote", "--reason", "the first")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "promote: nothing -> stable 1700",
        "labels: stable 1700, canary 1700",
        "Now serves: stable 1700.",
    ]
    run("stage", "--source", second)
    assert run("stage", "--source", second)[1] == f"Version 1800 was staged before: {shop.folder}/1800\n"
    assert run("canary", "--share", "0.05")[1].endswith("Now serves: stable 1700, canary 1800 for 0.05.\n")
    code, out, _ = run("status", "--json")
    found = json.loads(out)
    assert found["state"] == {"stable": 1700, "canary": 1800, "share": 0.05}
    assert found["staged"] == found["loaded"] == [1700, 1800]
    assert found["servers"] == {
        shop.servers[0].address: {
            "labels": {"stable": 1700, "canary": 1800},
            "versions": {"1800": "AVAILABLE", "1700": "AVAILABLE"},
        }
    }
    assert (found["unfinished"], found["problems"]) == (None, [])
    assert [(one["action"], one["reason"]) for one in found["history"]] == [
        ("canary", ""),
        ("stage", ""),
        ("promote", "the first"),
        ("stage", ""),
    ]
    assert run("promote")[0] == 0
    assert run("rollback", "--reason", "returns rise")[1].endswith("Now serves: stable 1700.\n")
    out = run("status", "--last", "2")[1]
    assert out.startswith("ranker: stable 1700\n")
    assert re.search(r"1700 +stable, canary +yes +AVAILABLE", out) and re.search(r"1800 +yes +END", out)
    assert re.search(r"anna +rollback +stable 1800 +stable 1700 +returns rise", out) and "stage 1" not in out


def test_status_says_what_is_not_as_it_should_be(shop, run):
    shop.started(3, 5, servers=2)
    shop.settings()
    shop.servers[0]._labels = {}
    shop.servers[1].close()
    out = run("status")[1]
    assert (
        f"note: {shop.servers[0].address} answers stable with nothing; expected 3, which `promote --version 3` sees to."
        in out
    )
    assert f"note: status of model `ranker` on {shop.servers[1].address} failed with UNAVAILABLE" in out
    entry = Entry(now(), "ben", "ranker", "canary", "begun", State(3, 3), State(3, 5))
    shop.release().journal.append(entry)
    assert "note: canary by ben at " in run("status")[1]


def test_what_cannot_be_done_is_one_sentence(shop, run):
    shop.settings()
    assert run("promote", "--version", "4") == (
        1,
        "",
        f"error: {shop.folder}: has no version 4; expected it to be staged.\n",
    )
    shop.version(4)
    code, _, err = run("promote")
    assert code == 1 and err.startswith("error: ") and "127.0.0.1:1 failed with UNAVAILABLE" in err
    code, _, err = run("verify")
    assert (code, err) == (1, "error: there is no canary to verify; expected `canary` first.\n")
    assert main(["status", "--config", str(shop.home / "none.yaml")]) == 1
    with pytest.raises(SystemExit):
        run("canary", "--version", "0")


def test_an_interrupted_command_says_how_to_go_on(shop, run, monkeypatch):
    shop.started(3, 5)

    def interrupt(*_):
        raise KeyboardInterrupt

    shop.settings()
    with monkeypatch.context() as patched:
        patched.setattr("serving.release.fleet.Fleet.wait_labelled", interrupt)
        code, _, err = run("canary", "--version", "5")
    assert (code, err) == (1, "error: interrupted; the same command again goes on, `rollback` undoes it.\n")
    assert run("canary")[1].endswith("Now serves: stable 3, canary 5.\n")


def test_an_image_of_the_stable_version(shop, run):
    shop.started(3)
    shop.settings()
    (shop.folder / "3" / "saved_model.pb").chmod(0o600)
    out = shop.home / "image"
    assert run("image", "--out", str(out), "--digest", DIGEST)[1] == f"Version 3 is ready for `docker build {out}`.\n"
    dockerfile = (out / "Dockerfile").read_text()
    (base,) = re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE)
    assert base == f"tensorflow/serving:2.15.1@{DIGEST}"
    assert set(re.findall(r"^COPY (\S+) ", dockerfile, re.MULTILINE)) == {"models.config", "models"}
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["65534:65534"]
    assert {path.stat().st_mode & 0o7 for path in out.rglob("*") if path.is_file()} == {0o4}
    flags = json.loads(entrypoint)
    assert flags[0] == "/usr/bin/tensorflow_model_server" and "--model_config_file=/config/models.config" in flags
    config = text_format.Parse((out / "models.config").read_text(), protos.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, dict(model.version_labels)) == (
        "ranker",
        "/models/ranker",
        {"stable": 3, "canary": 3},
    )
    assert (out / "models/ranker/3/saved_model.pb").read_bytes() == (shop.folder / "3/saved_model.pb").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == ["Dockerfile", "models", "models.config"]
    code, _, err = run("image", "--out", str(out))
    assert (code, err) == (1, f"error: {out}: is there already; expected a folder that is to be made.\n")
    assert run("image", "--out", str(shop.home / "b"), "--digest", "sha256:1")[2].startswith("error: --digest is ")
    run("image", "--out", str(shop.home / "tag"))
    assert "\nFROM tensorflow/serving:2.15.1\n" in (shop.home / "tag" / "Dockerfile").read_text()
    with pytest.raises(ReleaseError, match="cannot be a folder's"):
        write_image("../ranker", 3, shop.folder / "3", shop.home / "c")


def test_the_winners_settings_are_a_part_of_a_configuration(tmp_path):
    entry = Entry(now(), "anna", "ranker", "promote", "labelled", State(3, 5), State(5, 5), "better:\nsurely")
    version = tmp_path / "5"
    (version / "assets.extra").mkdir(parents=True)
    assert not winner.write(tmp_path / "winner.yaml", version, entry)  # it says nothing
    assert yaml.safe_load((tmp_path / "winner.yaml").read_text()) is None
    made_with = {
        "model": {"entry": "slice_ranker", "decay_days": [7.0, 30.0], "tasks": {}},
        "train": {"learning_rate": 1e-05, "seed": 8},
    }
    run = {"seed": 8, "best_epoch": 6, "metrics": {"a": 1}, "settings": made_with}
    (version / "assets.extra/training.json").write_text(json.dumps(run))
    assert winner.write(tmp_path / "winner.yaml", version, entry)
    text = (tmp_path / "winner.yaml").read_text()
    assert yaml.safe_load(text) == made_with
    assert text.splitlines()[2:6] == [
        f'# version: "5 of ranker, stable since {entry.time} by anna (promote)"',
        '# reason: "better:\\nsurely"',
        "# best_epoch: 6",
        '# metrics: {"a": 1}',
    ]
    (version / "assets.extra/training.json").write_text("[]")
    with pytest.raises(ReleaseError, match=r"training\.json: holds list; expected a JSON object"):
        winner.write(tmp_path / "winner.yaml", version, entry)
