import dataclasses
import os

import pytest

from models.zoo.slice_ranker import SliceRankerOptions
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.component import example_gen
from tfx_pipeline.example_gen.executor import read_properties
from tfx_pipeline.raw_tables.rejects import DataError

SETTINGS = settings_lib.Settings(
    name="shop",
    data=settings_lib.DataSettings(
        events=settings_lib.TableSettings(path="events/*.csv"), items=settings_lib.TableSettings(path="items.csv")
    ),
    decisions=settings_lib.DecisionSettings(candidates=7, every_days=3.5, train_until="2011-10-01"),
    model=SliceRankerOptions(dimension=8),
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "1.csv").write_text("user_id,item_id,event_type,timestamp\nu,a,buy,10\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,thing\n")
    return tmp_path


def config(folder, settings=SETTINGS, source_hash="1"):
    return example_gen(str(folder), settings, source_hash).exec_properties["custom_config"]


def test_settings_arrive_as_they_were(folder):
    component = example_gen(str(folder), SETTINGS, "1")
    settings, path = read_properties(component.exec_properties)
    assert (settings.data, settings.decisions) == (SETTINGS.data, SETTINGS.decisions)
    assert path == str(folder)


def test_a_single_file_is_both_base_and_pattern(tmp_path):
    file = tmp_path / "online_retail.csv.gz"
    file.write_bytes(b"")
    settings = dataclasses.replace(SETTINGS, data=settings_lib.DataSettings(adapter="online_retail"))
    component = example_gen(str(file), settings, "1")
    assert component.exec_properties["input_base"] == str(tmp_path)
    assert read_properties(component.exec_properties)[1] == str(file)


def test_it_runs_again_when_data_settings_or_source_change_and_only_then(folder):
    before = config(folder)
    assert config(folder) == before
    assert config(folder, dataclasses.replace(SETTINGS, model=SliceRankerOptions())) == before
    assert config(folder, source_hash="2") != before
    changed = dataclasses.replace(SETTINGS.decisions, seed=1)
    assert config(folder, dataclasses.replace(SETTINGS, decisions=changed)) != before
    # below the folder, where the driver's one pattern does not look
    os.utime(folder / "events" / "1.csv", (1, 1))
    assert config(folder) != before


def test_a_missing_file_is_said_at_once(folder):
    (folder / "items.csv").unlink()
    with pytest.raises(DataError, match=r"items\.csv"):
        config(folder)


def test_another_file_system_is_not_looked_at():
    component = example_gen("gs://bucket/shop", SETTINGS, "1")
    assert component.exec_properties["input_base"] == "gs://bucket/shop"
    assert read_properties(component.exec_properties)[1] == "gs://bucket/shop"
    single = example_gen("gs://bucket/retail.csv.gz", SETTINGS, "1")
    assert read_properties(single.exec_properties)[1] == "gs://bucket/retail.csv.gz"
