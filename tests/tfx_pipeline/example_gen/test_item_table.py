import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfx_pipeline.example_gen.boundaries import DAY, Boundaries
from tfx_pipeline.example_gen.item_table import NEVER, ItemStats, ItemTable, item_text


def test_item_text_joins_what_is_declared():
    row = {"title": "Kettle", "brand": "Acme", "category": "", "description": "1.7 l"}
    assert item_text(row) == "Kettle; Acme; 1.7 l"


def test_codes_follow_the_sorted_ids(shop):
    table = ItemTable(shop.items(["b", "a", "c"], category=["x", "", "x"], brand=["B", "A", "C"]))
    assert table.ids.tolist() == ["a", "b", "c"]
    assert table.texts.tolist() == ["title of a; A", "title of b; B; x", "title of c; C; x"]
    assert table.codes(pd.Series(["c", "", "a"])).tolist() == [2, -1, 0]
    assert table.category_codes[0] == 0 and table.category_codes[1] == table.category_codes[2] > 0


def test_stats_by_hand(shop):
    boundaries = Boundaries(0, 2 * DAY + 100, 4 * DAY)
    table = ItemTable(shop.items("abcd", first_seen=[5, 0, 2 * DAY, 9 * DAY]))
    events = shop.events(
        [
            ("u", "a", "view", 50, ""),
            ("u", "a", "buy", 2 * DAY + 99, ""),
            ("u", "a", "buy", 2 * DAY + 100, ""),  # on the same day, but not before train_until
            ("u", "b", "buy", 3 * DAY, ""),
            ("u", "a", "buy", 3 * DAY + 1, ""),
            ("u", "b", "buy", DAY, ""),
            ("u", "b", "buy", 4 * DAY, ""),  # not before eval_until
            ("u", "", "search", 10, "", "a kettle"),
            ("u", "c", "view", DAY, ""),
        ]
    )
    stats = ItemStats.combine([ItemStats.partial(events, table, ("buy",), boundaries)], 4)
    assert stats.first_event.tolist() == [50, DAY, DAY, NEVER]
    sales = list(zip(stats.sales_items, stats.sales_days, stats.sales_counts, strict=True))
    assert sales == [(1, 1, 1), (0, 2, 2), (0, 3, 1), (1, 3, 1)]  # by day, then item
    # stated; first event; an event earlier than what is stated; stated and without events
    assert stats.known_from(table).tolist() == [5, DAY, DAY, 9 * DAY]


def test_an_item_nothing_is_known_of_has_always_been_there(shop):
    table = ItemTable(shop.items("a"))
    assert ItemStats.combine([], 1).known_from(table).tolist() == [0]


@settings(deadline=None)
@given(st.data())
def test_parts_in_any_order_make_the_whole(shop, data):
    rows = st.tuples(
        st.just("u"), st.sampled_from("abc"), st.sampled_from(["buy", "view"]), st.integers(0, 5 * DAY), st.just("")
    )
    events = shop.events(data.draw(st.lists(rows, min_size=1, max_size=20)))
    table, boundaries = ItemTable(shop.items("abc")), Boundaries(0, 2 * DAY, 4 * DAY)
    whole = ItemStats.combine([ItemStats.partial(events, table, ("buy",), boundaries)], 3)
    cut = data.draw(st.integers(0, len(events)))
    parts = [ItemStats.partial(part, table, ("buy",), boundaries) for part in (events[cut:], events[:cut])]
    joined = ItemStats.combine(parts, 3)
    for name in ("first_event", "sales_items", "sales_days", "sales_counts"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


@pytest.mark.parametrize("number", [0, 1])
def test_tiny_catalogues(shop, number):
    assert len(ItemTable(shop.items("a"[:number]))) == number
