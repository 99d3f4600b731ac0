"""From words to a vector: BERT, pooling, projection."""

from __future__ import annotations

import pathlib
import types
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from transformers import BertConfig, TFBertModel

from models import fine_tuning as tuning
from models import perturbation, wordpiece
from models.layers.attention_prefix import AttentionPrefix
from models.options import TextEncoderOptions

_POOLINGS = ("mean", "cls", "max")
_TRAINABLE = ("frozen", "top_n", "full", "layerwise", "lora", "adapters", "prefix")


class ProfileEncoder(tf.keras.Model):
    """The profile vector p = W2·W1·pool(H), with H = BERT(x) the token states of a text x.

    W1 and W2 have no bias, so an empty text (all padding) is the zero vector, and BERT is not run for it.

    Args:
      bert_config: `transformers.BertConfig.to_dict()` of the BERT; `from_pretrained` brings pretrained weights.
      dimension: d, width of p.
      projection_dimension: width between W1 and W2. Defaults to `dimension`.
      pooling: `mean` over real tokens, `cls` (first token) or `max` over real tokens.
      fine_tuning: what of BERT is trained. `frozen`: nothing; `full`: everything; `top_n`: the last `top_n` Transformer
        layers; `layerwise`: everything, the lower the slower (`rate_factors`); `lora`: changes of low rank to the query
        and value projections; `adapters`: small networks behind each attention and feed-forward part; `prefix`: keys
        and values beside the text's own. Poolings never read BERT's own pooler, so it is not trained.
      top_n: layers trained with `top_n`.
      layer_decay: factor of the learning rate from one layer to the one below, with `layerwise`.
      lora_rank, lora_alpha: r and α of `LoraDense`.
      adapter_size: bottleneck of `AdapterDense`.
      prefix_length: keys and values of `AttentionPrefix`.
      pad_id: id of [PAD].

    Call arguments:
      tokens: int [B, L], WordPiece ids; `pad_id` marks what is not there.

    Returns:
      float [B, d].

    Raises:
      ValueError: for an unknown `pooling` or `fine_tuning`, or a number that does not fit the BERT.

    Example:
      >>> encoder = ProfileEncoder.from_scratch(vocabulary_size=100, hidden_size=8, layers=1, heads=2,
      ...                                       intermediate_size=16, dimension=4)
      >>> encoder(tf.constant([[2, 7, 3, 0], [0, 0, 0, 0]])).shape
      TensorShape([2, 4])

    Reference: Devlin et al., BERT (2019); mean pooling as in Reimers and Gurevych, Sentence-BERT (2019).
    """

    def __init__(
        self,
        bert_config: dict[str, Any],
        dimension: int,
        projection_dimension: int | None = None,
        pooling: str = "mean",
        fine_tuning: str = "full",
        top_n: int = 2,
        layer_decay: float = 0.8,
        lora_rank: int = 8,
        lora_alpha: float = 16.0,
        adapter_size: int = 32,
        prefix_length: int = 8,
        pad_id: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if pooling not in _POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(_POOLINGS)}, not {pooling!r}.")
        if fine_tuning not in _TRAINABLE:
            raise ValueError(f"fine_tuning must be one of {', '.join(_TRAINABLE)}, not {fine_tuning!r}.")
        self.bert_config = dict(bert_config)
        self.dimension = dimension
        self.projection_dimension = projection_dimension or dimension
        self.pooling = pooling
        self.fine_tuning = fine_tuning
        self.top_n = top_n
        self.layer_decay = layer_decay
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.adapter_size = adapter_size
        self.prefix_length = prefix_length
        self.prefix: AttentionPrefix | None = None
        self.pad_id = pad_id
        config = BertConfig.from_dict(dict(bert_config))  # from_dict writes into what it is given
        if fine_tuning == "top_n" and not 0 < top_n <= config.num_hidden_layers:
            raise ValueError(
                f"top_n must lie between 1 and {config.num_hidden_layers}, the BERT's layers, not {top_n}."
            )
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay must lie above 0 and at most at 1, not {layer_decay}.")
        self.hidden_size = config.hidden_size
        self.bert = TFBertModel(config, name="bert")
        self.inner_projection = tf.keras.layers.Dense(
            self.projection_dimension, use_bias=False, name="inner_projection"
        )
        self.projection = tf.keras.layers.Dense(dimension, use_bias=False, name="projection")
        self._build_parts()

    @classmethod
    def from_scratch(
        cls,
        vocabulary_size: int,
        hidden_size: int,
        layers: int,
        heads: int,
        intermediate_size: int,
        max_length: int = 512,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> ProfileEncoder:
        """A BERT with random weights, for a vocabulary learned from the shop's own text."""
        config = BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=intermediate_size,
            max_position_embeddings=max_length,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        return cls(config.to_dict(), **kwargs)

    @classmethod
    def from_pretrained(cls, source: str, /, layers: int = 0, **kwargs: Any) -> ProfileEncoder:
        """A BERT with pretrained weights.

        Args:
          source: `packaged:minilm`, a name of the Hugging Face hub, or a folder that `TFBertModel` can read.
          layers: Transformer layers that are kept, evenly spaced up to the last one; 0 for all.
          **kwargs: as for the constructor.

        Raises:
          ValueError: if there are fewer layers.
        """
        packaged = source == wordpiece.PACKAGED_MINILM
        place = str(wordpiece.packaged_minilm_folder()) if packaged else source
        pretrained = TFBertModel.from_pretrained(place, local_files_only=pathlib.Path(place).is_dir())
        config, every = pretrained.config.to_dict(), pretrained.config.num_hidden_layers
        if layers > every:
            raise ValueError(f"{source} has {every} layers; expected at most so many to be kept of it, not {layers}.")
        kept = [(i + 1) * every // layers - 1 for i in range(layers)] if layers else list(range(every))
        encoder = cls({**config, "num_hidden_layers": len(kept)}, **kwargs)
        main = pretrained.bert
        parts = [main.embeddings, *(main.encoder.layer[i] for i in kept), main.pooler]
        theirs = [weight for part in parts for weight in part.weights]
        for weight, value in zip(encoder.bert_weights, theirs, strict=True):
            weight.assign(value)
        return encoder

    @classmethod
    def from_options(cls, options: TextEncoderOptions, vocabulary_size: int, **kwargs: Any) -> ProfileEncoder:
        """The BERT of a configuration.

        Args:
          options: `pretrained`, or the sizes of one from scratch.
          vocabulary_size: WordPieces that it must know.
          **kwargs: as for the constructor.

        Raises:
          ValueError: if the pretrained BERT knows fewer WordPieces.
        """
        numbers = ("top_n", "layer_decay", "lora_rank", "lora_alpha", "adapter_size", "prefix_length")
        common = {name: getattr(options, name) for name in numbers}
        common.update(pooling=options.pooling, fine_tuning=options.trainable, **kwargs)
        if options.pretrained:
            encoder = cls.from_pretrained(options.pretrained, layers=options.pretrained_layers, **common)
        else:
            sizes = (options.hidden_size, options.layers, options.heads, options.intermediate_size)
            encoder = cls.from_scratch(vocabulary_size, *sizes, **common)
        if encoder.bert_config["vocab_size"] < vocabulary_size:
            raise ValueError(
                f"the text encoder knows {encoder.bert_config['vocab_size']} WordPieces, but `transform.wordpiece` "
                f"makes {vocabulary_size}; expected the vocabulary of {options.pretrained!r}."
            )
        return encoder

    def _build_parts(self) -> None:
        tokens = tf.ones([1, 2], tf.int32)
        self.bert(input_ids=tokens, attention_mask=tokens)
        self.inner_projection.build([None, self.hidden_size])
        self.projection.build([None, self.projection_dimension])
        main = self.bert.bert
        # A plain object: Keras would track the list once more.
        self._pretrained = types.SimpleNamespace(weights=list(main.weights))
        if main.pooler is not None:
            main.pooler.trainable = False
        if self.fine_tuning == "frozen":
            self.bert.trainable = False
        elif self.fine_tuning == "top_n":
            tuning.train_top(main, self.top_n)
        elif self.fine_tuning == "lora":
            tuning.add_lora(main, self.lora_rank, self.lora_alpha)
        elif self.fine_tuning == "adapters":
            tuning.add_adapters(main, self.adapter_size)
        elif self.fine_tuning == "prefix":
            tuning.freeze(main)
            heads = main.config.num_attention_heads
            self.prefix = AttentionPrefix(
                main.config.num_hidden_layers, heads, self.prefix_length, self.hidden_size // heads, name="prefix"
            )

    @property
    def bert_weights(self) -> list[tf.Variable]:
        """The weights that BERT has by itself, whatever `fine_tuning` trains or adds, in one order."""
        return list(self._pretrained.weights)

    def rate_factors(self) -> Iterator[tuple[tf.Variable, float]]:
        """Weights that are trained slower than the learning rate says, with the factor of their rate."""
        if self.fine_tuning == "layerwise":
            yield from tuning.layer_factors(self.bert.bert, self.layer_decay)

    def merge(self) -> None:
        """Ends the training of `lora`: its changes become part of BERT's own weights, which are frozen."""
        if self.fine_tuning == "lora":
            tuning.merge_lora(self.bert.bert)
            self.fine_tuning = "frozen"
            self.bert.trainable = False

    def save_pretrained(self, folder: str) -> None:
        """Writes BERT with its own weights, without what `adapters` or `prefix` add, for `from_pretrained`."""
        plain = ProfileEncoder(self.bert.config.to_dict(), 1)
        for ours, theirs in zip(plain.bert_weights, self.bert_weights, strict=True):
            ours.assign(theirs)
        plain.bert.save_pretrained(folder)

    def pooler_kernel(self) -> tf.Tensor:
        """[h, h], the weights of BERT's own pooler (pretrained when BERT is)."""
        return self.bert.bert.pooler.dense.kernel

    def token_states(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        """H = BERT(x), float [B, L, h]; zero where there is no token."""
        tokens = tf.cast(tokens, tf.int32)
        mask = tf.cast(tf.not_equal(tokens, self.pad_id), tf.int32)
        states = self.states(tokens, mask, training and self.fine_tuning != "frozen", self.prefix)
        return states * tf.cast(mask, states.dtype)[:, :, tf.newaxis]

    def pool(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        """pool(H), float [B, h]; zero for an empty text. BERT runs only on the rows that hold a text."""
        return self._pool(tokens, training and self.fine_tuning != "frozen", self.prefix)

    def pool_alone(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        """As `pool`, but without a prefix, and with dropout in training even if BERT is frozen: for pretraining."""
        return self._pool(tokens, training, None)

    def _pool(self, tokens: tf.Tensor, training: bool, prefix: AttentionPrefix | None) -> tf.Tensor:
        tokens = tf.cast(tokens, tf.int32)
        rows = tf.where(tf.reduce_any(tf.not_equal(tokens, self.pad_id), 1))
        present = tf.gather(tokens, rows[:, 0])
        mask = tf.cast(tf.not_equal(present, self.pad_id), tf.int32)
        states = self.states(present, mask, training, prefix)
        weights = tf.cast(mask, states.dtype)[:, :, tf.newaxis]
        if self.pooling == "cls":
            pooled = states[:, 0, :]
        elif self.pooling == "max":
            pooled = tf.reduce_max(states + (1 - weights) * states.dtype.min / 2, 1)
        else:
            pooled = tf.reduce_sum(states * weights, 1) / tf.maximum(tf.reduce_sum(weights, 1), 1)
        shape = tf.stack([tf.shape(tokens, tf.int64)[0], tf.constant(self.hidden_size, tf.int64)])
        return tf.scatter_nd(rows, pooled, shape)

    def states(
        self, tokens: tf.Tensor, mask: tf.Tensor, training: bool = False, prefix: AttentionPrefix | None = None
    ) -> tf.Tensor:
        """H, float [B, L, h], of int32 tokens and mask [B, L], with what `prefix` adds to the text."""
        more: dict[str, Any] = {}
        if prefix is not None:
            more["past_key_values"] = prefix(mask)
            more["position_ids"] = tf.range(tf.shape(tokens)[1])[tf.newaxis]
            mask = tf.pad(mask, [[0, 0], [prefix.length, 0]], constant_values=1)
        more["input_ids"] = tokens
        if perturbation.active() and self.fine_tuning != "frozen":
            words = tf.cast(self.bert.bert.embeddings.weight, self.compute_dtype)
            more |= {"input_ids": None, "inputs_embeds": perturbation.embedded(tf.gather(words, tokens))}
        # AutoGraph would rewrite the whole code of BERT at its first trace; no tensor decides in it what is run.
        run = tf.autograph.experimental.do_not_convert(self.bert)
        return run(attention_mask=mask, training=training, **more).last_hidden_state

    def project(self, pooled: tf.Tensor) -> tf.Tensor:
        """W2·W1·pooled: [B, h] -> [B, d]."""
        return self.projection(self.inner_projection(pooled))

    def call(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.project(self.pool(tokens, training=training))

    def get_config(self) -> dict[str, Any]:
        # The attribute `bert_config` is one of Keras' tracking dicts, which JSON cannot hold.
        return {
            "name": self.name,
            "bert_config": self.bert.config.to_dict(),
            "dimension": self.dimension,
            "projection_dimension": self.projection_dimension,
            "pooling": self.pooling,
            "fine_tuning": self.fine_tuning,
            "top_n": self.top_n,
            "layer_decay": self.layer_decay,
            "lora_rank": self.lora_rank,
            "lora_alpha": self.lora_alpha,
            "adapter_size": self.adapter_size,
            "prefix_length": self.prefix_length,
            "pad_id": self.pad_id,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ProfileEncoder:
        del custom_objects
        return cls(**config)


def text_encoders(model: tf.keras.Model) -> list[ProfileEncoder]:
    """Every text encoder in a model, or that it is."""
    return [part for part in (model, *model.submodules) if isinstance(part, ProfileEncoder)]
