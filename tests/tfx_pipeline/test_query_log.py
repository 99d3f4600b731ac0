"""Queries of transformed decisions, counted by users."""

import types

import tensorflow as tf

from models import features
from tfx_pipeline.query_log import users_by_query


def test_users_are_counted_not_searches(tmp_path):
    asked = [("tea", 1), ("tea", 1), ("tea", 2), ("登山靴", 2), ("", 3), ("Tea", 3)]
    path = str(tmp_path / "part.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for query, user in asked:
            example = tf.train.Example()
            example.features.feature[features.QUERY_TEXT_XF].bytes_list.value.append(query.encode())
            example.features.feature[features.USER_KEY_XF].int64_list.value.append(user)
            writer.write(example.SerializeToString())
    spec = {
        features.QUERY_TEXT_XF: tf.io.FixedLenFeature([1], tf.string),
        features.USER_KEY_XF: tf.io.FixedLenFeature([1], tf.int64),
    }
    transform = types.SimpleNamespace(transformed_feature_spec=lambda: spec)
    assert users_by_query([path], transform) == {"tea": 2, "登山靴": 1, "Tea": 1}
