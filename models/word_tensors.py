"""Words of texts in the graph, cut as `models.text_words` cuts them."""

from __future__ import annotations

import tensorflow as tf

from models import text_words

_CHINESE, _SEPARATOR = (
    "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in part) + "]"
    for part in (text_words.CHINESE, text_words.SEPARATORS)
)


def split(texts: tf.Tensor) -> tf.RaggedTensor:
    """`text_words.split` of each text.

    Args:
      texts: string [n].

    Returns:
      string [n, (words)].
    """
    apart = tf.strings.regex_replace(texts, f"({_CHINESE})", r" \1 ")
    return tf.strings.split(tf.strings.regex_replace(apart, _SEPARATOR, " "))
