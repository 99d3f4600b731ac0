"""The catalogue: what its table says, what changes it, and that readers see it whole."""

import dataclasses
import doctest
import importlib
import threading

import numpy as np
import pandas as pd
import pytest

from serving.rules.catalogue import Catalogue
from serving.rules.catalogue_table import CatalogueError
from serving.rules.columns import TextColumn
from serving.rules.snapshot import Snapshot

TABLE = """\
item_id,title,category,brand,price,stock,regions,min_age,first_seen,item_type
tea,Green tea,Food > Tea,Leaf,4.50,3,,,2024-11-29T12:00:00Z,product
0123,Wine · 酒,Food > Wine,,12,0,DE|FR,18,1732881600,
NA,nothing,,,,,"US, DE",,,content
mug,Mug,Kitchen,Clay,9.90,true,,16.5,2024-11-29,product
pot,Pot,Kitchen,Clay,,no,,,1732881600000,product
"""


def check(snapshot):
    assert snapshot.item_ids == ("tea", "0123", "NA", "mug", "pot")
    texts = {name: [column.names[code] for code in column.codes] for name, column in snapshot.texts.items()}
    assert texts["category"] == ["Food > Tea", "Food > Wine", "", "Kitchen", "Kitchen", ""]
    assert texts["regions"] == ["", "DE|FR", "DE|US", "", "", ""]
    assert texts["item_type"] == ["product", "", "content", "product", "product", ""]
    assert snapshot.in_stock.tolist() == [True, False, True, True, False, True]
    np.testing.assert_array_equal(snapshot.numbers["price"], [4.5, 12, np.nan, 9.9, np.nan, np.nan])
    assert snapshot.numbers["min_age"].tolist() == [0, 18, 0, 16.5, 0, 0]
    assert snapshot.numbers["first_seen"].tolist() == [1732881600, 1732881600, 0, 1732838400, 1732881600, 0]
    assert snapshot.sold_in("DE")[snapshot.texts["regions"].codes].tolist() == [True] * 6
    assert snapshot.sold_in("US")[snapshot.texts["regions"].codes].tolist() == [True, False, True, True, True, True]
    assert snapshot.sold_in("")[snapshot.texts["regions"].codes].tolist() == [True, False, False, True, True, True]
    assert snapshot.rows(["pot", "gone", "tea"]).tolist() == [4, -1, 0]


def test_a_csv_file_as_it_is_written(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text(TABLE, encoding="utf-8-sig")
    check(Catalogue.read(path, ["item_type"]).snapshot)
    pd.read_csv(path, dtype=str, keep_default_na=False).to_csv(tmp_path / "items.csv.gz", index=False)
    check(Catalogue.read(tmp_path / "items.csv.gz", ["item_type"]).snapshot)


def test_a_parquet_file_with_types(tmp_path):
    path = tmp_path / "items.parquet"
    pd.DataFrame(
        {
            "item_id": ["tea", "0123", "NA", "mug", "pot"],
            "category": ["Food > Tea", "Food > Wine", None, "Kitchen", "Kitchen"],
            "price": [4.5, 12.0, np.nan, 9.9, None],
            "stock": [3.0, 0.0, None, 1.0, 0.0],
            "regions": [[], ["FR", "DE"], ["US", "DE"], None, []],
            "min_age": [0, 18, 0, 16.5, 0],
            "first_seen": pd.to_datetime(
                ["2024-11-29T12:00", "2024-11-29T12:00", None, "2024-11-29", "2024-11-29T12:00"]
            ),
            "item_type": ["product", None, "content", "product", "product"],
        }
    ).to_parquet(path)
    check(Catalogue.read(path, ["item_type"]).snapshot)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id\na\n", "column `item_id` is missing; found id."),
        ("item_id\na\nb\na\n", "line 4: item 'a' is there already (line 2); expected each item once."),
        ("item_id,brand\na,x\n,y\n", "line 3: `item_id` is empty; expected the item's id."),
        ("item_id,price\na,1\nb,cheap\n", "line 3: `price` is 'cheap'; expected a number from 0."),
        ("item_id,price\na,-1\n", "line 2: `price` is '-1'; expected a number from 0."),
        ("item_id,price\na,inf\n", "line 2: `price` is 'inf'; expected a number from 0."),
        ("item_id,stock\na,maybe\n", "line 2: `stock` is 'maybe'; expected a number, true or false."),
        ("item_id,min_age\na,adult\n", "line 2: `min_age` is 'adult'; expected a number of years from 0."),
        (
            "item_id,first_seen\na,soon\n",
            "line 2: `first_seen` is 'soon'; expected a time (ISO 8601 or seconds since 1970).",
        ),
        ("", "cannot be read (No columns to parse from file); expected CSV or Parquet."),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, content, says):
    path = tmp_path / "items.csv"
    path.write_text(content)
    with pytest.raises(CatalogueError) as error:
        Catalogue.read(path)
    assert str(error.value) == f"{path}: {says}"


def test_files_that_are_none(tmp_path):
    with pytest.raises(CatalogueError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        Catalogue.read(tmp_path / "none.csv")
    with pytest.raises(CatalogueError, match=r"items\.xls: cannot tell its form by its ending"):
        Catalogue.read(tmp_path / "items.xls")
    (tmp_path / "items.parquet").write_text("no")
    with pytest.raises(CatalogueError, match=r"items\.parquet: cannot be read \(.+\); expected CSV or Parquet"):
        Catalogue.read(tmp_path / "items.parquet")
    (tmp_path / "items.csv").write_bytes("item_id\né\n".encode("latin-1"))
    with pytest.raises(CatalogueError, match=r"items\.csv: cannot be read \(.+\); expected CSV or Parquet"):
        Catalogue.read(tmp_path / "items.csv")
    (tmp_path / "items.csv").write_text("item_id\na\n")
    with pytest.raises(CatalogueError, match="column `colour` is missing; found item_id"):
        Catalogue.read(tmp_path / "items.csv", ["colour"])


def test_an_update_makes_another_snapshot(catalogue):
    before = catalogue.snapshot
    catalogue.update("tea", in_stock=False, price=5, brand="New", regions=["FR", "DE"], min_age=3, first_seen=None)
    after, row = catalogue.snapshot, before.index["tea"]
    assert before.in_stock[row] and not after.in_stock[row]
    assert (before.numbers["price"][row], after.numbers["price"][row]) == (4.5, 5)
    assert (after.numbers["min_age"][row], after.numbers["first_seen"][row]) == (3, 0)
    names = [snapshot.texts["brand"].names[snapshot.texts["brand"].codes[row]] for snapshot in (before, after)]
    assert names == ["Leaf", "New"]
    assert after.texts["regions"].names[after.texts["regions"].codes[row]] == "DE|FR"
    assert after.texts["category"] is before.texts["category"]  # what did not change is shared
    assert after.sold_in("US")[after.texts["regions"].codes[row]] == np.False_


@pytest.mark.parametrize(
    ("item_id", "values", "says"),
    [
        ("gone", {"price": 1}, "item 'gone' is not in the catalogue; expected one of its items."),
        (
            "tea",
            {"colour": "red"},
            "unknown field `colour` of item 'tea'; expected one of in_stock, price, min_age, first_seen, category, "
            "brand, regions, item_type.",
        ),
        ("tea", {"in_stock": 0}, "`in_stock` of item 'tea' is 0; expected true or false."),
        ("tea", {"price": "4"}, "`price` of item 'tea' is '4'; expected a number from 0."),
        ("tea", {"price": -4}, "`price` of item 'tea' is -4; expected a number from 0."),
        ("tea", {"min_age": float("nan")}, "`min_age` of item 'tea' is nan; expected a number from 0."),
        ("tea", {"regions": "DE"}, "`regions` of item 'tea' is 'DE'; expected a list of regions."),
        ("tea", {"brand": None}, "`brand` of item 'tea' is None; expected a text."),
    ],
)
def test_updates_that_cannot_be_made_change_nothing(catalogue, item_id, values, says):
    before = catalogue.snapshot
    with pytest.raises(CatalogueError) as error:
        catalogue.update_many({"pot": {"in_stock": False}, item_id: values})
    assert str(error.value) == says
    assert catalogue.snapshot is before


def test_vectors_are_brought_to_length_one(catalogue):
    catalogue.set_vectors(["pot", "tea"], np.array([[3.0, 4.0], [0.0, 2.0]]))
    vectors = catalogue.snapshot.vectors
    np.testing.assert_allclose(vectors[[2, 0, 1, -1]], [[0.6, 0.8], [0, 1], [0, 0], [0, 0]], rtol=1e-6)
    for ids, values, says in [
        (["tea"], np.ones([2, 3]), r"`vectors` has the shape \(2, 3\); expected one row for each of 1 items"),
        (
            ["tea", "pot"],
            np.array([[1.0], [0.0]]),
            r"the vector of item 'pot' has the length 0\.0; expected more than 0",
        ),
        (["tea"], np.array([[np.nan]]), "the vector of item 'tea' has the length nan"),
        (["tea", "gone"], np.ones([2, 1]), "item 'gone' is not in the catalogue"),
    ]:
        with pytest.raises(CatalogueError, match=says):
            catalogue.set_vectors(ids, values)
    assert catalogue.snapshot.vectors is vectors


def test_another_table_takes_the_place_of_the_first(catalogue):
    catalogue.set_vectors(["pot", "tea"], np.array([[3.0, 4.0], [0.0, 2.0]]))
    texts = {"brand": ["New", "Leaf", "Clay"], "item_type": ["product"] * 3}
    catalogue.replace(Snapshot.of(["cup", "tea", "pot"], texts))
    snapshot = catalogue.snapshot
    assert snapshot.item_ids == ("cup", "tea", "pot")
    np.testing.assert_allclose(snapshot.vectors, [[0, 0], [0, 1], [0.6, 0.8], [0, 0]], rtol=1e-6)
    own = np.ones([4, 3], np.float32)
    catalogue.replace(dataclasses.replace(snapshot, vectors=own))
    assert catalogue.snapshot.vectors is own
    before = catalogue.snapshot
    with pytest.raises(CatalogueError) as error:
        catalogue.replace(Snapshot.of(["tea"], {"brand": ["Leaf"]}))
    assert str(error.value) == (
        "the snapshot has no column `item_type`; expected category, brand, regions, item_type, price, min_age, "
        "first_seen."
    )
    assert catalogue.snapshot is before


def test_readers_see_a_change_whole_or_not_at_all():
    """Two columns are changed together; whoever reads finds them equal."""
    number = 50
    ids = [str(at) for at in range(number)]
    catalogue = Catalogue(Snapshot.of(ids, {}, {"price": [0.0] * number, "min_age": [0.0] * number}))
    writers, done, torn = 3, threading.Event(), []

    def read():
        while not done.is_set():
            numbers = catalogue.snapshot.numbers
            if not (numbers["price"][:-1] == numbers["min_age"][:-1]).all():
                torn.append(numbers)

    def write(own):
        for value in range(60):
            catalogue.update_many({item_id: {"price": value, "min_age": value} for item_id in ids[own::writers]})

    readers = [threading.Thread(target=read) for _ in range(2)]
    threads = [threading.Thread(target=write, args=(own,)) for own in range(writers)]
    for thread in [*readers, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert not torn
    assert (catalogue.snapshot.numbers["price"][:-1] == 59).all()  # no writer undid another's change


def test_columns_of_texts():
    column = TextColumn.of(["b", "", "a", "b"])
    assert column.names == ("", "b", "a") and column.codes.tolist() == [1, 0, 2, 1, 0]
    other = column.changed([0, 1], ["a", "c"])
    assert [other.names[code] for code in other.codes] == ["a", "c", "a", "b", ""]
    assert column.changed([0], ["a"]).names is column.names
    with pytest.raises(ValueError, match="`item_ids` has an id twice"):
        Snapshot.of(["a", "a"], {})


def test_the_example_of_the_docstring():
    found = doctest.testmod(importlib.import_module("serving.rules.catalogue"))
    assert found.attempted >= 3 and not found.failed
