"""Which weights of a BERT are trained, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from models.layers.adapter_dense import AdapterDense
from models.layers.lora_dense import LoraDense


def freeze(part: tf.keras.layers.Layer) -> None:
    """Freezes every weight that a BERT, or a part of it, has now; layers that are put into it later are trained."""
    for layer in [part, *part.submodules]:
        if isinstance(layer, tf.keras.layers.Layer) and layer.weights and not _holds_layers(layer):
            layer.trainable = False


def train_top(main: Any, number: int) -> None:
    """Freezes the embeddings and all Transformer layers of a TFBertMainLayer but the last `number`."""
    main.embeddings.trainable = False
    for layer in main.encoder.layer[: len(main.encoder.layer) - number]:
        layer.trainable = False


def add_lora(main: Any, rank: int, alpha: float) -> None:
    """Freezes a TFBertMainLayer and gives its query and value projections a `LoraDense`."""
    freeze(main)
    width = main.config.hidden_size
    for layer in main.encoder.layer:
        attention = layer.attention.self_attention
        attention.query = _built(LoraDense(attention.query, rank, alpha), width)
        attention.value = _built(LoraDense(attention.value, rank, alpha), width)


def merge_lora(main: Any) -> None:
    """Puts the merged projection in the place of each `LoraDense` of a TFBertMainLayer."""
    for layer in main.encoder.layer:
        attention = layer.attention.self_attention
        parts = {name: getattr(attention, name) for name in ("query", "key", "value")}
        for name in parts:
            delattr(attention, name)
        for name, part in parts.items():  # in the order of a fresh BERT, which is that of its weights
            setattr(attention, name, part.merged() if isinstance(part, LoraDense) else part)


def add_adapters(main: Any, size: int) -> None:
    """Freezes a TFBertMainLayer and puts an `AdapterDense` at the end of its attention and feed-forward parts."""
    freeze(main)
    for layer in main.encoder.layer:
        inner = layer.attention.dense_output
        inner.dense = _built(AdapterDense(inner.dense, size), main.config.hidden_size)
        outer = layer.bert_output
        outer.dense = _built(AdapterDense(outer.dense, size), main.config.intermediate_size)


def layer_factors(main: Any, decay: float) -> Iterator[tuple[tf.Variable, float]]:
    """Each weight below the last layer of a TFBertMainLayer, with decay^(layers between it and the last one).

    The embeddings lie below the first layer, so that their factor is decay^layers.

    Reference: Howard and Ruder, Universal Language Model Fine-tuning (2018); Clark et al., ELECTRA (2020).
    """
    for depth, part in enumerate(reversed([main.embeddings, *main.encoder.layer])):
        if depth:
            yield from ((weight, decay**depth) for weight in part.trainable_weights)


def _holds_layers(layer: tf.keras.layers.Layer) -> bool:
    """Whether all weights of a layer belong to layers in it."""
    inner = {id(w) for part in layer.submodules if isinstance(part, tf.keras.layers.Layer) for w in part.weights}
    return all(id(weight) in inner for weight in layer.weights)


def _built(layer: tf.keras.layers.Layer, width: int) -> tf.keras.layers.Layer:
    with tf.name_scope(layer.name):
        layer.build([None, None, width])
    return layer
