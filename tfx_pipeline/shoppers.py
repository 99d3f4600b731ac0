"""Each user once: what the newest of their decisions tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.shopper import Shopper

_BATCH = 1024


def newest_records(files: Sequence[str], transform: tft.TFTransformOutput) -> tf.data.Dataset:
    """Of each user the decision with the latest day, and of several of that day the one with the longest history.

    Args:
      files: TFRecord files (gz) of transformed decisions.
      transform: Transform's output, for the feature spec.

    Returns:
      A dataset of records, in the files' order.
    """
    names = (features.USER_KEY_XF, features.REQUEST_DAY_XF, features.HISTORY_ITEMS_XF)
    spec = {name: transform.transformed_feature_spec()[name] for name in names}
    newest: dict[int, tuple[int, int, int]] = {}
    number = 0
    for records in _records(files).batch(_BATCH):
        parsed = tf.io.parse_example(records, spec)
        users, days = (parsed[name].numpy().ravel() for name in names[:2])
        for user, day, events in zip(users, days, _rows(parsed[names[2]]), strict=True):
            newest[user] = max(newest.get(user, (-1, -1, -1)), (day, len(events), number))
            number += 1
    wanted = np.zeros(number, bool)
    wanted[[place for _, _, place in newest.values()]] = True
    # A dataset of its own, not a gather: the records of a large log do not fit into memory.
    flags = tf.data.Dataset.from_tensor_slices(wanted)
    return tf.data.Dataset.zip((_records(files), flags)).filter(lambda _, flag: flag).map(lambda record, _: record)


def read_shoppers(files: Sequence[str], transform: tft.TFTransformOutput) -> Iterator[Shopper]:
    """Every user once, as far as their newest decision tells; unknown items are left out.

    Args:
      files: TFRecord files (gz) of transformed decisions.
      transform: Transform's output, for the feature spec.
    """
    names = (features.HISTORY_ITEMS_XF, features.CANDIDATE_ITEMS_XF, features.LABEL)
    spec = {name: transform.transformed_feature_spec()[name] for name in (*names, features.USER_KEY_XF)}
    for records in newest_records(files, transform).batch(_BATCH):
        parsed = tf.io.parse_example(records, spec)
        keys = parsed[features.USER_KEY_XF].numpy().ravel().tolist()
        for key, history, candidates, labels in zip(keys, *(_rows(parsed[name]) for name in names), strict=True):
            yield Shopper(_known(history), _known(candidates[labels > 0]), key)


def _records(files: Sequence[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(list(files), compression_type="GZIP")


def _rows(value: tf.SparseTensor) -> list[np.ndarray]:
    ragged = tf.RaggedTensor.from_sparse(value)
    return np.split(ragged.flat_values.numpy(), ragged.row_splits.numpy()[1:-1])


def _known(ids: np.ndarray) -> np.ndarray:
    """Rows of the catalogue of the known ones."""
    return ids[ids >= features.FIRST_KNOWN_ID] - features.FIRST_KNOWN_ID
