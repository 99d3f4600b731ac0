"""Reviews as events of the history, so that what users thought of items reaches models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models import features

#: A rating from `LIKED` on, and one up to `DISLIKED`, says what the user thinks.
LIKED, DISLIKED = 4.0, 2.0


def with_reviews(events: pd.DataFrame, reviews: pd.DataFrame) -> pd.DataFrame:
    """Events, and an event more for each review: at its moment, of its item, of a type that says what it thinks.

    A request brings such events like all others, so neither the contract nor the schema changes. They make no positives
    (they are of no label type) and no sales; like other events they make a user known.

    Args:
      events: `EVENT_COLUMNS`, one user's rows of a moment in their order.
      reviews: `REVIEW_COLUMNS`; a rating may be missing.

    Returns:
      A frame with the columns of `events`; of one moment the events come first.
    """
    rating = reviews["rating"].to_numpy(np.float64)
    kinds = np.where(rating >= LIKED, features.REVIEW_LIKED, features.REVIEW_NEUTRAL)
    kinds = np.where(rating <= DISLIKED, features.REVIEW_DISLIKED, kinds).astype(object)
    lived = pd.DataFrame({name: reviews[name].to_numpy() for name in ("user_id", "item_id", "timestamp")})
    lived = lived.assign(event_type=kinds, session_id="", query="", quantity=np.nan, price=np.nan)
    lived = lived.reindex(columns=events.columns).astype({"timestamp": "int64"})
    return pd.concat([events, lived], ignore_index=True) if len(lived) else events
