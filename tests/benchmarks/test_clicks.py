"""The benchmark of clicks: what was shown when, and numbers by hand."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from benchmarks import clicks
from benchmarks.impressions import Impressions, click_rates, oracle_scores, read_impressions
from models.click_metrics import ClickMetrics
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables import synthetic, synthetic_oracle, synthetic_sessions
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.synthetic_world import ShopSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks") / "shop"
    synthetic.write(ShopSettings(users=120, items=100, days=30), folder)
    return folder


@pytest.fixture(scope="module")
def settings(request):
    return settings_lib.load(request.config.rootpath / "configs/clicks.yaml")


@pytest.fixture(scope="module")
def tables(folder, settings):
    return read(settings.data, folder)


def test_everything_shown_in_the_window_is_asked_once_with_its_outcome(folder, settings, tables):
    before, shown = read_impressions(settings, tables, validation=False)
    events = pd.read_parquet(folder / "events.parquet")
    opened = events.groupby("session_id")["timestamp"].transform("min")
    late = opened.dt.tz_convert(None).to_numpy().astype("datetime64[s]").astype(np.int64) >= shown.boundary
    for part, mask in ((shown, late), (before, ~late)):
        expected = events[mask & (events["event_type"] == "impression")]
        clicked = events[mask & (events["event_type"] == "click")]
        assert sum(map(len, part.labels)) == len(expected)
        assert part.clicks == len(clicked)
        pairs = [(request.user_id, item) for request in part.requests for item in request.candidates]
        assert sorted(pairs) == sorted(zip(expected["user_id"], expected["item_id"], strict=True))
    assert min(request.request_time for request in shown.requests) >= shown.boundary
    assert any((labels == 0).all() for labels in shown.labels)
    earlier, window = read_impressions(settings, tables, validation=True)
    assert window.boundary < shown.boundary
    assert len(earlier.requests) + len(window.requests) == len(before.requests)


def test_the_oracle_is_the_generators_truth(folder, settings, tables):
    _, shown = read_impressions(settings, tables, validation=False)
    scores = oracle_scores(folder, tables, shown)
    line = clicks.measure(shown, scores["oracle"])
    shop = synthetic.generate(synthetic.read_settings(folder))
    late = shop.sessions.time[shop.impressions["session"]] >= shown.boundary
    there = shop.impressions[late]
    expected = synthetic_oracle.auc(there["click_probability"].to_numpy(), there["click"].to_numpy())
    assert line["pooled_auc"] == pytest.approx(expected, abs=1e-9)
    assert line["pooled_auc_95"][0] < expected < line["pooled_auc_95"][1]
    assert sum(count for _, _, count in line["reliability"]) == line["impressions"] == len(there)
    level = np.sort(np.concatenate(scores["oracle_without_position"]))
    utility = synthetic_sessions.utility(
        shop.catalogue, shop.sessions, there["session"].to_numpy(), there["item"].to_numpy()
    )
    np.testing.assert_allclose(level, np.sort(utility), atol=1e-6)
    assert oracle_scores(folder / "nowhere", tables, shown) is None


def test_rates_are_drawn_towards_that_of_all():
    before = Impressions(
        (Request(candidates=["a", "b"]), Request(candidates=["a", "c"])), (np.array([1.0, 0]), np.array([0.0, 0])), 0
    )
    shown = Impressions((Request(user_id="u", candidates=["a", "b", "new"]),), (np.array([1.0, 0, 0]),), 0)
    (row,) = click_rates(before, shown, 2.0)
    expected = [(1 + 2 * 0.25) / 4, (0 + 2 * 0.25) / 3, 0.25]
    np.testing.assert_allclose(1 / (1 + np.exp(-row)), expected)
    (row,) = click_rates(before, shown, math.inf)
    assert len(set(row)) == 1


def test_a_line_says_what_the_metrics_say():
    shown = Impressions((Request(user_id="u"), Request(user_id="v")), (np.array([1.0, 0]), np.array([0.0, 1, 0])), 0)
    scores = [np.array([0.3, -1.0]), np.array([0.1, 0.2, -2.0])]
    line = clicks.measure(shown, scores)
    metrics = ClickMetrics()
    metrics.update([[1, 0, -1], [0, 1, 0]], [[0.3, -1.0, 0], [0.1, 0.2, -2.0]], ["u", "v"])
    assert {name: line[name] for name in metrics.names} == metrics.result()
    assert (line["impressions"], line["clicks"], line["decisions"]) == (5, 2, 2)
    assert json.loads(json.dumps(line, allow_nan=False)) == line


def test_a_folder_without_a_model_is_one_sentence(request, folder, capsys):
    config = str(request.config.rootpath / "configs/clicks.yaml")
    assert clicks.main(["--config", config, "--data", str(folder), "--servable", str(folder)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and "holds no SavedModel" in error


def test_windows_are_refused(settings, tables):
    decisions = dataclasses.replace(settings.decisions, kind="window", keep_unlabelled=False)
    with pytest.raises(settings_lib.SettingsError, match="expected kind `session` for the task click"):
        read_impressions(dataclasses.replace(settings, decisions=decisions), tables, validation=False)
    last = dataclasses.replace(settings.decisions, eval_until="1.0")
    with pytest.raises(settings_lib.SettingsError, match="so nothing comes after; expected --validation"):
        read_impressions(dataclasses.replace(settings, decisions=last), tables, validation=False)
