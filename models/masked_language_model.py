"""Learning a text encoder from text alone: words are hidden, and guessed from those around them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from transformers.models.bert.modeling_tf_bert import TFBertMLMHead

from models.profile_encoder import ProfileEncoder
from models.text_learner import TextLearner

#: Shares of the chosen words that become [MASK], and that become another word; the rest stays.
MASKED, REPLACED = 0.8, 0.1


class MaskedLanguageModel(TextLearner):
    """The cross-entropy of hidden words, −mean log P(word | text), with P = softmax(E·LN(gelu(W·h + b)) + c).

    E are the BERT's own word embeddings, so that they learn from both sides.

    Args:
      encoder: whose BERT learns, whatever its `fine_tuning` says.

    Reference: Devlin et al., BERT (2019).
    """

    def __init__(self, encoder: ProfileEncoder, **kwargs: Any) -> None:
        super().__init__(encoder, **{"name": "masked_language_model", **kwargs})
        main = encoder.bert.bert
        self.head = TFBertMLMHead(main.config, input_embeddings=main.embeddings, name="words")
        self.head.build(None)
        self.own = [self.head.predictions.bias, *self.head.predictions.transform.weights]

    def compute_text_loss(self, tokens: tf.Tensor, targets: tf.Tensor, training: bool) -> tf.Tensor:
        """The loss of one batch.

        Args:
          tokens: int32 [B, L], with hidden words.
          targets: int32 [B, L], the words that were there, and padding where nothing is asked.
          training: whether there is dropout.

        Returns:
          float32, 0 if nothing is asked.
        """
        mask = tf.cast(tf.not_equal(tokens, self.encoder.pad_id), tf.int32)
        states = self.encoder.states(tokens, mask, training)
        asked = tf.where(tf.not_equal(targets, self.encoder.pad_id))
        logits = self.head(tf.gather_nd(states, asked)[:, tf.newaxis])[:, 0]
        found = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.gather_nd(targets, asked), tf.cast(logits, tf.float32)
        )
        return tf.math.divide_no_nan(tf.reduce_sum(found), tf.cast(tf.size(found), tf.float32))


def hide_words(
    tokens: tf.Tensor,
    seed: tf.Tensor,
    share: float,
    special: tuple[int, ...],
    wordpieces: int,
    mask_id: int,
    pad_id: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Chooses words and hides them: 80% become [MASK], 10% another word, 10% stay.

    Args:
      tokens: int32 [B, L].
      seed: int [2]; the same for the same draw.
      share: of the words that are chosen.
      special: ids that are no words, and are neither chosen nor put in.
      wordpieces: size of the vocabulary.
      mask_id, pad_id: of [MASK] and [PAD].

    Returns:
      (tokens with hidden words, the chosen words and `pad_id` elsewhere), both int32 [B, L].
    """
    words = tf.constant(sorted(set(range(wordpieces)) - set(special)), tf.int32)
    is_word = tf.reduce_all(tokens[..., tf.newaxis] != tf.constant(special, tf.int32), -1)
    shape = tf.shape(tokens)
    draws = tf.unstack(tf.random.stateless_uniform(tf.concat([[3], shape], 0), seed))
    chosen = tf.logical_and(is_word, draws[0] < share)
    other = tf.gather(words, tf.cast(draws[2] * tf.cast(tf.size(words), tf.float32), tf.int32))
    put_in = tf.where(draws[1] < MASKED, mask_id, tf.where(draws[1] < MASKED + REPLACED, other, tokens))
    return tf.where(chosen, put_in, tokens), tf.where(chosen, tokens, pad_id)
