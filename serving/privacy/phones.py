"""Tells telephone numbers from other numbers: international, Chinese and English-language national ones."""

from __future__ import annotations

import re

from serving.privacy import check_digits
from serving.privacy.digit_groups import Chain, Window

#: Digits after the country code, of the countries whose national forms are known here and some of their neighbours.
_NATIONAL_LENGTHS = {
    "1": (10, 10), "7": (10, 10), "27": (9, 9), "33": (9, 9), "34": (9, 9), "39": (8, 11), "44": (9, 10),
    "49": (7, 12), "60": (8, 10), "61": (9, 9), "64": (8, 10), "65": (8, 8), "81": (9, 10), "82": (8, 10),
    "86": (9, 11), "91": (10, 10), "353": (7, 9), "852": (8, 8), "853": (8, 8), "886": (8, 9),
}  # fmt: skip
#: Digits of any international number, code included (ITU-T E.164 has at most 15).
_SHORTEST, _LONGEST = 8, 15

_MOBILE = "1[3-9][0-9]{9}"  # China
_ZERO_11 = "0[1-9][0-9]{9}"  # United Kingdom; Chinese land lines
_ZERO_10 = "0[1-9][0-9]{8}"  # Australia, Ireland, New Zealand, South Africa
_CHINESE_12 = "0[3-9][0-9]{2}[2-8][0-9]{7}"  # land lines with a long area code
_CHINESE_86 = "86(?:10|2[0-9]|[3-9][0-9]{2})[2-8][0-9]{7}"  # land lines with the country's code
_HONG_KONG_MACAU = "852[2-9][0-9]{7}|853[268][0-9]{7}"
_AMERICAN = "(?![2346]00)[2-9](?!11)[0-8][0-9][2-9][0-9]{6}"  # North American Numbering Plan

#: Lengths of the groups -> what the digits must be.
_FORMS = {
    (11,): f"{_MOBILE}|{_ZERO_11}|1{_AMERICAN}",
    (3, 4, 4): f"{_MOBILE}|{_ZERO_11}|{_HONG_KONG_MACAU}",
    (3, 8): f"{_MOBILE}|{_ZERO_11}",
    (3, 3, 5): _MOBILE,
    (7, 4): _MOBILE,
    (4, 3, 4): _ZERO_11,
    (4, 7): _ZERO_11,
    (5, 6): f"{_MOBILE}|{_ZERO_11}",
    (5, 3, 3): _ZERO_11,
    (6, 5): _ZERO_11,
    (12,): _CHINESE_12,
    (4, 8): _CHINESE_12,
    (4, 4, 4): _CHINESE_12,
    (10,): "04[0-9]{8}|08[35679][0-9]{7}",
    (2, 4, 4): _ZERO_10,
    (3, 7): _ZERO_10,
    (3, 3, 4): _ZERO_10,
    (4, 3, 3): "0[45][0-9]{8}|01[0-9]{8}|0[58]00[0-9]{6}",
    (4, 6): "0[45][0-9]{8}|01[0-9]{8}|0[58]00[0-9]{6}",
    (5, 5): "01[0-9]{8}",
    (2, 3, 4): "0[1-9][0-9]{7}",
    (3, 3, 3): "02[0-9]{7}",
    (13,): f"86{_MOBILE}",
    (2, 11): f"86{_MOBILE}",
    (2, 3, 8): f"86{_MOBILE}|{_CHINESE_86}",
    (2, 2, 8): _CHINESE_86,
    (2, 2, 4, 4): _CHINESE_86,
    (2, 3, 4, 4): f"86{_MOBILE}",
    (1, 10): f"1{_AMERICAN}",
    (1, 3, 7): f"1{_AMERICAN}",
    (1, 3, 3, 4): f"1{_AMERICAN}",
}
#: The same, of forms that a list of sizes has as well: with nothing but spaces, only where no other number is beside.
_LOOSE_FORMS = {
    (3, 3, 4): _AMERICAN,
    (3, 7): _AMERICAN,
    (4, 3, 4): _MOBILE,
    (5, 5): "[6-9][0-9]{9}",  # India
    (4, 3, 3): "09[0-9]{8}",  # Taiwan
    (4, 6): "09[0-9]{8}",
}
#: Forms that only a word before them makes a telephone number.
_LABELLED_SHAPES = {(3, 4), (4, 4), (3, 3, 3), (3, 3, 4), (3, 7), (4, 3, 3), (4, 6), (5, 5), (2, 4, 4)}
_LABELLED_SHAPES |= {(length,) for length in range(7, 14)}
_EVERY_SHAPE = _LABELLED_SHAPES | set(_FORMS) | set(_LOOSE_FORMS)

#: Most groups of a number that does not start with its country code.
MOST_GROUPS = 4

_BETWEEN = r"(?:number|no|is|me|us|at|on|[ .:=#(+-])*"
_LABEL = re.compile(
    r"(?:(?<![a-z])(?:tel|telephone|phone|mobile|mob|cell|cellphone|call|dial|ring|text|txt|sms|reach|contact"
    rf"|whatsapp|wechat|weixin|[wv]x|fax|ph|my number){_BETWEEN}"
    r"|(?:电话|手机号|手机(?=[:是为])|座机|固话|热线|传真|致电|拨打|联系方式|電話|手機號|手機(?=[:是為]|$)|傳真|致電|微信"
    rf"|(?<![a-z])qq)(?:码|號|号|是|为|為)*{_BETWEEN})$"
)
_CODE_LABEL = re.compile(
    r"(?:(?<![a-z])(?:ean|upc|gtin|isbn|issn|sku|asin|mpn|oem|s/n|p/?n|barcode|serial|part|model|article|item"
    r"|(?:order|invoice|tracking) ?(?:id|#|(?=no|number)))"
    rf"|条形码|条码|货号|型号|款号|序列号|商品编号|订单编号|訂單編號|单号|單號)(?:-?1[03]|码|号|是|为)*{_BETWEEN}$"
)
_UNIT = re.compile(
    r" ?(?:[gmtk]b|[kmg]?hz|kw|wh|mah|ah|lm|px|dpi|rpm|mm|cm|km|inch(?:es)?|in|ft|kg|mg|ml|oz|lbs?|pcs|pieces|watts?"
    r"|volts?|毫安|毫升|毫米|厘米|公斤|克|瓦|米|升)(?![a-z])|[gmvwlk](?![a-z])|°|%",
    re.IGNORECASE,
)
_EXTENSION = re.compile(
    r"(?: ?(?:转|轉|分机|,? ?ext\.?|,? ?extension) ?[0-9]{1,6}| ?x ?[0-9]{3,6}|-[0-9]{3,5})(?![0-9-])", re.IGNORECASE
)


def find(chain: Chain, first: int, after: int) -> tuple[int, int] | None:
    """Where a telephone number stands that begins with a group of digits, plus sign, bracket and extension included.

    Args:
      chain: that the group is of.
      first: the group's place.
      after: end of the number before it that was found; no character before that says anything about this one.

    Returns:
      (start, end) in the chain's text; None if there is none.
    """
    text, (begin, end) = chain.text, chain.groups[first]
    opened = begin - (text[begin - 1 : begin] == "(")
    if text[opened - 1 : opened] == "+" and not text[max(after, opened - 2) : opened - 1].isdigit():
        number = _international(chain, first, 0)
        if number:
            bracketed = text[opened - 2 : opened] == "(+" and number.joins[:1] and number.joins[0].startswith(")")
            return opened - (2 if bracketed else 1), _end(number)
    known = [(last, shape) for last, shape in chain.shapes(first, MOST_GROUPS) if shape in _EVERY_SHAPE]
    zeros = text.startswith("00", begin) and end - begin > 2
    if not (known or zeros):
        return None
    before = text[max(after, begin - 40) : begin].lower()
    labelled = bool(_LABEL.search(before))
    if not labelled and (_CODE_LABEL.search(before) or re.search(r"[a-z_]\(?$", before)):
        return None
    if zeros:
        number = _international(chain, first, 2)
        if number and (labelled or not _is_article(number)):
            return begin, _end(number)
    for last, shape in known:
        window = Window(chain, first, last)
        if _is_phone(window, shape, labelled):
            return window.start, _end(window)
    for last, shape in known:
        window = Window(chain, first, last)
        if labelled and shape in _LABELLED_SHAPES and not window.mixes_dots and not _has_unit(window):
            return window.start, _end(window)
    return None


def is_measure(window: Window) -> bool:
    """Whether numbers with nothing but spaces between them are followed by a unit: "256 512 1024 GB"."""
    return window.spaced and _has_unit(window)


def _is_phone(window: Window, shape: tuple[int, ...], labelled: bool) -> bool:
    if window.mixes_dots or is_measure(window):
        return False
    if shape in _FORMS and re.fullmatch(_FORMS[shape], window.digits):
        return labelled or not _is_article(window)
    if shape in _LOOSE_FORMS and re.fullmatch(_LOOSE_FORMS[shape], window.digits):
        letter_after = re.match("[A-Za-z]", window.chain.text[window.end : window.end + 1])
        return labelled or not window.spaced or (window.is_whole and not letter_after)
    return False


def _is_article(window: Window) -> bool:
    """Whether digits without a separator have the check digit of a UPC, an EAN or an ISBN."""
    if window.first < window.last:
        return False
    digits = window.digits
    if len(digits) in (12, 13) and not digits.startswith("861"):  # no EAN begins with 861
        return check_digits.gtin(digits)
    return len(digits) == 10 and check_digits.isbn10(digits)


def _international(chain: Chain, first: int, skipped: int) -> Window | None:
    """A number that starts with its country code, the longest that it may be.

    Args:
      chain: of groups.
      first: the group with the country code.
      skipped: digits before the code: 2 where "00" stands for the plus sign.
    """
    number, found = "", None
    for place in range(first, len(chain.groups)):
        start, end = chain.groups[place]
        window = Window(chain, first, place)
        if end - start > _LONGEST + skipped or window.mixes_dots:
            break
        if place > first and chain.text[start - 1 : end + 1] == "(0)":
            continue
        number += chain.text[start:end]
        code = number[skipped:]
        low, high = _lengths(code)
        if code.startswith("0") or len(code) > high:
            break
        if len(code) >= low:
            found = window
    return found


def _lengths(number: str) -> tuple[int, int]:
    """Fewest and most digits of an international number, by its country code."""
    for size in (1, 2, 3):
        if number[:size] in _NATIONAL_LENGTHS:
            low, high = _NATIONAL_LENGTHS[number[:size]]
            return size + low, size + high + number.startswith("0", size)  # +4402079460958
    return _SHORTEST, _LONGEST


def _has_unit(window: Window) -> bool:
    return bool(_UNIT.match(window.chain.text, window.end))


def _end(window: Window) -> int:
    extension = _EXTENSION.match(window.chain.text, window.end)
    return extension.end() if extension else window.end
