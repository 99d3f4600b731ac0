"""What a query adds to the scores of items: by meaning, and by words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from models.lexical_path import LexicalPath


class QueryMatch(tf.keras.layers.Layer):
    """match(q, i) = s·cos(v, r_i + W_t·t_i) + l·LexicalPath(q, i), with v = W_q·q + Σ a_w·e_w over the query's words w.

    q and t are pooled texts and r an item's vector; a_w is the share of the query's weight that w has in `LexicalPath`,
    and e_w a vector of w's own, which learns from few clicks what a word asks for; s and l are learned. A query without
    words has a zero vector and matches nothing.

    Args:
      dimension: d.
      text_dimension: h, width of pooled texts.
      wordpieces, items, text_length, ignored: arguments of `LexicalPath`; 0 wordpieces leave the words out.

    Call arguments:
      pooled: float [B, h], pooled queries.
      tokens: int [B, Q], their tokens; not read without words.
      items: float [V, d], vectors of the catalogue.
      texts: float [V, h], pooled texts of the catalogue.
      rows: int [V], the rows of the catalogue that `items` are; None for all.

    Returns:
      (v float32 [B, d], match float32 [B, V]).

    Example:
      >>> match = QueryMatch(dimension=2, text_dimension=3)
      >>> vector, scores = match(tf.zeros([1, 3]), None, tf.ones([4, 2]), tf.ones([4, 3]))
      >>> scores.numpy().tolist()
      [[0.0, 0.0, 0.0, 0.0]]

    Reference: dual encoder of Huang et al., DSSM (2013), beside explicit words as in Mitra et al., Learning to Match
    Using Local and Distributed Representations of Text for Web Search (2017).
    """

    def __init__(
        self,
        dimension: int,
        text_dimension: int,
        wordpieces: int = 0,
        items: int = 0,
        text_length: int = 0,
        ignored: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dimension = dimension
        self.text_dimension = text_dimension
        self.wordpieces = wordpieces
        self.items = items
        self.text_length = text_length
        self.ignored = tuple(int(word) for word in ignored)
        dense = tf.keras.layers.Dense
        self.query_projection = dense(dimension, use_bias=False, dtype=self.dtype_policy, name="query_projection")
        self.text_projection = dense(dimension, use_bias=False, dtype=self.dtype_policy, name="text_projection")
        if wordpieces:
            self.lexical_path = LexicalPath(wordpieces, items, text_length, self.ignored, name="lexical_path")
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.query_projection.build([None, self.text_dimension])
        self.text_projection.build([None, self.text_dimension])
        four = tf.constant_initializer(4.0)
        self.scale = self.add_weight(name="scale", shape=[], initializer=four)
        if self.wordpieces:
            self.lexical_scale = self.add_weight(name="lexical_scale", shape=[], initializer=four)
            small = tf.keras.initializers.RandomNormal(stddev=0.05)
            self.word_vectors = self.add_weight(
                name="word_vectors", shape=[self.wordpieces, self.dimension], initializer=small
            )
        super().build(input_shape)

    def call(
        self,
        pooled: tf.Tensor,
        tokens: tf.Tensor | None,
        items: tf.Tensor,
        texts: tf.Tensor,
        rows: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        query = tf.cast(self.query_projection(pooled), tf.float32)
        if self.wordpieces:
            words, shares = self.lexical_path.shares(tokens)
            vectors = tf.cast(tf.gather(self.word_vectors, words), tf.float32)
            query += tf.einsum("bq,bqd->bd", shares, vectors)

        def matched() -> tf.Tensor:
            match = self._scaled(tf.matmul(_unit(query), self._matched(items, texts), transpose_b=True))
            if self.wordpieces:
                match += tf.cast(self.lexical_scale, tf.float32) * self.lexical_path(tokens, rows)
            return match

        # A batch in which nobody asks is not compared with the catalogue.
        none = tf.zeros([tf.shape(pooled)[0], tf.shape(items)[0]])
        return query, tf.cond(tf.reduce_any(query != 0), matched, lambda: none)

    def of_candidates(
        self,
        query: tf.Tensor,
        tokens: tf.Tensor | None,
        items: tf.Tensor,
        texts: tf.Tensor,
        where: tf.Tensor,
        words: tf.Tensor,
    ) -> tf.Tensor:
        """The same for items of each request's own.

        Args:
          query: float [B, d], as a call returned it.
          tokens: int [B, Q].
          items: float [B, N, d].
          texts: float [B, N, h].
          where: int [n, 2], the (row, place) of candidates whose words count.
          words: int [n, T], their tokens.

        Returns:
          float32 [B, N].
        """
        match = self._scaled(tf.einsum("bd,bnd->bn", _unit(query), self._matched(items, texts)))
        if self.wordpieces:
            shares = self.lexical_path.of_texts(tokens, where[:, 0], words)
            match += tf.cast(self.lexical_scale, tf.float32) * tf.scatter_nd(where, shares, tf.shape(match))
        return match

    def _matched(self, items: tf.Tensor, texts: tf.Tensor) -> tf.Tensor:
        return _unit(tf.cast(items, tf.float32) + tf.cast(self.text_projection(texts), tf.float32))

    def _scaled(self, cosine: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.scale, tf.float32) * cosine

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dimension": self.dimension,
            "text_dimension": self.text_dimension,
            "wordpieces": self.wordpieces,
            "items": self.items,
            "text_length": self.text_length,
            "ignored": self.ignored,
        }


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    """Rows of length 1; a zero row stays zero."""
    return tf.math.l2_normalize(vectors, -1, epsilon=1e-9)
