"""What must be seen by a person before it is shown, or after."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models import text_words
from serving.rules.reader import Place, Readers, as_section, as_text, build
from serving.rules.where import EVERYTHING, Where


@dataclass(frozen=True)
class WordLists:
    """Words and phrases that are looked for in titles.

    Attributes:
      en: in English.
      zh: in Chinese.
    """

    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReviewRule:
    """Items that go to the review queue.

    Attributes:
      name: the source that the queue names.
      where: these items, such as new ones of some categories.
      words: only with one of these in the title; empty for any title.
      reason: for the person who decides.
    """

    name: str
    where: Where = EVERYTHING
    words: WordLists = field(default_factory=WordLists)
    reason: str = ""

    def found(self, title: str) -> str | None:
        """The first of the words that a title has, "" if it need not have one, None if it has none.

        A word stands for itself whatever its case, width and accents, not for what holds it ("knife" is not in
        "penknife") or is made of it ("knives"). A Chinese phrase is found wherever its characters stand together,
        separators left out.
        """
        if not self._phrases:
            return ""
        plain = _plain(title)
        return next((phrase for phrase, words in self._phrases.items() if words in plain), None)

    @functools.cached_property
    def _phrases(self) -> Mapping[str, str]:
        return {phrase: _plain(phrase) for phrase in (*self.words.en, *self.words.zh)}


def read_review_rule(value: Any, place: Place, readers: Readers) -> tuple[ReviewRule, Place]:
    """A rule of `review_if` and its place.

    Raises:
      RulesError: for an unknown key, no name, neither `where` nor `words`, or a phrase without a letter.
    """
    section = as_section(value, place, "review_if")
    at = place.at(section.line)
    called = as_text(section.get("name"), at, "name")
    at = Place(at.file, at.line, f"review rule `{called}`: ")

    def read_words(content: Any, there: Place, name: str) -> WordLists:
        lists = build(WordLists, content, Place(there.file, there.line, f"{at.part}`words`: "), {})
        for phrase in (*lists.en, *lists.zh):
            if not _plain(phrase).strip():
                raise there.error(f"`words` has {phrase!r}; expected letters or digits in it.")
        return lists

    rule: ReviewRule = build(ReviewRule, section, at, {**readers, WordLists: read_words})
    if rule.where == EVERYTHING and not (rule.words.en or rule.words.zh):
        raise at.error("has neither `where` nor `words`; expected one of the two.")
    return rule, at


def _plain(text: str) -> str:
    """The words of a text, without differences of case, width and accents, a space around each."""
    apart = unicodedata.normalize("NFKD", text)
    apart = "".join(letter for letter in apart if unicodedata.category(letter) != "Mn")
    words = text_words.split(unicodedata.normalize("NFKC", apart).casefold())
    return f" {' '.join(words)} "
