"""Decisions, by hand."""

import collections
import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tfx_pipeline.example_gen.boundaries import DAY, Boundaries
from tfx_pipeline.raw_tables.adapter import since
from tfx_pipeline.settings import DecisionSettings, ProfileTextSettings

SESSIONS = DecisionSettings(kind="session", label_event_types=("buy",), candidates=6, negatives=2)
WINDOWS = dataclasses.replace(SESSIONS, kind="window", every_days=5, horizon_days=5)


def ranked(decision) -> dict[str, float]:
    """Item -> label, without the padding."""
    pairs = zip(decision.candidate_item_ids, decision.labels.tolist(), strict=True)
    return {item: label for item, label in pairs if label >= 0}


def test_a_session_by_hand(shop):
    events = [
        ("other", "x", "buy", 5, "o"),
        ("u", "a", "view", 10, "s1"),
        ("u", "", "search", 20, "s2", "red shoes"),
        ("u", "b", "impression", 21, "s2"),
        ("u", "c", "impression", 21, "s2"),
        ("u", "b", "view", 22, "s2"),
        ("u", "b", "buy", 23, "s2"),
        ("u", "d", "view", 30, "s3"),  # no label event, no decision
        ("u", "", "search", 41, "s4", "later"),  # not known at the session's first event
        ("u", "a", "view", 40, "s4"),
        ("u", "c", "buy", 42, "s4"),
    ]
    builder, logs = shop.build(SESSIONS, Boundaries(0, 100, 200), events, shop.items("abcdx"))
    left_out: collections.Counter[str] = collections.Counter()
    assert len(builder.moments(logs["u"], left_out)) == 2
    assert left_out == {"queries later than their session's first event (kept for later profile texts)": 1}
    first, second = builder.decisions(logs["u"])
    assert (first.split, first.time, first.query) == ("train", 20, "red shoes")
    assert first.history_item_ids.tolist() == ["a"]
    assert first.history_event_types.tolist() == ["view"]
    assert first.history_timestamps.tolist() == [10]
    assert first.profile_text == ""
    # b bought, c only shown; before the session only x and a had an event
    assert ranked(first) == {"b": 1, "c": 0, "x": 0, "a": 0}
    assert first.candidate_item_ids[4:] == ["", ""] and first.labels.tolist()[4:] == [-1, -1]
    assert (second.time, second.query) == (40, "")
    assert second.history_item_ids.tolist() == ["a", "b", "b", "d"]
    assert second.history_event_types.tolist() == ["view", "view", "buy", "view"]
    assert second.profile_text == "red shoes; title of b"
    drawn = {item for item, label in ranked(second).items() if label == 0}
    assert ranked(second)["c"] == 1 and len(drawn) == 2 and drawn <= {"a", "b", "d", "x"}


def test_events_without_a_session_are_decisions_of_their_moment(shop):
    events = [
        ("u", "a", "view", 10, ""),
        ("u", "b", "buy", 10, ""),
        ("u", "c", "buy", 10, ""),
        ("u", "d", "impression", 10, ""),
        ("u", "d", "buy", 11, ""),
        ("u", "a", "view", 11, "s"),  # a session of its own, without a label event
    ]
    builder, logs = shop.build(SESSIONS, Boundaries(0, 100, 200), events, shop.items("abcd"))
    first, second = builder.decisions(logs["u"])
    assert first.time == 10 and not len(first.history_item_ids)
    assert {item for item, label in ranked(first).items() if label} == {"b", "c"}
    assert ranked(first)["d"] == 0
    assert second.time == 11 and second.history_item_ids.tolist() == ["a", "b", "c"]


def test_sessions_go_to_splits_by_their_first_event_and_labels_end_with_the_split(shop):
    events = [
        ("u", "a", "buy", 5, "too early"),
        ("u", "a", "buy", 10, "train"),
        ("u", "b", "view", 15, "across"),
        ("u", "a", "buy", 19, "across"),
        ("u", "b", "buy", 20, "across"),  # later than train_until: no positive of train
        ("u", "b", "view", 18, "lost"),
        ("u", "b", "buy", 21, "lost"),
        ("u", "c", "buy", 20, "eval"),
        ("u", "a", "buy", 29, "last"),
        ("u", "b", "buy", 30, "last"),
        ("u", "b", "buy", 30, "too late"),
    ]
    builder, logs = shop.build(SESSIONS, Boundaries(10, 20, 30), events, shop.items("abc"))
    left_out: collections.Counter[str] = collections.Counter()
    moments = builder.moments(logs["u"], left_out)
    assert [(moment.split, moment.time) for moment in moments] == [
        ("train", 10),
        ("train", 15),
        ("eval", 20),
        ("eval", 29),
        ("recent", 20),
        ("recent", 29),
    ]
    positives = [{item for item, label in ranked(builder.build(logs["u"], m)).items() if label} for m in moments]
    assert positives == [{"a"}, {"a"}, {"c"}, {"a"}, {"c"}, {"a"}]
    assert left_out == {
        "sessions before train_start or from eval_until on": 2,
        "train: sessions whose label events are later than the split's end": 1,
    }


def test_what_was_shown_and_not_clicked_is_a_decision_where_it_is_kept(shop):
    events = [
        ("u", "a", "impression", 10, "s1"),
        ("u", "b", "impression", 10, "s1"),
        ("u", "a", "buy", 11, "s1"),
        ("u", "", "search", 14, "s2", "red shoes"),
        ("u", "b", "impression", 15, "s2"),
        ("u", "c", "impression", 15, "s2"),
        ("u", "c", "view", 18, "s3"),  # neither shown nor bought
        ("looker", "a", "impression", 12, "s4"),
        ("viewer", "a", "view", 12, "s5"),
    ]
    settings = dataclasses.replace(SESSIONS, negatives=0)
    kept = dataclasses.replace(settings, keep_unlabelled=True)
    for rules, expected in ((settings, [{"a": 1, "b": 0}]), (kept, [{"a": 1, "b": 0}, {"b": 0, "c": 0}])):
        builder, logs = shop.build(rules, Boundaries(0, 100, 200), events, shop.items("abc"))
        decisions = builder.decisions(logs["u"])
        assert [ranked(decision) for decision in decisions] == expected
    assert (decisions[1].time, decisions[1].query) == (14, "red shoes")
    assert decisions[1].history_item_ids.tolist() == ["a"]  # bought; impressions are no history
    assert decisions[1].slices["slice_items"] == "known"
    left_out: collections.Counter[str] = collections.Counter()
    assert [ranked(decision) for decision in builder.decisions(logs["looker"])] == [{"a": 0}]
    assert builder.moments(logs["viewer"], left_out) == []
    assert left_out == {"users without a label event": 1}


def test_windows_by_hand(shop):
    day = DAY
    events = [
        ("u", "a", "buy", 1 * day, ""),
        ("u", "b", "buy", 5 * day, ""),  # exactly at a cut: in its window, not in its history
        ("u", "a", "buy", 7 * day, ""),
        ("u", "c", "buy", 10 * day, ""),
        ("u", "d", "buy", 20 * day, ""),
        ("u", "a", "buy", 26 * day - 1, ""),
        ("u", "b", "buy", 26 * day, ""),  # at eval_until
        ("new", "a", "buy", 21 * day, ""),  # nothing before the cut
        ("seen", "a", "impression", 3 * day, ""),  # an impression makes nobody known
        ("seen", "a", "buy", 21 * day, ""),
    ]
    settings = dataclasses.replace(WINDOWS, horizon_days=10)
    builder, logs = shop.build(settings, Boundaries(0, 20 * day, 26 * day), events, shop.items("abcd"))
    decisions = builder.decisions(logs["u"])
    found = [(d.split, d.time / day, {i for i, label in ranked(d).items() if label}) for d in decisions]
    assert found == [
        ("train", 5, {"a", "b", "c"}),
        ("train", 10, {"c"}),
        # 20 days + 10 would end after eval_until: cut off there
        ("eval", 20, {"a", "d"}),
        # cuts 26, 21, 16, 11, ...: the windows of 16 and 11 end after day 20 and by day 26
        ("recent", 11, {"d"}),
        ("recent", 16, {"a", "d"}),
    ]
    assert [d.history_item_ids.tolist() for d in decisions] == [
        ["a"],
        ["a", "b", "a"],
        ["a", "b", "a", "c"],
        ["a", "b", "a", "c"],
        ["a", "b", "a", "c"],
    ]
    assert builder.decisions(logs["new"]) == builder.decisions(logs["seen"]) == []


def test_windows_cut_off_by_the_splits_end_count_from_a_length_on(shop):
    day = DAY
    events = [("u", item, "buy", time * day, "") for item, time in (("a", 1), ("b", 18), ("c", 20), ("d", 24))]
    whole = dataclasses.replace(WINDOWS, horizon_days=10)

    def found(min_horizon_days):
        settings = dataclasses.replace(whole, min_horizon_days=min_horizon_days)
        builder, logs = shop.build(settings, Boundaries(0, 20 * day, 26 * day), events, shop.items("abcd"))
        return {
            (d.split, d.time / day, "".join(sorted(i for i, label in ranked(d).items() if label)))
            for d in builder.decisions(logs["u"])
        }

    complete = {("train", 10, "b"), ("eval", 20, "cd"), ("recent", 11, "bc"), ("recent", 16, "bcd")}
    assert found(0) == complete
    # Cut 15 has 5 days until 20, the end of `train`; cut 21 has 5 until 26, the end of `recent`.
    assert found(5) == complete | {("train", 15, "b"), ("recent", 21, "d")}
    assert found(5.5) == complete


def test_the_newest_positives_stay_and_the_rest_is_counted_and_no_negative(shop):
    events = [("u", item, "buy", 10 + place, "s") for place, item in enumerate("abcda")]
    settings = dataclasses.replace(SESSIONS, max_positives=2, negatives=6)
    builder, logs = shop.build(settings, Boundaries(0, 100, 200), events, shop.items("abcd"))
    (decision,) = builder.decisions(logs["u"])
    assert ranked(decision) == {"a": 1, "d": 1}
    assert decision.dropped_positives == 2


def test_impressions_beyond_the_room_are_counted(shop):
    events = [("u", item, "impression", 10, "s") for item in "abcdef"] + [("u", "a", "buy", 11, "s")]
    settings = dataclasses.replace(SESSIONS, candidates=4)
    builder, logs = shop.build(settings, Boundaries(0, 100, 200), events, shop.items("abcdef"))
    (decision,) = builder.decisions(logs["u"])
    assert ranked(decision) == {"a": 1, "b": 0, "c": 0, "d": 0}
    assert decision.dropped_impressions == 2


def test_negatives_were_there_before_the_decision(shop):
    events = [("v", item, "buy", time, "") for time, item in enumerate("abcdefgh", 10)]
    events += [("u", "a", "buy", 13, "train"), ("u", "x", "buy", 15, "eval")]
    settings = dataclasses.replace(SESSIONS, candidates=12, negatives=11)
    items = shop.items("abcdefghxy", first_seen=[9] * 10)  # stated, but before its first event nobody has seen an item
    builder, logs = shop.build(settings, Boundaries(0, 14, 20), events, items)
    found = {decision.split: ranked(decision) for decision in builder.decisions(logs["u"])}
    assert found["train"] == {"a": 1, "b": 0, "c": 0}
    assert found["eval"] == found["recent"] == {"x": 1, "a": 0, "b": 0, "c": 0, "d": 0, "e": 0}
    decision = next(decision for decision in builder.decisions(logs["u"]) if decision.split == "eval")
    assert decision.slices["slice_items"] == "new"
    texts = dict(zip(decision.candidate_item_ids, decision.candidate_text, strict=True))
    assert {item for item, text in texts.items() if text} == {"x", "e"}  # new ones are negatives, too


def test_text_only_for_items_without_events_before_the_boundary(shop):
    events = [
        ("v", "a", "view", 5, ""),
        ("u", "a", "buy", 20, "s"),
        ("u", "b", "buy", 20, "s"),
        ("v", "c", "buy", 9, ""),
    ]
    builder, logs = shop.build(SESSIONS, Boundaries(0, 10, 100), events, shop.items("abc", brand=["A", "B", "C"]))
    decisions = {decision.split: decision for decision in builder.decisions(logs["u"])}
    texts = dict(zip(decisions["eval"].candidate_item_ids, decisions["eval"].candidate_text, strict=True))
    assert texts == {"a": "", "b": "title of b; B", "c": "", "": ""}
    assert decisions["eval"].slices["slice_items"] == "new"
    # the final fit, which `recent` serves, knows all items before eval_until
    assert set(decisions["recent"].candidate_text) == {""}
    assert decisions["recent"].slices["slice_items"] == "known"


def test_profile_text_by_hand(shop):
    events = [
        ("u", "", "search", 1, "s", "kettle"),
        ("u", "", "search", 2, "s", "lamp"),
        ("u", "", "search", 3, "s", "kettle"),
        ("u", "a", "buy", 4, "s"),
        ("u", "b", "buy", 5, "s"),
        ("u", "a", "buy", 6, "s"),
        ("u", "c", "view", 7, "s"),
        ("u", "", "search", 10, "t", "at the moment"),
        ("u", "c", "buy", 11, "t"),
    ]
    reviews = pd.DataFrame(
        [
            ("u", "a", 5.0, "good", 9),
            ("u", "b", 1.0, "leaks", 8),
            ("u", "a", 1.0, "at the moment", 10),
            ("v", "a", 1.0, "no", 1),
        ],
        columns=["user_id", "item_id", "rating", "text", "timestamp"],
    )
    users = pd.DataFrame([("u", "I like tea"), ("v", "I do not")], columns=["user_id", "free_text"])

    def text(**profile):
        settings = dataclasses.replace(SESSIONS, profile_text=ProfileTextSettings(**profile))
        builder, logs = shop.build(
            settings, Boundaries(0, 50, 60), events, shop.items("abc"), users=users, reviews=reviews
        )
        return builder.decisions(logs["u"])[-1].profile_text

    assert text() == "I like tea; kettle; lamp; good; leaks; title of a; title of b"
    assert text(sources=("titles", "reviews"), max_items=1) == "title of a; good"
    assert text(max_chars=13) == "I like tea; k"


@pytest.mark.parametrize(
    ("length", "name"), [(0, "0"), (1, "1-9"), (9, "1-9"), (10, "10-49"), (49, "10-49"), (50, "50+")]
)
def test_slices(shop, length, name):
    events = [("u", "a", "view", 1, f"s{place}") for place in range(length)] + [("u", "b", "buy", 2, "t")]
    builder, logs = shop.build(SESSIONS, Boundaries(0, 50, 60), events, shop.items("ab", category=["x", "x"]))
    slices = builder.decisions(logs["u"])[-1].slices
    assert slices == {
        "slice_user": "known" if length else "new",
        "slice_items": "known",
        "slice_category": "seen" if length else "unseen",
        "slice_history": name,
    }


def test_items_without_a_category_share_none(shop):
    events = [("u", "a", "view", 1, "s"), ("u", "b", "buy", 2, "t")]
    builder, logs = shop.build(SESSIONS, Boundaries(0, 50, 60), events, shop.items("ab"))
    assert builder.decisions(logs["u"])[0].slices["slice_category"] == "unseen"


@hypothesis_settings(deadline=None)
@given(st.data())
def test_candidates_always_hold_what_they_promise(shop, data):
    row = st.tuples(
        st.sampled_from("uv"), st.sampled_from("abcdefgh"), st.sampled_from(["buy", "view", "impression"]),
        st.integers(0, 99), st.sampled_from(["", "s", "t"]),
    )  # fmt: skip
    events = data.draw(st.lists(row, min_size=1, max_size=40))
    settings = DecisionSettings(
        kind=data.draw(st.sampled_from(["session", "window"])),
        label_event_types=("buy",),
        every_days=10 / DAY,
        horizon_days=15 / DAY,
        candidates=data.draw(st.integers(1, 9)),
        max_positives=data.draw(st.integers(1, 4)),
        negatives=data.draw(st.integers(0, 5)),
    )
    builder, logs = shop.build(settings, Boundaries(0, 60, 90), events, shop.items("abcdefgh"))
    for log in logs.values():
        for moment, decision in zip(builder.moments(log), builder.decisions(log), strict=True):
            ids, labels = np.array(decision.candidate_item_ids), decision.labels
            assert len(ids) == len(labels) == len(decision.candidate_text) == settings.candidates
            assert ((labels == -1) == (ids == "")).all() and (np.diff(labels == -1) >= 0).all()
            real = ids[labels >= 0]
            assert len(set(real)) == len(real)
            bought = set(builder.table.ids[log.items[moment.labels]])
            assert not bought & set(ids[labels == 0])
            assert set(ids[labels == 1]) <= bought
            assert (labels == 1).sum() == min(len(bought), settings.max_positives, settings.candidates)


@pytest.mark.parametrize(("wanted", "number", "length"), [(-1, 4, 8), (9, 4, 8), (1, 1, 5), (0, 0, 4)])
def test_what_is_trained_on_may_have_fewer_negatives(shop, wanted, number, length):
    events = [("v", item, "buy", time, "") for time, item in enumerate("abcdefgh", 1)]
    events += [("u", "x", "buy", time, name) for time, name in ((13, "train"), (15, "eval"))]
    settings = dataclasses.replace(SESSIONS, candidates=8, negatives=4, train_negatives=wanted)
    builder, logs = shop.build(settings, Boundaries(0, 14, 20), events, shop.items("abcdefghx"))
    for decision in builder.decisions(logs["u"]):
        expected = (4, 8) if decision.split == "eval" else (number, length)
        assert ((decision.labels == 0).sum(), len(decision.labels)) == expected
        assert len(decision.candidate_item_ids) == len(decision.candidate_text) == expected[1]
        assert ranked(decision)["x"] == 1


def test_places_say_nothing_of_labels(shop):
    events = [("v", item, "buy", 1, "") for item in "abcdefgh"]
    events += [(f"u{user}", "a", "buy", 5, "s") for user in range(600)]
    settings = dataclasses.replace(SESSIONS, candidates=8, negatives=3)
    builder, logs = shop.build(settings, Boundaries(0, 50, 60), events, shop.items("abcdefgh"))
    places = [int(np.argmax(builder.decisions(logs[f"u{user}"])[0].labels)) for user in range(600)]
    seen = np.bincount(places, minlength=4)
    assert len(seen) == 4 and (np.abs(seen - 150) < 50).all()  # 150 ± 4.7 standard deviations


@pytest.mark.parametrize("kind", ["session", "window"])
def test_context_of_events_is_not_known_before_its_event(shop, kind):
    how = dataclasses.replace(SESSIONS, kind=kind, every_days=1 / DAY, horizon_days=1 / DAY)
    events = [("u", "a", "view", 1, ""), *(("u", "a", "buy", time, "") for time in (4, 5, 6))]
    users = pd.DataFrame(
        [("u", "", "Ghana", "18-25", 5)], columns=["user_id", "free_text", "country", "age", since("country")]
    )
    builder, logs = shop.build(
        how, Boundaries(2, 10, 20), events, shop.items("a"), users=users, context=("country", "age")
    )
    known = {decision.time: sorted(decision.context) for decision in builder.decisions(logs["u"])}
    # A request that opens a session brings its own context; a window has no event of its own.
    at_the_moment = ["age", "country"] if kind == "session" else ["age"]
    assert {time: known[time] for time in (4, 5, 6)} == {4: ["age"], 5: at_the_moment, 6: ["age", "country"]}


def test_each_positive_says_which_of_its_label_events_was_the_strongest(shop):
    settings = dataclasses.replace(
        SESSIONS,
        label_event_types=("buy", "click", "cart"),
        label_strengths=("click", "cart", "buy"),
        candidates=7,
        negatives=2,
    )
    events = [
        ("other", "x", "click", 5, "o"),
        ("u", "a", "view", 9, "s1"),
        ("u", "a", "buy", 10, "s1"),
        ("u", "b", "click", 20, "s2"),
        ("u", "c", "impression", 20, "s2"),
        ("u", "d", "click", 21, "s2"),
        ("u", "d", "buy", 22, "s2"),
        ("u", "d", "cart", 23, "s2"),  # later than the purchase, and weaker
        ("u", "a", "cart", 24, "s2"),  # bought in an earlier session, which does not count here
        ("u", "a", "click", 25, "s2"),
        ("u", "b", "view", 26, "s2"),
        ("u", "b", "buy", 100, "s2"),  # later than the split's end
    ]
    builder, logs = shop.build(settings, Boundaries(0, 100, 200), events, shop.items("abcdx"))
    first, second = (decision for decision in builder.decisions(logs["u"]) if decision.split == "train")
    assert dict(zip(first.candidate_item_ids, first.label_event_types, strict=True))["a"] == "buy"
    pairs = zip(second.candidate_item_ids, second.label_event_types, strict=True)
    assert {item: kind for item, kind in pairs if item} == {"b": "click", "d": "buy", "a": "cart", "c": "", "x": ""}
    assert second.label_event_types[5:] == ["", ""] and len(second.label_event_types) == 7
    plain = dataclasses.replace(settings, label_strengths=())
    builder, logs = shop.build(plain, Boundaries(0, 100, 200), events, shop.items("abcdx"))
    for one, other in zip(builder.decisions(logs["u"]), (first, second), strict=False):
        assert one.label_event_types is None
        assert one.candidate_item_ids == other.candidate_item_ids and ranked(one) == ranked(other)
