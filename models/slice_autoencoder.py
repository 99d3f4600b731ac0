"""From a long behaviour sequence to a code per time slice."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models.layers.transformer_block import TransformerBlock


class SliceAutoencoder(tf.keras.layers.Layer):
    """Cuts the newest events into slices and encodes each: X_i = E(S_i), C_i = A(X_i), R_i = D(C_i).

    E is a Transformer over the events of one slice, summed over its n real events and divided by √n, so that a slice
    of one event and a full one have the same scale. A and D are a bottleneck of two dense layers each; the
    reconstruction R_i is compared with X_i and, by a softmax over the items, with the slice's items (`models.losses`).
    The newest slice is full; a history shorter than `slices · slice_length` leaves the oldest ones empty.

    Args:
      dimension: d, width of event vectors, X_i and R_i.
      code_dimension: c, width of the codes.
      slice_length: L, events a slice.
      slices: S, slices kept; `S·L` newest events are read.
      layers, heads: of the Transformer E.
      dropout: in E.

    Call arguments:
      events: float [B, H, d], oldest first, padded on the right.
      mask: bool [B, H], true for real events; a row's real events come first.

    Returns:
      dict of `vectors` X [B, S, d], `codes` C [B, S, c], `reconstructions` R [B, S, d] (all zero for empty slices),
      `slice_mask` bool [B, S], `newest` [B, d], E's state of the newest event (zero without one), and `positions`
      int [B, S·L], the place of each sliced event in the history (-1: none).

    Raises:
      ValueError: if a size is below 1.

    Example:
      >>> autoencoder = SliceAutoencoder(dimension=8, code_dimension=4, slice_length=2, slices=3)
      >>> out = autoencoder(tf.ones([1, 3, 8]), tf.constant([[True, True, True]]))
      >>> out["slice_mask"].numpy().tolist()
      [[False, True, True]]

    Reference: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks (2006).
    """

    def __init__(
        self,
        dimension: int,
        code_dimension: int,
        slice_length: int,
        slices: int,
        layers: int = 1,
        heads: int = 2,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = {
            "dimension": dimension,
            "code_dimension": code_dimension,
            "slice_length": slice_length,
            "slices": slices,
        }
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}.")
        self.dimension = dimension
        self.code_dimension = code_dimension
        self.slice_length = slice_length
        self.slices = slices
        self.layers = layers
        self.heads = heads
        self.dropout = dropout
        self.blocks = [
            TransformerBlock(dimension, heads, 2 * dimension, dropout, dtype=self.dtype_policy, name=f"block_{i}")
            for i in range(layers)
        ]
        hidden = 2 * code_dimension
        self.encoder_hidden = tf.keras.layers.Dense(
            hidden, activation="gelu", dtype=self.dtype_policy, name="encoder_hidden"
        )
        self.encoder_code = tf.keras.layers.Dense(code_dimension, dtype=self.dtype_policy, name="encoder_code")
        self.decoder_hidden = tf.keras.layers.Dense(
            hidden, activation="gelu", dtype=self.dtype_policy, name="decoder_hidden"
        )
        self.decoder_vector = tf.keras.layers.Dense(dimension, dtype=self.dtype_policy, name="decoder_vector")
        self.input_dropout = tf.keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="input_dropout")

    def build(self, input_shape: Any) -> None:
        self.positions = self.add_weight(
            name="positions",
            shape=[self.slice_length, self.dimension],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        for block in self.blocks:
            block.build([None, self.slice_length, self.dimension])
        self.encoder_hidden.build([None, self.dimension])
        self.encoder_code.build([None, 2 * self.code_dimension])
        self.decoder_hidden.build([None, self.code_dimension])
        self.decoder_vector.build([None, 2 * self.code_dimension])
        super().build(input_shape)

    def call(self, events: tf.Tensor, mask: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        kept = self.slices * self.slice_length
        places = newest_positions(mask, kept)
        real = places >= 0
        sliced = tf.gather(events, tf.maximum(places, 0), batch_dims=1)
        flat = tf.reshape(sliced, [-1, self.slice_length, self.dimension])
        flat_mask = tf.reshape(real, [-1, self.slice_length])
        weights = tf.cast(flat_mask, flat.dtype)[:, :, tf.newaxis]
        states = self.input_dropout(flat + tf.cast(self.positions, flat.dtype), training=training)
        for block in self.blocks:
            states = block(states, flat_mask, training=training)
        # The events themselves are added once more: a slice is, first of all, what is in it.
        total = tf.reduce_sum((states + flat) * weights, 1)
        count = tf.reduce_sum(weights, 1)
        vectors = total / tf.sqrt(tf.maximum(count, 1))
        codes = self.encoder_code(self.encoder_hidden(vectors))
        rebuilt = self.decoder_vector(self.decoder_hidden(codes))
        filled = tf.cast(count > 0, vectors.dtype)

        def by_row(values: tf.Tensor, width: int) -> tf.Tensor:
            return tf.reshape(values * filled, [-1, self.slices, width])

        return {
            "vectors": by_row(vectors, self.dimension),
            "codes": by_row(codes, self.code_dimension),
            "reconstructions": by_row(rebuilt, self.dimension),
            "slice_mask": tf.reshape(count > 0, [-1, self.slices]),
            "newest": tf.reshape(states * weights, [-1, kept, self.dimension])[:, -1],
            "positions": places,
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dimension": self.dimension,
            "code_dimension": self.code_dimension,
            "slice_length": self.slice_length,
            "slices": self.slices,
            "layers": self.layers,
            "heads": self.heads,
            "dropout": self.dropout,
        }


def newest_positions(mask: tf.Tensor, kept: int) -> tf.Tensor:
    """Places of the `kept` newest events of each row, int32 [B, kept], right-aligned, -1 where there is none.

    Args:
      mask: bool [B, H]; a row's real events come first, oldest first.
      kept: how many to keep.
    """
    lengths = tf.reduce_sum(tf.cast(mask, tf.int32), 1, keepdims=True)
    return tf.maximum(lengths - kept + tf.range(kept)[tf.newaxis, :], -1)


def newest_events(positions: tf.Tensor, most: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The newest known events of each row.

    Args:
      positions: int [B, H], rows of the catalogue, oldest first; -1 for padding and unknown items, which leave no gap.
      most: of them that are kept.

    Returns:
      (rows int [B, L], 0 where there is none; mask bool [B, L]), right-aligned; L is no more than a row has.
    """
    order = tf.argsort(tf.cast(positions < 0, tf.int32), stable=True)
    positions = tf.gather(positions, order, batch_dims=1)
    known = positions >= 0
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(known, tf.int32), 1))
    places = newest_positions(known, tf.clip_by_value(longest, 1, most))
    rows = tf.gather(positions, tf.maximum(places, 0), batch_dims=1)
    return tf.where(places >= 0, rows, 0), places >= 0
