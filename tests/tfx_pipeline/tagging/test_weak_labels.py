"""Weak labels of texts."""

import math

import pytest

from models import text_words
from tfx_pipeline.tagging.lexicon import Lexicon, Term
from tfx_pipeline.tagging.weak_labels import Labeller, sentiment_of

SHOES, LIGHTS = ("Sport", "Shoes"), ("Home", "Lights")
TERMS = {
    ("acme",): Term("brand", "Acme"),
    ("hiking", "boots"): Term("product", "hiking boots", SHOES),
    ("desk", "lamp"): Term("product", "desk lamp", LIGHTS),
    ("floor", "lamp"): Term("product", "floor lamp", LIGHTS),
    ("lamp",): Term("product", ""),
    ("shoes",): Term("category", "Shoes", SHOES),
    ("warm",): Term("attribute"),
}
TITLES = ["Acme hiking boots", "Acme desk lamp", "Nord floor lamp", "Nord warm hiking boots"]
BRANDS = ["Acme", "Acme", "Nord", "Nord"]
CATEGORIES = ["Sport > Shoes", "Home > Lights", "Home > Lights", "Sport > Shoes"]


@pytest.fixture(scope="module")
def labeller():
    return Labeller(Lexicon(TERMS), TITLES, BRANDS, CATEGORIES)


@pytest.mark.parametrize(
    ("text", "chosen", "tags"),
    [
        # What is named counts, whatever was chosen.
        ("acme hiking boots", [2], {"Acme": 1, "hiking boots": 1, "Sport": 1, "Shoes": 1}),
        ("shoes", [1], {"Shoes": 1, "Sport": 1}),
        # Nothing is named: shares of what was chosen, each item's brand left out.
        (
            "trail thing",
            [0, 1],
            {"hiking boots": 0.5, "Sport": 0.5, "Shoes": 0.5, "desk lamp": 0.5, "Home": 0.5, "Lights": 0.5},
        ),
        # A bare noun: of what was chosen, the items with it in their titles.
        ("lamp", [0, 2], {"floor lamp": 1, "Home": 1, "Lights": 1}),
        # Nothing was chosen: all items with the words.
        ("lamp", [], {"desk lamp": 0.5, "floor lamp": 0.5, "Home": 1, "Lights": 1}),
        ("warm", [], {"hiking boots": 1, "Sport": 1, "Shoes": 1}),
        ("acme", [1, 2], {"Acme": 1, "desk lamp": 1, "Home": 1, "Lights": 1}),
        # Words that no title has do not keep others from counting.
        ("sturdy lamp", [], {"desk lamp": 0.5, "floor lamp": 0.5, "Home": 1, "Lights": 1}),
        ("unheard of", [-1], {}),
        ("", [], {}),
    ],
)
def test_tags(labeller, text, chosen, tags):
    assert labeller.label(text, chosen).tags == pytest.approx(tags)


def test_an_item_has_its_own_tags(labeller):
    labels = labeller.label_item("Nord warm hiking boots", 3)
    assert labels.tags == {"hiking boots": 1, "Sport": 1, "Shoes": 1, "Nord": 1}
    assert labels.word_labels == ["O", "B-attribute", "B-product", "I-product"]


def test_named_tags_alone(labeller):
    assert labeller.named("Acme desk lamp") == {"Acme": 1, "desk lamp": 1, "Home": 1, "Lights": 1}
    assert labeller.named("trail thing") == {}


def test_every_word_has_a_label_of_the_list(labeller):
    labels = labeller.label("warm 登山 acme HIKING boots!").word_labels
    assert labels == ["B-attribute", "O", "O", "B-brand", "B-product", "I-product"]
    assert set(labels) <= set(text_words.WORD_LABELS)


@pytest.mark.parametrize(
    ("rating", "sentiment"),
    [(5, "positive"), (4, "positive"), (3, ""), (2, "negative"), (1, "negative"), (math.nan, "")],
)
def test_sentiment_of_ratings(rating, sentiment):
    assert sentiment_of(rating) == sentiment
