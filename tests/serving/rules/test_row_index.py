"""Rows of many items at once, held to a dict."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from serving.rules.row_index import RowIndex

FEW, MANY = 5, 200


class Crowded(str):
    """A text that wants the same place of a table as all others of its kind, with a hash of its own."""

    def __hash__(self):
        return int(self) << 40


class Same(str):
    """A text with the hash of all others of its kind."""

    def __hash__(self):
        return 7


def expected(item_ids, asked):
    rows = {item_id: row for row, item_id in enumerate(item_ids)}
    return [rows.get(item_id, -1) for item_id in asked]


@settings(max_examples=40)
@given(st.lists(st.text(max_size=3), unique=True, max_size=100), st.randoms(use_true_random=False))
def test_as_a_dict_has_it(item_ids, random):
    asked = [random.choice([*item_ids, "no", "neither"]) for _ in range(MANY)]
    index = RowIndex(item_ids)
    assert list(index.items()) == [(item_id, row) for row, item_id in enumerate(item_ids)]
    for some in (asked, asked[:FEW], []):
        found = index.rows(some)
        assert (found.tolist(), found.dtype) == (expected(item_ids, some), np.int64)


@pytest.mark.parametrize("kind", [Crowded, Same])
def test_items_that_want_the_same_place(kind):
    item_ids = [kind(number) for number in range(1, MANY)]
    asked = [kind(number) for number in (*range(MANY + 100), 3)]
    assert RowIndex(item_ids).rows(asked).tolist() == expected(item_ids, asked)


def test_a_place_at_the_end_is_followed_by_the_first():
    """Hashes of small numbers and so on are the numbers: all want the last places."""

    class Last(str):
        def __hash__(self):
            return -int(self)

    item_ids = [Last(number) for number in range(2, MANY)]
    assert RowIndex(item_ids).rows(item_ids).tolist() == list(range(MANY - 2))


def test_a_large_catalogue():
    item_ids = [f"i{number:06d}" for number in range(50_000)]
    asked = [f"i{number:06d}" for number in range(0, 100_000, 97)]
    assert RowIndex(item_ids).rows(asked).tolist() == [n if n < 50_000 else -1 for n in range(0, 100_000, 97)]
