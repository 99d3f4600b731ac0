"""Ranked lists as a table: scored by hand, against a plain reading of the metrics, and from the file."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import predictions

ITEMS = [f"i{number}" for number in range(40)]


def test_scores_by_hand():
    frame = predictions.to_frame([("u", ["a", "b", "c"], [3, 2, 1]), ("v", ["a"], [1]), ("nobody", ["a"], [1])])
    targets = {"u": {"b", "c", "x"}, "v": {"b"}, "silent": {"a"}, "empty": set()}
    values = predictions.score_users(frame, targets)
    assert values.index.tolist() == ["u", "v", "silent"]
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert values.loc["u"].tolist() == pytest.approx([2 / 3, (1 / math.log2(3) + 1 / 2) / ideal, 1])
    assert not values.loc[["v", "silent"]].to_numpy().any()
    expected = {"recall@10": 2 / 9, "ndcg@10": (ideal - 1) / ideal / 3, "hr@10": 1 / 3}
    assert predictions.score_predictions(frame, targets) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(ITEMS), unique=True, max_size=30), st.sets(st.sampled_from(ITEMS), min_size=1))
def test_scores_are_those_of_a_plain_reading(ranked, wanted):
    values = predictions.score_predictions(predictions.to_frame([("u", ranked, [0.0] * len(ranked))]), {"u": wanted})
    hits = [rank for rank, item in enumerate(ranked[:10], start=1) if item in wanted]
    most = min(10, len(wanted))
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, most + 1))
    assert values["recall@10"] == pytest.approx(len(hits) / most)
    assert values["ndcg@10"] == pytest.approx(sum(1 / math.log2(1 + rank) for rank in hits) / ideal)
    assert values["hr@10"] == pytest.approx(float(bool(hits)))


def test_the_top_20_are_kept_and_the_file_scores_the_same(tmp_path):
    frame = predictions.to_frame([("17850", ITEMS, range(40, 0, -1)), ("v", ITEMS[5:10], range(5))])
    assert frame.groupby("user_id").size().to_dict() == {"17850": 20, "v": 5}
    assert frame["rank"].tolist() == [*range(1, 21), *range(1, 6)]
    targets = {"17850": {"i3", "i19", "i30"}, "v": {"i7"}}
    file = tmp_path / "out.parquet"
    predictions.write(frame, file)
    pd.testing.assert_frame_equal(pd.read_parquet(file), frame)
    assert predictions.score_predictions(file, targets) == predictions.score_predictions(frame, targets)
    shuffled = frame.sample(frac=1, random_state=1)
    assert predictions.score_predictions(shuffled, targets) == predictions.score_predictions(frame, targets)


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path):
    file = tmp_path / "out.parquet"
    predictions.write(predictions.to_frame([("u", ["a"], [1])]), file)
    with pytest.raises(Exception, match="object"):
        predictions.write(pd.DataFrame({"user_id": ["u", 3, object()]}), file)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    assert pd.read_parquet(file)["item_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("u", 1, "a", 1.0), ("u", 2, "a", 0.5)], "item 'a' twice for user 'u'"),
        ([("u", 1, "a", 1.0), ("u", 3, "b", 0.5)], "rank 3 for item 'b' of user 'u'"),
        ([("u", 1, "a", 1.0), ("u", 1, "b", 0.5)], "expected ranks from 1 to at most 20 without gaps"),
        ([("u", rank, f"i{rank}", 0.0) for rank in range(1, 22)], "rank 21 for item 'i21'"),
    ],
)
def test_broken_tables_are_refused(rows, said):
    with pytest.raises(ValueError, match=said):
        predictions.score_users(pd.DataFrame(rows, columns=list(predictions.COLUMNS)), {"u": {"a"}})


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="lack the column 'rank'"):
        predictions.score_users(pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "score": [1.0]}), {"u": {"a"}})


def test_the_interval_is_that_of_the_normal_law_and_repeats():
    values = np.random.default_rng(3).normal(0.4, 0.2, 2000)
    low, high = predictions.confidence(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert predictions.confidence(values) == [low, high]
    many = np.tile(values, 200)
    half = 1.96 * values.std() / math.sqrt(len(many))
    assert predictions.confidence(many) == pytest.approx([values.mean() - half, values.mean() + half])
    assert predictions.confidence(np.full(5, 0.3)) == pytest.approx([0.3, 0.3])
