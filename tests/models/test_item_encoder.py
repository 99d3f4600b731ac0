"""ItemEncoder: an item is the sum of what is known of it."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models.item_encoder import ItemEncoder, ItemTable

TABLE = ItemTable(
    tokens=np.zeros([4, 3], np.int64),
    categories=np.array([1, 0, 2, 1]),
    brands=np.array([0, 2, 1, 1]),
    price_buckets=np.array([3, 1, 0, 2]),
    prices=np.array([0.5, -1.0, 0.0, 2.0], np.float32),
    trained=np.array([True, True, False, False]),
    servable=np.ones(4, bool),
)
TEXTS = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
TEXTS[3] = 0


@pytest.fixture
def encoder(tools):
    encoder = ItemEncoder(
        items=4, dimension=3, text_dimension=5, categories=3, brands=3, price_buckets=4, id_dropout=0.5
    )
    tools.shake(encoder)
    encoder.set_table(TABLE)
    encoder.set_text_vectors(TEXTS)
    return encoder


def parts(encoder, item, with_id):
    found = (
        TEXTS[item] @ encoder.text_projection.get_weights()[0] + TABLE.prices[item] * encoder.price_direction.numpy()
    )
    tables = (
        (encoder.category_embeddings, TABLE.categories),
        (encoder.brand_embeddings, TABLE.brands),
        (encoder.price_embeddings, TABLE.price_buckets),
    )
    found += sum(table.numpy()[ids[item]] for table, ids in tables if ids[item] > 0)
    return found + encoder.ids.numpy()[item] if with_id else found


def test_a_vector_is_the_sum_of_its_parts(encoder):
    expected = [parts(encoder, item, TABLE.trained[item]) for item in range(4)]
    np.testing.assert_allclose(encoder(None), expected, atol=1e-5)
    np.testing.assert_allclose(encoder(tf.constant(TEXTS)), expected, atol=1e-5)


def test_training_hides_the_asked_share_of_ids_and_nothing_else(encoder):
    with_id = np.array([parts(encoder, item, True) for item in range(2)])
    without = np.array([parts(encoder, item, False) for item in range(4)])
    hidden = 0
    for _ in range(100):
        found = encoder(None, training=True).numpy()
        np.testing.assert_allclose(found[2:], without[2:], atol=1e-5)
        for item in range(2):
            gone = np.allclose(found[item], without[item], atol=1e-5)
            assert gone or np.allclose(found[item], with_id[item], atol=1e-5)
            hidden += gone
    assert 60 < hidden < 140  # of 200, at one half: four standard deviations are 28


def test_an_item_known_by_its_text_alone(encoder):
    cold = encoder.from_text(tf.constant(TEXTS)[:, tf.newaxis])[:, 0]
    np.testing.assert_allclose(cold, TEXTS @ encoder.text_projection.get_weights()[0], atol=1e-5)
    assert not cold[3].numpy().any()


def test_tables_of_the_same_size_start_with_values_of_their_own():
    encoder = ItemEncoder(items=4, dimension=3, text_dimension=5, categories=4, brands=4, price_buckets=4)
    tables = (encoder.ids, encoder.category_embeddings, encoder.brand_embeddings, encoder.price_embeddings)
    starts = [table.numpy().ravel() for table in tables]
    for place, one in enumerate(starts):
        assert all(np.abs(one - other).max() > 0.01 for other in starts[:place])


IMAGES = np.array([[3.0, 4.0], [0.0, 0.0], [-0.5, 0.0], [1.0, -1.0]], np.float32)  # item 1 has none
RELATIONS = np.array([[2, 0, 1], [2, 0, 0], [2, 1, 3], [0, 1, 2], [2, 0, 3]])  # the last one is a third of its kind


def with_all(tools, **changes):
    sizes = dict(items=4, dimension=3, text_dimension=5, categories=3, brands=3, price_buckets=4)
    encoder = ItemEncoder(**{**sizes, "image_width": 2, "relations": 2, "neighbours": 2, **changes})
    tools.shake(encoder)
    encoder.set_table(dataclasses.replace(TABLE, images=IMAGES, relations=RELATIONS))
    encoder.set_text_vectors(TEXTS)
    return encoder


def own(encoder, with_ids):
    """What an item is without its neighbours; images count by their direction alone."""
    directions = np.array([[0.6, 0.8], [0, 0], [-1, 0], [0.5**0.5, -(0.5**0.5)]])
    found = np.array([parts(encoder, item, with_ids[item]) for item in range(4)])
    return found + directions @ encoder.image_projection.get_weights()[0] if encoder.image_width else found


def whole(encoder, with_ids):
    found = own(encoder, with_ids)
    added = found.copy()
    first, second = encoder.related_items.projections.numpy()
    added[2] += (found[1] + found[0]) / 2 @ first + found[3] @ second
    added[0] += found[2] @ second
    return added


@pytest.mark.parametrize("image_width", [0, 2])
def test_images_and_neighbours_join_the_vector(tools, image_width):
    encoder = with_all(tools, image_width=image_width)
    expected = whole(encoder, TABLE.trained)
    np.testing.assert_allclose(encoder(None), expected, atol=1e-5)
    np.testing.assert_allclose(encoder(tf.constant(TEXTS)), expected, atol=1e-5)
    rows = tf.constant([2, 1, 2])
    np.testing.assert_allclose(encoder(None, rows), expected[[2, 1, 2]], atol=1e-5)
    hidden = whole(encoder, np.zeros(4, bool))
    np.testing.assert_allclose(encoder(None, kept=tf.zeros(4)), hidden, atol=1e-5)
    assert np.abs(hidden - expected)[[0, 2]].min(0).max() > 1e-3


def test_images_without_relations(tools):
    encoder = with_all(tools, relations=0)
    np.testing.assert_allclose(encoder(None), own(encoder, TABLE.trained), atol=1e-5)
    assert {weight.name for weight in encoder.weights} < {weight.name for weight in with_all(tools).weights}


def test_an_item_known_by_its_text_alone_has_neither(tools):
    encoder = with_all(tools)
    cold = encoder.from_text(tf.constant(TEXTS))
    np.testing.assert_allclose(cold, TEXTS @ encoder.text_projection.get_weights()[0], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[:, :1]}, r"the table has images of shape \[4, 1\]; expected \[4, 2\]"),
        ({"images": None}, r"the table has no image embeddings; expected \[4, 2\]"),
        ({"relations": None}, "the table has no relations"),
    ],
)
def test_a_table_that_lacks_what_is_read_is_refused(tools, changes, message):
    encoder = with_all(tools)
    with pytest.raises(ValueError, match=message):
        encoder.set_table(dataclasses.replace(TABLE, **{"images": IMAGES, "relations": RELATIONS, **changes}))
