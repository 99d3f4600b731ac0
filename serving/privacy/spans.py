"""Parts of a text that are to be replaced, and by what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

EMAIL = "[email]"
PHONE = "[phone]"
CARD = "[card]"
ID = "[id]"
URL = "[url]"


class Span(NamedTuple):
    """One part of a text.

    Attributes:
      start, end: first character, and the one after the last.
      placeholder: what stands for it.
    """

    start: int
    end: int
    placeholder: str


def replace(text: str, spans: Iterable[Span]) -> str:
    """The text with every span's placeholder in its place; of spans that overlap the first counts.

    Args:
      text: that the spans are of.
      spans: in order.
    """
    parts, place = [], 0
    for span in spans:
        if span.start >= place:
            parts += [text[place : span.start], span.placeholder]
            place = span.end
    return "".join([*parts, text[place:]])
