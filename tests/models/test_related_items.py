"""RelatedItems: sums over neighbours against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.related_items import RelatedItems

SIZES = dict(items=5, dimension=3, relations=2, neighbours=2)
# (item, kind, related item); of item 0 and kind 1 the third is one too many.
RELATIONS = np.array([[0, 1, 4], [3, 0, 3], [0, 1, 2], [0, 0, 1], [0, 1, 1], [4, 0, 0]])
VECTORS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def layer(tools):
    layer = RelatedItems(**SIZES)
    tools.shake(layer)
    layer.set_table(RELATIONS)
    return layer


def expected(layer):
    first, second = layer.projections.numpy()
    added = np.zeros([5, 3])
    added[0] = VECTORS[1] @ first + (VECTORS[4] + VECTORS[2]) / 2 @ second
    added[3] = VECTORS[3] @ first
    added[4] = VECTORS[0] @ first
    return added


def test_the_mean_of_the_first_neighbours_of_each_kind_is_projected(layer):
    assert layer.of().numpy().tolist() == [
        [[1, -1], [4, 2]], [[-1, -1], [-1, -1]], [[-1, -1], [-1, -1]], [[3, -1], [-1, -1]], [[0, -1], [-1, -1]],
    ]  # fmt: skip
    np.testing.assert_allclose(layer(VECTORS, layer.of()), expected(layer), atol=1e-6)
    some = layer(VECTORS, layer.of(tf.constant([4, 1, 0])))
    np.testing.assert_allclose(some, expected(layer)[[4, 1, 0]], atol=1e-6)


def test_untrained_it_adds_nothing_and_learns_from_there():
    layer = RelatedItems(**SIZES)
    layer.set_table(RELATIONS)
    with tf.GradientTape() as tape:
        added = layer(tf.constant(VECTORS), layer.of())
        loss = tf.reduce_sum(added)
    assert not added.numpy().any()
    assert np.abs(tape.gradient(loss, layer.projections).numpy()).min() > 1e-3


def test_another_table_replaces_the_one_before(layer):
    layer.set_table(RELATIONS[:0])
    assert (layer.of().numpy() == -1).all()
    assert not layer(VECTORS, layer.of()).numpy().any()


def test_part(tools, tmp_path):
    related = tf.constant([[[1, 0], [-1, 2]], [[-1, -1], [1, -1]]], tf.int64)

    def fill(layer):
        layer.set_table(RELATIONS)

    inputs = [tf.constant(VECTORS), related]
    tools.check_part(RelatedItems, SIZES, inputs, tmp_path, prepare=fill, shared=(0,), dtype="float32")


@pytest.mark.parametrize("size", ["relations", "neighbours"])
def test_sizes_below_one_are_refused(size):
    with pytest.raises(ValueError, match="relations and neighbours must be at least 1, not"):
        RelatedItems(**{**SIZES, size: 0})
