"""What is learned from catalogues, and found in texts."""

import doctest

import pytest

from models import text_words
from tfx_pipeline.raw_tables import synthetic_words
from tfx_pipeline.raw_tables.synthetic_world import ShopSettings, make_items
from tfx_pipeline.tagging import lexicon
from tfx_pipeline.tagging.lexicon import category_parts
from tfx_pipeline.tagging.lexicon_learning import Catalogue, learn
from tfx_pipeline.tagging.title_units import Cutter

PHONES = [
    ("苹果 iPhone 12 黑色", "苹果", "电子产品 > 手机"),
    ("苹果 iPhone 12 白色", "苹果", "电子产品 > 手机"),
    ("苹果 iPhone 13 黑色", "苹果", "电子产品 > 手机"),
    ("华为 Mate 40 白色", "华为", "电子产品 > 手机"),
    ("华为 Mate 40 黑色", "华为", "电子产品 > 手机"),
    ("苹果 手表 黑色", "苹果", "电子产品 > 穿戴"),
    ("华为 手表 白色", "华为", "电子产品 > 穿戴"),
    ("宜家 台灯 黑色", "宜家", "家居 > 灯具"),
    ("宜家 台灯 白色", "宜家", "家居 > 灯具"),
]


def catalogue(rows, descriptions=None):
    titles, brands, categories = zip(*rows, strict=True)
    return Catalogue(titles, brands, categories, descriptions or [""] * len(rows))


def named(found, text):
    return [(m.term.kind, m.term.tag) for m in found.matches(text_words.split(text))]


def test_a_sentence_about_a_phone():
    found = learn(catalogue(PHONES))
    assert named(found, "我要买苹果 iPhone 12") == [("brand", "苹果"), ("product", "iPhone 12")]
    assert found.terms[("iphone", "12")].categories == ("电子产品", "手机")
    assert ("iphone", "13") not in found.terms  # of one title only
    labels = found.word_labels(text_words.split("我要买苹果 iPhone 12"))
    assert labels == ["O", "O", "O", "B-brand", "I-brand", "B-product", "I-product"]


def test_a_number_that_other_titles_lack_is_no_part_of_a_product():
    rows = [("Acme boots", "Acme", "Shoes"), ("Acme boots 2", "Acme", "Shoes"), ("Acme boots 3", "Acme", "Shoes")]
    found = learn(catalogue([*rows, ("Other boots 2", "Other", "Shoes"), ("Other boots", "Other", "Shoes")]))
    assert {term.tag for term in found.terms.values() if term.kind == "product"} == {"boots"}


def test_names_in_two_languages_are_one():
    rows = [
        (f"{a} {c} {n} · {b} {d} {m}", a, f"Goods > {k}")
        for a, b in (("Acme", "顶峰"), ("Nord", "北方"))
        for c, d in (("warm", "保暖"), ("large", "大号"))
        for n, m, k in (("hat", "帽子", "Hats"), ("wool scarf", "羊毛围巾", "Scarves"), ("coat", "大衣", "Coats"))
    ]
    found = learn(catalogue(rows))
    assert named(found, "顶峰保暖羊毛围巾") == [("brand", "Acme"), ("attribute", ""), ("product", "wool scarf")]
    assert named(found, "ACME large Wool Scarf") == [("brand", "Acme"), ("attribute", ""), ("product", "wool scarf")]
    assert named(found, "scarf") == [("product", "")]


def test_cue_words_come_from_descriptions_of_one_category():
    rows = [(f"Acme {name} {n}", "Acme", f"Shop > {name}s") for name in ("camera", "pan", "tent") for n in "abcd"]
    interest = {"camera": ("photography", "摄影"), "pan": ("cooking", "做饭"), "tent": ("camping out", "露营")}
    descriptions = [
        "For all who like {}, made well. 适合喜欢{}的你。".format(*interest[title.split()[1]]) for title, _, _ in rows
    ]
    found = learn(catalogue(rows, descriptions))
    assert found.terms[("photography",)].categories == ("Shop", "cameras")
    assert found.terms[("做", "饭")].tag == "pans"
    assert found.terms[("camping", "out")].tag == "tents"
    assert ("made",) not in found.terms and ("的", "你") not in found.terms


@pytest.mark.parametrize("seed", [1, 2])
def test_the_synthetic_catalogue_is_read(seed):
    table = make_items(ShopSettings(seed=seed)).table
    found = learn(Catalogue(*(list(table[name]) for name in ("title", "brand", "category", "description"))))
    tags = {term.tag for term in found.terms.values()}
    products = {product.name[0] for product in synthetic_words.PRODUCTS}
    assert len(products - tags) <= 2  # of which there is one title
    assert {english for english, _ in synthetic_words.BRANDS} <= tags
    words = [word for pair in synthetic_words.ATTRIBUTES for word in pair[0]]
    attributes = {text_words.join(phrase) for phrase, term in found.terms.items() if term.kind == "attribute"}
    assert len(attributes & set(words)) > 0.9 * len(words)
    assert attributes - set(words) <= {"buying", "guide", "sale", "选购指南", "促销"}  # said of any product
    for category in synthetic_words.CATEGORIES:
        for product in category.products:
            for name in product.name:
                term = found.terms.get(lexicon.phrase_of(name))
                if term and term.kind == "product":
                    assert term.tag == product.name[0] and term.categories == category_parts(category.path[0])
        for interest in set(category.interest) - {"coffee and tea"}:  # "and" is in most descriptions
            term = found.terms[lexicon.phrase_of(interest)]
            assert term.categories == category_parts(category.path[0]), interest


def test_chinese_titles_without_spaces_are_cut_by_what_is_known():
    titles = [
        "顶峰防水登山靴",
        "顶峰保暖登山靴",
        "北方防水登山靴",
        "北方防水滑雪靴",
        "顶峰保暖滑雪靴",
        "北方保暖登山靴",
    ]
    cutter = Cutter(titles, ["顶峰", "北方"], min_count=1)
    assert cutter.segments("顶峰防水登山靴")[0][0] == ("顶", "峰")
    assert {"".join(unit) for title in titles for segment in cutter.segments(title) for unit in segment} >= {
        "防水",
        "保暖",
    }


def test_of_several_matches_the_longest_counts():
    terms = {("phone",): lexicon.Term("product", "phone"), ("phone", "case"): lexicon.Term("product", "phone case")}
    found = lexicon.Lexicon(terms).matches(["Phone", "case", "phone"])
    assert [(match.start, match.end, match.term.tag) for match in found] == [(0, 2, "phone case"), (2, 3, "phone")]


def test_an_empty_catalogue_and_one_without_columns():
    assert learn(Catalogue([], [], [], [])).terms == {}
    found = learn(catalogue([("red mug", "", ""), ("blue mug", "", ""), ("large mug", "", "")]))
    assert found.terms[("mug",)].kind == "product"


def test_examples_in_docstrings():
    assert doctest.testmod(lexicon).failed == 0
