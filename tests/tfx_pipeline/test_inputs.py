"""What the readers of decisions promise beyond what `test_trainer.py` fits with."""

import pytest
import tensorflow as tf
from tensorflow.python.data.experimental.ops.distribute import _LegacyRebatchDataset

from models import features
from tfx_pipeline import inputs


@pytest.mark.parametrize("replicas", [2, 3, 4, 8])
def test_every_replica_gets_a_row_of_every_batch_and_few_are_left_out(replicas):
    """Shared out by the very dataset that tf.distribute uses for batches without a static size."""
    for size in range(1, 20):
        rows = tf.data.Dataset.range(size).map(lambda i: {features.LABEL: tf.fill([2], i)})
        batches = rows.padded_batch(size)
        shares = _LegacyRebatchDataset(inputs._for_all_replicas(batches, replicas), replicas)
        found = [part[features.LABEL].numpy()[:, 0].tolist() for part in shares]
        assert all(found), (size, found)
        assert len(found) == (replicas if size >= replicas else 0)
        kept = [row for part in found for row in part]
        assert kept == list(range(len(kept)))
        assert len(kept) > size - replicas
