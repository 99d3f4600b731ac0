"""From vectors of items to what their neighbours in the relations of a catalogue add to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

#: In the place of a related item: there is none.
NONE = -1


class RelatedItems(tf.keras.layers.Layer):
    """Σ_k W_k · mean of the vectors of the items that are related to an item by kind k: one hop, the mean aggregator.

    A kind of relation in which an item has no neighbour adds nothing. W_k is zero at first, so that training starts
    from what an item is itself. The table of neighbours is a variable.

    Args:
      items: V.
      dimension: d, width of vectors.
      relations: R, kinds of relations.
      neighbours: n, of each item and kind at most so many are kept.

    Call arguments:
      vectors: float [U, d].
      related: int64 [S, R, n], rows of `vectors`, as `of` names them for the whole catalogue; -1 for none.

    Returns:
      float32 [S, d].

    Raises:
      ValueError: if `relations` or `neighbours` is below 1.

    Example:
      >>> layer = RelatedItems(items=3, dimension=2, relations=1, neighbours=2)
      >>> layer.set_table(np.array([[0, 0, 1], [0, 0, 2]]))  # item 0 has the neighbours 1 and 2
      >>> layer.projections.assign([[[1.0, 0.0], [0.0, 1.0]]])[0, 0].numpy().tolist()
      [1.0, 0.0]
      >>> layer(tf.constant([[9.0, 9.0], [1.0, 3.0], [3.0, 5.0]]), layer.of()).numpy().tolist()
      [[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]]

    Reference: Hamilton et al., Inductive Representation Learning on Large Graphs (GraphSAGE, 2017); a matrix for each
    kind after Schlichtkrull et al., Modeling Relational Data with Graph Convolutional Networks (2018).
    """

    def __init__(self, items: int, dimension: int, relations: int, neighbours: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if relations < 1 or neighbours < 1:
            raise ValueError(f"relations and neighbours must be at least 1, not {relations} and {neighbours}.")
        self.items = items
        self.dimension = dimension
        self.relations = relations
        self.neighbours = neighbours
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.projections = self.add_weight(
            name="projections", shape=[self.relations, self.dimension, self.dimension], initializer="zeros"
        )
        self.related = self.add_weight(
            name="related",
            shape=[self.items, self.relations, self.neighbours],
            dtype="int64",
            initializer=tf.keras.initializers.Constant(NONE),
            trainable=False,
        )
        super().build(input_shape)

    def set_table(self, relations: np.ndarray) -> None:
        """Stores neighbours.

        Args:
          relations: int [E, 3], rows of (item, kind from 0, related item); the first ones of an item and kind are kept.
        """
        items, kinds, others = np.asarray(relations, np.int64).reshape(-1, 3).T
        keys = items * self.relations + kinds
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        places = np.arange(len(keys)) - np.searchsorted(keys, keys)
        kept = places < self.neighbours
        table = np.full([self.items * self.relations, self.neighbours], NONE, np.int64)
        table[keys[kept], places[kept]] = others[order][kept]
        self.related.assign(table.reshape(self.related.shape))

    def of(self, rows: tf.Tensor | None = None) -> tf.Tensor:
        """int64 [S, R, n], rows of the related items of some items (int [S]), or of all; -1 for none."""
        return tf.convert_to_tensor(self.related) if rows is None else tf.gather(self.related, rows)

    def call(self, vectors: tf.Tensor, related: tf.Tensor) -> tf.Tensor:
        vectors = tf.cast(vectors, tf.float32)
        there = tf.cast(related >= 0, tf.float32)
        shares = tf.math.divide_no_nan(there, tf.reduce_sum(there, -1, keepdims=True))
        # As a product with a sparse matrix: vectors of all neighbours side by side would take n times the memory.
        lists = tf.size(related[:, :, 0], out_type=tf.int64)
        places = tf.stack(
            [tf.repeat(tf.range(lists), self.neighbours), tf.reshape(tf.maximum(related, 0), [-1])], axis=1
        )
        shape = tf.stack([lists, tf.shape(vectors, tf.int64)[0]])
        means = tf.sparse.sparse_dense_matmul(tf.SparseTensor(places, tf.reshape(shares, [-1]), shape), vectors)
        means = tf.reshape(means, [-1, self.relations, self.dimension])
        return tf.einsum("skd,kde->se", means, tf.cast(self.projections, tf.float32))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "dimension": self.dimension,
            "relations": self.relations,
            "neighbours": self.neighbours,
        }
