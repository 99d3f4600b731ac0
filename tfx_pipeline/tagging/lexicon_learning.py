"""Learns a lexicon from a catalogue: what its brands, products, attributes and categories are called."""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from models import text_words
from tfx_pipeline.tagging import cue_words
from tfx_pipeline.tagging.lexicon import (
    ATTRIBUTE,
    BRAND,
    CATEGORY,
    PRODUCT,
    Lexicon,
    Phrase,
    Term,
    category_parts,
    contains,
    most_common,
    phrase_of,
)
from tfx_pipeline.tagging.title_units import Cutter

#: Share of a phrase's titles that must be of one category (or brand) for the phrase to speak of it.
_CONCENTRATED = 0.8
#: Share of titles that two names of one thing must have in common.
_SAME = 0.8
_LONGEST = 4

Segments = list[list[Phrase]]


@dataclass(frozen=True)
class Catalogue:
    """What is read of the items, one entry an item; "" where nothing is known."""

    titles: Sequence[str]
    brands: Sequence[str]
    categories: Sequence[str]
    descriptions: Sequence[str]


def learn(catalogue: Catalogue, min_count: int = 2) -> Lexicon:
    """The lexicon of a catalogue.

    * A brand is what the brand column says, and what begins a segment without it in at least half of its titles and
      hardly elsewhere (its name in another language).
    * An attribute stands before several different nouns, in several categories, seldom at a segment's end.
    * A product is what is left at a segment's end without brands and attributes: the longest phrase that enough titles
      have, nearly all in one category. What stands behind it in titles of several categories ("black") is an attribute
      too. A number at its end belongs to it only if the phrase hardly ends without it
      ("iPhone 12", but not "boots 2"). Phrases that stand in the same titles are names of one product.
    * A noun that ends products of several words (English: "lamp") is a product's label for words, and no tag.
    * A category is a part of a category path, and what most descriptions of it say and hardly those of others.

    Args:
      catalogue: the items.
      min_count: titles that a phrase must be in to count.
    """
    builder = _Learner(catalogue, min_count)
    terms: dict[Phrase, Term] = {}
    for found in (
        builder.brand_terms(),
        builder.product_terms(),
        builder.category_terms(),
        builder.noun_terms(),
        builder.cue_terms(),
        {unit: Term(ATTRIBUTE) for unit in builder.attributes},
    ):
        for phrase, term in found.items():
            terms.setdefault(phrase, term)
    return Lexicon(terms)


class _Learner:
    def __init__(self, catalogue: Catalogue, min_count: int) -> None:
        self._catalogue, self._min_count = catalogue, min_count
        self._paths = [category_parts(category) for category in catalogue.categories]
        parts = {part for path in self._paths for part in path}
        self._cutter = Cutter(catalogue.titles, {*catalogue.brands, *parts}, min_count)
        self._titles: list[Segments] = [self._cutter.segments(title) for title in catalogue.titles]
        self._surfaces = self._count_surfaces()
        self._brands = self._find_brands()
        self._stripped = [self._without_brands(segments) for segments in self._titles]
        self.attributes = self._find_attributes()
        self._behind: set[Phrase] = set()
        self._products = self._find_products()
        self.attributes |= self._behind

    # --- what is there -------------------------------------------------------------------------------------------

    def _count_surfaces(self) -> dict[str, collections.Counter[str]]:
        found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for title in self._catalogue.titles:
            for word in text_words.split(title):
                found[word.casefold()][word] += 1
        return found

    def _name(self, phrase: Phrase) -> str:
        """A phrase as titles write it most often."""
        return text_words.join(
            [most_common(self._surfaces[word]) if word in self._surfaces else word for word in phrase]
        )

    def _concentrated(self, rows: Sequence[int]) -> tuple[str, ...]:
        """The one category of these items, () if they have none in common."""
        counts = collections.Counter(self._paths[row] for row in rows)
        path, count = min(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return path if count >= _CONCENTRATED * len(rows) else ()

    # --- brands --------------------------------------------------------------------------------------------------

    def _find_brands(self) -> dict[Phrase, str]:
        rows_of: dict[str, list[int]] = collections.defaultdict(list)
        for row, brand in enumerate(self._catalogue.brands):
            if brand:
                rows_of[brand].append(row)
        found = {phrase_of(brand): brand for brand in rows_of if phrase_of(brand)}
        first: collections.Counter[tuple[Phrase, str]] = collections.Counter()
        total: collections.Counter[Phrase] = collections.Counter()
        for brand, rows in rows_of.items():
            own = phrase_of(brand)
            for row in rows:
                units = {unit for segment in self._titles[row] for unit in segment}
                total.update(units)
                for unit in {s[0] for s in self._titles[row] if not contains([own], _joined(s))}:
                    first[unit, brand] += 1
        for (unit, brand), count in sorted(first.items()):
            enough = count >= max(self._min_count, 2) and 2 * count >= len(rows_of[brand])
            varied = len({tuple(map(tuple, self._titles[row])) for row in rows_of[brand]}) > 1
            if enough and varied and unit not in found and count >= _CONCENTRATED * total[unit]:
                found[unit] = brand
        return found

    def _without_brands(self, segments: Segments) -> Segments:
        """Segments cut where a brand stands, without it."""
        found: Segments = []
        for segment in segments:
            rest: list[Phrase] = []
            place = 0
            while place < len(segment):
                lengths = range(min(_LONGEST, len(segment) - place), 0, -1)
                length = next((n for n in lengths if _joined(segment[place : place + n]) in self._brands), 0)
                if length:
                    found += [rest] if rest else []
                    rest = []
                    place += length
                else:
                    rest.append(segment[place])
                    place += 1
            found += [rest] if rest else []
        return found

    def brand_terms(self) -> dict[Phrase, Term]:
        return {phrase: Term(BRAND, brand) for phrase, brand in self._brands.items()}

    # --- attributes ----------------------------------------------------------------------------------------------

    def _find_attributes(self) -> frozenset[Phrase]:
        rows: dict[Phrase, set[int]] = collections.defaultdict(set)
        nouns: dict[Phrase, set[Phrase]] = collections.defaultdict(set)
        last: collections.Counter[Phrase] = collections.Counter()
        for row, segments in enumerate(self._stripped):
            for segment in segments:
                last[segment[-1]] += 1
                for unit in set(segment):
                    rows[unit].add(row)
                for unit in set(segment[:-1]):
                    nouns[unit].add(segment[-1])
        known = any(self._paths)
        found = set()
        for unit, where in rows.items():
            categories = {self._paths[row] for row in where}
            varied = len(categories) > 1 and len(nouns[unit]) > 2 if known else len(nouns[unit]) > 4
            if len(where) >= self._min_count and varied and 2 * last[unit] < len(where) and not unit[0].isdigit():
                found.add(unit)
        return frozenset(found)

    # --- products ------------------------------------------------------------------------------------------------

    def _pieces(self, row: int) -> list[list[Phrase]]:
        """What each segment of a title ends in, without attributes."""
        pieces = []
        for segment in self._stripped[row]:
            end = len(segment)
            while end and segment[end - 1] in self.attributes:
                end -= 1
            start = end
            while start and segment[start - 1] not in self.attributes:
                start -= 1
            if start < end:
                pieces.append(segment[max(start, end - _LONGEST) : end])
        return pieces

    def _find_products(self) -> dict[Phrase, list[int]]:
        """Product phrase -> rows of the items that it names, in the order of phrases in titles."""
        rows: dict[Phrase, dict[int, None]] = collections.defaultdict(dict)
        unnumbered: collections.Counter[Phrase] = collections.Counter()  # titles with it and no number behind it
        pieces = [self._pieces(row) for row in range(len(self._titles))]
        for row, parts in enumerate(pieces):
            for piece in parts:
                for end in range(1, len(piece) + 1):
                    for start in range(end):
                        rows[_joined(piece[start:end])][row] = None
                        unnumbered[_joined(piece[start:end])] += end == len(piece) or not piece[end][0].isdigit()
        found: dict[Phrase, list[int]] = {}
        for row, parts in enumerate(pieces):
            for piece in parts:
                phrase = self._product(piece, rows, unnumbered)
                if phrase:
                    found.setdefault(phrase, []).append(row)
        return {phrase: where for phrase, where in found.items() if len(where) >= self._min_count}

    def _product(
        self, piece: list[Phrase], rows: dict[Phrase, dict[int, None]], unnumbered: collections.Counter[Phrase]
    ) -> Phrase:
        while len(piece) > 1 and piece[-1][0].isdigit():
            if unnumbered[_joined(piece[:-1])] < len(rows[_joined(piece)]):
                break
            piece = piece[:-1]
        known = any(self._paths)
        for start in range(len(piece)):
            phrase = _joined(piece[start:])
            where = list(rows[phrase])
            if all(word.isdigit() for word in phrase) or len(where) < self._min_count:
                continue
            if not known or self._concentrated(where):
                return phrase
        last = list(rows[piece[-1]])
        if len(piece) > 1 and known and len(last) >= self._min_count and not self._concentrated(last):
            self._behind.add(piece[-1])
            return self._product(piece[:-1], rows, unnumbered)
        return ()

    def product_terms(self) -> dict[Phrase, Term]:
        places = {phrase: set(rows) for phrase, rows in self._products.items()}
        by_row: dict[int, list[Phrase]] = collections.defaultdict(list)
        for phrase, rows in self._products.items():
            for row in rows:
                by_row[row].append(phrase)
        found: dict[Phrase, Term] = {}
        for phrase, rows in self._products.items():
            if phrase in found:
                continue
            term = Term(PRODUCT, self._name(phrase), self._concentrated(rows))
            found[phrase] = term
            for other in dict.fromkeys(p for row in rows for p in by_row[row]):
                common, all_rows = places[phrase] & places[other], places[phrase] | places[other]
                if other not in found and len(common) >= max(2, _SAME * len(all_rows)):
                    found[other] = term
        return found

    def noun_terms(self) -> dict[Phrase, Term]:
        """Last words of products of several."""
        rows: dict[Phrase, set[int]] = collections.defaultdict(set)
        for phrase, where in self._products.items():
            if len(phrase) > 1 and not text_words.is_chinese(phrase[-1]) and not phrase[-1].isdigit():
                rows[phrase[-1:]].update(where)
        return {noun: Term(PRODUCT, "", self._concentrated(sorted(where))) for noun, where in rows.items()}

    # --- categories ----------------------------------------------------------------------------------------------

    def category_terms(self) -> dict[Phrase, Term]:
        """Names of categories; where descriptions use one for a narrower category ("fashion" of clothes), that one."""
        found, cues = self._category_names(), self.cue_terms()
        for phrase, term in found.items():
            cue = cues.get(phrase)
            if cue and cue.categories[: len(term.categories)] == term.categories:
                found[phrase] = cue
        return found

    def _category_names(self) -> dict[Phrase, Term]:
        paths: dict[str, set[tuple[str, ...]]] = collections.defaultdict(set)
        for path in set(self._paths):
            for depth, part in enumerate(path):
                paths[part].add(path[: depth + 1])
        found = {}
        for part, above in sorted(paths.items()):
            if phrase := phrase_of(part):
                found[phrase] = Term(CATEGORY, part, next(iter(above)) if len(above) == 1 else (part,))
        return found

    @functools.cache  # noqa: B019 (a learner lives as long as one call of `learn`)
    def cue_terms(self) -> dict[Phrase, Term]:
        cues = cue_words.find(self._catalogue.descriptions, self._paths, self._min_count)
        return {phrase: Term(CATEGORY, path[-1], path) for phrase, path in cues.items()}


def _joined(units: Sequence[Phrase]) -> Phrase:
    return tuple(word for unit in units for word in unit)
