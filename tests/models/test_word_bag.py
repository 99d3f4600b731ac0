"""WordBag against its formula in NumPy, and what it does for items of the Ranker."""

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.word_bag import WordBag


def test_equals_the_formula(tools):
    bag = WordBag(wordpieces=7, dimension=3, ignored=(0, 2))
    tools.shake(bag)
    vectors = bag.vectors.numpy()
    tokens = tf.constant([[[2, 5, 5, 6, 0], [2, 0, 0, 0, 0]], [[1, 3, 4, 5, 6], [0, 0, 0, 0, 0]]])
    expected = np.zeros([2, 2, 3])
    expected[0, 0] = (2 * vectors[5] + vectors[6]) / np.sqrt(3)
    expected[1, 0] = vectors[[1, 3, 4, 5, 6]].sum(0) / np.sqrt(5)
    np.testing.assert_allclose(bag(tokens), expected, atol=1e-6)


def test_something_must_be_ignored():
    with pytest.raises(ValueError, match="ignored is empty; expected the id of padding at least"):
        WordBag(7, 3, ())


def test_items_gain_the_vectors_of_their_words_and_cold_candidates_too(tools):
    ranker = tools.make_ranker(use_words=True, use_lexical=False)
    plain = ranker.item_encoder(None).numpy()
    tokens = ranker.item_tokens.numpy()
    vectors, special = ranker.word_bag.vectors.numpy(), set(ranker.config.special_tokens)
    for row, text in enumerate(tokens):
        words = [word for word in text if word not in special]
        gained = vectors[words].sum(0) / np.sqrt(max(1, len(words)))
        np.testing.assert_allclose(ranker.item_vectors().numpy()[row], plain[row] + gained, atol=1e-5)
    before = ranker(tools.request()).numpy()
    word = 31  # of the text that the unknown candidate brings
    assert word in tools.request()[features.CANDIDATE_TOKENS_XF].numpy()[0, 0]
    assert word not in tokens
    ranker.word_bag.vectors.scatter_nd_add([[word]], tf.ones([1, 8]))
    changed = np.abs(ranker(tools.request()).numpy() - before) > 1e-4
    assert changed.tolist() == [[False, False, True, False], [False] * 4, [False] * 4]
