"""What Trainer, Evaluator and the signature `rank` ask of any model that scores candidates."""

from __future__ import annotations

import abc
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from models.described_items import DescribedItems
from models.item_encoder import ItemTable
from models.layers.platt_scaling import PlattScaling
from models.layers.repeat_mixture import RepeatMixture
from models.profile_encoder import ProfileEncoder
from models.shopper import Shopper
from models.training_step import TrainingStep

Tensors = Mapping[str, tf.Tensor]


class CandidateModel(tf.keras.Model, metaclass=abc.ABCMeta):
    """A model that scores the candidates of a decision.

    A call scores candidates: inputs are transformed features by the names of `models.features`, the answer is float32
    [B, N], one score a candidate; candidates that are padding get a score too.

    Args:
      items: V, items of the catalogue.
      tracked: names of the losses that are tracked, where they are not those of the class.

    Attributes:
      LOSSES: names of the losses, of `models.options.LossOptions`, that the model has.
      text_encoder: the BERT whose pooled vectors it reads; None if it reads none.
      mixture: what its scores go through last, calibrated on held-out decisions; None if there is none.
      platt: as `mixture`, for scores that are logits of a click.
      one_decision_a_user: whether each user's newest decision, with its history, is all that training needs.
      servable: float [V], 1 for items that may be recommended.
      spare_items: so many rows at the end of the catalogue are kept by an export for items to come; 0 in training.
      kept_vectors: float [V, d], vectors of the items that are computed no more; None in training.
      training_step: how losses and gradients of a batch are found; Trainer puts in what the settings say.
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("catalogue",)
    #: Whether an item without events is known by its text or attributes: whether `put_items` writes anything.
    READS_ITEMS: ClassVar[bool] = False
    #: Whether each call computes vectors of all items from tables, so that serving had better keep them.
    COMPUTES_VECTORS: ClassVar[bool] = False
    #: Losses that are tracked beside, in their order.
    TRACKED: ClassVar[tuple[str, ...]] = ("catalogue",)
    text_encoder: ProfileEncoder | None
    mixture: RepeatMixture | None
    platt: PlattScaling | None
    one_decision_a_user: bool
    training_step: TrainingStep

    def __init__(self, items: int, tracked: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.items = items
        # Not on the class: Keras does not track what the class has an attribute for.
        self.text_encoder = None
        self.mixture = None
        self.platt = None
        self.one_decision_a_user = False
        self.spare_items = 0
        # A plain object, so that what is kept in it is none of the weights.
        self._kept = types.SimpleNamespace(vectors=None)
        self.servable = self.add_weight(
            name="servable", shape=[items], dtype="float32", initializer="ones", trainable=False
        )
        self.training_step = TrainingStep()
        names = ("loss", *(self.TRACKED if tracked is None else tracked))
        self.trackers = {name: tf.keras.metrics.Mean(name=name) for name in names}

    # --- what it reads -------------------------------------------------------------------------------------------

    @property
    def pooled_texts(self) -> tuple[str, ...]:
        """Token features of which only the text encoder's pooled vector is read."""
        return ()

    @property
    def token_texts(self) -> tuple[str, ...]:
        """Features of texts that are read as they are, beside or instead of being pooled."""
        return ()

    def set_catalogue(self, table: ItemTable, sales: np.ndarray, first_day: int) -> None:
        """Stores what is known of the items.

        Args:
          table: attributes and texts, V rows.
          sales: [days, V], label events per day.
          first_day: days since 1970-01-01 UTC of the first row of `sales`.
        """
        del sales, first_day
        self.servable.assign(table.servable.astype(np.float32))

    @property
    def learns_text(self) -> bool:
        """Whether training changes its BERT."""
        return self.text_encoder is not None and self.text_encoder.fine_tuning != "frozen"

    @property
    def counts(self) -> bool:
        """Whether `count` must be called before training, and in its place for a `CountedModel`."""
        return False

    def count(self, shoppers: Iterable[Shopper]) -> None:
        """Fills the tables that are counted, where the model has any.

        Args:
          shoppers: every user once.
        """

    def refresh_item_text(self) -> None:
        """Encodes the texts of all items anew, where there is a text encoder that may have changed."""

    # --- items that come after training ----------------------------------------------------------------------------

    @property
    def most_items(self) -> int | None:
        """Rows that a catalogue may have; None for as many as there is memory for."""
        return None

    def keep_spare(self, number: int) -> None:
        """Says that the last rows of the catalogue, `number` of them, are those of items to come."""
        self.spare_items = number

    @property
    def kept_vectors(self) -> tf.Variable | None:
        """As the class says."""
        return self._kept.vectors

    def keep_item_vectors(self) -> None:
        """Computes the vectors of all items for the last time, where `COMPUTES_VECTORS`; then it cannot be trained."""

    def put_items(self, rows: tf.Tensor, items: DescribedItems, texts: bool = True) -> None:
        """Writes what is known of n items into the rows of all tables that hold texts or attributes.

        What was learned of their ids, and counted, stays as it is; in rows that are spare that is nothing.

        Args:
          rows: int64 [n].
          items: n of them.
          texts: False writes the attributes alone, which needs no text encoder: the texts are what they were.
        """
        del rows, items, texts  # a body of a docstring alone is none that AutoGraph reads

    def rate_factors(self) -> Iterator[tuple[tf.Variable, float]]:
        """Weights that are trained slower than the learning rate says, with the factor of their rate."""
        if self.text_encoder is not None:
            yield from self.text_encoder.rate_factors()

    # --- training ------------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        return [*self.trackers.values(), *self.training_step.trackers.values()]

    @abc.abstractmethod
    def compute_losses(self, inputs: Tensors, labels: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Every loss with a weight, unweighted, and their weighted sum under `loss`."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, labels = data
        found, gradients = self.training_step(self, inputs, labels)
        self.optimizer.apply_gradients(gradients)
        return self._track(found)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        inputs, labels = data
        return self._track(self.compute_losses(inputs, labels, training=False))

    def _track(self, found: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        trackers = {**self.trackers, **self.training_step.trackers}
        for name, value in found.items():
            trackers[name].update_state(value)
        return {name: trackers[name].result() for name in found}
