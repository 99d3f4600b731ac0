"""WordMatch against idf by hand, with and without typos."""

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from models.word_match import WordMatch

TEXTS = ["Zelda: Twilight", "Zelda: Majora", "Mario Kart", "登山靴 red", "Red kettle, red lid", ""]
V = len(TEXTS)
WORDS = [
    {"zelda", "twilight"},
    {"zelda", "majora"},
    {"mario", "kart"},
    {"登", "山", "靴", "登山", "山靴", "red"},
    {"red", "kettle", "lid"},
    set(),
]


@pytest.fixture(scope="module")
def match():
    made = WordMatch(items=V, vocabulary=30, item_words=6)
    made.set_texts(TEXTS)
    return made


def scores(match, *queries, rows=None):
    return match(match.read(tf.constant(list(queries))), rows).numpy()


def idf(word):
    return np.log((V + 1) / (1 + sum(word in words for words in WORDS)))


def expected(*words):
    total = sum(map(idf, words))
    return [sum(idf(word) for word in words if word in held) / total for held in WORDS]


def test_shares_are_those_of_idf(match):
    found = scores(match, "majora ZELDA", "red Kettle kettle", "登山靴", "", "no such")
    np.testing.assert_allclose(found[0], expected("majora", "zelda"), atol=1e-5)
    np.testing.assert_allclose(found[1], expected("red", "kettle"), atol=1e-5)
    np.testing.assert_allclose(found[2], [0, 0, 0, 1, 0, 0], atol=1e-5)
    assert not found[3:].any()


def test_wanted_rows_alone_are_those_of_all(match):
    rows = tf.constant([4, 0, 3])
    np.testing.assert_allclose(
        scores(match, "red zelda", rows=rows), scores(match, "red zelda")[:, [4, 0, 3]], atol=1e-6
    )


@pytest.mark.parametrize("typed", ["ketle", "kettlle", "kettel", "kertle", "ettle", "kettles"])
def test_one_typo_finds_the_word(match, typed):
    np.testing.assert_allclose(scores(match, f"red {typed}")[0], expected("red", "kettle"), atol=1e-5)


def test_a_wrong_or_missing_character_leaves_the_others(match):
    for typed in ("登山鞋", "登靴", "登山山靴"):
        found = scores(match, typed)[0]
        assert found.argmax() == 3 and found[3] > 0.5


def test_a_known_word_stands_first_for_itself():
    made = WordMatch(items=4, vocabulary=9, item_words=3)
    made.set_texts(["platoon", "splatoon", "splatoon two", "other"])
    found = scores(made, "platoon")[0]
    assert found[0] > found[1] == found[2] > found[3] == 0


def test_alternatives_share_by_how_often_they_are_held():
    made = WordMatch(items=5, vocabulary=9, item_words=3)
    made.set_texts(["cart", "card", "card x", "card y", "z"])
    read = made.read(tf.constant(["carx"]))
    held = {int(place): float(made.held[int(place)]) for place in read.places.numpy()[0, 0] if place < 9}
    assert sorted(held.values()) == [1, 3]
    shares = dict(zip(read.places.numpy()[0, 0].tolist(), read.shares.numpy()[0, 0].tolist(), strict=True))
    weights = {place: number * np.log(6 / (1 + number)) for place, number in held.items()}
    for place, weight in weights.items():
        assert shares[place] == pytest.approx(weight / sum(weights.values()), abs=1e-5)


def test_holders_are_drawn_evenly_from_those_of_the_rarest_word(match):
    tf.random.set_seed(1)
    words = match.read(tf.constant(["zelda majora", "red", "", "nobody"]))
    drawn, number = match.holders(words.rarest, 4000)
    assert number.numpy().tolist() == [1, 2, 0, 0]
    assert set(drawn.numpy()[0]) == {1} and set(drawn.numpy()[2]) == {0}
    places, counts = np.unique(drawn.numpy()[1], return_counts=True)
    assert places.tolist() == [3, 4] and abs(counts[0] - 2000) < 200


def test_a_small_vocabulary_keeps_the_frequent_words():
    made = WordMatch(items=3, vocabulary=1, item_words=2)
    made.set_texts(["red lamp", "red pot", "red"])
    assert scores(made, "lamp")[0].tolist() == [0, 0, 0]
    assert scores(made, "red")[0].tolist() == [1, 1, 1]


def test_graph_config_and_saved_model(match, tmp_path):
    twin = WordMatch.from_config(match.get_config())
    twin.set_weights(match.get_weights())
    module = tf.Module()
    module.held = twin.weights
    module.run = tf.function(lambda query: twin(twin.read(query)), input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    queries = ["red ketle", "", "majora zelda 登山"]
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.run(tf.constant(queries)), scores(match, *queries), atol=1e-6)
    for query in queries:  # alone as in a batch
        np.testing.assert_allclose(scores(match, query)[0], scores(match, *queries)[queries.index(query)], atol=1e-6)


@settings(max_examples=20)
@given(st.lists(st.text("abé登山 -", max_size=8), min_size=1, max_size=5))
def test_any_texts_and_queries(texts):
    made = WordMatch(items=len(texts), vocabulary=5, item_words=3)
    made.set_texts(texts)
    found = scores(made, *texts)
    assert np.isfinite(found).all() and (found >= 0).all() and (found <= 1).all()


def test_a_size_must_be_positive():
    with pytest.raises(ValueError, match="item_words must be at least 1, not 0"):
        WordMatch(3, 4, 0)
