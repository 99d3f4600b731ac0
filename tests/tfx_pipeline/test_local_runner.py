"""What a person sees, what machines find, and what comes from the cache."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from click import testing
from tfx import v1 as tfx
from tfx.orchestration import metadata
from tfx.tools.cli import cli_main

import tfx_pipeline
from tfx_pipeline import local_runner, progress, progress_runner, run_report, schema, settings

RUNNER = pathlib.Path(tfx_pipeline.__file__).parent / "local_runner.py"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

Artifact = tfx.types.standard_artifacts.String


# --- a pipeline of three components, in this process -------------------------------------------------------------
@tfx.dsl.components.component
def First(text: tfx.dsl.components.Parameter[str], out: tfx.dsl.components.OutputArtifact[Artifact]) -> None:
    """Writes a text."""
    print("first says", text)
    pathlib.Path(out.uri).write_text(text)
    out.set_int_custom_property("good", int(text != "bad"))


@tfx.dsl.components.component
def Second(given: tfx.dsl.components.InputArtifact[Artifact], trap: tfx.dsl.components.Parameter[str]) -> None:
    """Fails where a trap lies."""
    if pathlib.Path(trap).exists():
        raise ValueError("a trap lies here.")


@tfx.dsl.components.component
def Third(given: tfx.dsl.components.InputArtifact[Artifact]) -> None:
    """Is there to be skipped."""


def toy_pipeline(folder, text="hello"):
    first = First(text=text)
    second = Second(given=first.outputs["out"], trap=str(folder / "trap"))
    with tfx.dsl.Cond(first.outputs["out"].future()[0].custom_property("good") == 1):
        third = Third(given=first.outputs["out"])
    third.add_upstream_node(second)
    return tfx.dsl.Pipeline(
        pipeline_name="toy",
        pipeline_root=str(folder / "root"),
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / "metadata.db")),
        components=[first, second, third],
        enable_cache=True,
    )


def run_toy(folder, text="hello", always=(), talking=()):
    runner = progress_runner.ProgressRunner(always, talking)
    try:
        runner.run(toy_pipeline(folder, text))
    finally:
        states = {name: result.state for name, result in runner.results.items()}
    return states, runner


def test_lines_states_and_outputs(tmp_path, capsys):
    states, runner = run_toy(tmp_path)
    assert states == {"First": "done", "Second": "done", "Third": "done"}
    (output,) = runner.results["First"].outputs["out"]
    assert pathlib.Path(output.uri).read_text() == "hello" and output.properties["good"] == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert lines[0] == "[1/3] First …" and lines[1].startswith("[1/3] First: done, ") and lines[-1].startswith("[3/3]")

    states, runner = run_toy(tmp_path)
    assert states == dict.fromkeys(states, "from the cache")
    assert runner.results["First"].outputs["out"][0] == output
    assert run_toy(tmp_path, always=("Second",))[0] == {**states, "Second": "done"}

    # Settings that are changed and changed back give what the first run made, not what the newest one did.
    _, other = run_toy(tmp_path, "other")
    assert other.results["First"].outputs["out"][0] != output
    assert run_toy(tmp_path)[1].results["First"].outputs["out"][0] == output


def test_a_failed_component_is_named_and_finished_ones_are_not_redone(tmp_path, capsys):
    (tmp_path / "trap").touch()
    with pytest.raises(progress_runner.ComponentError) as error:
        run_toy(tmp_path)
    assert error.value.name == "Second"
    assert progress.sentence(error.value.__cause__) == "a trap lies here."
    assert "[2/3] Second: failed, " in capsys.readouterr().out
    (tmp_path / "trap").unlink()
    assert run_toy(tmp_path)[0] == {"First": "from the cache", "Second": "done", "Third": "done"}


def test_a_component_whose_condition_does_not_hold_is_skipped(tmp_path):
    assert run_toy(tmp_path, "bad")[0] == {"First": "done", "Second": "done", "Third": "skipped"}


# --- the screen --------------------------------------------------------------------------------------------------
NOISE = """
import os, subprocess, sys, warnings, pathlib
from tfx_pipeline import progress
with progress.to_log(pathlib.Path(sys.argv[1])) as screen:
    progress.say("a line for the person")
    print("python stdout"); print("python stderr", file=sys.stderr); warnings.warn("a warning")
    os.write(1, b"native stdout\\n"); os.write(2, b"native stderr\\n")
    subprocess.run([sys.executable, "-c", "print('a child')"])
    with progress.step(2, 3, "Trainer", talks=True) as end:
        print("epoch 1")
        end("done")
print("after")
"""


def test_only_what_is_for_the_person_reaches_the_screen(tmp_path):
    log = tmp_path / "logs" / "run.log"
    done = subprocess.run([sys.executable, "-c", NOISE, str(log)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:3] == ["a line for the person", "[2/3] Trainer …", "epoch 1"]
    assert re.fullmatch(r"\[2/3\] Trainer: done, \d+\.\d s", lines[3]) and lines[4:] == ["after"]
    logged = log.read_text()
    for noise in ("python stdout", "python stderr", "a warning", "native stdout", "native stderr", "a child"):
        assert noise in logged


def test_a_long_component_gives_signs_of_life(monkeypatch, capsys):
    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.02)
    with progress.step(1, 1, "Transform") as end:
        while "so far" not in (seen := capsys.readouterr().out):
            assert "done" not in seen
        end("done")
    assert re.search(r"\[1/1\] Transform … \d+\.\d s so far", seen)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("events.csv: no column."), "events.csv: no column."),
        (RuntimeError("Traceback:\n  line\na.b.DataError: x.csv: empty. [while running 'A/B-1']\n"), "x.csv: empty."),
        (KeyError(), "KeyError"),
    ],
)
def test_sentence(error, expected):
    assert progress.sentence(error) == expected


@pytest.mark.parametrize(("seconds", "text"), [(4.21, "4.2 s"), (59.9, "59.9 s"), (187.5, "3 min 07 s")])
def test_duration(seconds, text):
    assert progress.duration(seconds) == text


# --- the command -------------------------------------------------------------------------------------------------
@pytest.fixture
def environment(tmp_path):
    config = tmp_path / "configs" / "shop.yaml"
    config.parent.mkdir()
    config.write_text(
        "name: shop\ndata: {adapter: online_retail, context: [country]}\nevaluate: {thresholds: {ndcg@10: 0.1}}\n"
    )
    schema.main(["--config", str(config)])
    (tmp_path / "retail.csv").write_text(HEADER + "1,22423,CAKESTAND,2,2011-01-04 10:00:00,12.75,17850,France\n")
    return {
        "PIPELINE_CONFIG": str(config),
        "PIPELINE_DATA": str(tmp_path / "retail.csv"),
        "PIPELINE_ROOT": str(tmp_path / "runs"),
    }


@pytest.fixture
def place(environment):
    return local_runner.Place.from_environment(environment)


def test_the_entry_that_a_configuration_names_itself_is_the_configuration(environment, place, tmp_path):
    assert local_runner.Place.from_environment({**environment, "PIPELINE_ENTRY": "slice_ranker"}) == place
    file = tmp_path / "configs" / "shop_sasrec.yaml"  # a name that ends as that of an entry's pipeline does
    text = "name: shop_sasrec\ndata: {adapter: online_retail}\nmodel: {entry: sasrec}\n"
    file.write_text(text + "evaluate: {thresholds: {ndcg@10: 0.1}}\n")
    of_sasrec = {**environment, "PIPELINE_CONFIG": str(file)}
    own = local_runner.Place.from_environment({**of_sasrec, "PIPELINE_ENTRY": "sasrec"})
    assert own == local_runner.Place.from_environment(of_sasrec) and own.schema.parent.name == "shop_sasrec"


def command(environment, *arguments):
    full = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run([sys.executable, *arguments], env=full, capture_output=True, text=True)


def test_where_things_lie(place, tmp_path):
    assert place.folder == tmp_path / "runs" / "shop"
    assert place.serving == tmp_path / "runs" / "shop" / "serving" / "ranker"
    assert place.schema == tmp_path / "configs" / "schema" / "shop" / "schema.pbtxt"


@pytest.mark.parametrize("name", ["PIPELINE_CONFIG", "PIPELINE_DATA"])
def test_a_missing_variable_is_named(environment, name, monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", {key: value for key, value in environment.items() if key != name})
    assert local_runner.main() == 1
    error = capsys.readouterr().err
    assert name in error and error.count("\n") == 1


def test_data_may_lie_on_any_file_system_that_tensorflow_knows(environment):
    place = local_runner.Place.from_environment({**environment, "PIPELINE_DATA": "gs://bucket/tables/"})
    assert str(place.data) == "gs://bucket/tables"


def test_an_update_is_a_setting_of_one_run(environment, place):
    update = local_runner.Place.from_environment({**environment, "PIPELINE_UPDATE": "1"})
    assert not local_runner.Place.from_environment({**environment, "PIPELINE_UPDATE": "0"}).update
    assert update.run_settings.train.warm_start.enabled
    assert not place.run_settings.train.warm_start.enabled
    assert update.settings == place.settings
    # Where nothing is new there is nothing to learn from either.
    assert local_runner.fingerprint_of(update) == local_runner.fingerprint_of(place)


def test_what_is_written_lies_on_this_machine(environment):
    with pytest.raises(settings.SettingsError, match="PIPELINE_ROOT is gs://bucket/runs; expected a folder of this"):
        local_runner.Place.from_environment({**environment, "PIPELINE_ROOT": "gs://bucket/runs"})


def test_a_missing_schema_is_named_with_the_cure(environment, place, monkeypatch, capsys):
    place.schema.unlink()
    monkeypatch.setattr(os, "environ", environment)
    assert local_runner.main() == 1
    assert "python -m tfx_pipeline.schema --config" in capsys.readouterr().err


def remember(place, **changes):
    model = place.serving / "7"
    model.mkdir(parents=True, exist_ok=True)
    (model / "saved_model.pb").touch()
    last = {
        "fingerprint": local_runner.fingerprint_of(place),
        "blessed": True,
        "pushed": {"version": 7, "path": str(model), "anew": True},
        "finished": "2011-12-09T12:00:00+00:00",
        "model_name": "ranker",
        **changes,
    }
    place.last_run.write_text(json.dumps(last))


def test_a_run_with_nothing_new_is_one_line_and_starts_nothing(environment, place):
    remember(place)
    done = command(environment, str(RUNNER))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Nothing is new: version 7 of ranker, ") and done.stdout.count("\n") == 1
    assert sorted(p.name for p in place.folder.iterdir()) == ["last_run.json", "serving"]


def test_what_counts_as_new(environment, place, monkeypatch):
    source = {"hash": "as it is"}
    monkeypatch.setattr(local_runner.source_hash, "source_hash", lambda roots: source["hash"])

    def standing():
        again = local_runner.Place.from_environment(environment)
        return local_runner.nothing_new(again, local_runner.fingerprint_of(again))

    assert standing() == ""
    remember(place)
    assert standing()
    original = place.data.read_text()
    place.data.write_text(original + "2,22423,CAKESTAND,2,2011-01-05 10:00:00,12.75,17850,France\n")
    assert standing() == ""
    remember(place)
    assert standing()
    config = place.config.read_text()
    place.config.write_text(config + "train: {epochs: 3}\n")
    assert standing() == ""
    place.config.write_text(config)
    assert standing()
    vocabulary = place.config.with_name("vocab.txt")
    vocabulary.write_text("[PAD]")
    place.config.write_text(config + f"transform: {{wordpiece: {vocabulary}}}\n")
    remember(local_runner.Place.from_environment(environment))
    assert standing()
    vocabulary.write_text("[UNK]")
    assert standing() == ""
    place.config.write_text(config)
    remember(place)
    with monkeypatch.context() as other:
        other.setattr(local_runner.source_hash, "versions", lambda: ["numpy 99"])
        assert standing() == ""
    assert standing()
    source["hash"] = "edited"
    assert standing() == ""
    source["hash"] = "as it is"
    place.schema.write_text(place.schema.read_text() + "# by hand\n")
    assert standing() == ""
    remember(place)
    assert standing()
    (place.serving / "7" / "saved_model.pb").unlink()
    assert standing() == ""
    remember(place, blessed=False, pushed=None)
    assert "not blessed" in standing()
    place.last_run.write_text("{half")
    assert standing() == ""


def test_bad_data_is_one_sentence_without_traceback(environment, place):
    place.data.write_text(HEADER.replace("InvoiceDate", "When") + "1,22423,CAKESTAND,2,today,12.75,17850,France\n")
    done = command(environment, "-m", "tfx_pipeline.local_runner")
    assert done.returncode == 1
    shown = done.stdout + done.stderr
    assert "InvoiceDate" in shown and "Traceback" not in shown and "Warning" not in shown
    assert len(shown.splitlines()) <= 8
    (log,) = (place.folder / "logs").iterdir()
    assert str(log) in shown and "Traceback" in log.read_text()
    assert not place.last_run.exists() and not place.serving.exists()


def test_two_runs_at_once_are_refused(environment, place, monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", environment)
    with local_runner._only_one(place.folder):
        assert local_runner.main() == 1
    assert "another run is at work" in capsys.readouterr().err


def test_checkpoints_stay_until_a_run_succeeds(environment, place, tmp_path, monkeypatch):
    """Also those that no fit takes up any more."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(local_runner, "make_pipeline", lambda place: toy_pipeline(tmp_path))
    monkeypatch.setattr(run_report, "collect", lambda *_: {})  # there is no model to report on
    monkeypatch.setattr(run_report, "show", lambda *_: None)
    left = place.folder / "artifacts" / "checkpoints" / "of other settings" / "ckpt-1"
    left.parent.mkdir(parents=True)
    left.touch()
    (tmp_path / "trap").touch()
    assert local_runner.main() == 1
    assert left.exists()
    (tmp_path / "trap").unlink()
    assert local_runner.main() == 0
    assert not left.parents[1].exists()


def test_tfx_pipeline_create_registers_the_pipeline(environment, tmp_path, monkeypatch):
    for name, value in {**environment, "LOCAL_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    arguments = ["pipeline", "create", "--engine", "local", "--pipeline_path", str(RUNNER)]
    done = testing.CliRunner().invoke(cli_main.cli_group, arguments)
    assert done.exit_code == 0, done.output
    assert 'Pipeline "shop" created successfully.' in done.output
    registered = json.loads((tmp_path / "home" / "shop" / "pipeline_args.json").read_text())
    assert registered["pipeline_dsl_path"] == str(RUNNER)
    assert not (tmp_path / "runs" / "shop" / "logs").exists()


def test_a_configuration_that_cannot_be_used_is_one_sentence(environment):
    pathlib.Path(environment["PIPELINE_CONFIG"]).write_text("name: shop\nmodel: {width: 3}\n")
    done = command(environment, str(RUNNER))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "model.width" in done.stderr


def test_settings_error_is_what_the_place_raises(tmp_path):
    with pytest.raises(settings.SettingsError):
        local_runner.Place.from_environment({"PIPELINE_CONFIG": str(tmp_path / "none.yaml"), "PIPELINE_DATA": "x"})
