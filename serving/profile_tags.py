"""Tags that a tagger reads out of the profile text, among those that a ranking answers."""

from __future__ import annotations

import tensorflow as tf

from models import features
from serving import contract


class ProfileTags(tf.Module):
    """A pushed tagger inside of another model's graph.

    Of a tag that both have, the higher score counts. A tagger's scores are probabilities, those of a ranking shares of
    the whole catalogue, so what the text says mostly comes first.

    Args:
      folder: of the tagger's SavedModel.

    Raises:
      ValueError: if it is no SavedModel with the signature `tag`.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(name="profile_tags")
        try:
            self._loaded = tf.saved_model.load(folder)
        except OSError:
            raise ValueError(f"serve.tagger: {folder} cannot be loaded; expected a pushed tagger.") from None
        if contract.TAG not in self._loaded.signatures:
            there = ", ".join(sorted(self._loaded.signatures)) or "none"
            raise ValueError(
                f"serve.tagger: {folder} has no signature `{contract.TAG}`, only {there}; expected a pushed tagger."
            )

    def merge(self, texts: tf.Tensor, names: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best of both models' tags.

        Args:
          texts: string [B], profile texts.
          names, scores: [B, T], of the other model.

        Returns:
          (names, scores), [B, T], best first.
        """
        found = self._loaded.signatures[contract.TAG](**{features.TEXT: texts})
        theirs, said = found[contract.TAGS], found[contract.TAG_SCORES]
        real = tf.not_equal(theirs, "")
        same = tf.logical_and(tf.equal(names[:, :, tf.newaxis], theirs[:, tf.newaxis, :]), real[:, tf.newaxis, :])
        shared = tf.reduce_max(tf.where(same, scores[:, :, tf.newaxis], 0.0), 1)
        said = tf.where(real, tf.maximum(said, shared), -1.0)
        ours = tf.where(tf.reduce_any(same, 2), -1.0, scores)
        best, places = tf.math.top_k(tf.concat([said, ours], 1), tf.shape(names)[1])
        return tf.gather(tf.concat([theirs, names], 1), places, batch_dims=1), best
