"""LexicalPath against sets of words."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.lexical_path import LexicalPath

WORDS, IGNORED = 9, (0, 2)
TABLE = np.array([[2, 3, 4, 0], [2, 3, 3, 5], [2, 6, 0, 0], [2, 3, 7, 0], [0, 0, 0, 0]])
texts = st.lists(st.integers(0, WORDS - 1), min_size=4, max_size=4)


@pytest.fixture(scope="module")
def path():
    path = LexicalPath(WORDS, len(TABLE), 4, IGNORED)
    path.set_table(TABLE)
    path.log_scale.assign(np.linspace(-1, 1, WORDS))
    return path


def share(query, text):
    """By sets, one pair at a time."""
    weights = {}
    for word in set(query) - set(IGNORED):
        holding = sum(word in row for row in TABLE)
        weights[word] = np.log((len(TABLE) + 1) / (holding + 1)) * np.exp(np.linspace(-1, 1, WORDS)[word])
    total = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word in text) / total if total else 0.0


@settings(deadline=None, max_examples=50)
@given(st.lists(texts, min_size=1, max_size=3))
def test_shares_are_those_of_sets_of_words_in_the_table_a_part_of_it_and_for_other_texts(path, queries):
    query = tf.constant(queries, tf.int64)
    expected = np.array([[share(query, row) for row in TABLE.tolist()] for query in queries])
    np.testing.assert_allclose(path(query), expected, atol=1e-5)
    np.testing.assert_allclose(path(query, tf.constant([3, 1])), expected[:, [3, 1]], atol=1e-5)
    owners = np.repeat(np.arange(len(queries)), len(TABLE))
    found = path.of_texts(query, tf.constant(owners), tf.constant(np.tile(TABLE, [len(queries), 1])))
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-5)


def test_the_share_that_some_item_holds_by_sets(path):
    held = {word for row in TABLE.tolist() for word in row}
    queries = [[3, 1, 8, 3], [1, 8, 0, 0], [4, 5, 6, 2], [0, 2, 0, 2]]
    expected = [share(query, held) for query in queries]
    np.testing.assert_allclose(path.held_share(tf.constant(queries)), expected, atol=1e-6)
    assert 0 < expected[0] < 1 and expected[1:] == [0, pytest.approx(1), 0]


def test_weights_of_words_that_are_in_the_query_and_in_items_learn(path):
    with tf.GradientTape() as tape:
        covered = path(tf.constant([[3, 7, 0, 0]]))[0, 3] + path(tf.constant([[3, 7, 0, 0]]))[0, 0]
    gradient = tf.convert_to_tensor(tape.gradient(covered, path.log_scale)).numpy()
    assert set(np.flatnonzero(np.abs(gradient) > 1e-6)) == {3, 7}


def test_many_texts_cost_no_row_of_the_whole_vocabulary_each():
    path = LexicalPath(wordpieces=30_000, items=1, text_length=2, ignored=(0,))
    path.set_table(np.array([[1, 2]]))
    texts = tf.function(path.of_texts).get_concrete_function(
        tf.TensorSpec([1, 3], tf.int64), tf.TensorSpec([500], tf.int32), tf.TensorSpec([500, 2], tf.int64)
    )
    sizes = [output.shape.num_elements() or 0 for op in texts.graph.get_operations() for output in op.outputs]
    assert max(sizes) <= 30_000


def test_padding_must_be_ignored():
    with pytest.raises(ValueError, match="the id of padding"):
        LexicalPath(WORDS, 3, 4, ())
