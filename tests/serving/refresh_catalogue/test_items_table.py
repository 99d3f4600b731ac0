"""The table of items: read as the pipeline reads it, and refused with one sentence."""

import numpy as np
import pandas as pd
import pytest

from models.item_text import item_text, searched_text
from serving.refresh_catalogue.errors import RefreshError
from serving.refresh_catalogue.items_table import read_items_table
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.settings import DataSettings, TableSettings

ROWS = {
    "item_id": ["001", "NA", " x ", "4"],
    "title": ["None", "Tea · 茶", " A pot ", "12.0"],
    "brand": ["", "null", "Cha", " "],
    "category": ["Toys", "", "nan", "7"],
    "description": ["for 2", "", "a, b", ""],
    "price": ["3.50", "", "NaN", "1e2"],
}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_it_says_of_an_item_what_the_pipeline_says(tmp_path, ending):
    frame = pd.DataFrame(ROWS)
    if ending == "parquet":
        frame["price"] = [3.5, None, np.nan, 100.0]
        frame["category"] = ["Toys", None, "nan", "7"]
        frame.to_parquet(tmp_path / f"items.{ending}")
    else:
        frame.to_csv(tmp_path / f"items.{ending}", index=False)
    events = {
        "user_id": ["u"] * 4,
        "item_id": ["001", "NA", "x", "4"],
        "event_type": ["view"] * 4,
        "timestamp": [9] * 4,
    }
    pd.DataFrame(events).to_csv(tmp_path / "events.csv", index=False)
    data = DataSettings(events=TableSettings(path="events.csv"), items=TableSettings(path=f"items.{ending}"))
    expected = read(data, tmp_path).items
    found = read_items_table(tmp_path / f"items.{ending}")
    order = np.argsort(found.item_ids)
    assert [found.item_ids[i] for i in order] == expected["item_id"].tolist()
    rows = expected.to_dict("records")
    assert [found.texts[i] for i in order] == [item_text(row) for row in rows]
    assert [found.searched[i] for i in order] == [
        searched_text(row["title"], row["brand"], row["category"]) for row in rows
    ]
    np.testing.assert_array_equal(found.prices[order], expected["price"].to_numpy(np.float32))
    assert found.in_stock.all()


def test_stock_is_a_number_or_a_word(tmp_path):
    stock = ["0", "3", "-1", "true", "No", "", "0.5"]
    rows = {"sku": [f"i{row}" for row in range(7)], "title": ["t"] * 7, "stock": stock}
    pd.DataFrame(rows).to_csv(tmp_path / "items.csv", index=False)
    found = read_items_table(tmp_path / "items.csv", {"item_id": "sku"})
    assert found.in_stock.tolist() == [False, True, False, True, False, True, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("item_id\na\n", "column `title` is missing; found item_id"),
        ("item_id,title\n", "has no row"),
        ("item_id,title\na,x\n,y\n", "row 2: `item_id` is ''; expected an id on one line"),
        ('item_id,title\n"a\nb",x\n', "row 1: `item_id` is 'a.nb'; expected an id on one line"),
        ("item_id,title\na,\n", "row 1: `title` is empty"),
        ("item_id,title\na,x\nb,y\na,z\n", r"row 3: item 'a' is there already \(row 1\)"),
        ("item_id,title,price\na,x,-1\n", "row 1: `price` is '-1'; expected a number from 0"),
        ("item_id,title,price\na,x,12 EUR\n", "row 1: `price` is '12 EUR'; expected a number from 0"),
        ("item_id,title,stock\na,x,many\n", "row 1: `stock` is 'many'; expected a number, true or false"),
        ("item_id,title\na,x,y,z\nb\n", "expected"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path, content, message):
    (tmp_path / "items.csv").write_text(content, encoding="utf-8")
    with pytest.raises(RefreshError, match=message) as error:
        read_items_table(tmp_path / "items.csv")
    assert str(error.value).count("\n") == 0


def test_a_file_that_is_not_there_or_no_table_is_named(tmp_path):
    with pytest.raises(RefreshError, match=r"none.csv: cannot be read \(No such file"):
        read_items_table(tmp_path / "none.csv")
    (tmp_path / "items.xlsx").write_bytes(b"")
    with pytest.raises(RefreshError, match="cannot tell its form by its ending"):
        read_items_table(tmp_path / "items.xlsx")
    (tmp_path / "items.parquet").write_bytes(b"no parquet")
    with pytest.raises(RefreshError, match=r"items\.parquet: cannot be read"):
        read_items_table(tmp_path / "items.parquet")
    with pytest.raises(RefreshError, match="`colour` is no column of a table of items; expected one of item_id, title"):
        read_items_table(tmp_path / "items.parquet", {"colour": "c"})
