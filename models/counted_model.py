"""What the zoo's models without gradients share: they are counted, not trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf

from models import features
from models.catalogue_model import CatalogueModel, Tensors, catalogue_rows
from models.user_state import UserState


@dataclass
class CountedState(UserState):
    """`UserState` with the age of each event.

    Attributes:
      gaps: float [B, H], days from event to request.
      day: int [B], days since 1970-01-01 UTC of the request.
    """

    gaps: tf.Tensor
    day: tf.Tensor


class CountedModel(CatalogueModel):
    """A model whose numbers come from one pass over users instead of from gradients.

    Args:
      items: V.
    """

    LOSSES: ClassVar[tuple[str, ...]] = ()
    TRACKED: ClassVar[tuple[str, ...]] = ()

    def __init__(self, items: int, **kwargs: Any) -> None:
        super().__init__(items, **kwargs)
        self.one_decision_a_user = True

    @property
    def counts(self) -> bool:
        return True

    def encode_user(self, inputs: Tensors, training: bool = False) -> CountedState:
        del training
        positions = catalogue_rows(inputs[features.HISTORY_ITEMS_XF])
        return CountedState(
            vector=tf.zeros([tf.shape(positions)[0], 0]),
            positions=positions,
            gaps=tf.cast(inputs[features.HISTORY_GAPS_XF], tf.float32),
            day=inputs[features.REQUEST_DAY_XF],
        )

    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Raises a TypeError: there is nothing to train."""
        raise TypeError(f"{self.name} is counted, not trained; expected a call of `count`.")

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CountedModel:
        del custom_objects
        return cls(**config)


def summed(positions: tf.Tensor, weights: tf.Tensor, items: int) -> tf.Tensor:
    """Float [B, V], the sum of the weights of each item's events.

    Args:
      positions: int [B, H], rows of the catalogue; -1 counts nothing.
      weights: float [B, H].
      items: V.
    """
    batch, number = tf.unstack(tf.shape(positions))
    weights = tf.where(positions >= 0, weights, 0.0)
    indices = tf.stack([tf.repeat(tf.range(batch), number), tf.reshape(tf.maximum(positions, 0), [-1])], 1)
    return tf.scatter_nd(indices, tf.reshape(weights, [-1]), [batch, items])
