"""Ways to export one fit: what is measured of each, on SavedModels whose answers one computes by hand."""

import json

import numpy as np
import pytest

from benchmarks import export as export_lib
from benchmarks.next_basket import NextBasket
from serving.results import Recommendation
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.export_settings import ExportSettings


def test_ways_are_read_as_settings_of_the_export():
    found = dict(export_lib.parse(text) for text in (*export_lib.WAYS, *export_lib.PRUNED))
    assert found["float32"] == ExportSettings()
    assert found["pruned_60_int8"] == ExportSettings(weights="int8", sparsity=0.6)
    for text, expected in (
        ("half", "expected NAME=KEY=VALUE"),
        ("half=weights=float15", "`export.weights` is 'float15'; expected one of float32"),
        ("half=bits=8", "unknown key `export.bits`"),
    ):
        with pytest.raises(settings_lib.SettingsError, match=expected):
            export_lib.parse(text)


def test_answers_are_compared_item_by_item():
    ours = [Recommendation(["a", "b", "c"], [3.0, 2.0, 1.5], 1), Recommendation(["x"], [1.0], 1)]
    theirs = [Recommendation(["b", "a", "d"], [2.5, 2.9, 1.0], 1), Recommendation(["x"], [1.0], 1)]
    same, difference = export_lib.compare(ours, theirs)
    assert same == pytest.approx((2 / 3 + 1) / 2)
    assert difference == pytest.approx(0.5)


def test_a_folder_weighs_what_its_files_do_and_less_when_packed(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "zeros").write_bytes(bytes(200_000))
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "noise").write_bytes(np.random.default_rng(0).bytes(50_000))
    found = export_lib.megabytes(tmp_path)
    assert found[""] == pytest.approx(0.25)
    assert found["_weights"] == pytest.approx(0.05)
    assert 0.05 < found["_packed"] < 0.06


def test_the_first_is_what_others_are_held_against(export, shop):
    protocol = NextBasket.build(shop.settings, shop.tables, shop.seconds("2020-03-01"))
    worse = export(4, weights=[0.0, 0.2, 0.6, 0.4, 0.5, 0.3, 0.9])
    folders = {"float32": export(4), "again": export(4), "worse": worse}
    first, again, other = export_lib.evaluate(folders, shop.settings, protocol, users=100)
    assert (first["way"], first["lost"], first["size"], first["latency_1"]) == ("float32", 0, 1, 1)
    assert again["largest_score_difference"] == again["lost"] == 0
    assert again["latency_batch"] == pytest.approx(1, abs=0.9)
    assert other["largest_score_difference"] == pytest.approx(0.1, abs=1e-6)
    assert other["same_top_10"] == 1
    assert first["n"] == 3
    json.dumps([first, again, other], allow_nan=False)
