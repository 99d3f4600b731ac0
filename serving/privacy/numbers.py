"""Finds card numbers, US social security numbers and telephone numbers in folded texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.privacy import cards, check_digits, phones
from serving.privacy.digit_groups import Chain, Window, chains
from serving.privacy.spans import CARD, ID, PHONE, Span

_MOST_GROUPS = 5
#: Article numbers as they are printed under their bars: EAN-13 and UPC.
_PRINTED_ARTICLES = ((1, 6, 6), (1, 5, 5, 1))
_SOCIAL_SECURITY_SHAPES = ((3, 2, 4), (9,))
# No number begins with 000, 666 or 900 to 999 (Social Security Administration).
_SOCIAL_SECURITY = re.compile(r"(?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4}")
_SOCIAL_SECURITY_LABEL = re.compile(r"(?:ssn|social security)(?:number|no|is|[ .:=#])*$")


def find(text: str) -> Iterator[Span]:
    """The numbers of a folded text, in order."""
    end = 0  # of what has been decided
    for chain in chains(text):
        for place, (start, _) in enumerate(chain.groups):
            if start < end:
                continue
            if article := _printed_article(chain, place):
                end = article.end
            elif span := _starting_at(chain, place, end):
                yield span
                end = span.end


def _printed_article(chain: Chain, first: int) -> Window | None:
    for last, shape in chain.shapes(first, max(map(len, _PRINTED_ARTICLES))):
        window = Window(chain, first, last)
        if shape in _PRINTED_ARTICLES and len(set(window.joins)) == 1 and check_digits.gtin(window.digits):
            return window
    return None


def _starting_at(chain: Chain, first: int, after: int) -> Span | None:
    for last, shape in chain.shapes(first, _MOST_GROUPS):
        window = Window(chain, first, last)
        if shape in cards.SHAPES and cards.is_card(window):
            return Span(window.start, window.end, CARD)
        if shape in _SOCIAL_SECURITY_SHAPES and _is_social_security(window, after):
            return Span(window.start, window.end, ID)
    phone = phones.find(chain, first, after)
    return Span(*phone, PHONE) if phone else None


def _is_social_security(window: Window, after: int) -> bool:
    if not _SOCIAL_SECURITY.fullmatch(window.digits):
        return False
    before = window.chain.text[max(after, window.start - 40) : window.start].lower()
    if _SOCIAL_SECURITY_LABEL.search(before):
        return True
    alone = window.joins == ["-", "-"] or (window.joins == [" ", " "] and window.is_whole)
    return alone and not phones.is_measure(window) and not re.search("[a-z_]$", before)
