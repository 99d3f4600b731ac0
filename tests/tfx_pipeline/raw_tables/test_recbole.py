"""RecBole's atomic files, on a small data set made by hand."""

import gzip
import pickle

import pandas as pd
import pytest
import tensorflow as tf

from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.adapter import EVENT_COLUMNS, ITEM_COLUMNS, since
from tfx_pipeline.raw_tables.paths import path_of
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError
from tfx_pipeline.settings import DataSettings, TableSettings

SETTINGS = DataSettings(adapter="recbole", max_reject_share=0.5)
FILES = {
    "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\tcity:token\n"
    "1\t10\t5\t978300760.0\tBonn\n1\t20\t3\t9.783007615e8\t\n2\t30\t4\t978300760\tRome\n2\t10\t1\t978300761\tBern\n"
    "\t10\t1\t978300761\t\n2\t10\t1\tsoon\t\n",
    "ml.item": "item_id:token\tmovie_title:token_seq\tgenre:token_seq\tprice:float\n"
    '10\t"Alien" at 12" \tHorror Sci-Fi\t9.5\n20\t\tDrama\t\n20\tagain\tDrama\t\n40\tNever &amp; seen\tDrama\t1\n',
    "ml.user": "user_id:token\tgender:token\tage:float\n1\tF\t24\n2\tM\t\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_events(folder):
    tables = read(SETTINGS, folder)
    assert list(tables.events.columns) == list(EVENT_COLUMNS)
    rows = tables.events[["user_id", "item_id", "event_type", "timestamp", "session_id"]]
    assert list(rows.itertuples(index=False, name=None)) == [
        ("1", "10", "interaction", 978300760, ""),
        ("2", "30", "interaction", 978300760, ""),
        ("1", "20", "interaction", 978300761, ""),
        ("2", "10", "interaction", 978300761, ""),
    ]
    assert tables.rejects.counts == {
        ("events", "rejected", "missing user_id"): 1,
        ("events", "rejected", "unparsable timestamp"): 1,
        ("items", "noted", "not in .item, so without text"): 1,
        ("items", "rejected", "item_id was there already"): 1,
    }


def test_items_with_and_without_a_title(folder):
    items = read(SETTINGS, folder).items
    assert list(items.columns) == list(ITEM_COLUMNS)
    found = {row.item_id: (row.title, row.category, row.price) for row in items.fillna(-1).itertuples()}
    assert found == {
        "10": ('"Alien" at 12"', "Horror Sci-Fi", 9.5), "20": ("", "Drama", -1), "30": ("", "", -1),
        "40": ("Never & seen", "Drama", 1),
    }  # fmt: skip
    (folder / "ml.item").unlink()
    alone = read(SETTINGS, folder)
    assert alone.items["item_id"].tolist() == ["10", "20", "30"] and (alone.items["title"] == "").all()
    assert not [key for key in alone.rejects.counts if key[0] == "items"]


def test_positions_as_timestamps_keep_the_order(tmp_path):
    lines = [f"{user}\t{item}\t{place}" for user in "12" for place, item in enumerate("cab")]
    (tmp_path / "games.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(lines) + "\n")
    events = read(SETTINGS, tmp_path).events
    assert events[events["user_id"] == "2"]["item_id"].tolist() == ["c", "a", "b"]
    assert sorted(events["timestamp"]) == [0, 0, 1, 1, 2, 2]


def test_renamed_columns_event_types_and_context(folder):
    (folder / "ml.inter").write_text(
        "session:token\titem_id:token\ttime:float\taction:token\tcity:token\n1\t10\t5\tclick\t\n1\t10\t7\tbuy\tBonn\n"
        "2\t20\t9\t\tRome\n"
    )
    settings = DataSettings(
        adapter="recbole",
        context=("gender", "city"),
        max_reject_share=0.5,
        events=TableSettings(columns={"user_id": "session", "timestamp": "time", "event_type": "action"}),
        items=TableSettings(columns={"title": "genre", "category": "movie_title"}),
    )
    tables = read(settings, folder)
    assert tables.events["event_type"].tolist() == ["click", "buy"]
    assert tables.rejects.counts[("events", "rejected", "missing event_type")] == 1
    assert tables.items["title"].tolist()[0] == "Horror Sci-Fi" and tables.items["category"][2] == "Never & seen"
    users = tables.users.set_index("user_id")
    assert users["gender"].to_dict() == {"1": "F", "2": "M"}
    assert (users.loc["1", "city"], users.loc["1", since("city")]) == ("Bonn", 7)


def test_zipped_one_file_and_remote_it_is_the_same(folder, tmp_path_factory):
    expected = read(SETTINGS, folder)
    zipped, remote = tmp_path_factory.mktemp("zipped"), path_of("ram://recbole")
    remote.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        (zipped / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        with (remote / file.name).open("wb") as stream:
            stream.write(file.read_bytes())
    for path in (folder / "ml.inter", zipped, zipped / "ml.inter.gz", remote):
        found = read(SETTINGS, path)
        pd.testing.assert_frame_equal(found.events, expected.events)
        pd.testing.assert_frame_equal(found.items, expected.items)
    adapter = pickle.loads(pickle.dumps(make_adapter(SETTINGS, remote)))
    assert [file.name for file in adapter.files()] == sorted(FILES)
    tf.io.gfile.rmtree(str(remote))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "ml.inter",
            "user_id:token\titem_id:token\n1\t2\n",
            "column 'timestamp' is missing; expected timestamp:TYPE; found user_id:token",
        ),
        (
            "ml.inter",
            "user_id\titem_id\n1\t2\n",
            "ml.inter: column 'user_id' has no type; expected NAME:TYPE, the type one of token, token_seq",
        ),
        ("ml.inter", "user_id:token,item_id:token\n1,2\n", "has no type; expected NAME:TYPE, the type one of"),
        ("ml.inter", "", "ml.inter: is empty; expected a header line and rows."),
        (
            "ml.item",
            "title:token_seq\nx\n",
            "column 'item_id' is missing; expected item_id:TYPE; found title:token_seq.",
        ),
        ("ml.item", "item_id:token\n\t\n", "ml.item: no usable row; expected at least one row of items."),
        ("x.inter", "x", "holds 2 files that end in .inter or .inter.gz (ml.inter, x.inter); expected exactly one."),
    ],
)
def test_unusable_files_end_in_one_sentence(folder, name, text, expected):
    (folder / name).write_text(text)
    with pytest.raises(DataError) as error:
        read(SETTINGS, folder)
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_settings_that_do_not_fit(folder):
    with pytest.raises(DataError, match=r"data.items.columns names 'headline'; expected one of item_id, title"):
        read(DataSettings(adapter="recbole", items=TableSettings(columns={"headline": "x"})), folder)
    with pytest.raises(DataError, match=r"column 'name' is missing; expected name:TYPE"):
        read(DataSettings(adapter="recbole", items=TableSettings(columns={"title": "name"})), folder)
    with pytest.raises(DataError, match="context column 'country' is missing"):
        read(DataSettings(adapter="recbole", context=("country",), max_reject_share=1.0), folder)
