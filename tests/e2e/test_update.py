"""Updates on the tiny shop: a base that knows the first part of the log, and what comes after; as a long test, through
the pipeline and its gate."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from models.zoo.two_tower import TwoTower
from serving import contract
from tfx_pipeline import settings as settings_lib
from tfx_pipeline import shoppers, trainer
from tfx_pipeline.update import find_base
from tfx_pipeline.warm_start_settings import WarmStartSettings

WARM = WarmStartSettings(enabled=True, held_out=0.3, replay=0.5, max_forgotten=1.0, learning_rate=0.001)


def _settings(tiny, warm_start=WARM, **train):
    own = settings_lib.load(tiny.folder / "tiny.yaml")
    other = settings_lib.load(tiny.folder / "tiny.yaml", "two_tower")
    short = {"epochs": 3, "batch_size": 32, "validation_decisions": 200, "warm_start": warm_start, **train}
    return dataclasses.replace(own, model=other.model, train=dataclasses.replace(other.train, **short))


def _data(tiny):
    run = tiny.last_run()
    splits = [f"{run['transformed_examples']}/Split-{split}/*" for split in ("train", "eval", "catalogue")]
    return trainer.split_files(splits[:1], splits[1:], run["transform_graph"])


def _fit(settings, data, folder, base=None):
    folders = {"log_dir": str(folder / "logs"), "checkpoints": str(folder / "checkpoints")}
    run = trainer.fit_and_export(settings, data, export_dir=str(folder / "model"), base=base, **folders)
    return run, str(folder / "model")


@pytest.fixture(scope="module")
def early(tiny, tmp_path_factory):
    """(first day of what is new, SavedModel of a base that knows nothing of it)."""
    folder = tmp_path_factory.mktemp("early")
    data = _data(tiny)
    _, days, _ = shoppers.decision_keys(data.train_files, data.transform)
    since = int(np.quantile(days, 0.7))
    for name, wanted in (("old", days < since), ("new", days >= since)):
        with tf.io.TFRecordWriter(str(folder / f"{name}.gz"), "GZIP") as writer:
            for record in shoppers.marked_records(data.train_files, wanted):
                writer.write(record.numpy())
    part = dataclasses.replace(data, train_files=[str(folder / "old.gz")], eval_files=[str(folder / "new.gz")])
    run, model = _fit(_settings(tiny), part, folder)
    assert run["warm_start"] is None
    return since, model


def test_an_update_starts_where_its_base_ended(tiny, early, tmp_path, monkeypatch):
    since, model = early
    counted = []
    monkeypatch.setattr(TwoTower, "counts", True)
    monkeypatch.setattr(TwoTower, "count", lambda self, known: counted.extend(known))
    settings, data = _settings(tiny), _data(tiny)
    base = find_base(settings, model, None)
    assert base.until_day == since
    run, updated = _fit(settings, data, tmp_path, base)
    report = run["warm_start"]
    users, days, _ = shoppers.decision_keys(data.train_files, data.transform)
    assert report["new"] + report["yesterday"] == (days >= since).sum()
    # Nothing is counted of yesterday's test.
    everybody = {one.key: one.sequence.tolist() for one in shoppers.read_shoppers(data.train_files, data.transform)}
    found = {one.key: one.sequence.tolist() for one in counted}
    held_out = [user for user, sequence in everybody.items() if found.get(user) != sequence]
    assert np.isin(users[days >= since], held_out).sum() == report["yesterday"]
    assert 0.1 < report["yesterday"] / (days >= since).sum() < 0.5
    assert report["replayed"] == report["new"]
    assert len(run["history"]) == WARM.epochs == 1
    assert report["after"]["today"] == run["metrics"]["ndcg@10"]
    # As before it began: what the base gets on both tests is what it brought, not chance.
    assert report["before"]["today"] > 0.7 * report["after"]["today"]
    assert abs(report["after"]["yesterday"] - report["before"]["yesterday"]) < 0.05
    assert json.loads(pathlib.Path(updated, contract.RUN_FILE).read_text())["warm_start"] == report
    assert find_base(settings, updated, None).until_day > since


def test_an_update_that_forgets_is_no_model(tiny, early, tmp_path):
    reckless = dataclasses.replace(WARM, learning_rate=3.0, replay=0.0, max_forgotten=0.01, epochs=2)
    settings = _settings(tiny, reckless)
    with pytest.raises(ValueError, match="the update forgets: NDCG@10 on yesterday's test fell from"):
        _fit(settings, _data(tiny), tmp_path, find_base(settings, early[1], None))
    assert not (tmp_path / "model").exists()


def test_a_base_that_knows_the_test_is_refused(tiny, early, tmp_path):
    settings = _settings(tiny)
    base = find_base(settings, early[1], None)
    knowing = dataclasses.replace(base, until_day=base.until_day + 1000)
    with pytest.raises(ValueError, match=r"knows events until .* and the eval split starts on"):
        _fit(settings, _data(tiny), tmp_path, knowing)


def test_without_anything_new_it_is_a_fit_from_scratch(tiny, early, tmp_path, capsys):
    settings, data = _settings(tiny), _data(tiny)
    known = dataclasses.replace(data, train_files=[str(pathlib.Path(early[1]).parent / "old.gz")])
    run, _ = _fit(settings, known, tmp_path, find_base(settings, early[1], None))
    assert run["warm_start"] is None
    assert len(run["history"]) == 3
    assert "no decision is newer" in capsys.readouterr().out


@pytest.mark.long
def test_an_update_goes_through_the_gate(tiny_shop):
    """Most of the log, then all of it: the second run starts from the first one's model, and pushes a version more."""
    data, events = tiny_shop.folder / "growing", pd.read_parquet(tiny_shop.folder / "data" / "events.parquet")
    shutil.copytree(tiny_shop.folder / "data", data)
    times = pd.to_datetime(events["timestamp"], utc=True)
    cut = times.min() + 0.85 * (times.max() - times.min())
    events[times < cut].to_parquet(data / "events.parquet", index=False)
    root = tiny_shop.folder / "updates"
    names = {"PIPELINE_DATA": str(data), "PIPELINE_ROOT": str(root), "PIPELINE_ENTRY": "profile_matcher"}
    tiny_shop.run(**names)
    home = root / "tiny_profile_matcher"
    first = json.loads((home / "last_run.json").read_text(encoding="utf-8"))
    assert first["blessed"] and first["update"] is None
    assert "Nothing is new" in tiny_shop.run(**names, PIPELINE_UPDATE="1")
    events.to_parquet(data / "events.parquet", index=False)
    printed = tiny_shop.run(**names, PIPELINE_UPDATE="1")
    second = json.loads((home / "last_run.json").read_text(encoding="utf-8"))
    assert second["blessed"], printed
    assert second["update"]["new"] > 0 and "/Trainer/model/" in second["update"]["base"]
    assert second["pushed"]["version"] > first["pushed"]["version"]
    # Started again, everything is as it was, though the run's own model is blessed by now.
    tiny_shop.run(**names, PIPELINE_UPDATE="1", PIPELINE_FORCE="1")
    third = json.loads((home / "last_run.json").read_text(encoding="utf-8"))
    assert third["update"] == second["update"]
    assert {part["name"]: part["state"] for part in third["components"]}["Trainer"] == "from the cache"
