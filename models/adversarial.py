"""Perturbations of embeddings that hurt most: FGM and VAT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from models import perturbation

#: Length of VAT's random probe, as a share of the length of what it probes.
PROBE = 0.01


def along(slopes: Sequence[tf.Tensor | None], points: Sequence[tf.Tensor], epsilon: float) -> list[tf.Tensor]:
    """ε·|x_b|·g_b/|g_b| for each row b of each embedding output x with slope g; float32, constants to any gradient.

    The length is relative, as if embeddings were normalised, so that no model evades it by growing, and one ε suits
    every entry. A row without a slope is not moved, nor one whose slope is not finite: half precision skips that step.

    Args:
      slopes: g of each of `points`; None where nothing depends on it.
      points: embedding outputs, float [n, …, d].
      epsilon: ε.

    Raises:
      ValueError: if there is no embedding output.

    Reference: Miyato et al., Adversarial Training Methods for Semi-Supervised Text Classification (2017).
    """
    if not points:
        raise ValueError("the model names no embedding outputs; expected `train.adversarial.kind: none` for it.")
    moves = []
    for slope, point in zip(slopes, points, strict=True):
        if slope is None:
            moves.append(tf.zeros_like(point, tf.float32))
            continue
        slope, size = tf.cast(slope, tf.float32), _lengths(tf.cast(point, tf.float32))
        length = _lengths(slope)
        direction = tf.where(tf.math.is_finite(length), tf.math.divide_no_nan(slope, length), 0.0)
        moves.append(tf.stop_gradient(epsilon * size * direction))
    return moves


def virtual_loss(
    tape: tf.GradientTape, distribution: Callable[[], tf.Tensor], epsilon: float, scale: Callable[[Any], Any]
) -> tf.Tensor:
    """Mean over rows of KL(p ‖ q): p the model's distribution, q that with its embeddings moved to change p most.

    The direction is found by one power iteration: the gradient of the same KL at a small random move.

    Args:
      tape: the one that will differentiate the loss; it does not record how the direction is found.
      distribution: -> logits, float32 [B, V]; the same at every call but for what `models.perturbation` moves.
      epsilon: length of the move, relative as for `along`.
      scale: of a loss before it is differentiated, for half precision.

    Reference: Miyato et al., Virtual Adversarial Training (2018).
    """
    with tape.stop_recording():
        with perturbation.recording() as noted:
            clean = distribution()
        points = noted.points
        probes = along([tf.random.normal(tf.shape(point)) for point in points], points, PROBE)
        with tf.GradientTape() as inner:
            inner.watch(probes)
            with perturbation.perturbing(noted, probes):
                divergence = scale(divergence_from(clean, distribution()))
        moves = along(inner.gradient(divergence, probes), points, epsilon)
    with perturbation.perturbing(noted, moves):
        return divergence_from(clean, distribution())


def divergence_from(clean: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
    """Mean over rows of KL(softmax(clean) ‖ softmax(moved)); `clean` is a constant to the gradient."""
    expected = tf.stop_gradient(tf.nn.log_softmax(clean))
    return tf.reduce_mean(tf.reduce_sum(tf.exp(expected) * (expected - tf.nn.log_softmax(moved)), -1))


def _lengths(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(x), list(range(1, x.shape.rank)), keepdims=True))
