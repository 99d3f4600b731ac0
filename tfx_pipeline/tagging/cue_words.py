"""What descriptions of a category say, and those of others do not: "photography" of cameras."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

from models import text_words
from tfx_pipeline.tagging.lexicon import Phrase, phrase_of

#: A phrase in so large a share of all descriptions is boilerplate, and ends what stands beside it.
_BOILERPLATE = 0.4
#: Share of a phrase's descriptions that are of the category, and share of the category's that have the phrase.
_PRECISE, _COVERING = 0.9, 0.5
_LONGEST_WORDS, _LONGEST_CHARACTERS = 3, 4

Path = tuple[str, ...]


def find(descriptions: Sequence[str], paths: Sequence[Path], min_count: int) -> dict[Phrase, Path]:
    """Phrase -> the category path that it speaks of.

    Args:
      descriptions: of each item.
      paths: the parts of each item's category path; () for none.
      min_count: descriptions that a phrase must be in.
    """
    words = [phrase_of(text) for text in descriptions]
    usual = _usual(words, _BOILERPLATE * sum(map(bool, words)))
    counts: collections.Counter[Phrase] = collections.Counter()
    of_path: collections.Counter[tuple[Phrase, Path]] = collections.Counter()
    sizes = collections.Counter(path for path, text in zip(paths, words, strict=True) if text and path)
    for path, text in zip(paths, words, strict=True):
        found = {phrase for part in _parts(text, usual) for phrase in _phrases(part)}
        counts.update(found)
        of_path.update((phrase, path) for phrase in found if path)
    return {
        phrase: path
        for (phrase, path), count in sorted(of_path.items())
        if count >= max(min_count, _PRECISE * counts[phrase], _COVERING * sizes[path])
    }


def _usual(texts: Sequence[Phrase], least: float) -> set[Phrase]:
    counts: collections.Counter[Phrase] = collections.Counter()
    for text in texts:
        counts.update({phrase for phrase in _phrases(text) if len(phrase) > 1 or not text_words.is_chinese(phrase[0])})
    return {phrase for phrase, count in counts.items() if count >= max(2, least)}


def _parts(text: Phrase, usual: set[Phrase]) -> Iterator[Phrase]:
    """What is left between the usual phrases, cut where the script changes."""
    covered = [False] * len(text)
    for start in range(len(text)):
        for length in range(1, _LONGEST_CHARACTERS + 1):
            if text[start : start + length] in usual:
                covered[start : start + length] = [True] * len(text[start : start + length])
    part: Phrase = ()
    for word, gone in zip(text, covered, strict=True):
        if gone or (part and text_words.is_chinese(part[-1]) != text_words.is_chinese(word)):
            if part:
                yield part
            part = ()
        if not gone:
            part += (word,)
    if part:
        yield part


def _phrases(part: Phrase) -> Iterator[Phrase]:
    for start in range(len(part)):
        chinese = text_words.is_chinese(part[start])
        for length in range(2 if chinese else 1, (_LONGEST_CHARACTERS if chinese else _LONGEST_WORDS) + 1):
            phrase = part[start : start + length]
            if len(phrase) == length and all(text_words.is_chinese(word) == chinese for word in phrase):
                yield phrase
