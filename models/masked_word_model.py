"""A BERT that fills in masked words."""

from __future__ import annotations

import pathlib
from typing import Any

import tensorflow as tf
from transformers import BertConfig, TFBertForMaskedLM

from models import wordpiece


class MaskedWordModel(tf.keras.Model):
    """log p(w | x) of the words at the one [MASK] of each text, by a head tied to BERT's word embeddings.

    Sentence encoders such as the packaged all-MiniLM-L6-v2 bring no such head: only its output embeddings are theirs,
    and the rest of it means nothing before `masked_loss` has been trained on texts.

    Args:
      bert_config: `transformers.BertConfig.to_dict()`; `from_pretrained` brings pretrained weights.
      mask_id, pad_id: ids of [MASK] and [PAD].

    Call arguments:
      tokens: int [B, L], each row with one [MASK].

    Returns:
      float32 [B, W], log-probabilities of the vocabulary's W words at the [MASK].

    Example:
      >>> config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
      ...                     intermediate_size=8).to_dict()
      >>> MaskedWordModel(config, mask_id=4)(tf.constant([[2, 9, 4, 3]])).shape
      TensorShape([1, 20])

    Reference: Devlin et al., BERT (2019).
    """

    def __init__(self, bert_config: dict[str, Any], mask_id: int, pad_id: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_id = mask_id
        self.pad_id = pad_id
        self.network = TFBertForMaskedLM(BertConfig.from_dict(dict(bert_config)), name="network")
        self.network(tf.constant([[mask_id]]))

    @classmethod
    def from_pretrained(cls, source: str, mask_id: int, **kwargs: Any) -> MaskedWordModel:
        """With pretrained weights; what `source` lacks (see the class) starts random.

        Args:
          source: `packaged:minilm`, a name of the Hugging Face hub, or a folder.
          mask_id: id of [MASK].
          **kwargs: as for the constructor.
        """
        packaged = source == wordpiece.PACKAGED_MINILM
        place = str(wordpiece.packaged_minilm_folder()) if packaged else source
        pretrained = TFBertForMaskedLM.from_pretrained(place, local_files_only=pathlib.Path(place).is_dir())
        model = cls(pretrained.config.to_dict(), mask_id, **kwargs)
        model.network.set_weights(pretrained.get_weights())
        return model

    def call(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        states = self._states(tokens, training)
        masked = tf.cast(tf.equal(tokens, self.mask_id), states.dtype)
        return tf.nn.log_softmax(self._logits(tf.einsum("bl,blh->bh", masked, states)))

    def pool(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Mean of the token states, float [B, h]."""
        states = self._states(tokens, training)
        weights = tf.cast(tf.not_equal(tokens, self.pad_id), states.dtype)[:, :, tf.newaxis]
        return tf.reduce_sum(states * weights, 1) / tf.maximum(tf.reduce_sum(weights, 1), 1)

    def masked_loss(self, tokens: tf.Tensor, words: tf.Tensor, training: bool = True) -> tf.Tensor:
        """Mean cross-entropy of the words that `masked_language_model.hide_words` has hidden; 0 without any.

        Args:
          tokens: int [B, L].
          words: int [B, L], what stood there; [PAD] where nothing is to be found.
          training: with dropout.
        """
        asked = tf.where(tf.not_equal(words, self.pad_id))
        logits = self._logits(tf.gather_nd(self._states(tokens, training), asked))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.gather_nd(words, asked), logits=logits)
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.cast(tf.shape(asked)[0], tf.float32))

    def _states(self, tokens: tf.Tensor, training: bool) -> tf.Tensor:
        """Of each token, float [B, L, h]."""
        mask = tf.cast(tf.not_equal(tokens, self.pad_id), tf.int32)
        return self.network.bert(input_ids=tokens, attention_mask=mask, training=training).last_hidden_state

    def _logits(self, states: tf.Tensor) -> tf.Tensor:
        """Of the words, float [n, W], for states [n, h]: so many words cost as much as the layers, so ask for few n."""
        return self.network.mlm(sequence_output=states[:, tf.newaxis])[:, 0]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "bert_config": self.network.config.to_dict(),
            "mask_id": self.mask_id,
            "pad_id": self.pad_id,
        }
