"""Each user once, by their newest decision."""

import types

import numpy as np
import tensorflow as tf

from models import features
from tfx_pipeline import shoppers

_LISTS = (features.HISTORY_ITEMS_XF, features.CANDIDATE_ITEMS_XF)
SPEC = {
    features.USER_KEY_XF: tf.io.FixedLenFeature([1], tf.int64),
    features.REQUEST_DAY_XF: tf.io.FixedLenFeature([1], tf.int64),
    **dict.fromkeys(_LISTS, tf.io.VarLenFeature(tf.int64)),
    features.LABEL: tf.io.VarLenFeature(tf.float32),
}
TRANSFORM = types.SimpleNamespace(transformed_feature_spec=lambda: SPEC)


def _record(user, day, history, candidates=(), labels=()):
    values = {
        features.USER_KEY_XF: [user],
        features.REQUEST_DAY_XF: [day],
        features.HISTORY_ITEMS_XF: history,
        features.CANDIDATE_ITEMS_XF: candidates,
    }
    example = tf.train.Example()
    for name, value in values.items():
        example.features.feature[name].int64_list.value.extend(value)
    example.features.feature[features.LABEL].float_list.value.extend(labels)
    return example.SerializeToString()


def _write(path, records):
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in records:
            writer.write(record)
    return str(path)


def _days_and_histories(dataset):
    parsed = [tf.io.parse_single_example(record, SPEC) for record in dataset]
    return [(int(row[features.REQUEST_DAY_XF][0]), row[_LISTS[0]].values.numpy().tolist()) for row in parsed]


def test_the_latest_day_counts_and_of_one_day_the_longest_history(tmp_path):
    first = _write(tmp_path / "1", [_record(7, 3, [2]), _record(8, 9, [4, 5]), _record(7, 5, [2, 3])])
    second = _write(tmp_path / "2", [_record(8, 9, [4]), _record(7, 4, [2, 3, 9]), _record(9, 0, [])])
    found = _days_and_histories(shoppers.newest_records([first, second], TRANSFORM))
    assert found == [(9, [4, 5]), (5, [2, 3]), (0, [])]
    left_out = np.array([False, True, False, False, True, True])
    found = _days_and_histories(shoppers.newest_records([first, second], TRANSFORM, left_out))
    assert found == [(5, [2, 3]), (9, [4])]


def test_shoppers_have_rows_of_the_catalogue_and_nothing_unknown(tmp_path):
    unknown = features.UNKNOWN_ID
    records = [
        _record(1, 2, [2, unknown, 4, 2], [3, unknown, 5, 0], [1.0, 1.0, 0.0, -1.0]),
        _record(2, 2, [], [6], [1.0]),
    ]
    found = list(shoppers.read_shoppers([_write(tmp_path / "1", records)], TRANSFORM))
    expected = [([0, 2, 0], [1], 1), ([], [4], 2)]
    assert [(one.history.tolist(), one.positives.tolist(), one.key) for one in found] == expected
    assert found[0].sequence.tolist() == [0, 2, 0, 1]


def test_no_decision_is_no_shopper(tmp_path):
    assert list(shoppers.read_shoppers([_write(tmp_path / "1", [])], TRANSFORM)) == []
