"""The signatures of a tagger as graph: raw text in, tags and labels of words out."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from models import features, tagger, text_words, word_tensors
from models.tagger import ProfileTagger
from serving import contract

_DTYPES = {"string": tf.string, "int64": tf.int64, "float": tf.float32}

#: Between the parts of a profile, as ExampleGen joins them.
_BETWEEN = "; "


class TaggerServable(tf.Module):
    """A trained tagger with its preprocessing, ready for `tf.saved_model.save`.

    A tag is answered if its probability reaches the tag's own threshold, at most `top_tags` a text, best first; short
    rows end in "" and 0.

    Args:
      model: trained, with thresholds.
      transform: callable layer, raw features -> transformed ones (Transform's graph).
      tags: names, in the order of the model's outputs.
      context_columns: declared context columns; `profile` takes them and does not read them.
      top_tags: most tags of a text.
    """

    def __init__(
        self,
        model: ProfileTagger,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        tags: Sequence[str],
        context_columns: tuple[str, ...],
        top_tags: int = 10,
    ) -> None:
        super().__init__(name="tagger_servable")
        # The graphs capture the model's variables; the Keras objects themselves stay out of the SavedModel.
        self._untracked = types.SimpleNamespace(model=model)
        self._weights = list(model.weights)
        self.transform = transform
        self._context = context_columns
        self._top_tags = min(top_tags, len(tags))
        self._tag_names = tf.Variable(list(tags), trainable=False, dtype=tf.string, name="tag_names")

    def signatures(self, names: Sequence[str]) -> dict[str, Any]:
        """Concrete functions by the names of signatures, `serving_default` always among them."""
        made = {contract.SERVING_DEFAULT: self._serving_default_function()}
        for name, function in ((contract.PROFILE, self._profile), (contract.TAG, self._tag)):
            if name in names:
                specs = {
                    part.name: tf.TensorSpec([None] * part.rank, _DTYPES[part.dtype], name=part.name)
                    for part in contract.signature_inputs(name, self._context)
                }
                made[name] = tf.function(function).get_concrete_function(**specs)
        return made

    def _serving_default_function(self) -> Any:
        # Labels, which examples of Evaluator have, are passed over.
        spec = {features.TEXT: tf.io.FixedLenFeature([1], tf.string, default_value=[b""])}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=contract.EXAMPLES)])
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._tag(**{features.TEXT: tf.io.parse_example(examples, spec)[features.TEXT][:, 0]})

        return serving_default.get_concrete_function()

    def _profile(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        profile, query = inputs[features.PROFILE_TEXT], inputs[features.QUERY]
        both = tf.logical_and(tf.not_equal(profile, ""), tf.not_equal(query, ""))
        text = tf.strings.join([profile, tf.where(both, _BETWEEN, ""), query])
        found, placed = self._read(text)
        return {contract.VECTOR: found["vector"], **self._best_tags(found[tagger.TAGS], placed)}

    def _tag(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        text = inputs[features.TEXT]
        found, placed = self._read(text)
        words = word_tensors.split(text).to_tensor("")
        words = tf.pad(words, [[0, 0], [0, tf.maximum(1 - tf.shape(words)[1], 0)]], constant_values="")
        width = tf.shape(words)[1]
        rows = _columns(tf.argmax(found[tagger.WORDS], -1), width)
        # A word that did not fit into what the model reads is outside.
        names = tf.gather(tf.constant(text_words.WORD_LABELS), rows)
        labels = tf.where(_columns(placed, width), names, text_words.OUTSIDE)
        return {
            **self._best_tags(found[tagger.TAGS], placed),
            contract.WORDS: words,
            contract.WORD_LABELS: tf.where(tf.equal(words, ""), "", labels),
            contract.WORD_SCORES: _columns(found["attention"], width),
            contract.SENTIMENT: tf.sigmoid(found[tagger.SENTIMENT]),
        }

    def _read(self, text: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What the model says of texts, and which words it has read, bool [B, W]."""
        inputs = self.transform({features.TEXT: text[:, tf.newaxis]})
        return self._untracked.model(inputs, training=False), inputs[features.TEXT_WORD_PLACES_XF] > 0

    def _best_tags(self, logits: tf.Tensor, placed: tf.Tensor) -> dict[str, tf.Tensor]:
        probability = tf.sigmoid(logits)
        said = tf.logical_and(probability >= self._untracked.model.thresholds, tf.reduce_any(placed, 1, keepdims=True))
        scores, places = tf.math.top_k(tf.where(said, probability, 0.0), self._top_tags)
        return {
            contract.TAGS: tf.where(scores > 0, tf.gather(self._tag_names, places), ""),
            contract.TAG_SCORES: scores,
        }


def _columns(values: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """The first `width` columns, with zeros where there are fewer."""
    kept = values[:, :width]
    return tf.pad(kept, [[0, 0], [0, width - tf.shape(kept)[1]]])
