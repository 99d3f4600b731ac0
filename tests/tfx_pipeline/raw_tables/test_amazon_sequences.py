"""Sequences of ids in S3-Rec's form, on three users made by hand."""

import gzip
import json
import pickle

import pandas as pd
import pytest
import tensorflow as tf

from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.adapter import EVENT_COLUMNS, ITEM_COLUMNS
from tfx_pipeline.raw_tables.paths import path_of
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings

SETTINGS = DataSettings(adapter="amazon_sequences")
TEXT = "1 30 10 20\n2 20 20\n\n7 40\n"
ATTRIBUTES = {"10": [5, 1], "20": [1], "30": [], "99": [4]}
DAY = 86_400


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Toys.txt").write_text(TEXT)
    (tmp_path / "Toys_item2attributes.json").write_text(json.dumps(ATTRIBUTES))
    return tmp_path


def test_a_position_is_a_day(folder):
    (events,) = make_adapter(SETTINGS, folder).read_events(folder / "Toys.txt", rejects := Rejects())
    assert list(events.columns) == list(EVENT_COLUMNS) and events["timestamp"].dtype == "int64"
    assert list(zip(events["user_id"], events["item_id"], events["timestamp"] // DAY, strict=True)) == [
        ("1", "30", 0), ("1", "10", 1), ("1", "20", 2), ("2", "20", 0), ("2", "20", 1), ("7", "40", 0),
    ]  # fmt: skip
    assert (events["timestamp"] % DAY == 0).all() and set(events["event_type"]) == {"interaction"}
    assert events[["quantity", "price"]].isna().all(axis=None) and (events[["query", "session_id"]] == "").all(
        axis=None
    )
    assert not rejects.counts


def test_attributes_are_the_text_and_no_id_is(folder):
    tables = read(SETTINGS, folder)
    assert list(tables.items.columns) == list(ITEM_COLUMNS)
    assert dict(zip(tables.items["item_id"], tables.items["title"], strict=True)) == {
        "10": "a5 a1", "20": "a1", "30": "", "40": "",
    }  # fmt: skip
    texts = tables.items[["description", "category", "brand"]]
    assert (texts == "").all(axis=None) and (tables.items["first_seen"] == 0).all()
    assert tables.rejects.counts == {
        ("items", "dropped", "in no sequence"): 1,
        ("items", "noted", "without attributes, so without text"): 2,
    }
    assert tables.users.empty and tables.reviews.empty and tables.relations.empty


def test_attributes_may_be_missing(folder):
    (folder / "Toys_item2attributes.json").unlink()
    assert make_adapter(SETTINGS, folder).files() == [folder / "Toys.txt"]
    assert read(SETTINGS, folder).items["title"].tolist() == [""] * 4


def test_bad_lines_are_counted(folder):
    (folder / "Toys.txt").write_text(TEXT + "8\n2 10 10 10\n")
    rejects = Rejects()
    (events,) = make_adapter(SETTINGS, folder).read_events(folder / "Toys.txt", rejects)
    assert len(events) == 6
    assert rejects.counts == {
        ("events", "rejected", "no item after the user"): 1,
        ("events", "rejected", "user_id was there already"): 3,
    }
    with pytest.raises(DataError, match=r"4 of 10 rows \(40\.0%\) are rejected, most for 'user_id was there already'"):
        read(SETTINGS, folder)


def test_zipped_one_file_remote_and_in_chunks_it_is_the_same(folder, tmp_path_factory, monkeypatch):
    expected = read(SETTINGS, folder)
    zipped = tmp_path_factory.mktemp("zipped")
    remote = path_of("ram://amazon-sequences")
    remote.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        (zipped / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        with (remote / file.name).open("wb") as stream:
            stream.write(file.read_bytes())
    (zipped / "Toys_item2attributes.json").write_bytes((folder / "Toys_item2attributes.json").read_bytes())
    (folder / "Toys_small.txt").write_text("1 2 3\n")
    monkeypatch.setattr("tfx_pipeline.raw_tables.files.CHUNK_ROWS", 2)
    for path in (folder / "Toys.txt", zipped / "Toys.txt.gz", zipped, remote, str(remote / "Toys.txt")):
        found = read(SETTINGS, path)
        pd.testing.assert_frame_equal(found.events, expected.events)
        pd.testing.assert_frame_equal(found.items, expected.items)
    adapter = pickle.loads(pickle.dumps(make_adapter(SETTINGS, remote)))
    assert [file.name for file in adapter.files()] == ["Toys.txt", "Toys_item2attributes.json"]
    tf.io.gfile.rmtree(str(remote))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("Toys.txt", b"", "Toys.txt: has no line; expected sequences of item ids (NAME.txt or NAME.txt.gz)."),
        ("Toys.txt", b"1 2\n\xe9 3\n", "line 2 is not UTF-8 (byte 0xe9); expected sequences of item ids in UTF-8."),
        ("Other.txt", b"1 2\n", "holds 2 files that end in .txt or .txt.gz (Other.txt, Toys.txt); expected exactly"),
        ("Toys_item2attributes.json", b'{"10": [5],\n nonsense', "line 2 is not JSON; expected an object such as"),
        ("Toys_item2attributes.json", b"[1]", "holds no object; expected an object such as"),
        ("Toys_item2attributes.json", b'{"10": 5}', "item '10' has no list of ids; expected an object such as"),
    ],
)  # fmt: skip
def test_unusable_files_end_in_one_sentence(folder, name, content, expected):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read(SETTINGS, folder)
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_there_is_no_context(folder):
    with pytest.raises(DataError, match=r"context column 'country' is not in sequences .* data.context to be empty"):
        read(DataSettings(adapter="amazon_sequences", context=("country",)), folder)
    with pytest.raises(DataError, match="nothing: is not there; expected sequences of item ids"):
        make_adapter(SETTINGS, folder / "nothing").files()
