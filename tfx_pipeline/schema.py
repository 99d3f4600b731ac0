"""The curated schema of a configuration, written from `models.features`.

Generated once per configuration and committed as `configs/schema/NAME/schema.pbtxt`; a test holds the committed
file equal to what this module writes.

    python -m tfx_pipeline.schema --config configs/demo.yaml
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline import tasks

#: Environments: every example of train, eval and recent is complete; a request has no label and no slices.
TRAINING = "TRAINING"
SERVING = "SERVING"

TYPES = {"string": schema_pb2.BYTES, "int64": schema_pb2.INT, "float": schema_pb2.FLOAT}

#: Lists that every decision has at least one value of.
_NEVER_EMPTY = (
    features.CANDIDATE_ITEM_IDS,
    features.CANDIDATE_TEXT,
    features.LABEL,
    features.LABEL_EVENT_TYPES,
)


def schema_path(config: str | pathlib.Path, name: str, task: str = tasks.RANKING) -> pathlib.Path:
    """Where the schema of a configuration lies: `schema/NAME/schema.pbtxt` beside its YAML.

    Tasks other than `ranking` have one schema for all configurations, in a folder of the task's name.
    """
    folder = name if task == tasks.RANKING else task
    return pathlib.Path(config).parent / "schema" / folder / "schema.pbtxt"


def build(context_columns: tuple[str, ...], declared: tuple[str, ...] = ()) -> schema_pb2.Schema:
    """The schema of the raw examples of the task `ranking`.

    Scalars that every row has, of the catalogue too, have the fixed shape [1]; so a missing or doubled value is an
    anomaly. A context column must exist but may lack values. The label and the slices are required in training and no
    part of a request. What only catalogue rows have is optional.

    Args:
      context_columns: the declared context columns of the data.
      declared: of `features.DECLARED_FEATURES`, those that the settings ask for.
    """
    schema = schema_pb2.Schema(default_environment=[TRAINING, SERVING])
    for name, (dtype, kind) in features.raw_features(context_columns, declared).items():
        feature = schema.feature.add(name=name, type=TYPES[dtype])
        if name in features.CATALOGUE_FEATURES or name in features.DECLARED_ITEM_FEATURES:
            feature.presence.min_fraction = 0.0
            _at_most_one(feature, kind)
            continue
        feature.presence.min_count = 1
        if name in context_columns:
            _at_most_one(feature, kind)
        elif name in features.SLICE_FEATURES:
            feature.presence.min_fraction = 1.0
            _at_most_one(feature, kind)
        elif kind == "scalar":
            feature.presence.min_fraction = 1.0
            feature.shape.dim.add(size=1)
        elif name in _NEVER_EMPTY:
            feature.presence.min_fraction = 1.0
            feature.value_count.min = 1
        if name in {**features.LABEL_FEATURES, **features.LABEL_EVENT_FEATURES, **features.SLICE_FEATURES}:
            feature.not_in_environment.append(SERVING)
    return schema


def _at_most_one(feature: schema_pb2.Feature, kind: str) -> None:
    if kind == "scalar":
        feature.value_count.max = 1


def text(context_columns: tuple[str, ...], task: str = tasks.RANKING, declared: tuple[str, ...] = ()) -> str:
    """The schema file's content; arguments as for `build`."""
    return text_format.MessageToString(tasks.function(tasks.TASKS[task].schema)(context_columns, declared))


def main(argv: list[str] | None = None) -> int:
    """Writes the schema of one configuration and says where."""
    parser = argparse.ArgumentParser(description="Writes configs/schema/NAME/schema.pbtxt from models/features.py.")
    parser.add_argument("--config", required=True, help="a runnable configuration, such as configs/demo.yaml")
    parser.add_argument("--entry", default="", help="an entry of the zoo in place of the configuration's own")
    arguments = parser.parse_args(argv)
    try:
        settings = settings_lib.load(arguments.config, arguments.entry)
        own = settings_lib.load(arguments.config)
    except settings_lib.SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    task = tasks.task_of(settings.model.entry).name
    path = schema_path(arguments.config, own.name, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text(settings.data.context, task, settings.declared_features)
    path.write_text(content, encoding="utf-8")
    print(f"{path}: {len(text_format.Parse(content, schema_pb2.Schema()).feature)} features")
    return 0


if __name__ == "__main__":
    sys.exit(main())
