"""Copies of texts with one typing mistake."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import text_words
from tfx_pipeline.tagging.texts import Text
from tfx_pipeline.tagging.typos import mistyped
from tfx_pipeline.tagging.weak_labels import Labels


def text_of(words, labels):
    return Text("train", "u", 1, "query", text_words.join(words), Labels({"a": 1.0}, labels))


def distance(one, other):
    """Edits between two strings, a swap of neighbours being one."""
    table = np.zeros([len(one) + 1, len(other) + 1], int)
    table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (one[i - 1] != other[j - 1])
            )
            if i > 1 and j > 1 and one[i - 2 : i] == other[j - 2 : j][::-1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[-1, -1]


@given(st.lists(st.sampled_from(["boots", "hiking", "to", "登", "山", "靴"]), max_size=6), st.integers(0, 1000))
def test_one_mistake_and_labels_that_still_fit(words, seed):
    labels = [f"label of {place}" for place in range(len(words))]
    copy = mistyped(text_of(words, labels), np.random.default_rng(seed))
    usable = any(len(word) > 3 for word in words) or sum(map(text_words.is_chinese, words)) > 2
    assert (copy is not None) == usable
    if copy:
        assert distance(text_words.join(words).replace(" ", ""), copy.text.replace(" ", "")) <= 1
        assert len(copy.labels.word_labels) == len(text_words.split(copy.text))
        kept = iter(labels)
        assert all(label in kept for label in copy.labels.word_labels)  # in their order
        assert copy.labels.tags == {"a": 1.0}


def test_the_same_seed_makes_the_same_mistake():
    text = text_of(["hiking", "boots"], ["O", "O"])
    one, other = (mistyped(text, np.random.default_rng(5)) for _ in range(2))
    assert one == other and one.text != text.text


@pytest.mark.parametrize("words", [[], ["to"], ["登", "山"]])
def test_short_texts_are_left_alone(words):
    assert mistyped(text_of(words, ["O"] * len(words)), np.random.default_rng(0)) is None
