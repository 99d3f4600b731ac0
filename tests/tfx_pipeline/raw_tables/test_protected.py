"""Adapters with `data.privacy` on: ids and texts in tables and rejects, whatever the data set."""

import dataclasses
import json
import pathlib
import pickle

import pandas as pd
import pytest

from serving.privacy.pseudonyms import Pseudonyms
from serving.privacy.settings import PrivacySettings
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.protected import Protected
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError, Rejects
from tfx_pipeline.settings import DataSettings, TableSettings

KEY = bytes(range(40))
NAME = Pseudonyms(KEY).of
CONFIGS = pathlib.Path(__file__).parents[3] / "configs"
RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,France
C36366,85123A,LANTERN,-1,2010-12-01 08:28:00,2.55,17850,France
536367,85123A,LANTERN,x,2010-12-01 08:28:00,2.55,13047,France
536368,85123A,call 4155550199,1,2010-12-01 08:28:00,2.55,,France
"""


@pytest.fixture
def privacy(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    return PrivacySettings(enabled=True, key_file=str(tmp_path / "key"))


def lines(rejects, folder):
    rejects.write(folder / "rejects.jsonl")
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


def test_columns_that_a_file_calls_otherwise(tmp_path, privacy):
    (tmp_path / "retail.csv").write_text(RETAIL)
    settings = DataSettings(adapter="online_retail", context=("country",), privacy=privacy, max_reject_share=0.5)
    tables = read(settings, tmp_path / "retail.csv")
    assert tables.events[["user_id", "session_id", "item_id"]].values.tolist() == [
        [NAME("17850"), NAME("536365"), "85123A"]
    ]
    assert tables.users.values.tolist() == [[NAME("17850"), "", "France"]]
    assert tables.items["title"].tolist() == ["LANTERN"]
    rows = lines(tables.rejects, tmp_path)
    assert {(row["reason"], row["CustomerID"], row["InvoiceNo"]) for row in rows} == {
        ("cancellation", NAME("17850"), NAME("C36366")),
        ("unparsable Quantity", NAME("13047"), NAME("536367")),
        ("no CustomerID", "", NAME("536368")),
    }
    assert [row["Description"] for row in rows if row["reason"] == "no CustomerID"] == ["call [phone]"]


def test_sequences_without_a_table_of_users(tmp_path, privacy):
    (tmp_path / "Toys.txt").write_text("u1 a b c\nu1 a\nu2\n")
    settings = DataSettings(adapter="amazon_sequences", privacy=privacy, max_reject_share=1)
    tables = read(settings, tmp_path / "Toys.txt")
    assert tables.events["user_id"].tolist() == [NAME("u1")] * 3 and tables.users.empty
    assert sorted(row["user_id"] for row in lines(tables.rejects, tmp_path)) == sorted([NAME("u1"), NAME("u2")])


def test_ids_that_files_have_as_numbers(tmp_path, privacy):
    pd.DataFrame(
        {"user_id": [7, 8], "item_id": ["a", "b"], "event_type": "view", "timestamp": [5, 6], "session_id": [1.0, None]}
    ).to_parquet(tmp_path / "events.parquet")
    pd.DataFrame({"item_id": ["a"], "title": ["Mug for a@b.org"]}).to_parquet(tmp_path / "items.parquet")
    (tmp_path / "users.csv").write_text("user_id,free_text,city\n8,,me@b.org\n7,I am a@b.org,Bern\n")
    settings = DataSettings(users=TableSettings("users.csv"), context=("city",), privacy=privacy, max_reject_share=0.5)
    tables = read(settings, tmp_path)
    assert tables.events[["user_id", "session_id"]].values.tolist() == [[NAME("7"), NAME("1")]]
    assert tables.items["title"].tolist() == ["Mug for a@b.org"]  # of a product
    expected = [[NAME("7"), "I am [email]", "Bern"], [NAME("8"), "", "me@b.org"]]  # declared columns are left
    assert tables.users.values.tolist() == sorted(expected)
    assert [row["user_id"] for row in lines(tables.rejects, tmp_path)] == [NAME("8")]
    off = read(dataclasses.replace(settings, privacy=PrivacySettings()), tmp_path)
    assert off.rejects.counts == tables.rejects.counts and off.events["user_id"].tolist() == ["7"]


def test_off_is_the_adapter_itself_and_on_takes_no_key_to_workers(tmp_path, privacy):
    (tmp_path / "Toys.txt").write_text("u1 a b c\n")
    settings = DataSettings(adapter="amazon_sequences")
    assert not isinstance(make_adapter(settings, tmp_path / "Toys.txt"), Protected)
    pickled = pickle.dumps(make_adapter(dataclasses.replace(settings, privacy=privacy), tmp_path / "Toys.txt"))
    assert KEY not in pickled
    adapter = pickle.loads(pickled)
    (events,) = adapter.read_events(adapter.event_files()[0], Rejects())
    assert set(events["user_id"]) == {NAME("u1")}


def test_a_key_that_cannot_be_used_is_said_as_of_the_data(tmp_path):
    settings = DataSettings(privacy=PrivacySettings(enabled=True, key_file=str(tmp_path / "gone")))
    with pytest.raises(DataError, match=r"^data\.privacy: .*gone: cannot be read \(No such file or directory\)"):
        make_adapter(settings, tmp_path)


def test_every_configuration_here_is_without():
    files = sorted(CONFIGS.glob("*.yaml"))
    assert files and not any(settings_lib.load(file).data.privacy.enabled for file in files)
