"""Words of a text, in Python and in the graph alike: a Chinese character is a word, other words end at separators.

Weak labels are given to words in Python, and the model reads the same words in the SavedModel, so both must cut alike;
therefore characters are told apart by ranges that are written out, not by an engine's own classes. Imports no
TensorFlow; `models.word_tensors` cuts tensors.
"""

from __future__ import annotations

import re

#: Labels of words, begin and inside of what is named (BIO); the first one stands for nothing named.
OUTSIDE = "O"
NAMED = ("product", "brand", "attribute")
WORD_LABELS = (OUTSIDE, *(f"{place}-{kind}" for kind in NAMED for place in "BI"))

#: What a review may say.
POSITIVE, NEGATIVE = "positive", "negative"

#: Ideographs: extension A, the main block, compatibility.
CHINESE = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
#: What stands between words: controls, spaces, punctuation, symbols; of Latin, general, Chinese and full-width blocks.
SEPARATORS = (
    (0x00, 0x2F),
    (0x3A, 0x40),
    (0x5B, 0x60),
    (0x7B, 0xBF),
    (0xD7, 0xD7),
    (0xF7, 0xF7),
    (0x2000, 0x206F),
    (0x20A0, 0x2BFF),
    (0x3000, 0x303F),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFF0F),
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
)
_IN_PYTHON = [
    re.compile("[" + "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in part) + "]")
    for part in (CHINESE, SEPARATORS)
]


def is_chinese(text: str) -> bool:
    """Whether a text holds a Chinese character."""
    return _IN_PYTHON[0].search(text) is not None


def split(text: str) -> list[str]:
    """The words of a text, as they are written.

    >>> split("我要买苹果 iPhone 12!")
    ['我', '要', '买', '苹', '果', 'iPhone', '12']
    """
    apart = _IN_PYTHON[0].sub(lambda found: f" {found[0]} ", text)
    return [word for word in _IN_PYTHON[1].sub(" ", apart).split(" ") if word]


def join(words: list[str] | tuple[str, ...]) -> str:
    """A phrase as people write it: no space between Chinese characters.

    >>> join(["登", "山", "靴", "for", "men"])
    '登山靴 for men'
    """
    text = ""
    for word in words:
        text += word if not text or (is_chinese(text[-1]) and is_chinese(word)) else f" {word}"
    return text
