"""An explicit path for the words of a query: which of them an item's text holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models.described_items import put_rows


class LexicalPath(tf.keras.layers.Layer):
    """Share of the query's weight that an item's text covers: Σ w_t over words t in both / Σ w_t over the query's.

    A vector of a text blurs which words are in it; this path does not. w_t = idf_t·exp(m_t), idf_t = log((V+1)/(n_t+1))
    with n_t of V items holding t, and m_t learned (0 at the start). A word counts once, however often it is there.

    Args:
      wordpieces: W, size of the vocabulary.
      items: V.
      text_length: T, tokens of an item's text.
      ignored: ids that are no words, such as [PAD] and [CLS].

    Call arguments:
      query: int [B, Q], tokens, padded with an ignored id.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V] or [B, R], between 0 and 1; 0 where the query has no word.

    Raises:
      ValueError: if no id is ignored (padding must be).

    Example:
      >>> path = LexicalPath(wordpieces=5, items=3, text_length=2, ignored=(0,))
      >>> path.set_table(np.array([[1, 2], [1, 0], [3, 3]]))
      >>> print(path(tf.constant([[1, 2, 0]])).numpy().round(2))   # idf: log 4/3 and log 4/2
      [[1.   0.29 0.  ]]

    Reference: idf of Sparck Jones, A Statistical Interpretation of Term Specificity (1972); learned weights after Dai
    and Callan, Context-Aware Term Weighting for First Stage Passage Retrieval (DeepCT, 2020).
    """

    def __init__(self, wordpieces: int, items: int, text_length: int, ignored: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if not ignored:
            raise ValueError("ignored is empty; expected the id of padding at least.")
        self.wordpieces = wordpieces
        self.items = items
        self.text_length = text_length
        self.ignored = tuple(int(word) for word in ignored)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.idf = self.add_weight(name="idf", shape=[self.wordpieces], initializer="zeros", trainable=False)
        self.log_scale = self.add_weight(name="log_scale", shape=[self.wordpieces], initializer="zeros")
        self.words = self.add_weight(
            name="words", shape=[self.items, self.text_length], dtype="int32", initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def set_table(self, tokens: np.ndarray) -> None:
        """Stores the items' tokens, int [V, T]."""
        words = self._distinct(tf.cast(tokens, tf.int32)).numpy()
        holding = np.bincount(words.ravel(), minlength=self.wordpieces)
        idf = np.log((len(tokens) + 1) / (holding + 1)).astype(np.float32)
        idf[list(self.ignored)] = 0
        self.words.assign(words)
        self.idf.assign(np.maximum(idf, 0))

    def put_rows(self, rows: tf.Tensor, tokens: tf.Tensor) -> None:
        """Stores the tokens of n items in their rows, int64 [n] and [n, T]; the words' weights stay."""
        put_rows(self.words, rows, self._distinct(tokens))

    def call(self, query: tf.Tensor, rows: tf.Tensor | None = None) -> tf.Tensor:
        words = tf.convert_to_tensor(self.words) if rows is None else tf.gather(self.words, rows)
        weights = self._weights(query)
        # [W, B] and one gather of rows: columns would be turned round for every word.
        covered = tf.reduce_sum(tf.gather(tf.transpose(weights), words), 1)
        return tf.math.divide_no_nan(tf.transpose(covered), tf.reduce_sum(weights, 1, keepdims=True))

    def of_texts(self, query: tf.Tensor, owners: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """The same for texts that are not in the catalogue.

        Args:
          query: int [B, Q].
          owners: int [n], row of the query that each text is held against.
          tokens: int [n, T].

        Returns:
          float32 [n].
        """
        weights = self._weights(query)
        words = self._distinct(tokens)
        # Word by word: a row of all words for each text would be W numbers a text.
        rows = tf.broadcast_to(tf.cast(owners, tf.int32)[:, tf.newaxis], tf.shape(words))
        covered = tf.reduce_sum(tf.gather_nd(weights, tf.stack([rows, words], -1)), 1)
        return tf.math.divide_no_nan(covered, tf.gather(tf.reduce_sum(weights, 1), owners))

    def held_share(self, query: tf.Tensor) -> tf.Tensor:
        """The share of the query's weight in words that some item holds, float32 [B]; 0 without words."""
        words, shares = self.shares(query)
        held = self.idf < np.log((self.items + 1) / 1.5)  # n_t is at least 1
        return tf.reduce_sum(tf.where(tf.gather(held, words), shares, 0.0), 1)

    def shares(self, query: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The query's words, each once, int32 [B, Q], and the share of its weight that each has, float32 [B, Q]."""
        words = self._distinct(query)
        weights = tf.gather(self._word_weights(), words)  # 0 for what is ignored
        return words, tf.math.divide_no_nan(weights, tf.reduce_sum(weights, 1, keepdims=True))

    def _word_weights(self) -> tf.Tensor:
        return tf.cast(self.idf, tf.float32) * tf.exp(tf.cast(self.log_scale, tf.float32))

    def _weights(self, query: tf.Tensor) -> tf.Tensor:
        """Weights of the query's words, [B, W]."""
        batch, length = tf.unstack(tf.shape(query))
        places = tf.stack([tf.repeat(tf.range(batch), length), tf.reshape(tf.cast(query, tf.int32), [-1])], 1)
        there = tf.scatter_nd(places, tf.ones([batch * length]), [batch, self.wordpieces])
        return tf.where(there > 0, self._word_weights(), 0.0)

    def _distinct(self, tokens: tf.Tensor) -> tf.Tensor:
        """Sorted words, each once; the first ignored id in place of the others."""
        tokens = tf.sort(tf.cast(tokens, tf.int32), 1)
        again = tf.concat([tf.zeros_like(tokens[:, :1], tf.bool), tokens[:, 1:] == tokens[:, :-1]], 1)
        for ignored in self.ignored:
            again = tf.logical_or(again, tokens == ignored)
        return tf.where(again, self.ignored[0], tokens)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "wordpieces": self.wordpieces,
            "items": self.items,
            "text_length": self.text_length,
            "ignored": self.ignored,
        }
