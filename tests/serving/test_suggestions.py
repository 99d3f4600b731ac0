"""What is suggested, by counts and prefixes computed by hand."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from serving.suggestions import Suggestion, SuggestionTable, collect

TITLES = ["Green tea", "Green tea pot", "Green lamp", "绿茶 登山靴", "绿茶", "绿茶"]
CATEGORIES = ["Food > Tea", "Kitchen", "", "Food > Tea", "Food > Tea", ""]


def found(table, *prefixes):
    texts, scores, kinds = (part.numpy() for part in table(tf.constant(list(prefixes))))
    rows = []
    for row in range(len(prefixes)):
        real = [text.decode() for text in texts[row] if text]
        assert np.isneginf(scores[row, len(real) :]).all() and not any(kinds[row, len(real) :])
        rows.append(real)
    return rows


def test_counts_weights_and_forms():
    suggestions = collect(
        {"green Tea": 9, "ｇreen ＴＥＡ": 3, "rare": 1, "登山靴": 2}, CATEGORIES, TITLES, [5, 1, 0, 2, 0, 7]
    )
    by_text = {one.text: one for one in suggestions}
    assert {text: one.kind for text, one in by_text.items()} == {
        "green Tea": "query", "登山靴": "query", "Food > Tea": "category", "Kitchen": "category",
        "green": "word", "绿茶": "word",
    }  # fmt: skip
    assert by_text["登山靴"].score == pytest.approx(math.log(3) / math.log(10))
    assert by_text["Kitchen"].score == pytest.approx(0.8 * math.log(3) / math.log(11))
    assert by_text["green"].score == pytest.approx(0.6)
    scores = [one.score for one in suggestions]
    assert scores == sorted(scores, reverse=True)


TABLE = SuggestionTable(
    [
        Suggestion("Green tea", "query", 1.0),
        Suggestion("防水登山靴", "query", 0.9),
        Suggestion("Tea > Green", "category", 0.8),
        Suggestion("teapot", "word", 0.5),
        Suggestion("Café crème", "word", 0.4),
    ],
    3,
)


def test_the_beginning_goes_before_a_later_word():
    assert found(TABLE, "te", "GR", "ｇｒｅｅｎ  t", "tea gr", "x") == [
        ["Tea > Green", "teapot", "Green tea"],
        ["Green tea", "Tea > Green"],
        ["Green tea"],
        ["Tea > Green"],
        [],
    ]


def test_both_scripts_and_no_prefix_at_all():
    assert found(TABLE, "防", "登山", "cafe c", "CRÈ", "") == [
        ["防水登山靴"],
        ["防水登山靴"],
        ["Café crème"],
        ["Café crème"],
        ["Green tea", "防水登山靴", "Tea > Green"],
    ]
    _, scores, kinds = TABLE(tf.constant(["te"]))
    assert kinds.numpy().tolist() == [[b"category", b"word", b"query"]]
    np.testing.assert_allclose(scores.numpy(), [[0.8, 0.5, 1.0]])


@settings(max_examples=25)
@given(st.lists(st.text("ab cdé", min_size=1, max_size=8), max_size=6), st.text("abcé", min_size=1, max_size=3))
def test_all_that_begin_with_a_prefix_are_found(texts, prefix):
    suggestions = [Suggestion(text, "word", 1 - i / 10) for i, text in enumerate(texts)]
    plain = prefix.replace("é", "e")
    (answered,) = found(SuggestionTable(suggestions, 10), prefix)
    expected = {
        text
        for text in texts
        if any(f" {' '.join(text.replace('é', 'e').split())}"[i:].startswith(f" {plain}") for i in range(9))
    }
    assert set(answered) == expected and len(answered) == len([text for text in texts if text in expected])


def test_nothing_to_suggest_and_no_room():
    assert found(SuggestionTable([], 2), "a", "") == [[], []]
    with pytest.raises(ValueError, match="number must be at least 1, not 0"):
        SuggestionTable([], 0)


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    module = tf.Module()
    module.table = TABLE
    module.run = tf.function(lambda prefixes: TABLE(prefixes), input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for ours, theirs in zip(
        TABLE(tf.constant(["te", "登", ""])), loaded.run(tf.constant(["te", "登", ""])), strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
