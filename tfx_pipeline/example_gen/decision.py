"""One decision, as ExampleGen writes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Decision:
    """A user, a moment, what was known before it, and what is to be ranked.

    Attributes:
      split: `train`, `eval` or `recent`.
      user_id: of the user.
      time: the moment, seconds since 1970-01-01 UTC; everything but candidates and labels lies strictly before it.
      profile_text: free text, queries, reviews, titles.
      query: of the search that this decision is, else "".
      context: declared context column -> value; columns without a value are left out.
      history_item_ids, history_event_types: object [H] of `str`, oldest first.
      history_timestamps: int64 [H].
      candidate_item_ids: N ids, padded with "".
      candidate_text: N texts, "" where the model knows the item.
      labels: float32 [N], 1 positive, 0 negative, -1 padding.
      slices: slice feature -> value.
      label_event_types: N, the strongest label event of each positive, "" for the others; None where it is not asked.
      dropped_positives, dropped_impressions: how many found no room among the candidates.
    """

    split: str
    user_id: str
    time: int
    profile_text: str
    query: str
    context: dict[str, str]
    history_item_ids: np.ndarray
    history_event_types: np.ndarray
    history_timestamps: np.ndarray
    candidate_item_ids: list[str]
    candidate_text: list[str]
    labels: np.ndarray
    slices: dict[str, str]
    label_event_types: list[str] | None = None
    dropped_positives: int = 0
    dropped_impressions: int = 0
