"""Each user once: what the newest of their decisions tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.shopper import Shopper

_BATCH = 1024


def newest_records(
    files: Sequence[str], transform: tft.TFTransformOutput, left_out: np.ndarray | None = None
) -> tf.data.Dataset:
    """Of each user the decision with the latest day, and of several of that day the one with the longest history.

    Args:
      files: TFRecord files (gz) of transformed decisions.
      transform: Transform's output, for the feature spec.
      left_out: bool [D], decisions that are passed over; None for none.

    Returns:
      A dataset of records, in the files' order.
    """
    users, days, events = decision_keys(files, transform)
    order = np.lexsort((np.arange(len(users)), events, days, users))
    if left_out is not None:
        order = order[~left_out[order]]
    last = np.ones(len(order), bool)
    last[:-1] = users[order][1:] != users[order][:-1]
    wanted = np.zeros(len(users), bool)
    wanted[order[last]] = True
    return marked_records(files, wanted)


def decision_keys(files: Sequence[str], transform: tft.TFTransformOutput) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each decision, in the files' order: key of the user, day, and number of events in the history; int64 [D]."""
    names = (features.USER_KEY_XF, features.REQUEST_DAY_XF, features.HISTORY_ITEMS_XF)
    spec = {name: transform.transformed_feature_spec()[name] for name in names}
    found: list[np.ndarray] = [np.zeros([0, 3], np.int64)]
    for records in _records(files).batch(_BATCH):
        parsed = tf.io.parse_example(records, spec)
        users, days = (parsed[name].numpy().ravel() for name in names[:2])
        events = np.bincount(parsed[names[2]].indices.numpy()[:, 0], minlength=len(users))
        found.append(np.stack([users, days, events], 1))
    users, days, events = np.concatenate(found).T
    return users, days, events


def marked_records(files: Sequence[str], wanted: np.ndarray) -> tf.data.Dataset:
    """The records of the decisions that are marked, bool [D], in the files' order."""
    # A dataset of its own, not a gather: the records of a large log do not fit into memory.
    flags = tf.data.Dataset.from_tensor_slices(wanted)
    return tf.data.Dataset.zip((_records(files), flags)).filter(lambda _, flag: flag).map(lambda record, _: record)


def read_shoppers(
    files: Sequence[str], transform: tft.TFTransformOutput, left_out: np.ndarray | None = None
) -> Iterator[Shopper]:
    """Every user once, as far as their newest decision tells; unknown items are left out.

    Args:
      files: TFRecord files (gz) of transformed decisions.
      transform: Transform's output, for the feature spec.
      left_out: bool [D], decisions that are passed over; None for none.
    """
    names = (features.HISTORY_ITEMS_XF, features.CANDIDATE_ITEMS_XF, features.LABEL)
    spec = {name: transform.transformed_feature_spec()[name] for name in (*names, features.USER_KEY_XF)}
    for records in newest_records(files, transform, left_out).batch(_BATCH):
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
