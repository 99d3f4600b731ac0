"""Compiles the pipeline for Vertex AI Pipelines.

    PIPELINE_CONFIG=configs/demo.yaml PIPELINE_DATA=gs://BUCKET/tables \\
        tfx pipeline create --engine vertex --pipeline_path tfx_pipeline/vertex_runner.py
    tfx run create --engine vertex --pipeline_name demo --project PROJECT --region REGION

The same settings as on this machine, and their `vertex` part: every component runs in `vertex.image` (built from
tfx_pipeline/Dockerfile), the Trainer as a Vertex Training job on a GPU worker, Beam on Dataflow by `vertex.beam_args`.
"""

from __future__ import annotations

import os
import pathlib
import re
import sys
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

from tfx_pipeline import pipeline, schema, tasks
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables.paths import path_of
from tfx_pipeline.raw_tables.rejects import DataError
from tfx_pipeline.settings import Settings

#: Where tfx_pipeline/Dockerfile puts the project in the image.
IMAGE_HOME = "/pipeline"

#: What Vertex AI Pipelines takes as a pipeline's name.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")

_google = tfx.extensions.google_cloud_ai_platform


def make_pipeline(settings: Settings, config: pathlib.Path, data_path: str) -> tfx.dsl.Pipeline:
    """The pipeline with Vertex as its platform.

    Args:
      settings: of `config`.
      config: the configuration's path; its schema lies beside it, here and in the image's configs folder.
      data_path: the raw tables, on Cloud Storage: their folder, or the one file; read only when the pipeline runs.

    Raises:
      SettingsError: if the settings lack what Vertex needs or have a name that it refuses, the data is on this machine,
        or the schema is not there.
    """
    vertex = settings.vertex
    for name in ("project", "root", "serving", "image"):
        if not getattr(vertex, name):
            raise settings_lib.SettingsError(f"{config}: `vertex.{name}` is missing; Vertex AI Pipelines needs it.")
    if not _NAME.fullmatch(settings.name):
        raise settings_lib.SettingsError(
            f"{config}: `name` is {settings.name!r}; Vertex AI Pipelines wants lower-case letters, digits and hyphens."
        )
    if isinstance(path_of(data_path), pathlib.Path):
        raise settings_lib.SettingsError(
            f"{data_path}: is a path of this machine; expected one such as gs://BUCKET/tables."
        )
    local_schema = schema.schema_path(config, settings.name, tasks.task_of(settings.model.entry).name)
    if not local_schema.is_file():
        raise settings_lib.SettingsError(
            f"{local_schema}: is missing; write it with `python -m tfx_pipeline.schema --config {config}`."
        )
    return pipeline.create_pipeline(
        settings,
        pipeline_root=f"{vertex.root.rstrip('/')}/{settings.name}",
        data_path=data_path,
        serving_dir=f"{vertex.serving.rstrip('/')}/{settings.serve.model_name}",
        schema_file=f"{IMAGE_HOME}/configs/schema/{local_schema.parent.name}/{local_schema.name}",
        schema_hash=pipeline.file_hash(local_schema),
        platform=pipeline.Platform(
            trainer=_google.Trainer,
            trainer_config=trainer_config(settings),
            baseline=latest_blessed_model_strategy.LatestBlessedModelStrategy,
            beam_args=vertex.beam_args,
        ),
    )


def trainer_config(settings: Settings) -> dict[str, Any]:
    """What Vertex Training reads from the Trainer's `custom_config`: one worker, with accelerators if there are any."""
    vertex = settings.vertex
    machine: dict[str, Any] = {"machine_type": vertex.machine_type}
    if vertex.accelerator_count:
        machine["accelerator_type"] = vertex.accelerator_type
        machine["accelerator_count"] = vertex.accelerator_count
    return {
        _google.ENABLE_VERTEX_KEY: True,
        _google.VERTEX_REGION_KEY: vertex.region,
        _google.TRAINING_ARGS_KEY: {
            "project": vertex.project,
            "job_spec": {
                "worker_pool_specs": [
                    {"machine_spec": machine, "replica_count": 1, "container_spec": {"image_uri": vertex.image}}
                ]
            },
        },
    }


def compile_pipeline(settings: Settings, config: pathlib.Path, data_path: str, output: pathlib.Path) -> None:
    """Writes the pipeline's specification.

    Args:
      settings, config, data_path: as for `make_pipeline`.
      output: a JSON file. `tfx pipeline create` writes it to its own place instead.
    """
    runner_config = kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(default_image=settings.vertex.image)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=runner_config, output_dir=str(output.parent), output_filename=output.name
    )
    runner.run(make_pipeline(settings, config, data_path))


def main() -> int:
    """Compiles the pipeline that PIPELINE_CONFIG and PIPELINE_DATA name, to NAME.json here."""
    try:
        for name, expected in (("CONFIG", "a runnable configuration"), ("DATA", "a folder on Cloud Storage")):
            if not os.environ.get(f"PIPELINE_{name}"):
                raise settings_lib.SettingsError(f"PIPELINE_{name} is not set; expected {expected}.")
        for name in ("ENTRY", "UPDATE"):
            if os.environ.get(f"PIPELINE_{name}"):
                raise settings_lib.SettingsError(
                    f"PIPELINE_{name} is set, which is for runs on this machine; expected it in the configuration."
                )
        config = pathlib.Path(os.environ["PIPELINE_CONFIG"]).resolve()
        settings = settings_lib.load(config)
        compile_pipeline(settings, config, os.environ["PIPELINE_DATA"], pathlib.Path(f"{settings.name}.json"))
    except (settings_lib.SettingsError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
