"""How a training step finds its gradients."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import tensorflow as tf

from models import adversarial, augmentation, contrastive, features, perturbation
from models.accumulation import Found, Gradient, in_parts
from models.training_options import AdversarialOptions, ContrastiveOptions
from models.uncertainty_weights import UncertaintyWeights

if TYPE_CHECKING:
    from models.candidate_model import CandidateModel
    from models.catalogue_model import CatalogueModel

ADVERSARIAL, CONTRASTIVE = "adversarial", "contrastive"

NO_ADVERSARY, NO_CONTRAST = AdversarialOptions(), ContrastiveOptions()


class TrainingStep:
    """Losses and gradients of a batch: the model's own, and what is trained beside it.

    L = Σ_i w_i·L_i + w_a·L_adversarial + w_c·L_contrastive, the last two where they have a weight. L_adversarial is
    Σ_i w_i·L_i of the same draws with embeddings moved against it (`fgm`), or how far the distribution over the
    catalogue moves with them (`vat`, without dropout). L_contrastive is that of `encode_user`'s vectors of two views of
    the batch's histories.

    It is no part of the model: a SavedModel, or a twin of the model, has none of it.

    Args:
      parts: in which a batch is worked off, one after the other (gradient accumulation).
      adversary: of the embeddings.
      contrast: of histories.
      weighting: w_i, learned; None for those of the model itself.

    Attributes:
      trackers: running means of the losses that the model itself does not have.
      variables: what is trained beside the model's own.
    """

    def __init__(
        self,
        parts: int = 1,
        adversary: AdversarialOptions = NO_ADVERSARY,
        contrast: ContrastiveOptions = NO_CONTRAST,
        weighting: UncertaintyWeights | None = None,
    ) -> None:
        if parts < 1:
            raise ValueError(f"parts must be at least 1, not {parts}.")
        self.parts = parts
        self._adversary, self._contrast, self._weighting = adversary, contrast, weighting
        kinds = {ADVERSARIAL: adversary.kind != "none", CONTRASTIVE: contrast.weight > 0}
        self.trackers = {name: tf.keras.metrics.Mean(name=name) for name, used in kinds.items() if used}
        self.variables = list(weighting.trainable_variables) if weighting else []

    def __call__(self, model: CandidateModel, inputs: Any, labels: tf.Tensor) -> tuple[dict[str, tf.Tensor], Any]:
        """(losses by name, gradients with their variables as `apply_gradients` wants them)."""
        variables = [*model.trainable_variables, *self.variables]

        def compute(part: Any) -> Found:
            return self._part(model, part[0], part[1], variables)

        if self.parts == 1:
            found, gradients = compute((inputs, labels))
        else:
            names = [*model.trackers, *self.trackers]
            found, gradients = in_parts(compute, (inputs, labels), self.parts, variables, names)
        if hasattr(model.optimizer, "get_unscaled_gradients"):
            gradients = model.optimizer.get_unscaled_gradients(gradients)
        return found, [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]

    def _part(self, model: CandidateModel, inputs: Any, labels: tf.Tensor, variables: list[tf.Variable]) -> Found:
        fgm = self._adversary.kind == "fgm"
        nothing = perturbation.Noted()
        recording: contextlib.AbstractContextManager[perturbation.Noted]
        recording = perturbation.recording() if fgm else contextlib.nullcontext(nothing)
        with tf.GradientTape() as tape:
            with recording as noted:
                found = self._losses(model, inputs, labels)
            total = found["loss"]
            if self._adversary.kind == "vat":
                found[ADVERSARIAL] = self._virtual(_of_users(model), inputs, tape)
                total += self._adversary.weight * found[ADVERSARIAL]
            if self._contrast.weight:
                found[CONTRASTIVE] = self._contrastive(_of_users(model), inputs)
                total += self._contrast.weight * found[CONTRASTIVE]
            scaled = _scaled(model, total)
        gradients, slopes = tape.gradient(scaled, [variables, noted.points])
        if fgm:
            moves = adversarial.along(slopes, noted.points, self._adversary.epsilon)
            with tf.GradientTape() as tape, perturbation.perturbing(noted, moves):
                found[ADVERSARIAL] = self._losses(model, inputs, labels)["loss"]
                more = self._adversary.weight * found[ADVERSARIAL]
                scaled = _scaled(model, more)
            total += more
            gradients = [_sum(*pair) for pair in zip(gradients, tape.gradient(scaled, variables), strict=True)]
        return {**found, "loss": total}, gradients

    def _losses(self, model: CandidateModel, inputs: Any, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        found = dict(model.compute_losses(inputs, labels, training=True))
        if self._weighting:
            found["loss"] = self._weighting(found)
        return found

    def _virtual(self, model: CatalogueModel, inputs: Any, tape: tf.GradientTape) -> tf.Tensor:
        def distribution() -> tf.Tensor:
            return model.score_catalogue(model.encode_user(inputs))

        return adversarial.virtual_loss(tape, distribution, self._adversary.epsilon, lambda loss: _scaled(model, loss))

    def _contrastive(self, model: CatalogueModel, inputs: Any) -> tf.Tensor:
        options = self._contrast
        shares = {"crop": options.crop, "mask": options.mask, "reorder": options.reorder}
        seeds = tf.random.uniform([2, 2], maxval=tf.int32.max, dtype=tf.int32)
        views = [augmentation.view(inputs, shares, seeds[i]) for i in range(2)]
        vectors = [model.encode_user(one, training=True).vector for one in views]
        real = tf.reduce_any(inputs[features.HISTORY_ITEMS_XF] >= features.FIRST_KNOWN_ID, 1)
        return contrastive.info_nce(vectors[0], vectors[1], real, options.temperature)


def _of_users(model: CandidateModel) -> CatalogueModel:
    """The model, as one that encodes users; TypeError if it does not."""
    if not hasattr(model, "encode_user"):
        raise TypeError(f"{model.name} does not encode users; expected neither `vat` nor a contrastive loss for it.")
    return cast("CatalogueModel", model)


def _scaled(model: CandidateModel, loss: tf.Tensor) -> tf.Tensor:
    """What is differentiated: gradients are summed over replicas, so each brings its share; half precision scales."""
    loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
    return model.optimizer.get_scaled_loss(loss) if hasattr(model.optimizer, "get_scaled_loss") else loss


def _sum(one: Gradient, other: Gradient) -> Gradient:
    if one is None or other is None:
        return one if other is None else other
    if isinstance(one, tf.IndexedSlices) and isinstance(other, tf.IndexedSlices):
        values, indices = tf.concat([one.values, other.values], 0), tf.concat([one.indices, other.indices], 0)
        return tf.IndexedSlices(values, indices, one.dense_shape)
    return tf.convert_to_tensor(one) + tf.convert_to_tensor(other)
