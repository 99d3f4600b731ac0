"""What a catalogue calls things: brands, products, attributes and categories, found in texts by longest match."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models import text_words

#: Words of a phrase in lower case; a Chinese character is a word.
Phrase = tuple[str, ...]

BRAND, PRODUCT, CATEGORY, ATTRIBUTE = "brand", "product", "category", "attribute"

_PATH = re.compile(r"\s*[>»|]\s*")


@dataclass(frozen=True)
class Term:
    """What a phrase stands for.

    Attributes:
      kind: `brand`, `product`, `category` or `attribute`.
      tag: its name as a tag, "" if it is none (an attribute; a bare noun that several products share).
      categories: what naming it says of the category: parts of one path, the broadest first.
    """

    kind: str
    tag: str = ""
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """A phrase found in a text: words `start` to `end` (exclusive)."""

    start: int
    end: int
    term: Term


class Lexicon:
    """Phrases of a shop, learned from its catalogue by `lexicon_learning.learn`.

    Args:
      terms: phrase -> what it stands for.

    Example:
      >>> lexicon = Lexicon({("苹", "果"): Term(BRAND, "苹果"), ("iphone", "12"): Term(PRODUCT, "iPhone 12")})
      >>> [match.term.tag for match in lexicon.matches(text_words.split("我要买苹果 iPhone 12"))]
      ['苹果', 'iPhone 12']
    """

    def __init__(self, terms: dict[Phrase, Term]) -> None:
        self.terms = terms
        self._longest = max(map(len, terms), default=0)

    def matches(self, words: Sequence[str]) -> list[Match]:
        """Phrases in a text, from left to right, at each place the longest; they do not overlap.

        Args:
          words: of `text_words.split`.
        """
        lowered = tuple(word.casefold() for word in words)
        found, place = [], 0
        while place < len(lowered):
            for length in range(min(self._longest, len(lowered) - place), 0, -1):
                term = self.terms.get(lowered[place : place + length])
                if term:
                    found.append(Match(place, place + length, term))
                    place += length
                    break
            else:
                place += 1
        return found

    def word_labels(self, words: Sequence[str]) -> list[str]:
        """A label of `text_words.WORD_LABELS` for each word; a category's name is no label."""
        labels = [text_words.OUTSIDE] * len(words)
        for match in self.matches(words):
            if match.term.kind in text_words.NAMED:
                for place in range(match.start, match.end):
                    labels[place] = f"{'B' if place == match.start else 'I'}-{match.term.kind}"
        return labels


def category_parts(path: str) -> tuple[str, ...]:
    """The parts of a category path such as "Outdoor > Hiking", the broadest first."""
    return tuple(part for part in _PATH.split(path.strip()) if part)


def phrase_of(text: str) -> Phrase:
    """The words of a name in lower case."""
    return tuple(word.casefold() for word in text_words.split(text))


def most_common(counter: collections.Counter[str]) -> str:
    """The key with the highest count, of several the first by alphabet."""
    return min(counter, key=lambda key: (-counter[key], key))


def contains(phrases: Iterable[Phrase], words: Phrase) -> bool:
    """Whether one of the phrases is among the neighbouring words of a text."""
    return any(words[i : i + len(p)] == p for p in phrases for i in range(len(words) - len(p) + 1))
