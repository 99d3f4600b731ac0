"""Weak labels of texts, from what the catalogue calls things and from what users chose next."""

from __future__ import annotations

import collections
import copy
from collections.abc import Sequence
from dataclasses import dataclass

from models import text_words
from tfx_pipeline.tagging.lexicon import CATEGORY, PRODUCT, Lexicon, Phrase, Term, category_parts

#: Ratings from which on a review is positive, and up to which it is negative; others say nothing.
POSITIVE_FROM, NEGATIVE_TO = 4, 2

#: A tag counts as given, where it must be or not be, from this weight on.
GIVEN = 0.5


@dataclass(frozen=True)
class Labels:
    """What is held to be true of a text.

    Attributes:
      tags: tag of the user's interest -> weight from 0 to 1: 1 for what the text names, else the share of items chosen
        next (or of items with the text's words in their titles) that have it.
      word_labels: a label of `text_words.WORD_LABELS` for each word.
    """

    tags: dict[str, float]
    word_labels: list[str]


class Labeller:
    """Labels texts with the names of a catalogue.

    A text that names a product or a category has the tags of what it names. Where it names neither, or a bare noun such
    as "lamp", its categories and products are those of the items chosen after it, each by its share: of those whose
    titles have the text's words if there are such, else of all of them; where nothing was chosen, of the items with
    these words in their titles. Brands are only tags where they are named: what was chosen has some brand, asked for or
    not.

    Args:
      lexicon: of the catalogue.
      titles, brands, categories: of the items, in the order of their codes.
    """

    def __init__(
        self, lexicon: Lexicon, titles: Sequence[str], brands: Sequence[str], categories: Sequence[str]
    ) -> None:
        self.lexicon = lexicon
        self._of_item: list[dict[str, None]] = []
        self._products: list[list[str]] = []
        self._with_word: dict[str, set[int]] = collections.defaultdict(set)
        self._brands = list(brands)
        for code, (title, category) in enumerate(zip(titles, categories, strict=True)):
            words = text_words.split(title)
            products = [m.term.tag for m in lexicon.matches(words) if m.term.kind == PRODUCT and m.term.tag]
            self._products.append(list(dict.fromkeys(products)))
            self._of_item.append(dict.fromkeys([*products, *category_parts(category)]))
            for word in words:
                self._with_word[word.casefold()].add(code)

    def with_terms(self, terms: dict[Phrase, Term]) -> Labeller:
        """One that knows further phrases, where the lexicon does not have them."""
        made = copy.copy(self)
        made.lexicon = Lexicon({**terms, **self.lexicon.terms})
        return made

    def products(self, code: int) -> list[str]:
        """The products that an item's title names."""
        return self._products[code]

    def label(self, text: str, chosen: Sequence[int] = ()) -> Labels:
        """Labels of a text of a user.

        Args:
          text: as written.
          chosen: codes of the items that the user chose next, each once; negative ones are not known.
        """
        words = text_words.split(text)
        tags, said = self._named(words)
        if not said:
            titled = self._titled(words)
            known = [code for code in chosen if code >= 0]
            codes = [code for code in known if code in titled] or known or sorted(titled)
            # What is chosen although it is of another category than the one named says nothing.
            codes = [code for code in codes if tags.keys() & self._of_item[code].keys()] or codes
            for code in codes:
                for tag in self._of_item[code]:
                    tags[tag] = tags.get(tag, 0.0) + 1 / len(codes)
        return Labels({tag: min(weight, 1.0) for tag, weight in tags.items()}, self.lexicon.word_labels(words))

    def label_item(self, text: str, code: int) -> Labels:
        """Labels of a text of the catalogue about an item: what it names, and the item's own tags, its brand too."""
        words = text_words.split(text)
        tags, _ = self._named(words)
        tags |= dict.fromkeys(self._of_item[code], 1.0)
        if self._brands[code]:
            tags[self._brands[code]] = 1.0
        return Labels(tags, self.lexicon.word_labels(words))

    def named(self, text: str) -> dict[str, float]:
        """Only the tags that a text names: what matching words alone finds."""
        return self._named(text_words.split(text))[0]

    def _named(self, words: Sequence[str]) -> tuple[dict[str, float], bool]:
        """Tags that the words name, and whether they name a product, or a category and no bare noun."""
        tags: dict[str, float] = {}
        terms = [match.term for match in self.lexicon.matches(words)]
        for term in terms:
            tags |= dict.fromkeys([term.tag] if term.tag else [], 1.0) | dict.fromkeys(term.categories, 1.0)
        product = any(term.kind == PRODUCT and term.tag for term in terms)
        noun = any(term.kind == PRODUCT and not term.tag for term in terms)
        return tags, product or (not noun and any(term.kind == CATEGORY for term in terms))

    def _titled(self, words: Sequence[str]) -> set[int]:
        """Items with all of the words in their titles, but for words that are in no title."""
        rows = [self._with_word[key] for word in words if (key := word.casefold()) in self._with_word]
        return set.intersection(*rows) if rows else set()


def sentiment_of(rating: float) -> str:
    """`positive`, `negative` or "" (unknown) of a review's rating; NaN is none."""
    if rating >= POSITIVE_FROM:
        return text_words.POSITIVE
    return text_words.NEGATIVE if rating <= NEGATIVE_TO else ""
