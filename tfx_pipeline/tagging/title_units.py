"""Titles cut into units: Latin words, and Chinese strings as far as spaces or the catalogue itself part them."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence

from models import text_words
from tfx_pipeline.tagging.lexicon import Phrase, phrase_of

#: Between segments of a title; each segment says what the item is, often in a language of its own.
_SEGMENTS = re.compile(r"[·|,;:/()\[\]（）【】，；：、。]|\s[-–—]\s")

#: Chinese strings up to so many characters are one unit, and up to `SET_APART` if several titles set them apart.
SHORT, SET_APART = 4, 6


class Cutter:
    """Cuts texts into segments of units.

    A Chinese string of more than `SHORT` characters without a space in it is cut by longest match over what is known:
    names, short strings that stand alone in other titles, and substrings of 2 to 4 characters that are frequent and
    meet at least two different neighbours on either side (accessor variety).

    Args:
      texts: of the catalogue.
      names: brands and parts of categories.
      min_count: texts that a substring must be in.

    Reference: Feng et al., Accessor Variety Criteria for Chinese Word Extraction (2004).
    """

    def __init__(self, texts: Sequence[str], names: Iterable[str], min_count: int) -> None:
        self._known = {phrase for name in names if text_words.is_chinese(name) and (phrase := phrase_of(name))}
        alone: collections.Counter[Phrase] = collections.Counter()
        strings: collections.Counter[Phrase] = collections.Counter()
        for text in texts:
            found = {string for segment in _SEGMENTS.split(text) for string in _strings(segment)}
            alone.update(string for string in found if 2 <= len(string) <= SET_APART)
            strings.update(string for string in found if len(string) > SHORT)
        self._known |= {string for string, count in alone.items() if count >= min_count}
        self._known |= _frequent(strings, 2 * min_count)

    def segments(self, text: str) -> list[list[Phrase]]:
        """The units of each segment of a text that has any."""
        found = []
        for segment in _SEGMENTS.split(text):
            units = [unit for string in _strings(segment) for unit in self._cut(string)]
            if units:
                found.append(units)
        return found

    def _cut(self, string: Phrase) -> list[Phrase]:
        if len(string) <= SHORT:
            return [string]
        units: list[Phrase] = []
        rest: Phrase = ()
        place = 0
        while place < len(string):
            lengths = range(min(len(string) - place, 8), 1, -1)
            unit = next((string[place : place + n] for n in lengths if string[place : place + n] in self._known), None)
            if unit is None:
                rest += string[place : place + 1]
                place += 1
                continue
            units += [rest] if rest else []
            units.append(unit)
            rest, place = (), place + len(unit)
        return units + ([rest] if rest else [])


def _strings(segment: str) -> list[Phrase]:
    """Latin words as units of one word, neighbouring Chinese characters as one of several."""
    found: list[Phrase] = []
    for part in segment.split():
        run: Phrase = ()
        for word in phrase_of(part):
            if text_words.is_chinese(word):
                run += (word,)
                continue
            found += [run] if run else []
            found.append((word,))
            run = ()
        found += [run] if run else []
    return found


def _frequent(strings: collections.Counter[Phrase], min_count: int) -> set[Phrase]:
    counts: collections.Counter[Phrase] = collections.Counter()
    left: dict[Phrase, set[object]] = collections.defaultdict(set)
    right: dict[Phrase, set[object]] = collections.defaultdict(set)
    for number, (string, count) in enumerate(strings.items()):
        for length in range(2, SHORT + 1):
            for start in range(len(string) - length + 1):
                part, end = string[start : start + length], start + length
                counts[part] += count
                # The border of a string is a neighbour of its own each time.
                left[part].add(string[start - 1] if start else (number, "start"))
                right[part].add(string[end] if end < len(string) else (number, "end"))
    return {part for part, n in counts.items() if n >= min_count and len(left[part]) > 1 and len(right[part]) > 1}
