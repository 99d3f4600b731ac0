"""Leave one out: its clock and decisions by hand, and that no decision sees what it must not.

The leak test perturbs items, types of other events, queries and reviews; how many label events a user has is what
leave one out itself is told (it is the clock), so that stays.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen import decisions as decisions_lib
from tfx_pipeline.example_gen import examples, in_memory
from tfx_pipeline.example_gen.boundaries import DAY, TEST, Boundaries
from tfx_pipeline.example_gen.item_table import ItemStats
from tfx_pipeline.example_gen.leave_one_out import moment, on_the_clock
from tfx_pipeline.example_gen.sampling import PopularitySampler
from tfx_pipeline.raw_tables.adapter import since
from tfx_pipeline.raw_tables.read import RawTables, merge_identical
from tfx_pipeline.raw_tables.rejects import Rejects

SETTINGS = settings_lib.from_dict(
    {
        "data": {"context": ["city"]},
        "decisions": {
            "split": "leave_one_out",
            "label_event_types": ["buy"],
            "candidates": 6,
            "negatives": 4,
            "profile_text": {"sources": ["titles", "queries", "reviews"]},
        },
    }
)
REVIEWS = ["user_id", "item_id", "rating", "text", "timestamp"]


def prepare(shop, events, how=SETTINGS, reviews=(), users=None, items="abcdefgh", **columns) -> in_memory.Prepared:
    frame, _ = merge_identical(shop.events(events))
    written = pd.DataFrame(list(reviews), columns=REVIEWS).astype({"timestamp": "int64"})
    users = pd.DataFrame({"user_id": ["u"], "free_text": "", "city": ""}) if users is None else users
    return in_memory.prepare(
        RawTables(frame, shop.items(items, **columns), users, written, pd.DataFrame(), Rejects()), how
    )


def day_of(decision) -> float:
    return (TEST - decision.time) / DAY


def positives(decision) -> list[str]:
    return [i for i, label in zip(decision.candidate_item_ids, decision.labels, strict=True) if label > 0]


def test_the_clock_by_hand(shop):
    events = shop.events(
        [
            ("u", "a", "buy", 10, ""), ("u", "b", "view", 20, ""), ("u", "", "search", 21, "", "tea"),
            ("u", "b", "buy", 30, ""), ("u", "c", "view", 99, ""),
            ("v", "a", "view", 1, ""), ("v", "c", "buy", 5, ""), ("v", "d", "buy", 6, ""), ("v", "e", "buy", 7, ""),
            ("w", "a", "view", 3, ""),
        ]
    )  # fmt: skip
    users = pd.DataFrame({"user_id": ["u", "v"], "city": "Bonn", since("city"): [10, 5]})
    reviews = pd.DataFrame(
        [("u", "a", 5, "late", 30), ("u", "a", 5, "between", 29), ("u", "a", 5, "first", 9), ("x", "a", 5, "no", 9)],
        columns=REVIEWS,
    )
    clocked, people, written = on_the_clock(events, users, reviews, ["buy"])
    ages = ((TEST - clocked["timestamp"]) / DAY).tolist()
    # what is no label event has the moment of the one before it
    assert list(zip(clocked["user_id"], ages, strict=True)) == [
        ("u", 1), ("u", 1), ("u", 1), ("u", 0), ("u", 0), ("v", 3), ("v", 2), ("v", 1), ("v", 0), ("w", 0),
    ]  # fmt: skip
    # u is in Bonn since the purchase of 10, v since that of 5: known from the next one on
    assert ((TEST - people[since("city")]) / DAY).tolist() == [1, 2]
    assert dict(zip(written["text"], (TEST - written["timestamp"]) / DAY, strict=True)) == {
        "first": 2, "between": 1, "late": 0, "no": 0,
    }  # fmt: skip


EVENTS = st.tuples(st.sampled_from("uv"), st.sampled_from(["buy", "view"]), st.integers(0, 12))


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(EVENTS, min_size=1, max_size=14), st.lists(st.tuples(st.sampled_from("uv"), st.integers(0, 12))))
def test_on_the_clock_a_purchase_has_before_it_what_really_was(shop, events, others):
    """Whatever happened strictly before a purchase does so on the clock, and nothing else but purchases of the same
    moment; each purchase lies a day from the next."""
    rows = [(user, f"i{place:02}", kind, time, "") for place, (user, kind, time) in enumerate(events)]
    frame, _ = merge_identical(shop.events(rows))
    written = pd.DataFrame([(user, "i", 5, "", time) for user, time in others], columns=REVIEWS)
    people = pd.DataFrame(others, columns=["user_id", since("city")]).assign(city="Bonn")
    clocked, known, read = on_the_clock(frame, people, written.astype({"timestamp": "int64"}), ["buy"])
    really = dict(zip(frame["item_id"], frame["timestamp"], strict=True))
    bought = clocked[clocked["event_type"] == "buy"]
    for user, item, moment_of in bought[["user_id", "item_id", "timestamp"]].itertuples(index=False):
        now = really[item]
        for other in clocked[clocked["user_id"] == user].itertuples():
            if other.event_type == "view" or really[other.item_id] != now:
                assert (other.timestamp < moment_of) == (really[other.item_id] < now)
        # reviews and what is known of a user come back by their place
        for (who, time), (_, row) in zip(others, known.iterrows(), strict=True):
            assert who != user or (row[since("city")] < moment_of) == (time < now)
        times = [time for who, time in others if who == user]
        assert (read[read["user_id"] == user]["timestamp"] < moment_of).sum() == sum(time < now for time in times)
    for _, own in bought.groupby("user_id"):
        assert ((TEST - own["timestamp"]) // DAY).tolist() == list(range(len(own)))[::-1]


def test_a_long_past_is_squeezed_but_stays_in_order():
    times = moment(np.arange(5000))
    assert (np.diff(times) < 0).all() and (TEST - times[:1001]).tolist() == list(range(0, 1001 * DAY, DAY))
    assert times[1000] - times[4999] == 3999


def test_decisions_by_hand(shop):
    events = [("u", item, "buy", place, "") for place, item in enumerate("abca")]
    events += [("u", "d", "view", 2, ""), ("u", "e", "impression", 2, ""), ("u", "", "search", 2, "", "tea")]
    events += [("v", "f", "buy", 7, ""), ("v", "f", "buy", 8, ""), ("w", "g", "buy", 7, ""), ("x", "g", "view", 7, "")]
    prepared = prepare(shop, events)
    logs = {log.user_id: log for log in prepared.logs()}
    found = {user: prepared.builder.decisions(log) for user, log in logs.items()}
    u = [(d.split, day_of(d), d.history_item_ids.tolist(), positives(d)) for d in found["u"]]
    assert u == [
        ("train", 2, ["a"], ["b"]),
        # what happened in the moment in which c was bought is not before it
        ("eval", 1, ["a", "b"], ["c"]),
        ("recent", 1, ["a", "b"], ["c"]),
    ]
    v = [(d.split, day_of(d), d.history_item_ids.tolist(), positives(d)) for d in found["v"]]
    assert v == [] and found["w"] == [] and found["x"] == []
    assert found["u"][1].history_timestamps.tolist() == [TEST - 3 * DAY, TEST - 2 * DAY]
    assert found["u"][1].profile_text == "title of b; title of a" and found["u"][1].query == ""


def test_at_most_so_many_prefixes_and_what_is_left_out_is_counted(shop):
    how = dataclasses.replace(SETTINGS, decisions=dataclasses.replace(SETTINGS.decisions, train_prefixes=2))
    prepared = prepare(shop, [("u", item, "buy", place, "") for place, item in enumerate("abcdef")], how)
    (log,) = prepared.logs()
    left_out = decisions_lib.collections.Counter()
    moments = prepared.builder.moments(log, left_out)
    assert [(m.split, (TEST - m.time) // DAY) for m in moments] == [
        ("train", 3), ("train", 2), ("eval", 1), ("recent", 1),
    ]  # fmt: skip
    assert left_out == {"train: prefixes beyond train_prefixes": 2}
    prepared = prepare(shop, [("u", item, "buy", place, "") for place, item in enumerate("abcdef")])
    prepared.builder.moments(next(prepared.logs()), left_out)
    assert left_out["train: label events with nothing before them"] == 1


def test_boundaries_are_the_clocks():
    how = settings_lib.DecisionSettings(split="leave_one_out", train_start="soon", train_until="never")
    assert Boundaries.resolve(how, 0, 1) == Boundaries(0, TEST - DAY, TEST)


def test_every_item_is_known_and_only_training_sales_are_there_before_eval(shop):
    events = [("u", item, "buy", place, "") for place, item in enumerate("aabc")]
    prepared = prepare(shop, events, items="abcd", first_seen=[0, 5, 5, 2_000_000_000])
    rows = {}
    for example in examples.catalogue(prepared.builder.table, prepared.builder.stats, prepared.builder.boundaries):
        values = example.features.feature
        item = values[features.CANDIDATE_ITEM_IDS].bytes_list.value[0].decode()
        days = [TEST // DAY - day for day in values[features.ITEM_SALES_DAYS].int64_list.value]
        rows[item] = (list(values[features.ITEM_FIRST_SEEN].int64_list.value), days)
    # c is the test item, d has no event
    assert rows == {"a": ([0], [3, 2]), "b": ([0], [1]), "c": ([0], []), "d": ([0], [])}
    (train, *_) = prepared.builder.decisions(next(prepared.logs()))
    assert {i for i in train.candidate_item_ids if i} == set("abcd") and not any(train.candidate_text)
    assert train.slices[features.SLICE_ITEMS] == "known"


# --- leaks -------------------------------------------------------------------------------------------------------
PURCHASES = {"u": 6, "v": 5, "w": 7}
ITEMS, WORDS = st.sampled_from("abcdefgh"), st.sampled_from(["", "kettle", "红色"])


def logs() -> st.SearchStrategy:
    """For each user and purchase: (item bought, item seen after it, words asked after it, words reviewed after it)."""
    step = st.tuples(ITEMS, ITEMS, WORDS, WORDS)
    return st.fixed_dictionaries({user: st.lists(step, min_size=n, max_size=n) for user, n in PURCHASES.items()})


def shop_of(shop, log) -> in_memory.Prepared:
    events, reviews = [], []
    for user, steps in log.items():
        for place, (bought, seen, asked, text) in enumerate(steps):
            time = 1000 * len(user) + 100 * place
            events += [(user, bought, "buy", time, ""), (user, seen, "view", time + 1, "")]
            events += [(user, "", "search", time + 2, "", asked)] if asked else []
            reviews += [(user, bought, 5, text, time + 3)] if text else []
    return prepare(shop, events, reviews=reviews, category=list("xyxyxyxy"))


def mixed(past, future, steps: int):
    """The log of `past`, but from `future` everything that a decision of u about a purchase `steps` from the last one,
    or an earlier one, must not see: everybody's purchases so late, but for that one itself, and what comes after."""
    found = {user: past[user][: -steps - 1] + future[user][-steps - 1 :] for user in past}
    found["u"][-steps - 1] = (past["u"][-steps - 1][0], *future["u"][-steps - 1][1:])
    return found


def written(prepared, steps: int) -> list[bytes]:
    """Those decisions of u, and the catalogue with the sales of the days before."""
    found = []
    (log,) = (log for log in prepared.logs() if log.user_id == "u")
    for at in prepared.builder.moments(log):
        if at.time <= TEST - steps * DAY:
            found.append(examples.serialize(examples.to_example(prepared.builder.build(log, at), ("city",))))
    assert found
    for row in examples.catalogue(prepared.builder.table, prepared.builder.stats, prepared.builder.boundaries):
        sales = row.features.feature
        days = sales[features.ITEM_SALES_DAYS].int64_list.value
        early = sum(day < TEST // DAY - steps for day in days)
        del days[early:], sales[features.ITEM_SALES_COUNTS].int64_list.value[early:]
        found.append(examples.serialize(row))
    return found


def check(shop, steps: int) -> None:
    @settings(max_examples=25, database=None, derandomize=True, deadline=None, phases=[Phase.generate])
    @given(past=logs(), future=logs())
    def same_bytes(past, future):
        assert written(shop_of(shop, past), steps) == written(shop_of(shop, mixed(past, future, steps)), steps)

    same_bytes()


# 1: the eval decision and all before it; 2, 4: train decisions.
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_what_comes_later_in_anybodys_log_changes_no_byte(shop, steps):
    check(shop, steps)


def test_the_past_of_others_does_count(shop):
    log = {user: [("a", "a", "", "")] * number for user, number in PURCHASES.items()}
    other = {**log, "v": [("b", "a", "", "")] * 3 + log["v"][3:]}
    assert written(shop_of(shop, log), 1) != written(shop_of(shop, other), 1)


def test_a_builder_that_takes_the_moment_itself_is_caught(shop, monkeypatch):
    honest = decisions_lib.before
    monkeypatch.setattr(decisions_lib, "before", lambda times, at: honest(times, at + 1))
    with pytest.raises(AssertionError):
        check(shop, 1)


@pytest.mark.parametrize("steps", [1, 2])
def test_negatives_by_what_is_sold_later_are_caught(shop, steps, monkeypatch):
    honest = PopularitySampler.draw
    monkeypatch.setattr(
        PopularitySampler, "draw", lambda self, rng, number, exclude, at: honest(self, rng, number, exclude, at + DAY)
    )
    with pytest.raises(AssertionError):
        check(shop, steps)


def test_first_events_are_caught(shop, monkeypatch):
    """If items were known by their first event, who buys an item last would be told."""
    honest = ItemStats.combine
    monkeypatch.setattr(ItemStats, "combine", lambda partials, size, always_known: honest(partials, size))
    with pytest.raises(AssertionError):
        check(shop, 1)


def test_times_that_are_not_on_the_clock_are_caught(shop, monkeypatch):
    """Real times: one user's last purchase lies before another's first."""

    def from_the_start(events, users, reviews, label_event_types):
        events = events.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
        label = events["event_type"].isin(tuple(label_event_types))
        place = label.groupby(events["user_id"]).cumsum()
        return events.assign(timestamp=TEST - (8 - place) * DAY), users, reviews

    monkeypatch.setattr(in_memory, "on_the_clock", from_the_start)
    with pytest.raises(AssertionError):
        check(shop, 1)
