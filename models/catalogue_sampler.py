"""A part of the catalogue for one training step, where the whole is too large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models import perturbation


@dataclass
class Sample:
    """R items: all that the batch names, and those that were drawn.

    Attributes:
      rows: int32 [R], rows of the catalogue.
      positions, candidates: int32, as given to the sampler, but counted in `rows`; -1 stays -1.
      log_weights: float32 [R], log(times drawn / expected times drawn); -inf for items that were not drawn.
    """

    rows: tf.Tensor
    positions: tf.Tensor
    candidates: tf.Tensor
    log_weights: tf.Tensor

    def corrections(self, own: tf.Tensor) -> tf.Tensor:
        """What to add to each decision's scores, so that Σ exp(score) estimates the whole catalogue's without bias.

        Args:
          own: float [B, R], 1 for items that the decision itself names: they count once, for certain.

        Returns:
          float32 [B, R]: 0 for own items, the log weight for others that were drawn, -1e9 for the rest.
        """
        return tf.where(own > 0, 0.0, tf.maximum(self.log_weights, -1e9))


class CatalogueSampler:
    """Draws items with replacement, item i with probability q_i ∝ (1 + events of i)^power; forbidden ones never.

    It is no layer: what it draws by follows from the catalogue and only counts in training, so it is none of a model's
    weights, and a model has the same ones with a sampler and without.

    Args:
      items: V.
      samples: S, draws a step.
      power: 0 draws evenly, 1 by popularity.

    Call arguments:
      positions: int [B, H], rows of the histories; -1 for none.
      candidates: int [B, N], rows of the candidates; -1 for none.

    Returns:
      A `Sample` of R ≤ S + (items that the batch names) items.

    Raises:
      ValueError: if `samples` is below 1.

    Example:
      >>> sampler = CatalogueSampler(items=1000, samples=20)
      >>> sampler.set_table(np.ones(1000), np.ones(1000))
      >>> sample = sampler(tf.constant([[7, -1]]), tf.constant([[3]]))
      >>> tf.gather(sample.rows, [sample.positions[0, 0], sample.candidates[0, 0]]).numpy().tolist()
      [7, 3]

    Reference: Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic
    Language Model (2008); the power after Mikolov et al., Distributed Representations of Words and Phrases (2013).
    """

    def __init__(self, items: int, samples: int, power: float = 0.75) -> None:
        if samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}.")
        self.items = items
        self.samples = samples
        self.power = power
        # Even before `set_table`; float64: the steps of a million items' sum are below float32's resolution.
        even = tf.range(1, items + 1, dtype=tf.float64) / items
        self._cumulative = tf.Variable(even, trainable=False, name="cumulative")

    def set_table(self, events: np.ndarray, allowed: np.ndarray) -> None:
        """Stores the distribution: label events [V] and which items may be drawn [V]."""
        weights = np.power(1.0 + events.astype(np.float64), self.power) * (allowed > 0)
        self._cumulative.assign(np.cumsum(weights / weights.sum()))

    def __call__(self, positions: tf.Tensor, candidates: tf.Tensor) -> Sample:
        cumulative = tf.convert_to_tensor(self._cumulative)
        points = perturbation.uniform([self.samples], tf.float64) * cumulative[-1]
        drawn = tf.minimum(tf.searchsorted(cumulative, points, side="right"), self.items - 1)
        named = tf.concat([tf.reshape(positions, [-1]), tf.reshape(candidates, [-1])], 0)
        named = tf.cast(named, tf.int32)
        # Padding stands for any drawn item, so that it adds none.
        rows, places = tf.unique(tf.concat([drawn, tf.where(named >= 0, named, drawn[0])], 0))
        times = tf.math.unsorted_segment_sum(tf.ones_like(points), places[: self.samples], tf.size(rows))
        before = tf.where(rows > 0, tf.gather(cumulative, tf.maximum(rows - 1, 0)), 0)
        expected = (tf.gather(cumulative, rows) - before) / cumulative[-1] * self.samples
        log_weights = tf.math.log(times) - tf.math.log(tf.where(times > 0, expected, 1))
        local = tf.where(named >= 0, places[self.samples :], -1)
        size = tf.size(positions)
        return Sample(
            rows=rows,
            positions=tf.reshape(local[:size], tf.shape(positions)),
            candidates=tf.reshape(local[size:], tf.shape(candidates)),
            log_weights=tf.cast(log_weights, tf.float32),
        )
