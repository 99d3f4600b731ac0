"""Finds numbers of identity papers and bank accounts in folded texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.privacy import check_digits
from serving.privacy.spans import ID, Span

#: Length of an IBAN by country (ISO 13616 registry).
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}")

_BIRTH = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_RESIDENT_18 = re.compile(
    rf"(?<![0-9])[1-9][0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}{_BIRTH}[ -]?[0-9]{{3}}(?:[Xx]|[0-9](?![0-9]))"
)
# Provinces stand first; without a check digit they and the day of birth must do.
_PROVINCE = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])"
_RESIDENT_15 = re.compile(
    rf"(?<![A-Za-z0-9]){_PROVINCE}[0-9]{{4}}[ -]?[0-9]{{2}}{_BIRTH}[ -]?[0-9]{{3}}(?![A-Za-z0-9])"
)

_HONG_KONG = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{1,2}[0-9]{6}) ?\(([0-9Aa])\)")

# Letters as HMRC gives them out. In small letters only in one piece: "at 30 40 60 c" is a washing temperature. Not with
# some dashes: AB-123456-C is an article's number.
_NATIONAL_INSURANCE = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?(?:[0-9]{2} ?){3}|-(?:[0-9]{2}-){3})[A-D]"
    r"|(?!bg|gb|kn|nk|nt|tn|zz)[a-ceghj-pr-tw-z][a-ceghj-npr-tw-z][0-9]{6}[a-d]"
    r")(?![A-Za-z0-9])"
)


def find(text: str) -> Iterator[Span]:
    """Chinese resident IDs (18 characters with their check character, and the old 15 digits), Hong Kong identity cards
    and IBANs with their check digits, and UK National Insurance numbers, in order; spans may overlap."""
    spans = [*_ibans(text)]
    for found in _RESIDENT_18.finditer(text):
        if check_digits.resident_id(re.sub("[ -]", "", found[0])):
            spans.append(Span(*found.span(), ID))
    for found in _HONG_KONG.finditer(text):
        if check_digits.hong_kong_id(found[1] + found[2]):
            spans.append(Span(*found.span(), ID))
    for pattern in (_RESIDENT_15, _NATIONAL_INSURANCE):
        spans += [Span(*found.span(), ID) for found in pattern.finditer(text)]
    return iter(sorted(spans))


def _ibans(text: str) -> Iterator[Span]:
    for found in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(found[0][:2].upper(), 0)
        characters, place = "", found.start()
        while len(characters) < length and place < len(text):
            character = text[place]
            if character.isascii() and character.isalnum():
                characters += character
            elif character not in " -" or text[place - 1] in " -":
                break
            place += 1
        ends = not (text[place : place + 1].isascii() and text[place : place + 1].isalnum())
        if length and len(characters) == length and ends and check_digits.iban(characters):
            yield Span(found.start(), place, ID)
