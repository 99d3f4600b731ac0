"""What a model makes of the user part of a request."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from models.catalogue_sampler import Sample


@dataclass
class UserState:
    """What every `CatalogueModel` makes of the user part of a request.

    Attributes:
      vector: u, float [B, d].
      positions: int [B, H], rows of the catalogue of the history, -1 for none.
    """

    vector: tf.Tensor
    positions: tf.Tensor


@dataclass
class RankerState(UserState):
    """What a `Ranker` makes of it. With a sample, V stands for its items.

    Attributes:
      query: float [B, d], zero without a query.
      features, repeated: interactions with the whole catalogue, [B, V, F] and [B, V]; None where switched off.
      match: float [B, V], what the query adds to an item's score, 0 without one.
      similar: float [B, V], what the history's items say of the others; None without co-occurrence,
        evidence and affinity.
      habits: float [B, 5], what the repeat mixture's gate sees: the user's numbers of `RepeatPath`, whether there is a
        query, and how much more of its match lies in the history than elsewhere; None without the mixture. With tasks
        [B, 6]: last what these say of it.
      slices: what `SliceAutoencoder` returned.
      items: vectors of the catalogue, float [V, d].
      servable: float [V], 1 for items that may be recommended.
      sample: the part of the catalogue that V stands for; None for the whole.
    """

    query: tf.Tensor
    features: tf.Tensor | None
    repeated: tf.Tensor | None
    habits: tf.Tensor | None
    match: tf.Tensor
    similar: tf.Tensor | None
    slices: dict[str, tf.Tensor]
    items: tf.Tensor
    servable: tf.Tensor
    sample: Sample | None = None
