"""The Beam run on tiny data against the pure functions, and what it writes besides."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts

from models import features
from serving.privacy.privacy import Privacy
from serving.privacy.pseudonyms import KEY_FILE_VARIABLE, Pseudonyms
from serving.privacy.settings import PrivacySettings
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen import stages
from tfx_pipeline.example_gen.component import example_gen
from tfx_pipeline.example_gen.examples import catalogue, serialize, to_example
from tfx_pipeline.example_gen.executor import Executor
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables import files
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError

SETTINGS = settings_lib.from_dict(
    {
        "data": {
            "events": {"path": "events-*.csv"},
            "items": {"path": "items.csv"},
            "users": {"path": "users.csv"},
            "reviews": {"path": "reviews.csv"},
            "context": ["country"],
        },
        "decisions": {"label_event_types": ["buy"], "candidates": 8, "negatives": 4, "max_positives": 2},
    }
)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A random shop of 20 users in two files of events, with duplicates and rows of an unknown item."""
    rng = np.random.default_rng(5)
    number = 400
    events = pd.DataFrame(
        {
            "user_id": rng.integers(0, 20, number).astype(str),
            "item_id": rng.choice([*"abcdefgh", "unknown"], number, p=[0.12] * 8 + [0.04]),
            "event_type": rng.choice(["buy", "view", "impression"], number),
            "timestamp": 1_600_000_000 + rng.integers(0, 40, number) * 3600,
            "session_id": rng.choice(["", "s", "t"], number),
            "query": "",
        }
    )
    events.loc[events.index % 10 == 0, ["item_id", "event_type", "query"]] = ["", "search", "a lamp, 红色"]
    events = pd.concat([events, events[:20]])
    events[:250].to_csv(tmp_path / "events-0.csv", index=False)
    events[250:].to_csv(tmp_path / "events-1.csv", index=False)
    items = pd.DataFrame({"item_id": list("abcdefgh"), "title": [f"thing {item}" for item in "abcdefgh"]})
    items.assign(category=["x", "y"] * 4, price=2.5).to_csv(tmp_path / "items.csv", index=False)
    users = pd.DataFrame({"user_id": [str(user) for user in range(15)], "country": ["Ghana", "", "Peru"] * 5})
    users.assign(free_text="likes tea").to_csv(tmp_path / "users.csv", index=False)
    reviews = pd.DataFrame(
        {"user_id": ["1", "2", "1"], "item_id": ["a", "b", "nothing"], "text": ["good", "bad", "lost"]}
    )
    reviews.assign(timestamp=1_600_000_000 + 3600 * 5, rating=3).to_csv(tmp_path / "reviews.csv", index=False)
    return tmp_path


def run(data: pathlib.Path | str, settings: settings_lib.Settings, out: pathlib.Path) -> dict[str, list[bytes]]:
    """Runs the component's executor; returns the sorted records of each split."""
    component = example_gen(str(data), settings, "source")
    artifact = standard_artifacts.Examples()
    artifact.uri = str(out)
    # --extra_package keeps TFX from packing itself for remote workers.
    arguments = [*settings.beam.args, "--extra_package="]
    context = base_beam_executor.BaseBeamExecutor.Context(arguments, None, str(out) + "_temporary", "1")
    Executor(context).Do({}, {"examples": [artifact]}, dict(component.exec_properties))
    splits = {}
    for name in artifact_utils.decode_split_names(artifact.split_names):
        shards = [str(path) for path in (out / f"Split-{name}").iterdir()]
        assert shards, f"{name} has no file"
        splits[name] = sorted(tf.data.TFRecordDataset(shards, "GZIP").as_numpy_iterator())
    return splits


def pure(data: pathlib.Path, settings: settings_lib.Settings) -> dict[str, list[bytes]]:
    """The same without Beam, user by user."""
    prepared = prepare(read(settings.data, data), settings)
    splits: dict[str, list[bytes]] = {name: [] for name in ("train", "eval", "recent")}
    for log in prepared.logs():
        for decision in prepared.builder.decisions(log):
            splits[decision.split].append(serialize(to_example(decision, settings.data.context)))
    builder = prepared.builder
    splits["catalogue"] = [serialize(row) for row in catalogue(builder.table, builder.stats, builder.boundaries)]
    return {name: sorted(records) for name, records in splits.items()}


def test_beam_equals_the_pure_functions_whatever_the_chunks_and_shards(folder, tmp_path, monkeypatch):
    expected = pure(folder, SETTINGS)
    assert min(len(records) for records in expected.values()) >= 8
    assert run(folder, SETTINGS, tmp_path / "out") == expected

    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["decisions"] == {name: len(expected[name]) for name in ("train", "eval", "recent")}
    assert counts["catalogue"] == 8 and counts["left_out"]["train: positives beyond max_positives"] > 0
    tables = read(SETTINGS.data, folder)
    assert {tuple(row[:3]): row[3] for row in counts["rows"]} == tables.rejects.counts
    assert counts["events"] == len(tables.events)
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert {"unknown item_id"} == {row["reason"] for row in rejected}
    assert {row["table"] for row in rejected} == {"events", "reviews"}

    monkeypatch.setattr(stages, "_MIN_SHARDS", 1)
    monkeypatch.setattr(files.read_chunks, "__defaults__", (7,))
    assert run(folder, SETTINGS, tmp_path / "again") == expected


def test_images_and_relations_go_with_the_catalogue(folder, tmp_path):
    pairs = [("a", "b"), ("c", "a"), ("a", "h"), ("a", "unknown"), ("unknown", "a"), ("d", "d")]
    relations = pd.DataFrame([(one, "also bought", other) for one, other in pairs])
    relations.to_csv(folder / "relations.csv", index=False, header=["item_id", "relation", "related_item_id"])
    items = pd.read_csv(folder / "items.csv")
    items.assign(image_embedding=["1 2", ""] * 4).to_csv(folder / "items.csv", index=False)
    plain = {"relations": settings_lib.TableSettings("relations.csv")}
    declared = {**plain, "image_embedding_width": 2, "item_relations": True}
    settings = dataclasses.replace(SETTINGS, data=dataclasses.replace(SETTINGS.data, **declared))
    expected = pure(folder, settings)
    found = run(folder, settings, tmp_path / "out")
    assert found == expected
    rows = {}
    for record in found["catalogue"]:
        feature = tf.train.Example.FromString(record).features.feature
        kinds, others = (feature[name].bytes_list.value for name in ("item_relation_kinds", "item_related_items"))
        name = feature["candidate_item_ids"].bytes_list.value[0].decode()
        rows[name] = (list(feature["item_image"].float_list.value), list(zip(kinds, others, strict=True)))
    assert rows["a"] == ([1, 2], [(b"also bought", b"b"), (b"also bought", b"h")])
    assert rows["b"] == ([], []) and rows["c"] == ([1, 2], [(b"also bought", b"a")])
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert [row[2:] for row in counts["rows"] if row[0] == "relations"] == [
        ["an item related to itself", 1], ["unknown item_id", 1], ["unknown related_item_id", 1]
    ]  # fmt: skip
    # What the settings do not declare changes no byte.
    undeclared = dataclasses.replace(SETTINGS, data=dataclasses.replace(SETTINGS.data, **plain))
    assert pure(folder, undeclared) == pure(folder, SETTINGS)


def test_tables_on_a_file_system_of_tensorflow(folder, tmp_path):
    remote = "ram://executor/tables"
    tf.io.gfile.makedirs(remote)
    for file in folder.glob("*.csv"):
        tf.io.gfile.copy(str(file), f"{remote}/{file.name}")
    assert run(remote, SETTINGS, tmp_path / "out") == pure(folder, SETTINGS)


def test_leave_one_out(folder, tmp_path):
    decisions = dataclasses.replace(SETTINGS.decisions, split="leave_one_out", train_prefixes=3)
    settings = dataclasses.replace(SETTINGS, decisions=decisions)
    expected = pure(folder, settings)
    assert len(expected["eval"]) == len(expected["recent"]) >= 15 and len(expected["train"]) > 30
    assert run(folder, settings, tmp_path / "out") == expected
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["first_event"].startswith("2020-09-") and counts["left_out"]["events from eval_until on"] >= 20


def test_windows_and_an_empty_split(folder, tmp_path):
    decisions = dataclasses.replace(
        SETTINGS.decisions,
        kind="window",
        every_days=1 / 24,
        horizon_days=2 / 24,
        train_start="2020-09-14T20:00:00",
        train_until="2020-09-14T21:00:00",  # no room for a train window of two hours
    )
    settings = dataclasses.replace(SETTINGS, decisions=decisions)
    found = run(folder, settings, tmp_path / "out")
    assert found == pure(folder, settings)
    assert found["train"] == [] and len(found["eval"]) >= 3 and len(found["recent"]) > len(found["eval"])


def test_too_many_rejects_end_in_one_sentence_and_nothing_is_written(folder, tmp_path):
    settings = dataclasses.replace(SETTINGS, data=dataclasses.replace(SETTINGS.data, max_reject_share=0.001))
    with pytest.raises(DataError) as caught:
        run(folder, settings, tmp_path / "out")
    assert "rejected" in str(caught.value) and "max_reject_share" in str(caught.value)
    assert "\n" not in str(caught.value) and "while running" not in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.gz")) and not (tmp_path / "out" / "counts.json").exists()


def test_boundaries_out_of_order_end_in_one_sentence(folder, tmp_path):
    settings = dataclasses.replace(
        SETTINGS, decisions=dataclasses.replace(SETTINGS.decisions, train_until="2031-01-01")
    )
    with pytest.raises(settings_lib.SettingsError, match="expected each later than the one before"):
        run(folder, settings, tmp_path / "out")


def test_with_privacy_no_byte_of_the_examples_names_a_person(folder, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(bytes(range(40)))
    folder = _with_persons(folder)
    privacy = PrivacySettings(enabled=True, key_file=str(key))
    on = dataclasses.replace(SETTINGS, data=dataclasses.replace(SETTINGS.data, privacy=privacy, max_reject_share=0.2))
    off = dataclasses.replace(on, data=dataclasses.replace(on.data, privacy=PrivacySettings()))
    found = run(folder, on, tmp_path / "on")
    plain = pure(folder, off)
    secrets = re.compile(rb"person[0-9]|@example\.org|13812345678|4155550199|visit")

    assert all(any(secrets.search(record) for record in plain[split]) for split in ("train", "eval", "recent"))
    assert not any(secrets.search(record) for records in found.values() for record in records)
    files = {file.name: file.read_bytes() for file in (tmp_path / "on").iterdir() if file.is_file()}
    assert set(files) == {"counts.json", "rejects.jsonl"}
    assert not any(secrets.search(content) for content in files.values())
    rejects = [json.loads(line) for line in files["rejects.jsonl"].decode().splitlines()]
    reasons = {"unknown item_id", "unparsable timestamp", "too many fields", "missing item_id", TWICE}
    assert {row["reason"] for row in rejects} == reasons
    name = Pseudonyms.from_file(str(key)).of
    assert {row["user_id"] for row in rejects if row["reason"] == TWICE} == {name("person3")}
    assert [row["number of fields"] for row in rejects if row["reason"] == "too many fields"] == [8]

    # Nothing else is lost: the same comes of tables that were protected row by row before.
    tables = tmp_path / "by hand"
    tables.mkdir()
    protect = Privacy(privacy).protect_event
    for file in folder.glob("*.csv"):
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        rows = [protect(row) for row in rows if None not in row]
        pd.DataFrame(rows).to_csv(tables / file.name, index=False)
    assert found == pure(tables, off)
    assert sum(map(len, found.values())) == sum(map(len, plain.values()))
    # A person of several tables is one: what the users table and the reviews say is in the profile.
    joined = [tf.train.Example.FromString(record).features.feature for record in found["eval"]]
    texts = {row["user_id"].bytes_list.value[0].decode(): row["profile_text"].bytes_list.value[0] for row in joined}
    assert texts[name("person1")].startswith(b"likes tea, [email]") and b"good, call [phone]" in texts[name("person1")]


CONTACTS = {"query": " for me@example.org", "free_text": ", me@example.org", "text": ", call 4155550199"}
TWICE = "user_id was there already"


def _with_persons(folder: pathlib.Path) -> pathlib.Path:
    """The random shop with ids and texts that name persons, and with rows that are rejected for every reason."""
    for file in folder.glob("*.csv"):
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
        if "user_id" in rows:
            rows["user_id"] = "person" + rows["user_id"]
        for column in rows.columns.intersection(list(CONTACTS)):
            rows[column] = (rows[column] + CONTACTS[column]).where(rows[column] != "", "")
        if "session_id" in rows:
            rows["session_id"] = ("visit" + rows["session_id"] + rows["user_id"]).where(rows["session_id"] != "", "")
        rows.to_csv(file, index=False)
    with (folder / "events-0.csv").open("a") as events:
        events.write("person1,a,buy,13812345678 o'clock,visit,\nperson1,,buy,1600000000,visit,\n")
        events.write("person1,a,buy,1600000000,visit,hi,me@example.org,13812345678\n")
    with (folder / "users.csv").open("a") as users:
        users.write("person3,Peru,13812345678\n")
    return folder


def test_a_missing_key_is_said_before_anything_runs(folder, tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)
    data = dataclasses.replace(SETTINGS.data, privacy=PrivacySettings(enabled=True))
    with pytest.raises(DataError, match=r"data\.privacy: no key of pseudonyms is named"):
        example_gen(str(folder), dataclasses.replace(SETTINGS, data=data), "source")


def test_a_user_stays_in_one_shard(shop):
    events = shop.events([(f"u{place % 7}", "a", "view", place, "") for place in range(70)])
    shards = dict(stages.by_shard(events, 3))
    assert sum(len(part) for part in shards.values()) == 70
    assert sum(part["user_id"].nunique() for part in shards.values()) == 7


def test_splits_are_named_as_features_says():
    names = (features.TRAIN_SPLIT, features.EVAL_SPLIT, features.RECENT_SPLIT, features.CATALOGUE_SPLIT)
    assert names == ("train", "eval", "recent", "catalogue")
