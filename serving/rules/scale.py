"""Scores of any model on a scale on which a boost means the same for each of them.

Models here score with log-probabilities, logits, cosines or counts, so a factor on the score itself has no meaning:
log-probabilities are negative, and twice as much of them is less. What boosts act on is one of

* `standard`: (s − mean) / standard deviation, over the candidates of the request that the filters left. `add: 0.5`
  moves an item up by half a standard deviation, for any model; `multiply: b` adds ln b. It does not matter in what
  unit, and from what zero, a model counts.
* `log_probability`: log softmax(s), for models whose scores are log-probabilities or logits. `multiply: b` makes an
  item b times as likely beside the others (it adds ln b), `add: a` is the same as `multiply: e^a`.
* `rank`: 1 − (items that score higher) / n, from 1 down to 1/n; of the scores nothing but the order counts. `multiply`
  and `add` act on it as they say: `add: 0.1` moves an item past a tenth of the list.

On each of them a factor above 1 and a summand above 0 never move an item down.
"""

from __future__ import annotations

import math

import numpy as np

STANDARD, LOG_PROBABILITY, RANK = "standard", "log_probability", "rank"


def comparable(scores: np.ndarray, scale: str) -> np.ndarray:
    """float64 [n], scores on a scale.

    Args:
      scores: [n], finite or minus infinity (which stays so, or has the last rank).
      scale: `standard`, `log_probability` or `rank`.
    """
    scores = np.asarray(scores, np.float64)
    if not scores.size:
        return scores
    if scale == RANK:
        return 1 - (len(scores) - np.searchsorted(np.sort(scores), scores, side="right")) / len(scores)
    finite = scores if scores.min() > -np.inf else scores[scores > -np.inf]
    if not finite.size:
        return scores
    if scale == LOG_PROBABILITY:
        most = finite.max()
        return scores - most - np.log(np.exp(finite - most).sum())
    mean = finite.sum() / finite.size
    centred = finite - mean
    deviation = math.sqrt(centred @ centred / finite.size)
    # Equal numbers may differ in their last bits from their mean.
    deviation = deviation if deviation > 1e-12 * abs(mean) else 1.0
    return (centred if finite is scores else scores - mean) / deviation


def boosted(values: np.ndarray, scale: str, multiply: float | None, add: float | None) -> np.ndarray:
    """Values on a scale after a boost by a factor or a summand."""
    if multiply is None:
        return values + (add or 0.0)
    return values * multiply if scale == RANK else values + math.log(multiply)
