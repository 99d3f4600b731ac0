"""Which rows items get: whatever the old and the new table are, no item loses its row and no two share one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.refresh_catalogue.errors import RefreshError
from serving.refresh_catalogue.plan import FREED, Plan

IDS = st.sampled_from([f"i{number}" for number in range(14)])


@st.composite
def refreshes(draw):
    known = draw(st.lists(IDS, unique=True, min_size=1))
    fitted = np.array(draw(st.lists(st.booleans(), min_size=len(known), max_size=len(known))), bool)
    table = draw(st.lists(IDS, unique=True))
    stock = np.array(draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))), bool)
    return known, fitted, table, stock, draw(st.frozensets(IDS, max_size=4))


@given(refreshes())
def test_every_item_has_a_row_of_its_own_and_keeps_it(case):
    known, fitted, table, stock, forbidden = case
    plan = Plan.of(known, fitted, 30, table, stock, forbidden)
    assert len(set(plan.item_ids)) == len(plan.item_ids) == len(plan.offered)
    before = {item_id: row for row, item_id in enumerate(known) if fitted[row]}
    for item_id, row in before.items():
        assert plan.item_ids[row] == item_id
    for item_id, row, new, there in zip(table, plan.rows, plan.added, stock, strict=True):
        if item_id in before:
            assert row == before[item_id] and not new
        elif there and item_id not in forbidden:
            assert new and row >= len(known) and plan.item_ids[row] == item_id
        else:
            assert row == -1 and not new
        if row >= 0:
            assert plan.offered[row] == there
    assert plan.offered.sum() == stock[plan.rows >= 0].sum()
    freed = {row for row, item_id in enumerate(plan.item_ids) if item_id.startswith(FREED)}
    assert freed == {
        row for row, item_id in enumerate(known) if not fitted[row] and item_id in plan.item_ids[len(known) :]
    }


@given(refreshes())
def test_what_is_done_needs_not_be_done_again(case):
    known, fitted, table, stock, forbidden = case
    first = Plan.of(known, fitted, 30, table, stock, forbidden)
    after = np.append(fitted, np.ones(first.added.sum(), bool))
    second = Plan.of(first.item_ids, after, 30, table, stock, forbidden)
    assert second.item_ids == first.item_ids
    assert not second.added.any()
    np.testing.assert_array_equal(second.rows, first.rows)
    np.testing.assert_array_equal(second.offered, first.offered)


def test_too_few_rows_are_no_half_refresh():
    fitted = np.ones(2, bool)
    asked = (["a", "c", "d", "e"], np.array([True, True, True, False]), frozenset())
    assert Plan.of(["a", "b"], fitted, 4, *asked).rows.tolist() == [0, 2, 3, -1]
    with pytest.raises(RefreshError, match=r"has 2 new items and the version 1 spare rows left .*`export.spare_items`"):
        Plan.of(["a", "b"], fitted, 3, *asked)
