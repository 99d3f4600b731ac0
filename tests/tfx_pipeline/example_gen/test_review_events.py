"""Reviews as events of the history."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from models import features
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.review_events import with_reviews
from tfx_pipeline.settings import DecisionSettings

SESSIONS = DecisionSettings(kind="session", label_event_types=("buy",), review_events=True)


def reviews(*rows):
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "text", "timestamp"])
    return frame.astype({"timestamp": "int64", "rating": "float64"})


@pytest.mark.parametrize(
    ("rating", "kind"),
    [
        (5, "liked"),
        (4, "liked"),
        (3.9, "neutral"),
        (2.1, "neutral"),
        (2, "disliked"),
        (0, "disliked"),
        (None, "neutral"),
    ],
)
def test_a_rating_says_what_is_thought(shop, rating, kind):
    events = shop.events([("u", "a", "buy", 5, "s")])
    found = with_reviews(events, reviews(("u", "a", rating, "text", 9)))
    assert found["event_type"].tolist() == ["buy", f"review_{kind}"]
    assert found.columns.tolist() == events.columns.tolist()
    assert found.dtypes["timestamp"] == np.int64


def test_a_history_holds_the_reviews_from_before_it(shop):
    events = [
        ("u", "a", "buy", 5, "s"),
        ("u", "b", "view", 8, "t"),
        ("u", "b", "buy", 10, "x"),
        ("v", "c", "buy", 9, ""),
    ]
    written = reviews(("u", "a", 1, "broke", 7), ("u", "b", 5, "later", 10), ("v", "b", 5, "of another", 6))
    how = dataclasses.replace(SESSIONS)
    builder, logs = shop.build(how, Boundaries(0, 50, 60), events, shop.items("abc"), reviews=written)
    last = builder.decisions(logs["u"])[-1]
    assert last.history_item_ids.tolist() == ["a", "a", "b"]
    assert last.history_event_types.tolist() == ["buy", features.REVIEW_DISLIKED, "view"]
    assert last.history_timestamps.tolist() == [5, 7, 8]
    assert last.profile_text.startswith("broke")  # its text still counts as before


def test_reviews_make_no_decision_no_positive_and_no_sale(shop):
    events = [("u", "a", "buy", 5, "s"), ("u", "b", "buy", 10, "")]
    written = reviews(("u", "a", 5, "", 6), ("u", "c", 5, "", 10))
    builder, logs = shop.build(SESSIONS, Boundaries(0, 50, 60), events, shop.items("abc"), reviews=written)
    plain, plain_logs = shop.build(
        dataclasses.replace(SESSIONS, review_events=False), Boundaries(0, 50, 60), events, shop.items("abc")
    )
    found, before = builder.decisions(logs["u"]), plain.decisions(plain_logs["u"])
    assert [decision.time for decision in found] == [decision.time for decision in before] == [5, 10]
    for one, other in zip(found, before, strict=True):
        assert one.candidate_item_ids == other.candidate_item_ids
        assert one.labels.tolist() == other.labels.tolist()
    assert builder.stats.sales_counts.tolist() == plain.stats.sales_counts.tolist()


def test_no_reviews_change_nothing(shop):
    events = shop.events([("u", "a", "buy", 5, "s")])
    assert with_reviews(events, reviews()) is events
