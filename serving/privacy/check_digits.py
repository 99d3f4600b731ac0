"""Check digits, which tell numbers that name a person from others of the same form."""

from __future__ import annotations

_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: str) -> bool:
    """Whether the last digit is Luhn's, as on payment cards (ISO/IEC 7812-1)."""
    plain, doubled = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, plain)) + sum(_DOUBLED[int(digit)] for digit in doubled)) % 10 == 0


def resident_id(characters: str) -> bool:
    """Whether the last of 18 characters is the check character of a Chinese resident ID (GB 11643, mod 11-2)."""
    total = sum(weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, characters[:17], strict=True))
    return "10X98765432"[total % 11] == characters[17].upper()


def hong_kong_id(characters: str) -> bool:
    """Whether one or two letters, six digits and a check character are those of a Hong Kong identity card (mod 11)."""
    values = [36, *(int(character, 36) for character in characters)][-9:]
    return sum(weight * value for weight, value in zip(range(9, 0, -1), values, strict=True)) % 11 == 0


def iban(characters: str) -> bool:
    """Whether letters and digits of an IBAN, country first, leave 1 when divided by 97 (ISO 13616)."""
    moved = characters[4:] + characters[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def gtin(digits: str) -> bool:
    """Whether the last digit is that of an article number (GTIN-8, UPC, EAN-13, GTIN-14)."""
    odd, even = digits[-2::-2], digits[-3::-2]
    return (3 * sum(map(int, odd)) + sum(map(int, even)) + int(digits[-1])) % 10 == 0


def isbn10(digits: str) -> bool:
    """Whether ten digits are an ISBN whose check digit is not X."""
    return sum(weight * int(digit) for weight, digit in zip(range(10, 0, -1), digits, strict=True)) % 11 == 0
