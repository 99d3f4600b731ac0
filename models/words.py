"""Words of texts, in the graph: what a query and a title have in common whatever their case, width and script."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_text as tf_text

_IDEOGRAPH = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
#: No hash of a word, and larger than all: what pads sorted keys.
NO_KEY = 2**62


def normalized(texts: tf.Tensor) -> tf.Tensor:
    """Texts without differences of case, width and accents, with one space for all that is no letter or digit."""
    plain = tf_text.normalize_utf8(texts, "NFKD")
    plain = tf.strings.regex_replace(plain, r"\p{Mn}", "")
    plain = tf_text.case_fold_utf8(tf_text.normalize_utf8(plain, "NFKC"))
    return tf.strings.strip(tf.strings.regex_replace(plain, r"[^\p{L}\p{N}\p{Mc}_]+", " "))


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """The words of texts.

    Words are what stands between characters that are no letters or digits. Chinese and Japanese, which have no such
    characters between words, are split into their characters and each two that stand together, so that a wrong one
    leaves the others.

    Args:
      texts: string [n].

    Returns:
      string [n, (words)].

    Example:
      >>> for words in split_words(tf.constant(["Pokémon: X", "登山靴 L"])): print([w.decode() for w in words.numpy()])
      ['pokemon', 'x']
      ['登', '山', '靴', '登山', '山靴', 'l']
    """
    apart = tf.strings.regex_replace(normalized(texts), f"({_IDEOGRAPH}+)", r" \1 ")
    runs = tf.strings.split(apart)
    flat = runs.flat_values
    ideographs = tf.strings.regex_full_match(flat, f"{_IDEOGRAPH}+")
    whole = tf.RaggedTensor.from_row_lengths(
        tf.boolean_mask(flat, tf.logical_not(ideographs)), tf.cast(tf.logical_not(ideographs), tf.int64)
    )
    characters = tf.strings.unicode_split(tf.where(ideographs, flat, ""), "UTF-8")
    pairs = tf.strings.ngrams(characters, 2, separator="")
    return runs.with_flat_values(tf.concat([whole, characters, pairs], 1)).merge_dims(1, 2)


def keys(words: tf.Tensor) -> tf.Tensor:
    """int64, a hash of each word; the same everywhere."""
    return tf.strings.to_hash_bucket_fast(words, NO_KEY)


def deletion_keys(words: tf.Tensor, letters: int) -> tf.Tensor:
    """Keys of words and of what is left of them without one of their first letters.

    Two words have one of these in common if one typo (a letter dropped, added, replaced, or two neighbours swapped)
    leads from one to the other.

    Args:
      words: string [n]; one of fewer than three letters, or of ideographs, has none.
      letters: how many of the first letters are left out, one at a time.

    Returns:
      int64 [n, 1 + letters], `NO_KEY` where there is none.

    Reference: the symmetric delete index of Garbe, SymSpell (2012), after Mor and Fraenkel (1982).
    """
    split = tf.strings.unicode_split(words, "UTF-8")
    length = split.row_lengths()
    spelled = split.to_tensor("")
    spelled = tf.pad(spelled, [[0, 0], [0, tf.maximum(letters - tf.shape(spelled)[1], 0)]], constant_values="")
    usable = tf.logical_and(length >= 3, tf.logical_not(tf.strings.regex_full_match(words, f"{_IDEOGRAPH}+")))
    columns = [tf.where(usable, keys(words), NO_KEY)]
    for place in range(letters):
        left = tf.strings.reduce_join(tf.concat([spelled[:, :place], spelled[:, place + 1 :]], 1), 1)
        columns.append(tf.where(tf.logical_and(usable, place < length), keys(left), NO_KEY))
    return tf.stack(columns, 1)
