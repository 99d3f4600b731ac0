"""Graded relevance by hand, and which searches are asked."""

import dataclasses
import math

import pandas as pd
import pytest

from benchmarks import predictions
from benchmarks.logged_search import LoggedSearch
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables.read import read

EVENTS = """user_id,item_id,event_type,timestamp,query,session_id
u1,a,click,2024-01-01,,s0
u1,b,purchase,2024-01-02,,s0
u2,c,click,2024-01-03,,s1
u1,,search,2024-01-20T10:00:00,red tea,s2
u1,a,click,2024-01-20T10:01:00,,s2
u1,a,purchase,2024-01-20T10:02:00,,s2
u1,b,click,2024-01-20T10:03:00,,s2
u1,new,purchase,2024-01-20T10:04:00,,s2
u1,,search,2024-01-21T10:00:00,again,s3
u1,b,click,2024-01-21T10:01:00,,s3
u2,,search,2024-01-12T10:00:00,绿茶,s4
u2,b,click,2024-01-12T10:01:00,,s4
u3,c,purchase,2024-01-22T10:01:00,,s5
"""
ITEMS = "item_id,title\na,Red tea\nb,绿茶 tin\nc,Lamp\nnew,Red tea new\n"
SETTINGS = {
    "name": "x",
    "decisions": {
        "label_event_types": ["click", "purchase"], "train_until": "2024-01-10", "eval_until": "2024-01-15",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    (folder / "events.csv").write_text(EVENTS)
    (folder / "items.csv").write_text(ITEMS)
    settings = settings_lib.from_dict(SETTINGS)
    return settings, read(settings.data, folder)


def test_the_first_search_after_the_boundary_is_asked_and_graded(shop):
    protocol = LoggedSearch.build(*shop)
    main, alone, wrong, _ = protocol.parts()
    assert [(one.user_id, one.query) for one in main.requests] == [("u1", "red tea")]
    assert protocol.relevance == {"u1": {"a": 3, "b": 1}}  # nobody could know `new`
    assert main.targets == {"u1": {"a", "b"}} and main.groups == {"2_words": {"u1"}}
    assert [event[:2] for event in main.requests[0].history] == [("a", "click"), ("b", "purchase")]
    assert not alone.requests[0].history and wrong.requests[0].query != "red tea"


def test_validation_asks_between_the_boundaries(shop):
    protocol = LoggedSearch.build(*shop, validation=True)
    (request,) = protocol.requests
    assert (request.user_id, request.query, protocol.relevance) == ("u2", "绿茶", {"u2": {"b": 1}})
    assert protocol.parts()[0].groups == {"1_words": {"u2"}, "ideographic": {"u2"}}


def test_other_splits_are_refused(shop):
    settings, tables = shop
    window = dataclasses.replace(settings, decisions=dataclasses.replace(settings.decisions, kind="window"))
    with pytest.raises(settings_lib.SettingsError, match=r"kind 'window'; expected 'global_time' and 'session'"):
        LoggedSearch.build(window, tables)


def test_graded_ndcg_by_hand():
    frame = predictions.to_frame([("u1", ["b", "x", "a"], [3, 2, 1]), ("u2", ["x"], [1]), ("other", ["a"], [1])])
    relevance = {"u1": {"a": 3, "b": 1}, "u2": {"y": 2}, "u3": {"z": 1}}
    reached = 1 + 7 / math.log2(4)
    best = 7 + 1 / math.log2(3)
    assert predictions.graded_ndcg(frame, relevance) == pytest.approx(reached / best / 3)
    assert predictions.graded_ndcg(frame, relevance, cut=2) == pytest.approx(1 / best / 3)
    assert math.isnan(predictions.graded_ndcg(pd.DataFrame(columns=list(predictions.COLUMNS)), {}))
