"""Replaces what names or reaches a person in free text by placeholders."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from serving.privacy import id_numbers, labelled_numbers, numbers
from serving.privacy.spans import EMAIL, URL, Span, replace

#: Most times that a text is gone over, as what stood beside a number may have hidden another one.
_ROUNDS = 8
#: Fewest digits of anything that is looked for beside addresses (a National Insurance number).
_FEWEST_DIGITS = 6

# Latin, Greek and Cyrillic letters, and digits: Chinese before or after an address is no part of it.
_LETTERS = "A-Za-z0-9\u00c0-\u052f"
_AROUND_AT = re.compile(rf"[{_LETTERS}!#$%'*+^_`{{|}}~.-]")
_DOMAIN = re.compile(
    rf"(?:[{_LETTERS}-]{{1,63}}\.)+(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z\u00c0-\u052f]{{2,24}})"
    r"|\[?(?:[0-9]{1,3}\.){3}[0-9]{1,3}\]?"
)
_LETTER = re.compile(rf"[{_LETTERS}]")
_URL = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?#]{1,256}@"
    r"[^\s\"'<>\u3000-\u303f\u3400-\u9fff]*"
)


def redact(text: str) -> str:
    """The text with e-mail addresses, telephone numbers, payment cards, ID numbers and URLs with user info replaced.

    What is looked for:

    - `[email]`: addresses with a domain in Latin, Greek or Cyrillic letters, or an IPv4 address;
    - `[url]`: URLs with a user's name before the host;
    - `[id]`: Chinese resident IDs (18 characters with their check character, the old 15 digits), Hong Kong identity
      cards with their check digit in brackets, US social security numbers, UK National Insurance numbers, IBANs with
      their check digits; whatever else has six digits or more after passport, driving licence, 护照, 身份证 and the
      like, and the digits after account or 账号;
    - `[card]`: 14 to 19 digits of a card scheme with Luhn's check digit, in one piece or grouped as on cards; 12 to 19
      of any kind after credit card, card number, 银行卡 or 卡号;
    - `[phone]`: numbers after + or 00; Chinese mobile and land lines; Taiwan's mobile numbers; North American, British,
      Irish, Australian, New Zealand, Indian and South African national forms. Forms that other numbers have as well
      (ten digits in one piece, eight digits) only after a word such as "call" or 电话, and the numbers of
      accounts after QQ or 微信.

    Full-width characters and dashes and spaces of any kind count as plain ones; the rest of the text stays as it is.
    Numbers with the check digit of an article number (UPC, EAN, ISBN), sizes, prices, dates and model numbers stay too,
    as does what would be a telephone number after a word such as SKU, model, order number, 货号 or 单号.
    The rules see forms, not persons: names, postal addresses, numbers written in words, addresses with a Chinese name
    or domain, or with "(at)" for the sign, are not found, and a part number of the form of a telephone number
    (415-555-2671) is taken for one. Redacting again changes nothing, but in a
    text made of dozens of numbers with nothing between them. The time it takes grows with the length of the text, not
    faster.
    """
    for _ in range(_ROUNDS):
        before, text = text, _once(text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    folded = text if text.isascii() else text.translate(_FOLDED)
    if "@" not in folded and sum(map(folded.count, "0123456789")) < _FEWEST_DIGITS:
        return text
    for find in (_urls, _emails, id_numbers.find, labelled_numbers.find, numbers.find):
        if spans := list(find(folded)):
            text, folded = replace(text, spans), replace(folded, spans)
    return text


class _Folding(dict[int, str]):
    """Code point -> the plain character that it counts as: one for one, so that places stay the same."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


def _fold(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "Pd" or character == "\u2212":  # the minus sign
        return "-"
    if category == "Zs":
        return " "
    normal = unicodedata.normalize("NFKC", character)
    # Superscripts and circled digits are numbers of another kind.
    return normal if len(normal) == 1 and category != "No" else character


_FOLDED = _Folding()


def _urls(text: str) -> Iterator[Span]:
    for found in _URL.finditer(text):
        yield Span(found.start(), found.start() + len(found[0].rstrip(".,;:!?)]}")), URL)


def _emails(text: str) -> Iterator[Span]:
    place = 0
    for at in re.finditer("@", text):
        start = at.start()
        while start > place and _AROUND_AT.match(text, start - 1):
            start -= 1
        first, domain = _LETTER.search(text, start, at.start()), _DOMAIN.match(text, at.end())
        if first and domain:
            place = domain.end()
            yield Span(first.start(), place, EMAIL)
