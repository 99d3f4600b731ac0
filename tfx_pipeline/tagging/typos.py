"""Copies of texts with one typing mistake, to learn from."""

from __future__ import annotations

import dataclasses

import numpy as np

from models import text_words
from tfx_pipeline.tagging.texts import Text

#: Shorter words are left alone: too little would be left to recognise.
_SHORTEST = 4
_LEAST_CHARACTERS = 3


def mistyped(text: Text, rng: np.random.Generator) -> Text | None:
    """A copy with two neighbouring letters swapped, a letter left out or doubled, or a Chinese character left out.

    The copy has the tags of the text, and the labels of its words as far as they are left; spaces and punctuation are
    those of `text_words.join`.

    Args:
      text: to be copied.
      rng: source of randomness.

    Returns:
      None if no word is long enough.
    """
    words, labels = text_words.split(text.text), list(text.labels.word_labels)
    chinese = [place for place, word in enumerate(words) if text_words.is_chinese(word)]
    places = [place for place, word in enumerate(words) if len(word) >= _SHORTEST]
    places += chinese if len(chinese) >= _LEAST_CHARACTERS else []
    if not places:
        return None
    place = int(rng.choice(places))
    word = words[place]
    if place in chinese:
        del words[place], labels[place]
    else:
        at = int(rng.integers(1, len(word) - 1))
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[place] = str(rng.choice([swapped, word[:at] + word[at + 1 :], word[: at + 1] + word[at:]]))
    return dataclasses.replace(
        text, text=text_words.join(words), labels=dataclasses.replace(text.labels, word_labels=labels)
    )
