"""Words of texts against Python's own ways with Unicode."""

import re
import unicodedata

import hypothesis.strategies as st
import tensorflow as tf
from hypothesis import given, settings

from models import words


def split(*texts):
    return [[word.decode() for word in row] for row in words.split_words(tf.constant(list(texts), tf.string)).to_list()]


def test_words_in_both_scripts():
    assert split("Pokémon: Mario's X-2", "登山靴 L", "ＰＳ４ für Straße", "", "--") == [
        ["pokemon", "mario", "s", "x", "2"],
        ["登", "山", "靴", "登山", "山靴", "l"],
        ["ps4", "fur", "strasse"],
        [],
        [],
    ]
    assert split("abc防水x") == [["abc", "防", "水", "防水", "x"]]


@settings(max_examples=30)
@given(
    st.lists(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cs", "Cc", "Cf"])), min_size=1, max_size=4)
)
def test_latin_words_are_those_of_pythons_expressions(texts):
    def expected(text):
        plain = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
        return re.findall(r"[^\W]+", unicodedata.normalize("NFKC", plain).casefold())

    assert split(*texts) == [expected(text) for text in texts]


def one_typo(word):
    letters = "abz"
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
        yield word[:i] + word[i] + word[i:]
        yield from (word[:i] + letter + word[i + 1 :] for letter in letters)
    yield from (word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1))


@settings(max_examples=15)
@given(st.text("abcz", min_size=4, max_size=12))
def test_a_typo_leaves_a_key_in_common(word):
    typed = list(one_typo(word))
    found = words.deletion_keys(tf.constant([word, *typed]), 16).numpy()
    own = set(found[0]) - {words.NO_KEY}
    assert len(own) == len({word, *(word[:i] + word[i + 1 :] for i in range(len(word)))})
    for other, row in zip(typed, found[1:], strict=True):
        assert own & set(row), (word, other)


def test_far_words_short_ones_and_ideographs_have_none_in_common():
    found = [
        set(row) - {words.NO_KEY}
        for row in words.deletion_keys(tf.constant(["kettle", "lamps", "tv", "登山靴"]), 16).numpy()
    ]
    assert not found[0] & found[1] and found[2] == found[3] == set()
