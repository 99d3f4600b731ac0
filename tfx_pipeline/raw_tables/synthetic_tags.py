"""What texts of the synthetic shop are truly about, and the best that a reader of the text alone can tell.

A query's author wants a category, always, and may name a product, also by a synonym or a bare noun ("lamp"), and a
brand; a review is about the product that it names. Those are the true tags: the parts of the category's path, the
product's English name, the brand.

The oracle is Bayes' rule over the generator's own ways of writing: every text that it can produce for an item (form,
attribute, synonym, typo, spaces left out) with its probability gives P(tag | text). The reader knows neither the author
nor the date, so categories and habits have the shares of all sessions, and items of a category are asked for in
proportion to their weight times the share of sessions at which they were there.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfx_pipeline.raw_tables import synthetic_sessions as sessions_of
from tfx_pipeline.raw_tables import synthetic_words as words
from tfx_pipeline.raw_tables.synthetic_sessions import FORMS, NAMES_ATTRIBUTE, NAMES_BRAND, NAMES_PRODUCT, Sessions
from tfx_pipeline.raw_tables.synthetic_world import Array, Items


@dataclass(frozen=True)
class TaggedText:
    """A text of the shop with its true tags.

    Attributes:
      source: `query` or `review`.
      time: when it was written, seconds since 1970-01-01 UTC.
      text: as written.
      tags: the true ones.
    """

    source: str
    time: int
    text: str
    tags: frozenset[str]


def all_tags() -> list[str]:
    """Every tag that a text may truly have, sorted: parts of category paths, products, brands."""
    parts = {part for category in range(len(words.CATEGORIES)) for part in category_tags(category)}
    products = {product.name[words.ENGLISH] for product in words.PRODUCTS}
    return sorted(parts | products | {brand[words.ENGLISH] for brand in words.BRANDS})


def category_tags(category: int) -> tuple[str, ...]:
    """The parts of a category's path."""
    return tuple(words.CATEGORIES[category].path[words.ENGLISH].split(" > "))


def query_texts(sessions: Sessions) -> list[TaggedText]:
    """Every query, in the order of `sessions`."""
    found = []
    for row in np.flatnonzero(sessions.search).tolist():
        tags = {*category_tags(int(sessions.category[row]))}
        if sessions.product[row] >= 0:
            tags.add(words.PRODUCTS[sessions.product[row]].name[words.ENGLISH])
        if sessions.brand[row] >= 0:
            tags.add(words.BRANDS[sessions.brand[row]][words.ENGLISH])
        found.append(TaggedText("query", int(sessions.time[row]), sessions.query[row], frozenset(tags)))
    return found


def review_texts(reviews: pd.DataFrame, items: Items) -> list[TaggedText]:
    """Every review, in the table's order."""
    row_of = {item: row for row, item in enumerate(items.ids)}
    found = []
    for item, text, moment in zip(reviews["item_id"], reviews["text"], reviews["timestamp"], strict=True):
        product = int(items.product[row_of[item]])
        tags = {*category_tags(product // words.PRODUCTS_PER_CATEGORY), words.PRODUCTS[product].name[words.ENGLISH]}
        found.append(TaggedText("review", int(moment.timestamp()), text, frozenset(tags)))
    return found


class Oracle:
    """P(tag | text) of the synthetic shop.

    Args:
      items: the catalogue.
      sessions: all sessions, whose shares of categories, habits and languages are the generator's as the reader of a
        text may know them.
    """

    def __init__(self, items: Items, sessions: Sessions) -> None:
        self.tags = all_tags()
        self._place = {tag: place for place, tag in enumerate(self.tags)}
        anchors = _anchor_shares(items, sessions)
        language = sessions.language[sessions.search].mean()
        self._queries = self._posteriors(_queries(items, anchors, (1 - language, language)))
        self._reviews = self._posteriors(_reviews(items, anchors))

    def probabilities(self, texts: list[TaggedText]) -> Array:
        """float [texts, tags], in the order of `tags`.

        Raises:
          KeyError: for a text that the generator cannot have written.
        """
        rows = [(self._queries if text.source == "query" else self._reviews)[text.text] for text in texts]
        return np.stack(rows) if rows else np.zeros([0, len(self.tags)])

    def _posteriors(self, written: Iterator[tuple[str, tuple[str, ...], float]]) -> dict[str, Array]:
        total: dict[str, float] = collections.defaultdict(float)
        of_tag: dict[str, Array] = {}
        for text, tags, probability in written:
            total[text] += probability
            row = of_tag.setdefault(text, np.zeros(len(self.tags)))
            for tag in tags:
                row[self._place[tag]] += probability
        return {text: row / total[text] for text, row in of_tag.items()}


def _anchor_shares(items: Items, sessions: Sessions) -> Array:
    """P(the item that a query is about), [items]."""
    due = sessions.habit >= 0
    shares = np.bincount(sessions.habit[due], minlength=len(items.ids)).astype(float)
    there = (items.first_seen[:, None] <= np.quantile(sessions.time, np.linspace(0, 1, 101))[None, :]).mean(1)
    weight = items.weight * there
    wanted = np.bincount(sessions.category[~due], minlength=len(words.CATEGORIES)).astype(float)
    in_category = np.bincount(items.category, weight, minlength=len(words.CATEGORIES))
    shares += wanted[items.category] * weight / in_category[items.category]
    result: Array = shares / shares.sum()
    return result


def _queries(
    items: Items, anchors: Array, languages: tuple[float, float]
) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """(text, its true tags, probability) of every way to write a query."""
    meant: dict[tuple[int, int, tuple[tuple[int, float], ...]], float] = collections.defaultdict(float)
    for row, share in enumerate(anchors.tolist()):
        first, second = items.attributes[row].tolist()
        wanted = ((first, 1.0),) if second < 0 else ((first, 0.5), (second, 0.5))
        meant[int(items.product[row]), int(items.brand[row]), wanted] += share
    synonym, other = sessions_of.PRODUCT_SYNONYM_SHARE, sessions_of.ATTRIBUTE_SYNONYM_SHARE
    terms: dict[tuple[int, str, tuple[str, ...]], float] = collections.defaultdict(float)
    for (kind, brand, attributes), share in meant.items():
        product, category = words.PRODUCTS[kind], kind // words.PRODUCTS_PER_CATEGORY
        parts = category_tags(category)
        for language, spoken in enumerate(languages):
            for form, chance in enumerate(sessions_of.FORM_SHARES):
                nouns = [("", 1.0)]
                tags = parts
                if NAMES_PRODUCT[form]:
                    nouns = [(product.name[language], 1 - synonym), (product.synonym[language], synonym)]
                    nouns = [(product.head[language], 1.0)] if FORMS[form] == "head" else nouns
                    tags += (product.name[words.ENGLISH],)
                elif FORMS[form] == "interest":
                    nouns = [(words.CATEGORIES[category].interest[language], 1.0)]
                before = [("", 1.0)]
                if NAMES_ATTRIBUTE[form]:
                    before = [
                        (words.ATTRIBUTES[a][which][language], part * (other if which else 1 - other))
                        for a, part in attributes
                        for which in (0, 1)
                    ]
                if NAMES_BRAND[form]:
                    name = words.BRANDS[brand]
                    before = [(name[language].lower() if language == words.ENGLISH else name[language], 1.0)]
                    tags += (name[words.ENGLISH],)
                for noun, p in nouns:
                    for word, q in before:
                        text = f"{word} {noun}" if word and noun else word + noun
                        terms[language, text, tags] += share * spoken * chance * p * q
    for (language, text, tags), share in terms.items():
        for typed, chance in _typed(text, language == words.CHINESE):
            yield typed, tags, share * chance


def _typed(text: str, chinese: bool) -> Iterator[tuple[str, float]]:
    """Every text that a person may type for these words, with its probability."""
    joined = sessions_of.JOINED_SHARE if chinese else 0.0
    for written, share in ((text, 1 - joined), (text.replace(" ", ""), joined)):
        if not share:
            continue
        yield written, share * (1 - sessions_of.TYPO_SHARE)
        places = 1 if len(written) < 3 else len(written) if chinese else len(written) - 2
        for place in range(places):
            typed = sessions_of.mistyped(written, (place + 0.5) / places, chinese)
            yield typed, share * sessions_of.TYPO_SHARE / places


def _reviews(items: Items, anchors: Array) -> Iterator[tuple[str, tuple[str, ...], float]]:
    shares: dict[tuple[int, int], float] = collections.defaultdict(float)
    for row, share in enumerate(anchors.tolist()):
        shares[int(items.product[row]), int(items.attributes[row, 0])] += share
    for (kind, attribute), share in shares.items():
        product = words.PRODUCTS[kind]
        tags = (*category_tags(kind // words.PRODUCTS_PER_CATEGORY), product.name[words.ENGLISH])
        for language in (words.ENGLISH, words.CHINESE):
            for tone in words.REVIEW_TEXTS[language]:
                for form in tone:
                    text = form.format(product.name[language], words.ATTRIBUTES[attribute][0][language])
                    yield text, tags, share
