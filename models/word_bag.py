"""A vector of its own for each word of an item's text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class WordBag(tf.keras.layers.Layer):
    """b(t) = Σ_w e_w / √n over the n words w of a text t, each with a learned vector e_w.

    What a frozen or small BERT cannot tell apart (names, codes, attributes written as words) gets a place of its own
    here, and an item without events is known by the words that it shares with others. A text without words is the zero
    vector; a word that stands twice counts twice.

    Args:
      wordpieces: W, size of the text vocabulary.
      dimension: d.
      ignored: ids that are no words, padding among them.

    Call arguments:
      tokens: int [..., T].

    Returns:
      float [..., d].

    Raises:
      ValueError: if `ignored` is empty.

    Example:
      >>> WordBag(wordpieces=9, dimension=4, ignored=(0,))(tf.constant([[5, 7, 0]])).shape
      TensorShape([1, 4])

    Reference: the bag of features of Rendle, Factorization Machines (2010), and of Kula, Metadata Embeddings for User
    and Item Cold-start Recommendations (LightFM, 2015).
    """

    def __init__(self, wordpieces: int, dimension: int, ignored: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ignored:
            raise ValueError("ignored is empty; expected the id of padding at least.")
        self.wordpieces = wordpieces
        self.dimension = dimension
        self.ignored = tuple(int(word) for word in ignored)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        small = tf.keras.initializers.RandomNormal(stddev=0.02)
        self.vectors = self.add_weight(name="vectors", shape=[self.wordpieces, self.dimension], initializer=small)
        super().build(input_shape)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        tokens = tf.cast(tokens, tf.int32)
        words = tf.reduce_all([tf.not_equal(tokens, ignored) for ignored in self.ignored], 0)
        flat = tf.reshape(words, [-1, tf.shape(tokens)[-1]])
        number = tf.shape(flat)[0]
        # Texts are mostly padding: only what is a word is looked up.
        vectors = tf.gather(tf.cast(self.vectors, self.compute_dtype), tf.boolean_mask(tokens, words))
        total = tf.math.unsorted_segment_sum(vectors, tf.where(flat)[:, 0], number)
        count = tf.reduce_sum(tf.cast(flat, self.compute_dtype), -1, keepdims=True)
        return tf.reshape(total / tf.sqrt(tf.maximum(count, 1)), [*tf.unstack(tf.shape(tokens)[:-1]), self.dimension])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "wordpieces": self.wordpieces,
            "dimension": self.dimension,
            "ignored": self.ignored,
        }
