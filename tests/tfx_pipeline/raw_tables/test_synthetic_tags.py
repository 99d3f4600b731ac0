"""The true tags of the synthetic shop's texts, and the oracle that reads them."""

import numpy as np
import pytest

from tfx_pipeline.raw_tables import synthetic, synthetic_tags
from tfx_pipeline.raw_tables.synthetic_tags import Oracle, TaggedText


@pytest.fixture(scope="module")
def shop():
    return synthetic.generate(synthetic.ShopSettings(users=400, items=200, days=60, seed=2))


@pytest.fixture(scope="module")
def texts(shop):
    return synthetic_tags.query_texts(shop.sessions) + synthetic_tags.review_texts(shop.reviews, shop.catalogue)


@pytest.fixture(scope="module")
def oracle(shop):
    return Oracle(shop.catalogue, shop.sessions)


def test_texts_are_those_of_the_tables(shop, texts):
    events = shop.events[shop.events["event_type"] == "search"]
    written = sorted(text.text for text in texts if text.source == "query")
    assert written == sorted(events["query"])
    assert [text.text for text in texts if text.source == "review"] == list(shop.reviews["text"])


def test_true_tags_follow_from_what_is_named(texts):
    every = set(synthetic_tags.all_tags())
    assert all(text.tags <= every for text in texts)
    of_text = {text.text: text.tags for text in texts}
    assert of_text["hiking boots"] == {"Outdoor", "Hiking", "hiking boots"}


def test_probabilities_are_calibrated(oracle, texts):
    probability = oracle.probabilities(texts)
    true = np.array([[tag in text.tags for tag in oracle.tags] for text in texts])
    for low, high in [(0, 0.05), (0.05, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.01)]:
        here = (probability >= low) & (probability < high)
        mean = probability[here].mean()
        error = np.sqrt(mean * (1 - mean) / here.sum())
        assert abs(true[here].mean() - mean) < 4 * error + 0.01  # tags of one text hang together
    assert probability[true].mean() > 0.85


def test_a_typo_and_a_bare_noun(oracle):
    names = ("haedphones", "lamp", "骑行手套")
    rows = dict(
        zip(names, oracle.probabilities([TaggedText("query", 0, name, frozenset()) for name in names]), strict=True)
    )
    tags = {name: dict(zip(oracle.tags, row, strict=True)) for name, row in rows.items()}
    assert tags["haedphones"]["headphones"] == pytest.approx(1)
    lamps = [tag for tag in oracle.tags if tag.endswith(" lamp")]
    assert sum(tags["lamp"][tag] for tag in lamps) == pytest.approx(1)
    assert max(tags["lamp"][tag] for tag in lamps) < 0.9
    assert tags["骑行手套"]["Cycling"] == pytest.approx(1)


def test_what_the_generator_cannot_write_is_an_error(oracle):
    with pytest.raises(KeyError):
        oracle.probabilities([TaggedText("query", 0, "unheard of", frozenset())])
