"""The adapter of the data contract itself, on small tables with numbers by hand."""

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.adapter import (
    EVENT_COLUMNS,
    IMAGE_EMBEDDING,
    ITEM_COLUMNS,
    RELATION_COLUMNS,
    REVIEW_COLUMNS,
)
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings, TableSettings

EVENTS = """user_id,item_id,event_type,timestamp,quantity,price,query,session_id,country
u1,i1,purchase,2010-12-01 08:26:00,2,2.5,,s1,
u1,i2,view,1291191961,,,red shoe,s1,DE
u1,,search,1291191962,,,red shoe,s1,
u2,i1,view,2010-12-01T08:26:00+01:00,,,,,FR
u1,i1,view,1291191999,,,,,AT
"""
BAD_EVENTS = """user_id,item_id,event_type,timestamp,quantity,price
,i1,view,1291191960,,
u1,,view,1291191960,,
u1,i1,,1291191960,,
u1,i1,view,,,
u1,i1,view,soon,,
u1,i1,view,1291191960,two,
u1,i1,view,1291191960,-1,
u1,i1,view,1291191960,,free
u1,i1,view,1291191960,,-0.01
u1,i1,view,1291191960,0,0
"""
ITEMS = "item_id,title,price,extra\ni2,Red shoe,9.5,x\ni1, Mug ,,y\ni2,Other shoe,1,z\n,No id,1,\ni3,,1,\n"


def write(folder, **tables):
    for name, content in tables.items():
        (folder / f"{name}.csv").write_text(content, encoding="utf-8")


def events_of(adapter):
    rejects = Rejects()
    chunks = [chunk for file in adapter.event_files() for chunk in adapter.read_events(file, rejects)]
    return pd.concat(chunks, ignore_index=True), rejects


def test_events(tmp_path):
    write(tmp_path, events=EVENTS, items=ITEMS)
    events, rejects = events_of(make_adapter(DataSettings(), tmp_path))
    assert tuple(events) == EVENT_COLUMNS
    assert list(events["timestamp"]) == [1291191960, 1291191961, 1291191962, 1291191960 - 3600, 1291191999]
    assert list(events["item_id"]) == ["i1", "i2", "", "i1", "i1"]
    assert list(events["query"]) == ["", "red shoe", "red shoe", "", ""]
    np.testing.assert_array_equal(events["quantity"], [2, np.nan, np.nan, np.nan, np.nan])
    assert rejects.counts == {("events", "noted", "times without a zone, taken as UTC"): 1}
    assert {name: kind.kind for name, kind in events.dtypes.items()} == {
        **dict.fromkeys(EVENT_COLUMNS, "O"), "timestamp": "i", "quantity": "f", "price": "f",
    }  # fmt: skip


def test_bad_events_are_rejected_by_reason_with_their_line(tmp_path):
    write(tmp_path, events=BAD_EVENTS, items=ITEMS)
    events, rejects = events_of(make_adapter(DataSettings(), tmp_path))
    assert len(events) == 1
    assert (events["quantity"][0], events["price"][0]) == (0, 0)
    reasons = {reason: number for (_, kind, reason), number in rejects.counts.items() if kind == "rejected"}
    assert reasons == dict.fromkeys(
        ["missing user_id", "missing item_id", "missing event_type", "missing timestamp", "unparsable timestamp",
         "unparsable quantity", "negative quantity", "unparsable price", "negative price"], 1,
    )  # fmt: skip
    places = {row["reason"]: (row["file"], row["line"]) for row in rejects._rows}
    assert places["missing user_id"] == ("events.csv", 2)
    assert places["negative price"] == ("events.csv", 10)


def test_items_users_reviews_relations(tmp_path):
    write(
        tmp_path,
        events=EVENTS,
        items=ITEMS,
        people="id;about;gender\nu2;likes tea;f\nu1;;\nu2;again;m\n",
        reviews="user_id,item_id,rating,text,timestamp\nu1,i1,5,Fine,2011-01-01T00:00:00Z\nu1,i1,-1,Bad,1300000000\n",
        relations="item_id,relation,related_item_id\ni1,also bought,i2\ni1,also bought,i2\ni1,,i2\n",
    )
    settings = DataSettings(
        users=TableSettings("people.csv", {"user_id": "id", "free_text": "about"}, ";"),
        reviews=TableSettings("reviews.csv"),
        relations=TableSettings("relations.csv"),
        context=("gender", "country"),
    )
    adapter, rejects = make_adapter(settings, tmp_path), Rejects()
    items = adapter.items(rejects)
    assert tuple(items) == ITEM_COLUMNS
    assert items[["item_id", "title", "first_seen"]].values.tolist() == [["i1", "Mug", 0], ["i2", "Red shoe", 0]]
    np.testing.assert_array_equal(items["price"], [np.nan, 9.5])
    users = adapter.users(rejects)
    assert users.to_dict("list") == {
        "user_id": ["u1", "u2"], "free_text": ["", "likes tea"], "gender": ["", "f"], "country": ["DE", "FR"],
        "country since": [1291191961, 1291188360],
    }  # fmt: skip
    reviews = adapter.reviews(rejects)
    assert reviews.values.tolist() == [["u1", "i1", 5.0, "Fine", 1293840000]]
    assert adapter.relations(rejects).values.tolist() == [["i1", "also bought", "i2"]]
    assert rejects.counts == {
        ("items", "rejected", "item_id was there already"): 1,
        ("items", "rejected", "missing item_id"): 1,
        ("items", "rejected", "missing title"): 1,
        ("relations", "rejected", "missing relation"): 1,
        ("reviews", "rejected", "negative rating"): 1,
        ("users", "rejected", "user_id was there already"): 1,
    }
    assert [file.name for file in adapter.files()] == [
        "events.csv", "items.csv", "people.csv", "relations.csv", "reviews.csv",
    ]  # fmt: skip


def test_what_is_not_configured_is_empty_with_its_columns(tmp_path):
    write(tmp_path, events=EVENTS, items=ITEMS)
    adapter, rejects = make_adapter(DataSettings(), tmp_path), Rejects()
    assert (len(adapter.users(rejects)), tuple(adapter.users(rejects))) == (0, ("user_id", "free_text"))
    assert (len(adapter.reviews(rejects)), tuple(adapter.reviews(rejects))) == (0, REVIEW_COLUMNS)
    assert (len(adapter.relations(rejects)), tuple(adapter.relations(rejects))) == (0, RELATION_COLUMNS)


def test_context_of_events_is_the_first_known_and_later_events_do_not_change_it(tmp_path):
    write(tmp_path, events=EVENTS, items=ITEMS)
    adapter = make_adapter(DataSettings(context=("country",)), tmp_path)
    before = adapter.users(Rejects())
    assert before.to_dict("list") == {
        "user_id": ["u1", "u2"], "free_text": ["", ""], "country": ["DE", "FR"],
        "country since": [1291191961, 1291188360],
    }  # fmt: skip
    write(tmp_path, events=EVENTS + "u1,i1,view,1291200000,,,,,IT\n" * 5)
    pd.testing.assert_frame_equal(adapter.users(Rejects()), before)


def test_parts_of_a_table(tmp_path):
    header, *rows = EVENTS.splitlines(keepends=True)
    write(tmp_path, items=ITEMS, **{f"part-{n}": header + row for n, row in enumerate(rows)}, **{"part-9": header})
    adapter = make_adapter(DataSettings(events=TableSettings("part-*.csv")), tmp_path)
    assert [file.name for file in adapter.event_files()] == [*(f"part-{n}.csv" for n in range(5)), "part-9.csv"]
    events, _ = events_of(adapter)
    assert len(events) == 5
    whole = tmp_path / "whole"
    whole.mkdir()
    write(whole, events=EVENTS, items=ITEMS)
    pd.testing.assert_frame_equal(events, events_of(make_adapter(DataSettings(), whole))[0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (DataSettings(context=("age",)), "'age' is missing; expected it in the table of users or of events."),
        (DataSettings(items=TableSettings("")), "data.items.path is empty; expected the file name or glob of items."),
        (DataSettings(items=TableSettings("items.csv", {"titel": "t"})), "data.items.columns names 'titel'; expected"),
        (DataSettings(items=TableSettings("items.csv", {"title": "t"})), "'t' (title) is missing; expected item_id"),
        (DataSettings(items=TableSettings("items.csv", delimiter="::")), "data.items.delimiter is '::'; expected one"),
        (DataSettings(users=TableSettings("users.csv")), "users.csv: matches no file;"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_files(tmp_path, settings, expected):
    write(tmp_path, events=EVENTS, items=ITEMS)
    adapter = make_adapter(settings, tmp_path)
    with pytest.raises(DataError) as error:
        adapter.files()
        adapter.items(Rejects())
        adapter.users(Rejects())
    assert expected in str(error.value)


def test_items_without_a_usable_row(tmp_path):
    write(tmp_path, events=EVENTS, items="item_id,title\ni1\n")
    with pytest.raises(DataError, match=r"items\.csv: no usable row; expected at least one row of items\."):
        make_adapter(DataSettings(), tmp_path).items(Rejects())


def test_an_adapter_travels_to_a_worker(tmp_path):
    write(tmp_path, events=EVENTS, items=ITEMS)
    adapter = make_adapter(DataSettings(), tmp_path)
    there = pickle.loads(pickle.dumps(adapter))
    pd.testing.assert_frame_equal(events_of(there)[0], events_of(adapter)[0])


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=6).map(str.strip)
ROWS = st.lists(
    st.tuples(
        TEXT,
        TEXT,
        st.sampled_from(["view", "purchase", ""]),
        st.integers(-(10**9), 4 * 10**9),
        st.none() | st.floats(-2, 1000, allow_nan=False),
        st.none() | st.integers(-2, 50).map(float),
        TEXT,
    ),
    min_size=1,
    max_size=12,
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([",", ";", "\t"]))
def test_csv_and_parquet_of_the_same_table_are_read_alike(tmp_path_factory, rows, delimiter):
    folder = tmp_path_factory.mktemp("same")
    names = ["user_id", "item_id", "event_type", "timestamp", "price", "quantity", "query"]
    frame = pd.DataFrame(rows, columns=names).astype({"price": float, "quantity": float})
    frame.to_csv(folder / "events.csv", index=False, sep=delimiter)
    frame.to_parquet(folder / "events.parquet")
    read = []
    for name in ("events.csv", "events.parquet"):
        settings = DataSettings(events=TableSettings(name, delimiter=delimiter))
        rejects = Rejects()
        read.append((list(make_adapter(settings, folder).read_events(folder / name, rejects)), rejects.counts))
    (from_csv, counted), (from_parquet, counted_too) = read
    assert counted == counted_too
    pd.testing.assert_frame_equal(pd.concat(from_csv), pd.concat(from_parquet))
    assert len(pd.concat(from_csv)) + sum(n for (_, kind, _), n in counted.items() if kind == "rejected") == len(rows)


IMAGES = """item_id,title,image
i1,Mug,0.5 -1
i2,Shoe,
i3,Pot,"[2, 1e-3]"
i4,Hat,0.5 x
i5,Bag,0.5 inf
"""


def test_image_embeddings_of_csv_and_parquet(tmp_path):
    write(tmp_path, events=EVENTS, items=IMAGES)
    columns = {IMAGE_EMBEDDING: "image"}
    from_csv = DataSettings(items=TableSettings("items.csv", columns), image_embedding_width=2)
    rejects = Rejects()
    items = make_adapter(from_csv, tmp_path).items(rejects)
    assert tuple(items) == (*ITEM_COLUMNS, IMAGE_EMBEDDING)
    assert [None if one is None else one.tolist() for one in items[IMAGE_EMBEDDING]] == [
        [0.5, -1], None, [2, pytest.approx(1e-3)]
    ]  # fmt: skip
    assert rejects.counts == {("items", "rejected", "unparsable image_embedding"): 2}
    assert [(row["file"], row["line"]) for row in rejects._rows] == [("items.csv", 5), ("items.csv", 6)]

    frame = pd.DataFrame({"item_id": ["i1", "i2", "i3"], "title": ["Mug", "Shoe", "Pot"]})
    frame.assign(image=items[IMAGE_EMBEDDING]).to_parquet(tmp_path / "items.parquet")
    from_parquet = dataclasses.replace(from_csv, items=TableSettings("items.parquet", columns))
    pd.testing.assert_frame_equal(make_adapter(from_parquet, tmp_path).items(Rejects()), items)
    plain = DataSettings(items=TableSettings("items.parquet"))
    assert tuple(make_adapter(plain, tmp_path).items(Rejects())) == ITEM_COLUMNS


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([[1.0, 2], [1, 2, 3]], "items.parquet: row 2: image_embedding has 3 numbers; expected 2 (data.image_embeddi"),
        ([[1.0], None], "items.parquet: row 1: image_embedding has 1 numbers; expected 2"),
        ([1.0, 2.0], "column 'image_embedding' is double; expected one list of numbers a row."),
        ([["a"], ["b"]], "expected one list of numbers a row."),
        (None, "column 'image_embedding' is missing; expected item_id, title, image_embedding;"),
    ],
)
def test_image_embeddings_that_are_none(tmp_path, images, expected):
    frame = pd.DataFrame({"item_id": ["i1", "i2"], "title": ["Mug", "Shoe"]})
    frame = frame if images is None else frame.assign(image_embedding=images)
    frame.to_parquet(tmp_path / "items.parquet")
    settings = DataSettings(items=TableSettings("items.parquet"), image_embedding_width=2)
    with pytest.raises(DataError) as error:
        make_adapter(settings, tmp_path).items(Rejects())
    assert expected in str(error.value)


def test_a_csv_line_of_another_width_is_named(tmp_path):
    write(tmp_path, items="item_id,title,image_embedding\ni1,Mug,1 2\n\ni2,Shoe,1\n")
    with pytest.raises(DataError, match=r"items\.csv: line 4: image_embedding has 1 numbers; expected 2"):
        make_adapter(DataSettings(image_embedding_width=2), tmp_path).items(Rejects())
