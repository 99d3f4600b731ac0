"""The schema of raw examples of the task `tagging`."""

from __future__ import annotations

from tensorflow_metadata.proto.v0 import schema_pb2

from models import features
from tfx_pipeline.schema import SERVING, TRAINING, TYPES

#: What a request brings; everything else is there in training only.
_REQUEST = (features.TEXT,)


def tagging_schema(context_columns: tuple[str, ...] = (), declared: tuple[str, ...] = ()) -> schema_pb2.Schema:
    """Scalars have the fixed shape [1]; a text may have no tag.

    Args:
      context_columns, declared: not read: a text has neither context nor candidates, and is no item.
    """
    del context_columns, declared
    schema = schema_pb2.Schema(default_environment=[TRAINING, SERVING])
    for name, (dtype, kind) in features.TEXT_FEATURES.items():
        feature = schema.feature.add(name=name, type=TYPES[dtype])
        feature.presence.min_count = 1
        if kind == "scalar":
            feature.presence.min_fraction = 1.0
            feature.shape.dim.add(size=1)
        if name not in _REQUEST:
            feature.not_in_environment.append(SERVING)
    return schema
