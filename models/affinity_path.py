"""What of the history has an item's category, brand and price level: said of items that nobody has chosen yet, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from models.paths import RepeatPath


class AffinityPath(tf.keras.layers.Layer):
    """score(j) = Σ_k g_k(f_k(a_kj), q): a_kj is item j's attribute of kind k, f_k what the whole history has of it.

    f_k(a) are the features that `RepeatPath` counts, of events with items of the attribute a in place of events with
    one item; q says whether something is asked for, g_k is an MLP that starts at 0. An attribute that the history has
    nothing of adds nothing. Nothing is learned of an item itself, so that a new one is scored like any other.

    A step holds hidden_dimension numbers for each decision and value of a kind, however few items are wanted.

    Args:
      sizes: of each kind, its number of values, 0 for "none" included.
      event_types: size of the vocabulary of event types.
      decay_days: initial time constants of `RepeatPath`.
      hidden_dimension: of the MLPs.

    Call arguments:
      attributes: of each kind, int [V], the value of every item; 0 for none.
      positions: int [B, H], row of the event's item in the catalogue; -1 for padding and unknown items.
      types: int [B, H], ids of the event types.
      gaps: float [B, H], age of the event in days.
      asked: float [B, 1], 1 for decisions with a query.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V or R].

    Raises:
      ValueError: without a kind, or if a time constant is not positive.

    Example:
      >>> path = AffinityPath(sizes=(3,), event_types=3, decay_days=(10.0,))
      >>> attributes = [tf.constant([1, 1, 2, 0])]
      >>> history = tf.constant([[0, -1]]), tf.constant([[2, 0]]), tf.constant([[1.0, 0.0]])
      >>> path(attributes, *history, tf.zeros([1, 1])).shape
      TensorShape([1, 4])

    Reference: counts of a session's categories among the features of Romov and Sokolov, RecSys Challenge 2015: ensemble
    learning with categorical features (2015); the counts themselves as in `RepeatPath`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        event_types: int,
        decay_days: Sequence[float],
        hidden_dimension: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if not sizes:
            raise ValueError("sizes are empty; expected the number of values of one kind of attribute at least.")
        self.sizes = tuple(int(size) for size in sizes)
        self.event_types = event_types
        self.decay_days = tuple(float(days) for days in decay_days)
        self.hidden_dimension = hidden_dimension
        dense = tf.keras.layers.Dense
        kinds = range(len(self.sizes))
        self.counts = [
            RepeatPath(self.sizes[kind], event_types, self.decay_days, name=f"counts_{kind}", dtype="float32")
            for kind in kinds
        ]
        self.inner = [
            dense(hidden_dimension, activation="gelu", name=f"inner_{kind}", dtype="float32") for kind in kinds
        ]
        self.outer = [
            dense(1, use_bias=False, kernel_initializer="zeros", name=f"outer_{kind}", dtype="float32")
            for kind in kinds
        ]
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        for counts, inner, outer in zip(self.counts, self.inner, self.outer, strict=True):
            inner.build([None, counts.width + 1])
            outer.build([None, self.hidden_dimension])
        super().build(input_shape)

    def call(
        self,
        attributes: Sequence[tf.Tensor],
        positions: tf.Tensor,
        types: tf.Tensor,
        gaps: tf.Tensor,
        asked: tf.Tensor,
        rows: tf.Tensor | None = None,
    ) -> tf.Tensor:
        score: tf.Tensor = 0.0
        for kind, values in enumerate(attributes):
            values = tf.cast(values, tf.int32)
            own = tf.gather(values, tf.maximum(positions, 0))
            # "None" is no value that events have in common.
            own = tf.where(tf.logical_and(positions >= 0, own > 0), own, -1)
            counted, met, _ = self.counts[kind](own, types, gaps)
            said = tf.broadcast_to(asked[:, :, tf.newaxis], tf.shape(counted[:, :, :1]))
            by_value = self.outer[kind](self.inner[kind](tf.concat([counted, said], -1)))[:, :, 0] * met
            wanted = values if rows is None else tf.gather(values, rows)
            score += tf.gather(by_value, wanted, axis=1) * tf.cast(wanted > 0, tf.float32)
        return score

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "sizes": self.sizes,
            "event_types": self.event_types,
            "decay_days": self.decay_days,
            "hidden_dimension": self.hidden_dimension,
        }
