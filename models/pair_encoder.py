"""From two texts read together to one logit: a BERT that classifies pairs."""

from __future__ import annotations

import pathlib
from typing import Any

import tensorflow as tf
from transformers import BertConfig, TFAutoModelForSequenceClassification

from models import perturbation, wordpiece
from models.options import PAIR_FINE_TUNING, TextEncoderOptions


class PairEncoder(tf.keras.Model):
    """w·tanh(W·h_[CLS] + b) + c, h being the states of BERT over [CLS] first [SEP] second [SEP].

    It is `TFAutoModelForSequenceClassification` with one label: every token of one text attends to every token of the
    other, which costs a run of BERT for each pair. Pooler (W, b) and classifier (w, c) are trained in every mode.

    Args:
      bert_config: `transformers.BertConfig.to_dict()` of the BERT; `from_pretrained` brings pretrained weights.
      dropout: before the classifier.
      fine_tuning: `frozen`, `top_n` (the last `top_n` Transformer layers) or `full`.
      top_n: layers trained with `top_n`.

    Call arguments:
      ids: int [n, S], WordPiece ids, 0 is padding; see `pair_tokens`.
      types: int [n, S], 1 for tokens of the second text.

    Returns:
      float [n], logits.

    Raises:
      ValueError: for a `dropout` outside [0, 1), an unknown `fine_tuning`, or a `top_n` outside the BERT's layers.

    Example:
      >>> encoder = PairEncoder.from_scratch(vocabulary_size=20, hidden_size=8, layers=1, heads=2, intermediate_size=8)
      >>> encoder(tf.constant([[2, 7, 3, 9, 3]]), tf.constant([[0, 0, 0, 1, 1]])).shape
      TensorShape([1])

    Reference: Devlin et al., BERT (2019); as a cross-encoder for ranking, Nogueira and Cho, Passage Re-ranking with
    BERT (2019).
    """

    def __init__(
        self,
        bert_config: dict[str, Any],
        dropout: float = 0.1,
        fine_tuning: str = "full",
        top_n: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), not {dropout}.")
        if fine_tuning not in PAIR_FINE_TUNING:
            raise ValueError(f"fine_tuning must be one of {', '.join(PAIR_FINE_TUNING)}, not {fine_tuning!r}.")
        config = BertConfig.from_dict({**bert_config, "num_labels": 1, "classifier_dropout": dropout})
        if fine_tuning == "top_n" and not 0 < top_n <= config.num_hidden_layers:
            raise ValueError(
                f"top_n must lie between 1 and {config.num_hidden_layers}, the BERT's layers, not {top_n}."
            )
        self.bert_config = dict(bert_config)
        self.dropout = dropout
        self.fine_tuning = fine_tuning
        self.top_n = top_n
        self.classifier = TFAutoModelForSequenceClassification.from_config(config, name="classifier")
        one = tf.ones([1, 2], tf.int32)
        self.classifier(input_ids=one, attention_mask=one, token_type_ids=one)
        main = self.classifier.bert
        if fine_tuning != "full":
            main.embeddings.trainable = False
            kept = 0 if fine_tuning == "frozen" else top_n
            for layer in main.encoder.layer[: config.num_hidden_layers - kept]:
                layer.trainable = False

    @classmethod
    def from_scratch(
        cls,
        vocabulary_size: int,
        hidden_size: int,
        layers: int,
        heads: int,
        intermediate_size: int,
        max_length: int = 512,
        **kwargs: Any,
    ) -> PairEncoder:
        """A BERT with random weights, for a vocabulary learned from the shop's own text."""
        config = BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate_size,
            max_position_embeddings=max_length,
        )
        return cls(config.to_dict(), **kwargs)

    @classmethod
    def from_pretrained(cls, source: str, /, **kwargs: Any) -> PairEncoder:
        """A BERT with pretrained weights; its classifier, and a pooler that it lacks, are random.

        Args:
          source: `packaged:minilm`, a name of the Hugging Face hub, or a folder with a BERT.
          **kwargs: as for the constructor.

        Raises:
          ValueError: if the model there is no BERT.
        """
        packaged = source == wordpiece.PACKAGED_MINILM
        place = str(wordpiece.packaged_minilm_folder()) if packaged else source
        pretrained = TFAutoModelForSequenceClassification.from_pretrained(
            place, num_labels=1, local_files_only=pathlib.Path(place).is_dir(), ignore_mismatched_sizes=True
        )
        if pretrained.config.model_type != "bert":
            raise ValueError(f"{source} is a {pretrained.config.model_type!r}; expected a model of the type 'bert'.")
        encoder = cls(pretrained.config.to_dict(), **kwargs)
        ours, theirs = encoder.classifier.bert, pretrained.bert
        # Part by part: the order of a whole model's weights depends on which of them are trained.
        parts = [(ours.embeddings, theirs.embeddings), (ours.pooler, theirs.pooler)]
        parts.extend(zip(ours.encoder.layer, theirs.encoder.layer, strict=True))
        for part, source_part in parts:
            part.set_weights(source_part.get_weights())
        return encoder

    @classmethod
    def from_options(cls, options: TextEncoderOptions, vocabulary_size: int, **kwargs: Any) -> PairEncoder:
        """The BERT of a configuration.

        Args:
          options: `pretrained`, or the sizes of one from scratch; `pooling` is not looked at.
          vocabulary_size: WordPieces that it must know.
          **kwargs: as for the constructor.

        Raises:
          ValueError: if the pretrained BERT knows fewer WordPieces.
        """
        common = {"fine_tuning": options.trainable, "top_n": options.top_n, **kwargs}
        if options.pretrained:
            encoder = cls.from_pretrained(options.pretrained, **common)
        else:
            sizes = (options.hidden_size, options.layers, options.heads, options.intermediate_size)
            encoder = cls.from_scratch(vocabulary_size, *sizes, **common)
        if encoder.bert_config["vocab_size"] < vocabulary_size:
            raise ValueError(
                f"the text encoder knows {encoder.bert_config['vocab_size']} WordPieces, but `transform.wordpiece` "
                f"makes {vocabulary_size}; expected the vocabulary of {options.pretrained!r}."
            )
        return encoder

    def call(self, ids: tf.Tensor, types: tf.Tensor, training: bool = False) -> tf.Tensor:
        read = {"input_ids": ids}
        if perturbation.active() and self.fine_tuning != "frozen":
            words = tf.cast(self.classifier.bert.embeddings.weight, self.compute_dtype)
            read = {"input_ids": None, "inputs_embeds": perturbation.embedded(tf.gather(words, ids))}
        # AutoGraph would rewrite the whole code of BERT at its first trace; no tensor decides in it what is run.
        logits = tf.autograph.experimental.do_not_convert(self.classifier)(
            **read, attention_mask=tf.cast(ids != 0, tf.int32), token_type_ids=types, training=training
        ).logits
        return logits[:, 0]

    def get_config(self) -> dict[str, Any]:
        # The attribute `bert_config` is one of Keras' tracking dicts, which JSON cannot hold.
        return {
            "name": self.name,
            "bert_config": self.classifier.config.to_dict(),
            "dropout": self.dropout,
            "fine_tuning": self.fine_tuning,
            "top_n": self.top_n,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PairEncoder:
        del custom_objects
        return cls(**config)
