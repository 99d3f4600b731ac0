"""Tells payment cards from other long numbers."""

from __future__ import annotations

import re

from serving.privacy import check_digits
from serving.privacy.digit_groups import Window

#: Numbers that card schemes give out: first digits and lengths. None has the 8, 12 or 13 digits of article numbers.
_SCHEMES = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})"  # Visa
    r"|5[1-5][0-9]{14}|2(?:2(?:2[1-9]|[3-9][0-9])|[3-6][0-9]{2}|7(?:[01][0-9]|20))[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|095|[689])[0-9]{10,16}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|(?:50|5[6-8]|6[0-9])[0-9]{14,17}"  # Maestro, Discover, UnionPay, RuPay
    r"|(?:220[0-4]|81[0-9]{2}|82[0-9]{2}|9558|9792)[0-9]{12,15}"  # Mir, UnionPay, RuPay, ICBC, Troy
)
_LENGTHS = range(14, 20)

#: Lengths of the groups of a card's number: one group, two long ones, fours and a rest, or as American Express and
#: Diners Club have them. Sizes in a list are none of these.
SHAPES = frozenset(
    [(length,) for length in _LENGTHS]
    + [(one, length - one) for length in _LENGTHS for one in range(6, length - 5)]
    + [(4,) * (length // 4) + (length % 4,) * (length % 4 > 0) for length in _LENGTHS]
    + [(4, 6, 5), (4, 6, 4)]
)


def is_card(window: Window) -> bool:
    """Whether groups of one of `SHAPES` are a card's number: of a known scheme, with Luhn's check digit."""
    if len(set(window.joins)) > 1:
        return False
    digits = window.digits
    return bool(_SCHEMES.fullmatch(digits)) and check_digits.luhn(digits)
