"""What a configuration says of a model and its losses: frozen dataclasses whose fields know what they may be."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

#: Keys of a field's metadata.
RANGE, CHOICES = "range", "choices"

#: Items that are drawn for a step's softmax where a configuration names no number and the catalogue is large.
SAMPLED_ITEMS = 4096


def number(default: Any, low: float, high: float) -> Any:
    """A field that is a number from `low` to `high`, or a tuple of such."""
    return field(default=default, metadata={RANGE: (low, high)})


def choice(*choices: str, default: Any = None) -> Any:
    """A field that is one of `choices`, or a tuple of such; the first one by default."""
    return field(default=choices[0] if default is None else default, metadata={CHOICES: choices})


@dataclass(frozen=True)
class TextEncoderOptions:
    """The BERT of a text encoder.

    Attributes:
      pretrained: "" for a BERT from scratch, `packaged:minilm`, a hub name or a folder.
      pretrained_layers: Transformer layers kept of a pretrained BERT, evenly spaced up to its last; 0 for all.
      trainable: `full`; `frozen`; `top_n` layers; `layerwise`, the lower the slower; or, with BERT's own weights
        frozen, `lora`, `adapters` or `prefix` (`models.profile_encoder`).
      top_n: transformer layers trained with `top_n`.
      layer_decay: factor of the learning rate from one layer to the one below, with `layerwise`.
      lora_rank, lora_alpha: of `lora`.
      adapter_size: width of the bottleneck of `adapters`.
      prefix_length: learned keys and values beside those of a text, with `prefix`.
      hidden_size, layers, heads, intermediate_size: of a BERT from scratch.
      pooling: `mean`, `cls` or `max`.
    """

    pretrained: str = ""
    pretrained_layers: int = number(0, 0, 1000)
    trainable: str = choice("full", "frozen", "top_n", "layerwise", "lora", "adapters", "prefix")
    top_n: int = number(2, 1, 1000)
    layer_decay: float = number(0.8, 0.01, 1)
    lora_rank: int = number(8, 1, 1e4)
    lora_alpha: float = number(16.0, 0, 1e4)
    adapter_size: int = number(32, 1, 1e5)
    prefix_length: int = number(8, 1, 1000)
    hidden_size: int = number(64, 1, 1e5)
    layers: int = number(2, 1, 1000)
    heads: int = number(2, 1, 1000)
    intermediate_size: int = number(128, 1, 1e6)
    pooling: str = choice("mean", "cls", "max")

    def check(self) -> None:
        """Raises a ValueError of one sentence if options do not go together."""
        if self.pretrained:
            return
        if self.hidden_size % self.heads:
            raise ValueError(
                f"`model.text_encoder.hidden_size` is {self.hidden_size} and `model.text_encoder.heads` {self.heads}; "
                "expected a size that the heads can share out evenly."
            )
        if self.trainable == "top_n" and self.top_n > self.layers:
            raise ValueError(
                f"`model.text_encoder.top_n` is {self.top_n} and `model.text_encoder.layers` {self.layers}; expected "
                "no more than there are."
            )
        if self.trainable == "lora" and self.lora_rank > self.hidden_size:
            raise ValueError(
                f"`model.text_encoder.lora_rank` is {self.lora_rank} and `model.text_encoder.hidden_size` "
                f"{self.hidden_size}; expected a rank of at most the width."
            )


#: How the BERT of a classifier of pairs of texts may be trained, of `TextEncoderOptions.trainable`.
PAIR_FINE_TUNING = ("frozen", "top_n", "full")


@dataclass(frozen=True)
class ModelOptions:
    """What every entry of the zoo has; an entry's own options extend it.

    Attributes:
      entry: name of the entry.
    """

    entry: str = ""

    def check(self) -> None:
        """Raises a ValueError of one sentence if options do not go together."""

    @property
    def text_encoders(self) -> dict[str, TextEncoderOptions]:
        """The BERTs of the model, by the names of their options."""
        return {}

    @property
    def task_weights(self) -> dict[str, float]:
        """Weights in the served score of label event types that have scores of their own; {} without such tasks."""
        return {}

    @property
    def item_data(self) -> dict[str, str]:
        """Options that are on -> the setting of `data` without which the catalogue does not bring what they read."""
        return {}

    @property
    def reads_slate(self) -> bool:
        """Whether a candidate's score depends on what else a decision's candidates are."""
        return False

    @property
    def static_shapes(self) -> bool:
        """Whether the shapes in a training step follow from those of its batch, as XLA wants it."""
        return True


@dataclass(frozen=True)
class SequenceTransformerOptions(ModelOptions):
    """What an entry with a Transformer over the items of the history has.

    Attributes:
      dimension: d, width of item and user vectors.
      max_history: newest events that are read.
      layers, heads: of the Transformer.
      intermediate: width of the feed-forward part.
      dropout: of embeddings, attention and both branches of a layer.
    """

    dimension: int = number(64, 1, 1e5)
    max_history: int = number(50, 1, 1e5)
    layers: int = number(2, 1, 1000)
    heads: int = number(2, 1, 1000)
    intermediate: int = number(256, 1, 1e6)
    dropout: float = number(0.5, 0, 0.99)

    def check(self) -> None:
        if self.dimension % self.heads:
            raise ValueError(
                f"`model.dimension` is {self.dimension} and `model.heads` {self.heads}; expected a dimension that the "
                "heads can share out evenly."
            )


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses; 0 switches one off, and a model passes over those that it does not have.

    Attributes:
      catalogue: full-softmax cross-entropy over the catalogue for the positives.
      listwise: softmax cross-entropy over the labelled candidates.
      binary: sigmoid cross-entropy over the labelled candidates.
      reconstruction: the autoencoder's (softmax over the slice's items plus MSE of its vector).
      label_smoothing: of the catalogue loss.
      weighting: `fixed`, or `uncertainty`: each loss that has a weight starts with it and learns its own, by its own
        log variance (`models.uncertainty_weights`).
      sampled_items: items drawn for each step's softmax, corrected for the drawing; 0 takes the whole catalogue if it
        has at most `full_softmax_items`, and else draws `SAMPLED_ITEMS` (see `sampled`).
      full_softmax_items: of the largest catalogue that is taken whole where `sampled_items` is 0.
      task_weights: task of a model with `tasks` -> weight of its catalogue loss, times `catalogue`; 1 where it is not
        named.
    """

    catalogue: float = number(1.0, 0, 1e6)
    listwise: float = number(0.0, 0, 1e6)
    binary: float = number(0.0, 0, 1e6)
    reconstruction: float = number(0.1, 0, 1e6)
    label_smoothing: float = number(0.0, 0, 0.99)
    weighting: str = choice("fixed", "uncertainty")
    sampled_items: int = number(0, 0, 1e7)
    full_softmax_items: int = number(50_000, 0, 1e9)
    task_weights: dict[str, float] = field(default_factory=dict, metadata={RANGE: (1e-3, 1e3)})

    def sampled(self, items: int) -> LossOptions:
        """The same with the `sampled_items` that a catalogue of so many items is trained with.

        Label smoothing spreads over the whole catalogue, so with it nothing is drawn that is not asked for.
        """
        if self.sampled_items or self.label_smoothing or items <= self.full_softmax_items:
            return self
        return dataclasses.replace(self, sampled_items=SAMPLED_ITEMS)


@dataclass(frozen=True)
class QueryOptions:
    """Queries for training and validation decisions that have none, from the titles of what was then chosen.

    Attributes:
      share: of the train decisions without a query that are given one, drawn anew for each epoch; of the validation
        decisions all are, once and without typos. 0 gives none.
      most_words: 1 to so many words of the title.
      typos: share of the queries of train decisions in which a word gets a typo.
    """

    share: float = number(0.0, 0, 1)
    most_words: int = number(3, 1, 20)
    typos: float = number(0.0, 0, 1)
