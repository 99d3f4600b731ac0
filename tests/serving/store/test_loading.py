"""The command that fills a store from raw tables, and erases."""

import datetime
import gzip

import pandas as pd
import pytest

from serving.privacy.pseudonyms import Pseudonyms
from serving.requests import Event
from serving.store import __main__ as command
from serving.store import loading, open_store
from serving.store.profile import Profile, Query
from tfx_pipeline.raw_tables import values

EVENTS = """user_id,item_id,event_type,timestamp,price,query
u1,a,view,1700000000,2.5,
u1,b,buy,2023-11-14T22:13:21Z,,red lamp
u1,a,view,1700000000,9,
u2, c ,cart,1700000003000,,
u1,,search,1700000005,,lamp for me@example.org
u1,,search,1700000004,,tea
u1,a,impression,1700000006,,
,a,view,1700000000,,
u1,,view,1700000000,,
u1,a,,1700000000,,
u1,a,view,soon,,
u1,a,view
"""
USERS = "user_id,free_text,country,extra\nu1,call 13812345678,Peru,x\nu3,,,\n,nobody,,\n"
LEFT_OUT = """
  left out: 1 rows (impression)
  left out: 1 rows (missing event_type)
  left out: 1 rows (missing item_id)
  left out: 1 rows (missing user_id)
  left out: 1 rows (too few fields)
  left out: 1 rows (unparsable timestamp)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "users.csv").write_text(USERS)
    return tmp_path


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def test_raw_tables_are_loaded_and_what_is_left_out_is_said(folder, capsys):
    url = f"sqlite:///{folder}/store.db"
    loaded = ("--events", folder / "events.csv", "--users", folder / "users.csv", "--context", "country")
    assert run("load", "--url", url, *loaded) == 0
    assert capsys.readouterr().out == (
        f"{folder}/events.csv: 6 events{LEFT_OUT}{folder}/users.csv: 2 profiles\n  left out: 1 rows (missing user_id)\n"
    )
    store = open_store(url)
    assert store.recent("u1") == [Event("a", "view", 1_700_000_000), Event("b", "buy", 1_700_000_001)]
    assert store.recent("u2") == [Event("c", "cart", 1_700_000_003)]
    queries = (
        Query("lamp for me@example.org", 1_700_000_005), Query("tea", 1_700_000_004), Query("red lamp", 1_700_000_001)
    )  # fmt: skip
    assert store.profile("u1") == Profile("call 13812345678", {"country": "Peru"}, queries)
    assert store.profile("u3") == Profile()

    assert run("load", "--url", url, "--events", folder / "events.csv") == 0  # again: nothing is there twice
    assert len(store.recent("u1")) == 2
    assert run("forget", "--url", url, "--user", "u1") == 0
    assert store.recent("u1") == [] and store.profile("u1") is None and store.recent("u2")
    assert run("forget", "--url", url, "--user", "u1") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "u1: everything is erased",
        "u1: nothing was there; a user who was loaded with --privacy is found with it and the same --key-file",
    ]


def test_with_privacy_no_raw_id_and_no_address_is_stored(folder, capsys):
    (folder / "key").write_bytes(bytes(range(40)))
    protected = ("--privacy", "--key-file", folder / "key")
    url = f"sqlite:///{folder}/private.db"
    loaded = ("--events", folder / "events.csv", "--users", folder / "users.csv")
    assert run("load", "--url", url, *loaded, *protected) == 0
    name = Pseudonyms(bytes(range(40))).of
    store = open_store(url)
    assert len(store.recent(name("u1"))) == 2 and store.recent("u1") == []
    profile = store.profile(name("u1"))
    assert profile.free_text == "call [phone]" and profile.queries[0].text == "lamp for [email]"
    on_disk = b"".join(file.read_bytes() for file in folder.glob("private.db*"))
    assert not any(secret in on_disk for secret in (b"u1", b"u2", b"example.org", b"13812345678"))
    assert run("forget", "--url", url, "--user", "u1") == 0  # by the raw id, which is nowhere
    assert "nothing was there; a user who" in capsys.readouterr().out
    assert run("forget", "--url", url, "--user", "u1", *protected) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{name('u1')}: everything is erased"
    assert store.recent(name("u1")) == []
    store.close()


def test_parquet_and_gzip_files(folder):
    url = f"sqlite:///{folder}/store.db"
    times = pd.to_datetime(["2023-11-14 22:13:20", "2023-11-14 22:13:21"])
    pd.DataFrame(
        {"user_id": [7, 8], "item_id": ["a", "b"], "event_type": pd.Categorical(["view", "buy"]), "timestamp": times}
    ).to_parquet(folder / "events.parquet")
    (folder / "more.csv.gz").write_bytes(gzip.compress(b"timestamp,event_type,item_id,user_id\n5,view,c,7\n"))
    assert run("load", "--url", url, "--events", folder / "events.parquet", "--events", folder / "more.csv.gz") == 0
    assert open_store(url).recent("7") == [Event("c", "view", 5), Event("a", "view", 1_700_000_000)]
    assert open_store(url).recent("8") == [Event("b", "buy", 1_700_000_001)]


def test_bounds_and_impressions_of_the_gateway_hold(folder):
    url = f"sqlite:///{folder}/store.db"
    assert run("load", "--url", url, "--events", folder / "events.csv", "--max-events", 1, "--impressions", "view") == 0
    assert open_store(url).recent("u1") == [Event("a", "impression", 1_700_000_006)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to load; expected --events FILE or --users FILE."),
        (("--events", "{folder}/gone.csv"), "gone.csv: cannot be read after row 0 (No such file or directory)."),
        (("--events", "{folder}/key"), "key: cannot tell its form by its ending; expected .csv, .csv.gz or .parquet."),
        (
            ("--events", "{folder}/users.csv"),
            "users.csv: column 'item_id' is missing; expected user_id, item_id, event_type, timestamp; "
            "found user_id, free_text, country, extra.",
        ),
        (("--users", "{folder}/users.csv", "--context", "city"), "column 'city' is missing; expected user_id, city;"),
        (("--events", "{folder}/latin.csv"), "latin.csv: is not UTF-8; expected a table in UTF-8."),
        (("--events", "{folder}/cut.csv.gz"), "cut.csv.gz: cannot be read after row"),
        (("--events", "{folder}/cut.parquet"), "cut.parquet: cannot be read after row 0"),
        (("--events", "{folder}/latin.parquet"), "latin.parquet: is not UTF-8; expected a table in UTF-8."),
        (("--events", "{folder}/nul.csv"), "nul.csv: cannot be read after row 0 (line contains NUL)."),
        (("--events", "{folder}/events.csv", "--privacy", "--key-file", "{folder}/gone"), "gone: cannot be read"),
        (
            ("--events", "{folder}/events.csv", "--max-events", "0"),
            "--max-events is 0 and --ttl-days 90.0; expected more",
        ),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(folder, arguments, message, capsys):
    header = b"user_id,item_id,event_type,timestamp\n"
    (folder / "latin.csv").write_bytes(header + b"u,a,view,1\n" + "u,café,view,1\n".encode("latin-1") * 9000)
    (folder / "cut.csv.gz").write_bytes(gzip.compress(header + b"u,a,view,1\n" * 1000)[:-20])
    (folder / "cut.parquet").write_bytes(b"PAR1 and no more")
    columns = {"user_id": ["u"], "item_id": ["café".encode("latin-1")], "event_type": ["view"], "timestamp": [1]}
    pd.DataFrame(columns).to_parquet(folder / "latin.parquet")
    (folder / "nul.csv").write_bytes(header + b"u,a\0,view,1\n")
    found = run("load", "--url", "memory://", *(part.format(folder=folder) for part in arguments))
    said = capsys.readouterr().err
    assert found == 1 and said.startswith("error: ") and said.count("\n") == 1 and message in said


@pytest.mark.parametrize(
    "written",
    ["1700000000", "1700000000.9", "1700000000123", "0", "-1", "1e3", "20231114", "99999999999", "2023-11-14", "soon",
     "2023-11-14 22:13", "2023-11-14T22:13:20", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.123456789Z", "14/11/2023",
     "2023-11-14 22:13:20 +02", "2023-11-14T22:13:20-0530", "2023-11-14T22:13:20+05:30", "2023-13-14", "1969-12-31",
     "", "2023-11-14T25:00:00", "nan", "inf", "1700000000 "],
)  # fmt: skip
def test_times_are_those_that_the_pipeline_reads(written):
    seconds, bad, _ = values.times(pd.Series([written], dtype=object))
    assert loading._seconds(written) == (None if bad[0] else seconds[0])


def test_typed_times():
    moment = datetime.datetime(2023, 11, 14, 22, 13, 20, 999)
    east = datetime.timezone(datetime.timedelta(hours=2))
    assert loading._seconds(moment) == 1_700_000_000
    assert loading._seconds(moment.replace(tzinfo=east)) == 1_700_000_000 - 7200
    assert loading._seconds(pd.Timestamp(moment, tz="UTC")) == 1_700_000_000
    assert loading._seconds(moment.date()) == 1_699_920_000
    assert loading._seconds(1_700_000_000.0) == 1_700_000_000 and loading._seconds(None) is None
