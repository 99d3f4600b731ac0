"""Synonyms of products, learned from what is chosen after words that no title has."""

import pytest

from models import text_words
from tfx_pipeline.tagging import synonyms
from tfx_pipeline.tagging.lexicon import Lexicon, Term
from tfx_pipeline.tagging.weak_labels import Labeller

PAN, LAMP = ("Home", "Kitchen"), ("Home", "Lights")
TERMS = {
    ("acme",): Term("brand", "Acme"),
    ("frying", "pan"): Term("product", "frying pan", PAN),
    ("desk", "lamp"): Term("product", "desk lamp", LAMP),
    ("lamp",): Term("product", ""),
}
TITLES = ["Acme frying pan", "Nord frying pan", "Nord desk lamp"]
PAN_ROWS, LAMP_ROW = (0, 1), 2


@pytest.fixture(scope="module")
def labeller():
    return Labeller(Lexicon(TERMS), TITLES, [""] * 3, ["Home > Kitchen"] * 2 + ["Home > Lights"])


def learned(labeller, texts, min_users=2):
    return synonyms.learn(synonyms.usage(texts, labeller), labeller.lexicon, min_users)


def test_a_phrase_names_what_its_users_chose(labeller):
    texts = [("u", "acme Skillet", [0, 1]), ("v", "skillet", [1, LAMP_ROW, -1]), ("w", "skillet", [0])]
    terms = learned(labeller, texts)  # (1 + .5 + 1) / 3 for the pan, .5 / 3 for the lamp
    assert terms == {("skillet",): TERMS["frying", "pan"]}
    both = labeller.with_terms(terms)
    labels = both.label("cheap skillet", [LAMP_ROW])
    assert labels.tags == {"frying pan": 1, "Home": 1, "Kitchen": 1}
    assert labels.word_labels == [text_words.OUTSIDE, "B-product"]
    assert labeller.label("cheap skillet", [LAMP_ROW]).tags == {"desk lamp": 1, "Home": 1, "Lights": 1}


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([("u", "skillet", [0]), ("u", "skillet", [1])], "one user"),
        ([("u", "skillet", [0]), ("v", "skillet", [])], "one of two chose nothing"),
        ([("u", "skillet", [0]), ("v", "skillet", [LAMP_ROW])], "half and half"),
        ([("u", "big lamp", [LAMP_ROW]), ("v", "big lamp", [LAMP_ROW])], "a bare noun says what it is"),
        ([("u", "big desk lamp", [LAMP_ROW]), ("v", "big desk lamp", [LAMP_ROW])], "the product is named"),
        ([("u", "acme", [0]), ("v", "acme", [0])], "nothing is left beside the brand"),
        ([("u", "gadget", [-1]), ("v", "gadget", [-1])], "items that are not known"),
    ],
)
def test_what_is_no_synonym(labeller, texts, why):
    assert learned(labeller, texts) == {}, why


def test_the_catalogues_own_names_come_first_and_zero_learns_none(labeller):
    texts = [("u", "skillet", [0]), ("v", "skillet", [0])]
    assert learned(labeller, texts, min_users=0) == {}
    assert labeller.with_terms({("acme",): TERMS["frying", "pan"]}).lexicon.terms["acme",] == TERMS["acme",]


def test_usage_of_parts_adds_up(labeller):
    texts = [("u", "skillet", [0]), ("v", "skillet", [0, LAMP_ROW]), ("w", "thing", [1])]
    whole = synonyms.usage(texts, labeller)
    parts = synonyms.Usage.merged(synonyms.usage([text], labeller) for text in texts)
    assert parts == whole
    assert whole.users == {("skillet",): 2, ("thing",): 1}
    assert whole.chosen["skillet",] == {"frying pan": 1.5, "desk lamp": 0.5}
