"""What is replaced in texts and what is not: examples from standards, tables of product texts, generated numbers."""

import datetime
import itertools
import re
import string
import time
import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from serving.privacy import check_digits
from serving.privacy.redaction import redact

FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}

REPLACED = [
    ("alice@example.com", "[email]"),
    ("我的邮箱是alice@example.com谢谢", "我的邮箱是[email]谢谢"),
    ("ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ，谢谢", "[email]，谢谢"),
    ("o'brien@x.co.uk. Bye", "[email]. Bye"),
    ("mailto:a.b+c@sub.x.org,d@e.de", "mailto:[email],[email]"),
    ("müller@möbel.de josé.garcía@correo.es", "[email] [email]"),
    ("root@192.168.0.1", "[email]"),
    ("12345678@qq.com", "[email]"),
    ("/?mail=bob@x.org&x=1", "/?mail=[email]&x=1"),
    ("https://bob:pw@host.com/x?a=1, ok", "[url], ok"),
    ("见ftp://bob@host/文件", "见[url]文件"),
    # the mobile number of a Chinese without spaces, and how it is written
    ("我的电话是13812345678谢谢", "我的电话是[phone]谢谢"),
    ("１３８１２３４５６７８", "[phone]"),
    ("138-1234-5678 或 138 1234 5678", "[phone] 或 [phone]"),
    ("+86 138 1234 5678/0086-13812345678/8613812345678", "[phone]/[phone]/[phone]"),
    ("(+86)13812345678", "[phone]"),
    ("tel13812345678", "tel[phone]"),
    ("加微信：13812345678或vx13812345678，QQ号12345678", "加微信：[phone]或vx[phone]，QQ号[phone]"),
    ("13812345678 3件", "[phone] 3件"),
    ("（０１０）６２３４－５６７８", "[phone]"),
    ("0755-26012345, 0755 2601 2345, 010-62345678转8001", "[phone], [phone], [phone]"),
    ("电话：6234 5678 传真62345678", "电话：[phone] 传真[phone]"),
    # numbers that Ofcom and NANPA keep for fiction
    ("+44 20 7946 0958, +44 (0)20 7946 0958, 020 7946 0958", "[phone], [phone], [phone]"),
    ("07700 900123 or 07700900123 or (0161) 496 0000", "[phone] or [phone] or [phone]"),
    ("(415) 555-0199, 415.555.0199, 1-415-555-0199 ext. 12", "[phone], [phone], [phone]"),
    ("415 555 0199", "[phone]"),
    ("call me at 4155550199 2 times", "call me at [phone] 2 times"),
    ("+1 415 555 0199 2 times", "[phone] 2 times"),
    ("0491 570 156, (02) 5550 1234, 020 915 0000", "[phone], [phone], [phone]"),
    ("98765 43210 or +91 98765 43210", "[phone] or [phone]"),
    ("+33 1 23 45 67 89", "[phone]"),
    # numbers that card schemes give for tests
    ("4111 1111 1111 1111 12/25", "[card] 12/25"),
    ("3782-822463-10005, 30569309025904", "[card], [card]"),
    ("卡号6222021234567890128", "卡号[card]"),
    # the examples of GB 11643, ISO 13616 and HMRC's form
    ("身份证11010519491231002X谢谢", "身份证[id]谢谢"),
    ("１１０１０５１９４９１２３１００２ｘ", "[id]"),
    ("440524 19880101 0014", "440524 19880101 0014"),  # a wrong check character
    ("440524188001010014 130503670401001", "[id] [id]"),
    ("GB82 WEST 1234 5698 7654 32 please", "[id] please"),
    ("IBAN是DE89370400440532013000。", "IBAN是[id]。"),
    ("gb82west12345698765432", "[id]"),
    ("AB 12 34 56 C, AB123456C, ab123456c", "[id], [id], [id]"),
    ("123-45-6789, my SSN is 123456789", "[id], my SSN is [id]"),
    ("AB-12-34-56-C", "[id]"),
    # numbers with which the check digit of Hong Kong is explained
    ("A123456(3)，Ｚ６８３３６５（Ａ） ab987654(3)", "[id]，[id] [id]"),
    # what a word before it makes one: no check digit, or a wrong one
    ("passport number 123456789, Passport: C01X00T47", "passport number [id], Passport: [id]"),
    ("护照号码：E12345678，護照 EA1234567", "护照号码：[id]，護照 [id]"),
    ("身份证号11010119900307123X 身份證號碼是A123456789", "身份证号[id] 身份證號碼是[id]"),
    ("证件号：440524 19880101 0014 驾驶证440308199001011234", "证件号：[id] 驾驶证[id]"),
    ("my driver’s licence is MORGA753116SM9IJ, HKID A123456(9)", "my driver’s licence is [id], HKID [id]"),
    ("account no. 55779911; 账号6225000012345", "account no. [id]; 账号[id]"),
    ("卡号：6225 8801 2345 6789，银行卡6217000010000000000", "卡号：[card]，银行卡[card]"),
    ("card number 1234-5678-9012-3456 and credit card: 123456789012", "card number [card] and credit card: [card]"),
    # the forms of Hong Kong, Macau and Taiwan, and what is written there before them
    ("852-2345-6789 or 853 6612 3456 or 0912-345-678", "[phone] or [phone] or [phone]"),
    ("台灣手機0912345678，手機號：0912 345 678，傳真 23456789", "台灣手機[phone]，手機號：[phone]，傳真 [phone]"),
    ("86-10-62345678, 86 21 6543 2100, 86-755-26012345", "[phone], [phone], [phone]"),
    ("to order 07700 900123", "to order [phone]"),
]

LEFT_ALONE = """
iPhone 12 128GB | 1000mAh | WH-1000XM4 | Model SM-G991B/DS | RTX 3060 Ti 12GB | Nike Air Max 90 42.5 | LEGO 75192
小米手机 2023 256GB | 手机壳 iPhone 15 Pro 256GB | 128 256 512 1024 | 256 512 1024 GB | 600 800 1000 watts
4006381333931 | EAN 4006381333931 | UPC 036000291452 | 036000291452 | 0036000291452 | 10012345678902 | 96385074
4 006381 333931 | 4-006381-333931 | 0-78000-08331-6 | OEM 13812345678
978-3-16-148410-0 | 9783161484100 | 0-306-40615-2 | 0306406152 | ISBN 0471117099 | B07XJ8C8F5 | ISSN 0378-5955
2023-10-05 14:30 | 2023-10-05T14:30:00Z | 05/10/2023 | 20231005 | 1998-2004 | 2019 2020 2021 2022 | 1633072800
1633072800000 | 2023年10月5日 | 1920x1080 | 3840x2160 60Hz | 10-20 mm | 220-240V | 120 60 2000 mm | M8 x 1.25
£1,299.99 | $12345678 | ¥13,800 | 1.299.000,00 | 10 000 000 000 | 5000 lm | 100-200-300 | 4000 5000 6000 7000
36 37 38 39 40 41 42 43 44 | 00 0 2 4 6 8 10 12 14 16 | XL 01 02 03 04 05 | 12 34 56 78 90 | +1.00 +1.50 +2.00 +2.50
+2.00 2.50 3.00 3.50 | 32A 34B 36C 38D 40DD | CAS 7732-18-5 | EN 61010-2-201 | ISO 9001:2015 | 18650 3.7V 2600mAh
2608577233 | 963321-0403 | 0986494096 | 0 986 494 096 | 502.638.50 | 06A 115 561 B | A 000 420 51 20 | SKU 123456789
model 12125550199 | washable at 30 40 60 C | at 30 40 60 c | 5 @ 10 | HDMI 2 @ 1.5m | 4-in-1 | 24/7 | 192.168.100.100
356938035643809 | 550e8400-e29b-41d4-a716-446655440000 | d41d8cd98f00b204e9800998ecf8427e | order 12345678
货号13812345678 | １２８ＧＢ | ①②③④⑤⑥⑦⑧⑨⑩⑪ | 10²³ 10²³ 10²³
order number 13812345678 | Order no. 07700900123 | 订单号：13812345678 | 订单编号 13912345678
快递单号13812345678 | PN 90311-38034 | Order #114-3941689-8772232 | 订单号 202311280012345678
tracking 1Z999AA10123456784 | SF1234567890123 | ISBN 013110362X
AB-123456-C | 200 300 4000 | 400-600-2000 | A123456(4) | SD卡 128GB 256GB | 显卡 12345678 | passport holder 128x95 mm
护照夹 20231128 | 证件照 35x45 | 身份证卡套 12345678 | gift card 50.00 | account for 2
ID card holder 1234567 | LT-0912-345 | 小米手机2023 2024
0 912 345 678 | Bosch GSR 18V-55 06019H5202 | Lego 42115 3696 pieces | 160/84A 165/88A 170/92A
https://shop.example/p/4006381333931?size=42 | @home 12345678 | 100% cotton 180 g/m2
"""


@pytest.mark.parametrize(("text", "expected"), REPLACED)
def test_what_names_or_reaches_a_person_is_replaced(text, expected):
    assert redact(text) == expected


@pytest.mark.parametrize("text", [part.strip() for line in LEFT_ALONE.strip().split("\n") for part in line.split("|")])
def test_product_texts_stay(text):
    assert redact(text) == text


# --- generated numbers -------------------------------------------------------------------------------------------


def digits(least, most=None):
    return st.text("0123456789", min_size=least, max_size=least if most is None else most)


def dashed(*forms):
    """Each form with its "-" as "-", " ", "." or "–"."""
    return st.tuples(st.sampled_from(forms), st.sampled_from("- .–")).map(lambda pair: pair[0].replace("-", pair[1]))


def luhn_digit(number):
    """By the table of ISO/IEC 7812-1, annex B: every second digit from the right doubled, and its digits added."""
    doubled = [digit * (1 + (place % 2 == 0)) for place, digit in enumerate(map(int, reversed(number)))]
    return str(-sum(digit // 10 + digit % 10 for digit in doubled) % 10)


def resident_character(number):
    """ISO 7064 MOD 11-2 by its recursive method."""
    product = 0
    for digit in number:
        product = (product + int(digit)) * 2 % 11
    return "0123456789X"[(12 - product) % 11]


def hong_kong_character(letters, number):
    """Letters from A = 10 on, a blank before a single one 36; weights from 9 down, and the sum a multiple of 11."""
    values = [string.ascii_uppercase.index(letter) + 10 for letter in letters] + [int(digit) for digit in number]
    missing = -sum((8 - place) * value for place, value in enumerate([36, *values][-8:], start=-1)) % 11
    return "0123456789A"[missing]


def iban_of(country, account):
    """ISO 13616: the check digits are 98 minus the remainder of the account, with 00 in their place, by 97."""
    number = "".join(str(string.ascii_uppercase.index(c) + 10) if c.isalpha() else c for c in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02}{account}"


def fours(number, separator):
    return separator.join(number[place : place + 4] for place in range(0, len(number), 4))


@st.composite
def cards(draw):
    prefix, length = draw(
        st.sampled_from(
            [("4", 16), ("4", 19), ("51", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("3000", 14),
             ("36", 14), ("3528", 16), ("6011", 16), ("65", 16), ("62", 16), ("62", 17), ("62", 18), ("62", 19)]
        )
    )  # fmt: skip
    number = prefix + draw(digits(length - len(prefix) - 1))
    number += luhn_digit(number)
    separator = draw(st.sampled_from(["", " ", "-", "\u00a0", "－"]))
    if length in (14, 15):
        return separator.join((number[:4], number[4:10], number[10:]))
    return fours(number, separator)


@st.composite
def resident_ids(draw):
    birth = draw(st.dates(datetime.date(1900, 1, 1), datetime.date(2099, 12, 31))).strftime("%Y%m%d")
    if draw(st.booleans()):
        return draw(st.sampled_from(["11", "44", "65"])) + draw(digits(4)) + birth[2:] + draw(digits(3))
    number = draw(st.sampled_from("123456")) + draw(digits(5)) + birth + draw(digits(3))
    number += resident_character(number)
    separator = draw(st.sampled_from(["", " ", "-"]))
    return draw(st.sampled_from([number, number.lower(), separator.join((number[:6], number[6:14], number[14:]))]))


@st.composite
def ibans(draw):
    country, form = draw(
        st.sampled_from([("GB", "a" * 4 + "0" * 14), ("DE", "0" * 18), ("FR", "0" * 10 + "a" * 11 + "00"),
                         ("NO", "0" * 11), ("MT", "a" * 4 + "0" * 5 + "a" * 18), ("NL", "a" * 4 + "0" * 10)])
    )  # fmt: skip
    account = "".join(draw(st.sampled_from(string.ascii_uppercase if kind == "a" else string.digits)) for kind in form)
    number = iban_of(country, account)
    return draw(st.sampled_from([number, number.lower(), fours(number, " ")]))


@st.composite
def phones(draw):
    kind = draw(st.sampled_from(["chinese mobile", "chinese land line", "american", "british", "australian", "abroad"]))
    if kind == "chinese mobile":
        rest = "1" + draw(st.sampled_from("3456789")) + draw(digits(9))
        form = draw(dashed(rest, f"{rest[:3]}-{rest[3:7]}-{rest[7:]}", f"{rest[:3]}-{rest[3:]}"))
        return draw(st.sampled_from(["", "+86", "+86 ", "+86-", "(+86)", "0086 ", "86-"])) + form
    if kind == "chinese land line":
        area, length = draw(st.sampled_from([("010", 8), ("021", 8), ("0755", 8), ("0571", 8), ("0898", 7)]))
        rest = draw(st.sampled_from("2345678")) + draw(digits(length - 1))
        form = st.sampled_from([f"{area}-{rest}", f"({area}){rest}", f"（{area}）{rest}", f"{area} {rest}"])
        return draw(form | st.sampled_from([f"+86 {area[1:]} {rest}", f"{area}-{rest[:-4]}-{rest[-4:]}"]))
    if kind == "american":
        area, office = (draw(st.sampled_from("23456789")) + draw(digits(2)) for _ in range(2))
        area = area[0] + "0" + draw(st.sampled_from("123456789"))  # neither N11, N9X nor 200
        line = draw(digits(4))
        plain = f"{area}-{office}-{line}"
        forms = [f"({area}) {office}-{line}", f"+1{area}{office}{line}", f"+1 ({area}) {office}-{line}"]
        return draw(dashed(plain, f"1-{plain}", f"+1-{plain}", f"({area})-{office}-{line}") | st.sampled_from(forms))
    if kind == "british":
        a, b, c = draw(digits(4)), draw(digits(4)), draw(digits(1))
        mobile, london = f"07{a[:3]}-{b[:3]}{a[1:]}", f"020-{a}-{b}"
        form = draw(dashed(mobile, mobile.replace("-", ""), london, f"016{c}-{a[:3]}-{b}", london.replace("-", "")))
        return draw(st.sampled_from([form, f"+44 {form[1:]}", f"+44 (0){form[1:]}", f"0044 {form[1:]}"]))
    if kind == "australian":
        a, b = draw(digits(4)), draw(digits(4))
        return draw(dashed(f"04{a[:2]}-{b[:3]}-{a[1:]}", f"(02) {a}-{b}", f"+61-4{a[:2]}-{b[:3]}-{a[1:]}"))
    code = draw(st.sampled_from(["33", "49", "65", "81", "353", "420", "971"]))
    length = {"65": 8, "353": 9, "81": 10}.get(code, 9)
    rest = draw(st.sampled_from("123456789")) + draw(digits(length - 1))
    return "+" + draw(dashed(f"{code}-{rest}", f"{code}{rest}", f"{code}-{rest[:3]}-{rest[3:6]}-{rest[6:]}"))


@st.composite
def emails(draw):
    local = draw(st.from_regex(r"[a-zA-Z0-9ü](?:[a-zA-Z0-9._+-]{0,10}[a-zA-Z0-9])?", fullmatch=True))
    domain = draw(st.from_regex(r"(?:[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?\.){1,3}[a-z]{2,5}", fullmatch=True))
    return f"{local}@{domain}"


@st.composite
def hong_kong_ids(draw):
    letters, number = draw(st.text(string.ascii_uppercase, min_size=1, max_size=2)), draw(digits(6))
    return f"{letters}{number}({hong_kong_character(letters, number)})"


KINDS = {
    "[card]": cards(),
    "[id]": resident_ids() | ibans() | hong_kong_ids() | digits(2).map(lambda two: f"AB {two} 34 56 D"),
    "[phone]": phones(),
    "[email]": emails(),
}
SURROUNDINGS = [
    ("", ""),
    ("Please use ", " for it"),
    ("我的号码是", "谢谢。"),
    ("(", ")"),
    ("「", "」"),
    ("a: ", ", b"),
]


@pytest.mark.parametrize("placeholder", KINDS)
@given(st.data())
def test_valid_numbers_in_every_form_are_caught_and_nothing_else(placeholder, data):
    number = data.draw(KINDS[placeholder])
    before, after = data.draw(st.sampled_from(SURROUNDINGS))
    if data.draw(st.booleans()):
        number = number.translate(FULL_WIDTH)
    found = redact(f"{before}{number}{after}")
    # A number may be one of another kind as well: 18 digits from 62 on are a resident's or a card's.
    assert found in {f"{before}{other}{after}" for other in (placeholder, *KINDS)}
    if placeholder in ("[email]", "[phone]"):
        assert found == f"{before}{placeholder}{after}"


@pytest.mark.parametrize(
    ("number", "right"),
    [("4111111111111111", luhn_digit), ("11010519491231002X", resident_character)],
)
def test_a_wrong_check_digit_is_no_number(number, right):
    assert right(number[:-1]) == number[-1]
    for last in set("0123456789X") - {number[-1]}:
        wrong = number[:-1] + last
        assert redact(wrong) == wrong


def test_two_changed_digits_of_an_iban_are_told():
    iban = "GB82WEST12345698765432"
    for first, second in itertools.combinations(range(8, 22), 2):
        if iban[first] != iban[second]:
            swapped = [*iban]
            swapped[first], swapped[second] = iban[second], iban[first]
            assert "[id]" not in redact("".join(swapped))


def test_check_digits_of_articles():
    known = ["4006381333931", "036000291452", "96385074", "10012345678902"]
    assert all(map(check_digits.gtin, known))
    assert not any(check_digits.gtin(f"{number[:-1]}{(int(number[-1]) + 1) % 10}") for number in known)
    assert check_digits.isbn10("0306406152") and not check_digits.isbn10("0306406153")


# --- properties --------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["13812345678", "415 555 0199", "4111 1111 1111 1111", "11010519491231002X", "GB82WEST12345698765432", "a@b.com",
     "call ", "电话", "EAN ", "+", "00", "86", "http://", "@", "(", ")", "-", " ", ".", "128 256 512 1024", "AB123456C",
     "passport ", "卡号", "账号", "A123456(3)", "1", "2", "谢谢", "x", "[phone]", "A", "０", "ext. 12", "GB", "/"]
)  # fmt: skip
TEXTS = st.text(max_size=60) | st.lists(PIECES, max_size=12).map("".join) | st.text("0123456789 -().+@a", max_size=50)


@given(TEXTS)
@example("13812345678GB82WEST12345698765432")
@example("a@b.com@c.com")
@example("+1 415 555 0199GB82WEST12345698765432" * 3)
def test_redacting_again_changes_nothing(text):
    redacted = redact(text)
    assert redact(redacted) == redacted


@given(TEXTS)
def test_what_is_not_replaced_stays_as_it_was(text):
    parts = re.split(r"\[(?:phone|card|id|email|url)\]", redact(text))
    place = 0
    for part in parts:
        place = text.index(part, place) + len(part)
    assert text.startswith(parts[0]) and text.endswith(parts[-1])


@given(st.text(st.characters(blacklist_categories=["Nd", "Cs"], blacklist_characters="@＠﹫"), max_size=200))
def test_texts_without_digits_and_at_signs_stay(text):
    assert not any(unicodedata.decimal(character, None) is not None for character in text)
    assert redact(text) == text


HARD = {
    "digits": "1", "spaced digits": "1 ", "dashed": "1-", "at": "@", "short addresses": "a@", "letters": "a",
    "plus": "+1", "urls": "http://", "schemes": "a+", "ibans": "GB82", "countries": "+44 ", "brackets": "(0)",
    "numbers": "415 555 0199 ", "cards": "4111 ", "zeros": "0044 ", "words": "tel ", "chinese": "电话", "dots": "a.",
    "full width": "１", "ids": "AB12 ", "domains": "a@a.", "joined": "138-1234-",
    "passports": "passport A1234567 ", "papers": "passport", "labels": "卡号: ",
    "residents": "11010519491231002X", "abroad": "+44 20 7946 0958",
    "in turns": "+1 415 555 0199GB82WEST12345698765432",
}  # fmt: skip


@pytest.mark.parametrize("piece", HARD.values(), ids=HARD)
def test_time_grows_with_the_length_and_not_faster(piece):
    def seconds(length):
        text = piece * (length // len(piece)) + "@1"
        started = time.process_time()
        redact(text)
        return time.process_time() - started

    # Quadratic time would be 64 times as much.
    assert seconds(40_000) < 24 * seconds(5_000) + 0.2
