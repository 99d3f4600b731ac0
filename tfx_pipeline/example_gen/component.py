"""The ExampleGen component of the pipeline."""

from __future__ import annotations

import pathlib
from typing import Any

from google.protobuf import any_pb2, struct_pb2
from tfx.components import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.v1 import proto

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline import tasks
from tfx_pipeline.example_gen.executor import Executor
from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.paths import Path

SPLITS = (features.TRAIN_SPLIT, features.EVAL_SPLIT, features.RECENT_SPLIT, features.CATALOGUE_SPLIT)


def example_gen(data_path: str, settings: settings_lib.Settings, source_hash: str) -> FileBasedExampleGen:
    """ExampleGen on raw tables.

    It runs again when a file of the data, the settings of data or decisions, or `source_hash` changes.

    Args:
      data_path: the folder of the tables, or the one file of a data set that is a single file. A path on another file
        system (gs://...) is not looked at before the pipeline runs.
      settings: the entry's task is read of it, and the parts that this builds examples from.
      source_hash: of the code, since TFX does not hash it.

    Raises:
      DataError: if a file that the settings name is not there.
    """
    path = pathlib.PurePosixPath(data_path)
    task = tasks.task_of(settings.model.entry)
    content: dict[str, Any] = {
        "task": task.name,
        "settings": {
            name: settings_lib.to_dict(getattr(settings, name)) for name in task.example_settings if name != "transform"
        },
        "source_hash": source_hash,
    }
    single = bool(path.suffix)
    if "://" not in data_path:
        absolute = pathlib.Path(data_path).resolve()
        # The driver's fingerprint sees one pattern only; the tables may lie in several folders.
        content["files"] = {str(file): _fingerprint(file) for file in make_adapter(settings.data, absolute).files()}
        single, data_path = absolute.is_file(), str(absolute)
    base, pattern = data_path.rsplit("/", 1) if single else (data_path, "*")
    struct = struct_pb2.Struct()
    struct.update(content)
    packed = any_pb2.Any()
    packed.Pack(struct)
    return FileBasedExampleGen(
        input_base=base,
        input_config=proto.Input(splits=[proto.Input.Split(name="tables", pattern=pattern)]),
        output_config=proto.Output(
            split_config=proto.SplitConfig(
                # The executor splits by time; TFX wants some number of buckets beside each name.
                splits=[proto.SplitConfig.Split(name=name, hash_buckets=1) for name in SPLITS]
            )
        ),
        custom_config=proto.CustomConfig(custom_config=packed),
        custom_executor_spec=executor_spec.BeamExecutorSpec(Executor),
    )


def _fingerprint(file: Path) -> str:
    stat = file.stat()
    return f"{stat.st_size} bytes, modified {stat.st_mtime_ns}"
