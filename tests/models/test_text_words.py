"""Words are cut alike in Python and in the graph."""

import doctest

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import text_words, word_tensors


def in_graph(texts):
    return [[word.decode() for word in row] for row in word_tensors.split(tf.constant(texts)).to_list()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n", []),
        ("Hiking boots, size 42!", ["Hiking", "boots", "size", "42"]),
        ("我要买苹果iPhone12", ["我", "要", "买", "苹", "果", "iPhone12"]),
        ("T-shirt · 短袖（男）", ["T", "shirt", "短", "袖", "男"]),
        ("café Übergröße ボトル", ["café", "Übergröße", "ボトル"]),
        ("ａｂｃ，１２", ["ａｂｃ", "１２"]),
    ],
)
def test_words_end_where_they_should(text, words):
    assert text_words.split(text) == words == in_graph([text])[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_python_and_the_graph_cut_alike(texts):
    assert in_graph(texts) == [text_words.split(text) for text in texts]


@given(st.lists(st.sampled_from(["登", "山", "boots", "42"]), max_size=6))
def test_what_is_joined_is_cut_as_before(words):
    assert text_words.split(text_words.join(words)) == words


def test_examples_in_docstrings():
    assert doctest.testmod(text_words).failed == 0
