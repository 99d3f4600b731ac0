"""Runs the pipeline on this machine.

    PIPELINE_CONFIG=configs/demo.yaml PIPELINE_DATA=data python -m tfx_pipeline.local_runner

or, with the same environment for both commands,

    tfx pipeline create --engine local --pipeline_path tfx_pipeline/local_runner.py
    tfx run create --engine local --pipeline_name demo

PIPELINE_CONFIG: a runnable configuration. PIPELINE_DATA: folder of the raw tables, or the one file. PIPELINE_ENTRY:
another entry of the zoo in place of the configuration's; its pipeline is one of its own, NAME_ENTRY. PIPELINE_ROOT: a
folder of this machine, `./runs` by default; a pipeline's folder there holds artifacts/, metadata.db,
serving/MODEL_NAME/VERSION/, logs/ and last_run.json. PIPELINE_UPDATE=1 starts from the last blessed model of older
examples and learns from what is new since (`train.warm_start`); the gate is the same. PIPELINE_FORCE=1 runs although
nothing is new (everything then comes from the cache).

Exits with 0 when the run went through, also if the model was not blessed (then nothing is pushed; the last lines and
`blessed` of last_run.json say so); with 1 and one sentence when it did not; with 130 when it was interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

if sys.path and sys.path[0] == str(pathlib.Path(__file__).resolve().parent):
    # `python tfx_pipeline/local_runner.py` puts this folder first, and its module names are not for everyone.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfx_pipeline import progress, schema, source_hash, tasks
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables import make_adapter, paths
from tfx_pipeline.raw_tables.rejects import DataError


@dataclass(frozen=True)
class Place:
    """What the environment names, and where a pipeline keeps its things.

    Attributes:
      config, data: absolute paths; data may have a scheme, such as gs://BUCKET/tables.
      folder: of this pipeline, below PIPELINE_ROOT.
      settings: read from `config`.
      entry: the zoo's entry asked for in place of the configuration's own; "" for that one.
      update: whether this run starts from the last blessed model, whatever the settings say.
    """

    config: pathlib.Path
    data: paths.Path
    folder: pathlib.Path
    settings: settings_lib.Settings
    entry: str = ""
    update: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Place:
        """Reads PIPELINE_CONFIG, PIPELINE_DATA, PIPELINE_ENTRY, PIPELINE_ROOT and PIPELINE_UPDATE.

        Raises:
          SettingsError: if one is missing or cannot be used.
        """
        for name, expected in (("CONFIG", "a runnable configuration"), ("DATA", "the folder of the raw tables")):
            if not environment.get(f"PIPELINE_{name}"):
                raise settings_lib.SettingsError(
                    f"PIPELINE_{name} is not set; expected {expected}, also for `tfx run create`."
                )
        config = pathlib.Path(environment["PIPELINE_CONFIG"]).resolve()
        entry = environment.get("PIPELINE_ENTRY", "")
        settings = settings_lib.load(config, entry)
        if entry and settings.name == settings_lib.load(config).name:
            entry = ""  # the configuration's own
        root = paths.path_of(environment.get("PIPELINE_ROOT") or "runs")
        if not isinstance(root, pathlib.Path):
            raise settings_lib.SettingsError(f"PIPELINE_ROOT is {root}; expected a folder of this machine.")
        data = paths.path_of(environment["PIPELINE_DATA"])
        if isinstance(data, pathlib.Path):
            data = data.resolve()
        return cls(
            config, data, root.resolve() / settings.name, settings, entry, _is_on(environment, "PIPELINE_UPDATE")
        )

    @property
    def run_settings(self) -> settings_lib.Settings:
        """The settings of this run: those of the configuration, with the warm start where it is to be an update."""
        train = self.settings.train
        if not self.update:
            return self.settings
        warm_start = dataclasses.replace(train.warm_start, enabled=True)
        return dataclasses.replace(self.settings, train=dataclasses.replace(train, warm_start=warm_start))

    @property
    def artifacts(self) -> pathlib.Path:
        """The pipeline's root, as TFX calls it."""
        return self.folder / "artifacts"

    @property
    def serving(self) -> pathlib.Path:
        """The folder that a server watches (its model_base_path)."""
        return self.folder / "serving" / self.settings.serve.model_name

    @property
    def schema(self) -> pathlib.Path:
        """The curated schema, which is the same for every entry of a task."""
        name = self.settings.name.removesuffix(f"_{self.entry}") if self.entry else self.settings.name
        return schema.schema_path(self.config, name, tasks.task_of(self.settings.model.entry).name)

    @property
    def last_run(self) -> pathlib.Path:
        """What the last run that went through left for machines."""
        return self.folder / "last_run.json"


def main(compile_only: bool = False) -> int:
    """Runs the pipeline that the environment names.

    Args:
      compile_only: build the pipeline and hand it to LocalDagRunner, as `tfx pipeline create` wants it.

    Returns:
      The exit code.
    """
    try:
        place = Place.from_environment(os.environ)
        _schema_text(place)
        if compile_only:
            from tfx.orchestration.local import local_dag_runner

            local_dag_runner.LocalDagRunner().run(make_pipeline(place))
            return 0
        fingerprint = fingerprint_of(place)
        if not _is_on(os.environ, "PIPELINE_FORCE") and (standing := nothing_new(place, fingerprint)):
            progress.say(standing)
            return 0
        with _only_one(place.folder):
            return _run(place, fingerprint)
    except (settings_lib.SettingsError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def make_pipeline(place: Place) -> Any:
    """The pipeline with this machine as its platform."""
    from tfx.orchestration import metadata

    from tfx_pipeline import pipeline

    place.folder.mkdir(parents=True, exist_ok=True)
    return pipeline.create_pipeline(
        place.run_settings,
        pipeline_root=str(place.artifacts),
        data_path=str(place.data),
        serving_dir=str(place.serving),
        schema_file=str(place.schema),
        schema_hash=pipeline.file_hash(place.schema),
        platform=pipeline.Platform(
            beam_args=place.settings.beam.args,
            metadata=metadata.sqlite_metadata_connection_config(str(place.folder / "metadata.db")),
        ),
    )


def fingerprint_of(place: Place) -> str:
    """A hash of everything that decides what a run gives: data files, settings and the files that they name, schema,
    source code, versions of libraries.

    Raises:
      DataError: if a file of the data is not there.
      SettingsError: if the schema is not.
    """
    return _hash(
        {
            **_tables_and_schema(place),
            "settings": settings_lib.to_dict(place.settings),
            "source": source_hash.source_hash(source_hash.PACKAGES),
            "versions": source_hash.versions(),
            "contents": source_hash.named_contents(place.settings),
            "folder": str(place.folder),
        }
    )


def examples_fingerprint_of(place: Place) -> str:
    """A hash of what decides which examples Transform leaves: the part of `fingerprint_of` that models are not in.

    Raises:
      DataError, SettingsError: as `fingerprint_of`.
    """
    task = tasks.task_of(place.settings.model.entry)
    return _hash(
        {
            **_tables_and_schema(place),
            "settings": {name: settings_lib.to_dict(getattr(place.settings, name)) for name in task.example_settings},
            "components": source_hash.component_hashes(place.settings, ("ExampleGen", "Transform")),
        }
    )


def _tables_and_schema(place: Place) -> dict[str, Any]:
    files = make_adapter(place.settings.data, place.data).files()
    return {
        "files": [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "schema": _schema_text(place),
    }


def _schema_text(place: Place) -> str:
    try:
        return place.schema.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise settings_lib.SettingsError(
            f"{place.schema}: is missing; write it with `python -m tfx_pipeline.schema --config {place.config}`."
        ) from None


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def nothing_new(place: Place, fingerprint: str) -> str:
    """A line for the person if the last run had the same fingerprint and what it pushed still stands; else "" ."""
    try:
        last = json.loads(place.last_run.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return ""
    if last["fingerprint"] != fingerprint:
        return ""
    again = "PIPELINE_FORCE=1 runs anyway"
    if not last["blessed"]:
        return f"Nothing is new since {last['finished']}, and that model was not blessed ({again})."
    if not pathlib.Path(last["pushed"]["path"], "saved_model.pb").is_file():
        return ""
    version = last["pushed"]["version"]
    return f"Nothing is new: version {version} of {last['model_name']}, run of {last['finished']}, stands ({again})."


def _run(place: Place, fingerprint: str) -> int:
    started = time.monotonic()
    log = place.folder / "logs" / f"{datetime.datetime.now():%Y%m%d-%H%M%S}.log"
    with progress.to_log(log) as screen:
        progress.say(f"Pipeline {place.settings.name}: {place.data} → {place.folder}")
        progress.say("Loading TensorFlow and TFX …")
        from absl import logging

        from tfx_pipeline import pipeline, progress_runner, run_report

        logging.set_verbosity(logging.INFO)
        examples_fingerprint = examples_fingerprint_of(place)
        runner = progress_runner.ProgressRunner(always=("Pusher",), talking=("Trainer", "FinalTrainer"))
        try:
            runner.run(make_pipeline(place))
        except progress_runner.ComponentError as error:
            cause = error.__cause__ or error
            progress.say(f"{error.name} failed: {progress.sentence(cause)}\nEverything it said: {log}")
            return 1
        except KeyboardInterrupt:
            progress.say("Interrupted; started again, it goes on where it was.")
            return 130
        # What is left is of fits that were killed and never taken up, since settings, code or data changed.
        shutil.rmtree(place.artifacts / pipeline.CHECKPOINTS, ignore_errors=True)
        facts = {
            "pipeline": place.settings.name,
            "model_name": place.settings.serve.model_name,
            "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "fingerprint": fingerprint,
            "examples_fingerprint": examples_fingerprint,
            "config": str(place.config),
            "data": str(place.data),
            "log": str(log),
            "seconds": round(time.monotonic() - started, 1),
        }
        report = run_report.collect(runner.results, place.serving, facts)
        partial = place.last_run.with_suffix(".partial")
        partial.write_text(json.dumps(report, indent=2, allow_nan=False), encoding="utf-8")
        partial.rename(place.last_run)
        run_report.show(report, runner.results, screen)
    return 0


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable says yes: anything but nothing and `0`."""
    return environment.get(name, "") not in ("", "0")


@contextlib.contextmanager
def _only_one(folder: pathlib.Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise settings_lib.SettingsError(f"{folder}: another run is at work there; wait for its end.") from None
        yield


if __name__ == "__main__":
    # `tfx pipeline create` executes this file inside its own process, under the name __main__ but not as that module.
    sys.exit(main(compile_only=vars(sys.modules["__main__"]) is not globals()))
