"""Words of a title that a person must see, in English and in Chinese."""

import pytest

from serving.rules.review_rule import ReviewRule, WordLists
from serving.rules.snapshot import CATEGORY

RULE = ReviewRule("words", words=WordLists(en=("knife", "look alike", "café"), zh=("高仿", "仿品")))


@pytest.mark.parametrize(
    ("title", "word"),
    [
        ("A KNIFE, sharp", "knife"),
        ("ｋｎｉｆｅ", "knife"),
        ("Knife", "knife"),
        ("penknife", None),
        ("knives", None),
        ("Look-alike bag", "look alike"),
        ("look, and alike", None),
        ("Cafe\u0301 CAFÉ cafe", "café"),
        ("奢侈品高仿包", "高仿"),
        ("高 仿 包", "高仿"),
        ("高档仿品", "仿品"),
        ("高档仿皮", None),
        ("", None),
    ],
)
def test_words(title, word):
    assert RULE.found(title) == word


def test_a_rule_without_words_takes_any_title():
    assert ReviewRule("new").found("anything") == ""


def test_rules_of_a_file(load):
    text = (
        "review_if:\n  - {name: a, where: {category: Toys, age_days: {max: 14}}, reason: new}\n"
        "  - name: b\n    words: {zh: 刀}\n"
    )
    first, second = load(text).review_if
    assert (first.reason, first.where.texts[CATEGORY], first.where.numbers["age_days"][1]) == ("new", ("Toys",), 14)
    assert second.words == WordLists(zh=("刀",)) and second.found("小刀") == "刀"
