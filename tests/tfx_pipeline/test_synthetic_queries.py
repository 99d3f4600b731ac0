"""Queries drawn for decisions without one: from what, how many words, which typos."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.options import QueryOptions
from tfx_pipeline.synthetic_queries import NEIGHBOURS, with_queries

TITLES = ["Red kettle, for tea", "Lamp", "防水 登山靴", "--", "never chosen"]
ROWS = 600


def batches(settings, first=0, queries=None, seed=3):
    """Two batches of the same decisions, whose positives are rows 0, 1, 2, 3 in turn; the fifth item is a negative."""
    place = np.arange(ROWS) % 5
    ids = np.stack([place + 2, np.full(ROWS, 6)], 1)
    ids[place == 4] = [1, 6]  # an unknown positive: nothing to draw from
    inputs = {
        features.CANDIDATE_ITEMS_XF: ids,
        features.QUERY_TEXT_XF: np.array(queries or [""] * ROWS, object),
    }
    labels = np.tile(np.float32([1, 0]), [ROWS, 1])
    data = tf.data.Dataset.from_tensors((inputs, labels)).repeat(2)
    found = with_queries(data, TITLES, settings, seed, first)
    return [[query.decode() for query in inputs[features.QUERY_TEXT_XF].numpy()] for inputs, _ in found]


@pytest.fixture(scope="module")
def clean():
    return batches(QueryOptions(share=1.0))


def test_words_are_those_of_the_positives_title(clean):
    words = [{"red", "kettle", "for", "tea"}, {"lamp"}, {"防水", "登山靴"}, set(), set()]
    for row, query in enumerate(clean[0]):
        asked = query.split()
        assert set(asked) <= words[row % 5] and len(set(asked)) == len(asked)
        assert bool(asked) == bool(words[row % 5])


def test_each_number_of_words_and_each_word_is_as_likely(clean):
    queries = [query for batch in clean for query in batch[::5]]
    numbers = collections.Counter(len(query.split()) for query in queries)
    assert set(numbers) == {1, 2, 3} and min(numbers.values()) > 50
    single = collections.Counter(query for query in queries if " " not in query)
    assert len(single) == 4 and min(single.values()) > 8


def test_an_epoch_draws_anew_and_a_fit_that_goes_on_draws_the_same(clean):
    assert clean[0] != clean[1]
    assert batches(QueryOptions(share=1.0), first=1)[0] == clean[1]
    assert batches(QueryOptions(share=1.0), seed=4)[0] != clean[0]


def test_a_share_is_drawn_and_a_real_query_stays():
    real = ["mine" if row % 2 else "" for row in range(ROWS)]
    found = batches(QueryOptions(share=0.4), queries=real)[0]
    assert all(query == "mine" for query in found[1::2])
    without = [query for row, query in enumerate(found) if not row % 2 and row % 5 < 3]
    assert 0.3 < np.mean([bool(query) for query in without]) < 0.5


def test_a_typo_is_one_of_four_in_one_word(clean):
    found = batches(QueryOptions(share=1.0, typos=0.5))
    kinds, changed = collections.Counter(), []
    for before, after in zip([*clean[0], *clean[1]], [*found[0], *found[1]], strict=True):
        pairs = [pair for pair in zip(before.split(), after.split(), strict=True) if pair[0] != pair[1]]
        assert len(pairs) <= 1
        changed += [bool(pairs)] if len(before.replace(" ", "")) >= 3 else []
        for word, typed in pairs:
            assert len(word) >= 3
            places = range(len(word))
            if len(typed) < len(word):
                kinds["dropped"] += 1
                assert typed in {word[:i] + word[i + 1 :] for i in places}
            elif len(typed) > len(word):
                kinds["doubled"] += 1
                assert typed in {word[:i] + word[i] + word[i:] for i in places}
            elif sorted(typed) == sorted(word):
                kinds["swapped"] += 1
                assert sum(a != b for a, b in zip(word, typed, strict=True)) == 2
            else:
                kinds["beside"] += 1
                ((a, b),) = [pair for pair in zip(word, typed, strict=True) if pair[0] != pair[1]]
                assert b in NEIGHBOURS[ord(a) - ord("a")]
    assert set(kinds) == {"dropped", "doubled", "swapped", "beside"} and min(kinds.values()) > 20
    assert 0.25 < np.mean(changed) < 0.55


def test_neighbours_are_mutual():
    for place, beside in enumerate(NEIGHBOURS):
        assert chr(ord("a") + place) not in beside
        for letter in beside:
            assert letter.isalpha()
