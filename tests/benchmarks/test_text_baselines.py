"""BM25 and tf-idf against the formulas, term by term."""

import math

import numpy as np
import pytest

from benchmarks.text_baselines import TextIndex
from serving.requests import Request

TITLES = {"a": "Red kettle, red lid", "b": "Kettle for tea", "c": "Tea pot", "d": "Lamp", "e": "Lamp of oil"}


def ranked(name, query):
    frame = TextIndex(TITLES, name).rank([Request(user_id="u", query=query)])
    return dict(zip(frame["item_id"], frame["score"], strict=True))


def test_bm25_is_okapis():
    split = {item: title.lower().replace(",", "").split() for item, title in TITLES.items()}
    mean = np.mean([len(words) for words in split.values()])

    def score(item, query):
        total = 0.0
        for word in query:
            n, f = sum(word in words for words in split.values()), split[item].count(word)
            idf = math.log(len(split) - n + 0.5) - math.log(n + 0.5)
            total += idf * f * 2.5 / (f + 1.5 * (0.25 + 0.75 * len(split[item]) / mean))
        return total

    found = ranked("bm25", "RED kettle unknown")
    assert found == pytest.approx({item: score(item, ["red", "kettle"]) for item in TITLES}, abs=1e-6)
    assert list(found)[:2] == ["a", "b"]


def test_characters_find_a_word_with_a_typo():
    assert next(iter(ranked("tfidf_characters", "ketle tea"))) == "b"
    assert next(iter(ranked("tfidf_characters", "lmap"))) == "d"
    alone = ranked("tfidf_characters", "lamp")
    grams = [" l", "la", "am", "mp", "p ", " la", "lam", "amp", "mp ", " lam", "lamp", "amp "]
    # d has nothing but these: its vector is idf/|idf|, and the query's has idf a gram.
    idf = np.full(len(grams), math.log(6 / 3) + 1)
    idf[[0, 5]] = math.log(6 / 3) + 1
    others = {" l": 3, "la": 2}  # "lid" begins with " l" too
    weights = [math.log(6 / (1 + others.get(gram, 2))) + 1 for gram in grams]
    assert alone["d"] == pytest.approx(np.sqrt(np.sum(np.square(weights))), abs=1e-6)


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(ValueError, match=r"no text baseline 'tf'; expected one of bm25, tfidf_characters\."):
        TextIndex(TITLES, "tf")
