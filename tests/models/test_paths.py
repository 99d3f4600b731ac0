"""RepeatPath and PopularityPath counted out one event at a time."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.paths import PopularityPath, RepeatPath

ITEMS, DECAY = 4, (7.0, 30.0)
events = st.lists(
    st.tuples(st.integers(-1, ITEMS - 1), st.integers(0, 2), st.floats(0, 400, width=32)), min_size=0, max_size=6
)


@pytest.fixture(scope="module")
def repeat_path():
    path = RepeatPath(ITEMS, 3, DECAY)
    path.type_weights.assign([-1.0, 0.5, 2.0])  # a negative weight counts as none
    path.log_decay.assign(np.log([5.0, 60.0]))
    return path


def count_out(history):
    """(features [V, F], repeated [V], user [3]) of one history of (row, type, age)."""
    known = [event for event in history if event[0] >= 0]
    ages = [age for _, _, age in known]
    user = [np.log1p(len(known)) / 5, np.log1p(min(ages, default=1e4)) / 4, np.log1p(len({e[0] for e in known})) / 5]
    rows = []
    for item in range(ITEMS):
        own = [(max([-1.0, 0.5, 2.0][kind], 0), age) for row, kind, age in known if row == item]
        decayed = [sum(weight * np.exp(-age / tau) for weight, age in own) for tau in (5.0, 60.0)]
        there = float(bool(own))
        rows.append(
            [
                np.log1p(sum(weight for weight, _ in own)),
                there,
                *np.log1p(3 * np.array(decayed)),
                there * user[0],
                there * user[1],
            ]
        )
    return np.array(rows), np.array(rows)[:, 1], np.array(user)


def run(path, histories, width):
    filled = [history + [(-1, 0, 0.0)] * (width - len(history)) for history in histories]
    rows, kinds, ages = (np.array([[event[i] for event in history] for history in filled]) for i in range(3))
    return path(tf.constant(rows, tf.int32), tf.constant(kinds, tf.int64), tf.constant(ages, tf.float32))


@settings(deadline=None, max_examples=25)
@given(st.lists(events, min_size=1, max_size=3))
def test_repeat_features_are_what_one_counts_and_padding_changes_nothing(repeat_path, histories):
    expected = [np.stack(part) for part in zip(*map(count_out, histories), strict=True)]
    for width in (6, 9):
        for found, wanted in zip(run(repeat_path, histories, width), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


SALES = np.array([[4, 0, 1], [0, 2, 0], [1, 1, 5], [0, 0, 7]], np.float32)  # days 100 to 103


@pytest.fixture
def popularity_path():
    path = PopularityPath(items=3, days=4, windows=(1, 3))
    path.set_table(SALES, 100)
    return path


@pytest.mark.parametrize("day", [90, 100, 101, 102, 103, 104, 110])
def test_popularity_is_the_share_of_the_days_before(popularity_path, day):
    end = min(max(day - 100, 0), 4)
    for place, window in enumerate((1, 3)):
        sold = SALES[max(end - window, 0) : end].sum(0)
        share = sold / max(sold.sum(), 1)
        np.testing.assert_allclose(popularity_path(tf.constant([day]))[0, :, place], np.log1p(2000 * share), rtol=1e-5)


def test_pairs_of_a_day_and_an_item_have_what_the_catalogue_has(popularity_path):
    days, rows = np.array([90, 101, 102, 110, 103]), np.array([0, 2, 1, 0, -1])
    expected = popularity_path(tf.constant(days)).numpy()[range(5), rows] * (rows >= 0)[:, np.newaxis]
    np.testing.assert_allclose(popularity_path.of_pairs(tf.constant(days), tf.constant(rows)), expected, rtol=1e-6)
    assert expected[1:4].any(1).all()


@pytest.mark.parametrize("day", [101, 102, 103])
def test_sales_of_the_day_itself_and_later_are_not_seen(popularity_path, day):
    before = popularity_path(tf.constant([day])).numpy()
    changed = SALES.copy()
    changed[day - 100 :] = 1 + changed[day - 100 :, ::-1] * 9
    popularity_path.set_table(changed, 100)
    np.testing.assert_array_equal(popularity_path(tf.constant([day])), before)
    assert np.abs(popularity_path(tf.constant([day + 1])).numpy() - before).max() > 0.1
