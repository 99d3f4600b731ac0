"""What was asked in the training data."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_transform as tft

from models import features

_BATCH = 1024


def users_by_query(files: Sequence[str], transform: tft.TFTransformOutput) -> dict[str, int]:
    """Each query of the decisions, as it was typed, and how many users have asked it.

    Args:
      files: TFRecord files (gz) of transformed decisions.
      transform: Transform's output, for the feature spec.
    """
    names = (features.QUERY_TEXT_XF, features.USER_KEY_XF)
    spec = {name: transform.transformed_feature_spec()[name] for name in names}
    asked: set[tuple[bytes, int]] = set()
    for records in tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(records, spec)
        queries, users = (parsed[name].numpy().ravel().tolist() for name in names)
        asked.update((query, user) for query, user in zip(queries, users, strict=True) if query)
    return dict(collections.Counter(query.decode("utf-8", "replace") for query, _ in asked))
