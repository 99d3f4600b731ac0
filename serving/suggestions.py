"""What may be suggested to somebody who types, and the table in which a prefix finds it."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models import words
from serving import contract

#: Kinds of suggestions, and what the most frequent one of each weighs.
WEIGHTS = {contract.QUERY_SUGGESTION: 1.0, contract.CATEGORY_SUGGESTION: 0.8, contract.WORD_SUGGESTION: 0.6}

#: A query is suggested if so many users have asked it, words of titles if so many items hold them.
LEAST_USERS, LEAST_ITEMS = 2, 3
#: Characters of a prefix that are read, and places within a suggestion where it may begin.
_LONGEST, _STARTS = 24, 6
#: Suggestions of the words of titles, at most.
_MOST_WORDS = 20_000


@dataclass(frozen=True)
class Suggestion:
    """One of them.

    Attributes:
      text: as it is shown.
      kind: of `WEIGHTS`.
      score: between 0 and 1, by how often it was asked, sold or met.
    """

    text: str
    kind: str
    score: float


def collect(
    queries: Mapping[str, int], categories: Sequence[str], titles: Sequence[str], sales: Sequence[float]
) -> list[Suggestion]:
    """Everything that may be suggested, best first: queries of the log, categories, words of titles.

    The score of a count n is weight of the kind · log(1+n) / log(1+largest n of the kind). What differs in case and
    width alone is one suggestion, shown as its most frequent form and scored as its best kind.

    Args:
      queries: text -> users who asked it.
      categories: of each item, "" for none; counted by what they sold.
      titles: of each item; single words and two that stand together are counted by items that hold them.
      sales: of each item.
    """
    asked = {text.strip(): float(users) for text, users in queries.items() if users >= LEAST_USERS and text.strip()}
    sold: dict[str, float] = collections.defaultdict(float)
    for category, number in zip(categories, sales, strict=True):
        if category:
            sold[category] += float(number) + 1
    held: collections.Counter[str] = collections.Counter()
    for title in _normalized(titles):
        parts = title.split()
        held.update({*parts, *map(" ".join, itertools.pairwise(parts))})
    met = {text: float(n) for text, n in held.most_common(_MOST_WORDS) if n >= LEAST_ITEMS and not text.isdigit()}
    counted: tuple[Mapping[str, float], ...] = (asked, sold, met)
    found: list[Suggestion] = []
    for kind, counts in zip(WEIGHTS, counted, strict=True):
        most = math.log1p(max(counts.values(), default=1.0))
        found += [Suggestion(text, kind, WEIGHTS[kind] * math.log1p(n) / most) for text, n in counts.items()]
    found.sort(key=lambda suggestion: (-suggestion.score, suggestion.text))
    seen: set[str] = set()
    unique = []
    for suggestion, plain in zip(found, _normalized([one.text for one in found]), strict=True):
        if plain and plain not in seen:
            seen.add(plain)
            unique.append(suggestion)
    return unique


class SuggestionTable(tf.Module):
    """The best suggestions of every prefix, counted beforehand: an answer is one search in a sorted table.

    A prefix may begin at any word of a suggestion (and at any Chinese or Japanese character, within its first places);
    the suggestion's own beginning goes before. Case, width and accents make no difference. The empty prefix has the
    best of all.

    Args:
      suggestions: best first.
      number: K of an answer.

    Raises:
      ValueError: if `number` is not positive.

    Example:
      >>> table = SuggestionTable([Suggestion("Green tea", "query", 1.0), Suggestion("tea pot", "word", 0.5)], 2)
      >>> print(table(tf.constant(["ＴＥ"]))[0].numpy())
      [[b'tea pot' b'Green tea']]
    """

    def __init__(self, suggestions: Sequence[Suggestion], number: int) -> None:
        super().__init__(name="suggestions")
        if number < 1:
            raise ValueError(f"number must be at least 1, not {number}.")
        self._number = number
        best: dict[str, list[int]] = {"": list(range(min(number, len(suggestions))))}
        plain = _normalized([suggestion.text for suggestion in suggestions])
        # Beginnings of the whole text first; within each round the better ones come first.
        for inner in (False, True):
            for place, text in enumerate(plain):
                for start in _starts(text)[1:] if inner else [0]:
                    for end in range(start + 1, min(len(text), start + _LONGEST) + 1):
                        row = best.setdefault(text[start:end].rstrip(), [])
                        if len(row) < number and place not in row:
                            row.append(place)
        keys = words.keys(tf.constant(list(best), tf.string)).numpy()
        order = np.argsort(keys, kind="stable")
        rows = np.full([len(best), number], len(suggestions), np.int32)
        for i, row in enumerate(best.values()):
            rows[i, : len(row)] = row

        def fixed(values: object, dtype: tf.DType, name: str) -> tf.Variable:
            return tf.Variable(tf.constant(values, dtype), trainable=False, name=name)

        self._keys = fixed(keys[order], tf.int64, "prefix_keys")
        self._rows = fixed(rows[order], tf.int32, "prefix_rows")
        self._texts = fixed([*(one.text for one in suggestions), ""], tf.string, "texts")
        self._kinds = fixed([*(one.kind for one in suggestions), ""], tf.string, "kinds")
        self._scores = fixed([*(one.score for one in suggestions), -float("inf")], tf.float32, "scores")

    def __call__(self, prefixes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """(texts, scores, kinds), each [B, K], of prefixes, string [B]; rows end in "" and minus infinity."""
        plain = tf.strings.substr(words.normalized(prefixes), 0, _LONGEST, unit="UTF8_CHAR")
        keys = words.keys(tf.strings.strip(plain))
        places = tf.minimum(tf.searchsorted(self._keys, keys), tf.size(self._keys) - 1)
        known = tf.equal(tf.gather(self._keys, places), keys)
        nothing = tf.size(self._texts) - 1
        rows = tf.where(known[:, tf.newaxis], tf.gather(self._rows, places), nothing)
        rows = tf.ensure_shape(rows, [None, self._number])
        return tf.gather(self._texts, rows), tf.gather(self._scores, rows), tf.gather(self._kinds, rows)


def _normalized(texts: Sequence[str]) -> list[str]:
    if not texts:
        return []
    return [text.decode("utf-8") for text in words.normalized(tf.constant(list(texts), tf.string)).numpy()]


def _starts(text: str) -> list[int]:
    """Places of a normalised text where a word or an ideograph begins; the first one is 0."""
    starts = [
        i for i, letter in enumerate(text) if letter != " " and (not i or text[i - 1] == " " or letter > "\u2e80")
    ]
    return starts[:_STARTS]
