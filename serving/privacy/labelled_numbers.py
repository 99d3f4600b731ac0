"""Finds what a word before it makes the number of an identity paper, an account or a card.

Passports, driving licences and bank accounts have no check digit that is the same everywhere, and cards of some Chinese
banks have none of Luhn's. Numbers with a slip of the pen have a wrong one. The word before them must do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.privacy.spans import CARD, ID, Span

_BETWEEN = r"(?:numbers?|no|nr|is|[ .:=#-]){0,8}"
_ENGLISH_PAPERS = (
    r"passport|(?:identity|id) card|national id(?:entity)?(?: card)?|hkid|driv(?:er['\u2019]?s?|ing) licen[cs]e"
    r"|residence permit"
)
_CHINESE_PAPERS = (
    "护照|護照|身份证|身份證|身分證|证件|證件|通行证|通行證|回乡证|回鄉證|台胞证|台胞證"
    "|驾驶证|驾照|駕照|居住证|居住證|军官证"
)
_ACCOUNTS = r"account|acct|a/c"
_CHINESE_ACCOUNTS = "账号|帐号|賬號|帳號|账户|帐户|賬戶|帳戶"
_CARDS = r"(?:credit|debit|bank|payment) ?card|card (?=numbers?|no|nr|#)"
_CHINESE_CARDS = "银行卡|銀行卡|信用卡|储蓄卡|借记卡|卡号|卡號"
_CHINESE_BETWEEN = "(?:号码|號碼|号|號|码|碼|是|为|為){0,3}"


def _pattern(english: str, chinese: str, value: str) -> re.Pattern[str]:
    label = rf"(?:(?<![a-z])(?:{english})|(?:{chinese}){_CHINESE_BETWEEN})"
    return re.compile(rf"{label}{_BETWEEN}({value})(?![a-z0-9])", re.IGNORECASE)


#: Letters of a series and digits, with the check digit of Hong Kong in brackets; or as Chinese papers are grouped.
_PAPER = _pattern(
    _ENGLISH_PAPERS,
    _CHINESE_PAPERS,
    r"[0-9]{6}[ -][0-9]{8}[ -][0-9]{3}[0-9x]|(?:[a-z]{1,3} )?[a-z0-9]{6,20}(?:\([0-9a]\))?",
)
_ACCOUNT = _pattern(_ACCOUNTS, _CHINESE_ACCOUNTS, "[0-9]{7,20}")
#: In one piece, or in fours.
_CARD = _pattern(_CARDS, _CHINESE_CARDS, r"[0-9]{12,19}|[0-9]{4}([ -])[0-9]{4}(?:\2[0-9]{4}){1,2}(?:\2[0-9]{3})?")
_FEWEST_DIGITS_OF_A_PAPER = 6


def find(text: str) -> Iterator[Span]:
    """The numbers that follow such a word in a folded text, in order; spans may overlap."""
    spans = [Span(*found.span(1), CARD) for found in _CARD.finditer(text)]
    spans += [Span(*found.span(1), ID) for found in _ACCOUNT.finditer(text)]
    for found in _PAPER.finditer(text):
        if len(re.findall("[0-9]", found[1])) >= _FEWEST_DIGITS_OF_A_PAPER:
            spans.append(Span(*found.span(1), ID))
    return iter(sorted(spans))
