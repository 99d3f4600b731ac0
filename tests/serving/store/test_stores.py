"""One suite for every store: what goes in comes out, merged, ordered, cut, in time, and not after it was erased."""

import tempfile
import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from serving.requests import Event, Request
from serving.store.options import StoreOptions
from serving.store.profile import Profile, Query

DAY = 86_400


def test_what_was_written_is_seen_at_once_oldest_first(make_store):
    store = make_store()
    assert store.recent("u") == [] and store.profile("u") is None
    store.append("u", [Event("b", "buy", 30), Event("a", "view", 10)])
    assert store.recent("u") == [Event("a", "view", 10), Event("b", "buy", 30)]
    store.append("u", [("c", "cart", 20)])
    history = store.recent("u")
    assert history == [Event("a", "view", 10), Event("c", "cart", 20), Event("b", "buy", 30)]
    assert all(isinstance(event, Event) for event in history) and Request(history=history)
    assert store.recent("v") == []


def test_ties_are_in_the_order_of_item_and_type_as_in_training(make_store):
    store = make_store()
    events = [Event(item, kind, 5) for item in ("b", "a!", "a", "ä", "茶", "a b") for kind in ("view", "buy")]
    store.append("u", events)
    assert store.recent("u") == sorted(events, key=lambda event: event[:2])
    assert store.recent("u", 3) == sorted(events, key=lambda event: event[:2])[-3:]


def test_duplicates_are_one_and_impressions_and_searches_none(make_store):
    store = make_store()
    view = Event("a", "view", 10)
    store.append("u", [view, view, Event("a", "impression", 11), Event("", "search", 12)])
    store.append("u", [view, Event("a", "view", 11), Event("a", "buy", 10)])
    assert store.recent("u") == [Event("a", "buy", 10), view, Event("a", "view", 11)]
    store.append("v", [Event("a", "impression", 11)])
    assert store.recent("v") == [] and not store.forget("v")
    other = make_store(StoreOptions(impression_event_types=("shown", "view")))
    other.append("w", [view, Event("b", "shown", 1), Event("c", "impression", 2)])
    assert other.recent("w") == [Event("c", "impression", 2)]


def test_the_newest_are_kept_whatever_the_order_they_come_in(make_store):
    store = make_store(StoreOptions(max_events=3, max_queries=2))
    for time_ in (50, 10, 40, 20, 30):
        store.append("u", [Event("i", "view", time_)])
        store.add_queries("u", [Query(f"q{time_}", time_)])
    assert [event.timestamp for event in store.recent("u")] == [30, 40, 50]
    assert [event.timestamp for event in store.recent("u", 2)] == [40, 50]
    assert [event.timestamp for event in store.recent("u", 99)] == [30, 40, 50]
    assert store.profile("u").queries == (Query("q50", 50), Query("q40", 40))
    store.append("u", [Event("i", "view", time_) for time_ in range(100, 200)])
    assert [event.timestamp for event in store.recent("u")] == [197, 198, 199]


def test_profiles(make_store):
    store = make_store()
    profile = Profile("likes tea; 茶", {"country": "France", "age": ""}, (Query("lamp", 9), Query("tea", 3)))
    store.set_profile("u", profile)
    assert store.profile("u") == profile
    store.add_queries("u", [Query("tea", 10), Query("lamp", 4), Query("", 99)])
    assert store.profile("u").queries == (Query("tea", 10), Query("lamp", 9))
    store.set_profile("u", Profile(context={"country": "Peru"}))
    assert store.profile("u") == Profile(context={"country": "Peru"})
    store.add_queries("v", [Query("b", 5), Query("a", 5)])
    assert store.profile("v") == Profile(queries=(Query("b", 5), Query("a", 5)))
    store.append("w", [Event("a", "view", 1)])
    assert store.profile("w") is None  # only a history
    assert store.recent("u") == []


def test_many_at_once(make_store):
    store = make_store()
    events = {f"u{place}": [Event("a", "view", place), Event("b", "impression", place)] for place in range(20)}
    store.append_many(events, {"u3": [Query("tea", 1)], "x": [Query("lamp", 2)], "y": []})
    assert all(store.recent(user) == [events[user][0]] for user in events)
    assert store.profile("u3") == Profile(queries=(Query("tea", 1),))
    assert store.profile("x") == Profile(queries=(Query("lamp", 2),)) and store.profile("y") is None


def test_everything_goes_when_its_time_is_over(make_store, clock):
    store = make_store(StoreOptions(ttl_days=2))
    store.append("u", [Event("a", "view", 1)])
    store.set_profile("u", Profile("tea", queries=(Query("q", 1),)))
    store.append("v", [Event("a", "view", 1)])
    clock.now += 1.5 * DAY
    store.append("u", [Event("b", "view", 2)])  # keeps the profile, too
    clock.now += 1 * DAY
    assert store.recent("v") == [] and not store.forget("v")
    assert len(store.recent("u")) == 2 and store.profile("u") == Profile("tea", queries=(Query("q", 1),))
    clock.now += 1 * DAY + 1
    assert store.recent("u") == [] and store.profile("u") is None
    store.append("u", [Event("c", "view", 3)])
    assert store.recent("u") == [Event("c", "view", 3)] and store.profile("u") is None


def test_what_is_erased_is_gone(make_store):
    store = make_store()
    for user in ("u", "u}x"):
        store.append(user, [Event("a", "view", 1)])
        store.set_profile(user, Profile("tea", {"country": "France"}, (Query("q", 1),)))
    assert store.forget("u") and not store.forget("u")
    assert store.recent("u") == [] and store.profile("u") is None
    assert len(store.recent("u}x")) == 1 and store.profile("u}x").free_text == "tea"
    store.append("u", [Event("b", "view", 1)])
    assert store.recent("u") == [Event("b", "view", 1)]


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([("a", "view")], r"`events\[0\]` is \('a', 'view'\); expected a triple"),
        ([("a", "view", 1), ("b", "", 1)], r"`events\[1\]\.event_type` is empty; expected a type"),
        ([(7, "view", 1)], r"`events\[0\]\.item_id` is of type int; expected a text"),
        ([("a\0", "view", 1)], r"`events\[0\]\.item_id` is 'a\\x00'; expected a text without a NUL"),
        ([("\ud800", "view", 1)], r"`events\[0\]\.item_id` has half a surrogate pair; expected a text that UTF-8"),
        ([("a", "view", 1.5)], r"`events\[0\]\.timestamp` is 1\.5; expected whole seconds"),
        ([("a", "view", True)], r"is True; expected whole seconds"),
        ([("a", "view", -1)], r"is -1; expected whole seconds"),
        ([("a", "view", 1_700_000_000_000)], r"is 1700000000000; expected whole seconds since 1970"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(make_store, events, message):
    store = make_store()
    with pytest.raises(ValueError, match=message):
        store.append("u", events)
    assert store.recent("u") == []


def test_nothing_is_kept_of_nobody(make_store):
    store = make_store()
    assert store.recent("") == [] and store.profile("") is None and not store.forget("")
    for call in (
        lambda: store.append("", [Event("a", "view", 1)]),
        lambda: store.add_queries("", [Query("a", 1)]),
        lambda: store.set_profile("", Profile()),
    ):
        with pytest.raises(ValueError, match="`user_id` is empty; expected the id of a shopper"):
            call()
    with pytest.raises(ValueError, match="`limit` is 0; expected at least 1"):
        store.recent("u", 0)
    with pytest.raises(ValueError, match="context column `country` is of type int; expected a text"):
        store.set_profile("u", Profile(context={"country": 7}))


def test_a_store_that_can_be_used_says_so(make_store):
    assert make_store().health() is None


# --- the same as a plain model of it, whatever happens ----------------------------------------------------------------

USERS = st.sampled_from(["u", "v"])
EVENTS = st.builds(
    Event,
    st.sampled_from(["a", "ab", "a!", "茶", ""]),
    st.sampled_from(["view", "buy", "impression"]),
    st.integers(0, 6),
)
QUERIES = st.builds(Query, st.sampled_from(["tea", "茶", "lamp", ""]), st.integers(0, 5))
STEPS = st.one_of(
    st.tuples(st.just("append"), USERS, st.lists(EVENTS, max_size=6)),
    st.tuples(st.just("add_queries"), USERS, st.lists(QUERIES, max_size=3)),
    st.tuples(st.just("set_profile"), USERS, st.builds(Profile, st.sampled_from(["", "x"]), st.just({"c": "d"}))),
    st.tuples(st.just("forget"), USERS),
    st.tuples(st.just("wait"), st.sampled_from([DAY // 2, DAY, 2 * DAY + 1])),
)
OPTIONS = StoreOptions(max_events=4, max_queries=2, ttl_days=2)


class Model:
    """The contract of `OnlineStore` in the plainest way."""

    def __init__(self):
        self.kept, self.until = {}, {}

    def _record(self, user):
        if self.until.get(user, 0) < time.time():
            self.kept.pop(user, None)
        return self.kept.get(user, {"events": set(), "queries": {}, "profile": None})

    def _write(self, user, record):
        self.kept[user], self.until[user] = record, time.time() + 2 * DAY

    def append(self, user, events):
        if events := {event for event in events if event.item_id and event.event_type != "impression"}:
            record = self._record(user)
            everything = sorted(record["events"] | events, key=lambda event: (event[2], event[:2]))
            self._write(user, {**record, "events": set(everything[-4:])})

    def add_queries(self, user, queries):
        if queries := [query for query in queries if query.text]:
            record = self._record(user)
            times = dict(record["queries"])
            for text, moment in queries:
                times[text] = max(moment, times.get(text, 0))
            newest = sorted(times.items(), key=lambda pair: (pair[1], pair[0]))[-2:]
            self._write(user, {**record, "queries": dict(newest)})

    def set_profile(self, user, profile):
        self._write(user, {**self._record(user), "profile": profile, "queries": {}})

    def forget(self, user):
        self._record(user)
        return self.kept.pop(user, None) is not None

    def recent(self, user):
        return sorted(self._record(user)["events"], key=lambda event: (event[2], event[:2]))

    def profile(self, user):
        record = self._record(user)
        if record["profile"] is None and not record["queries"]:
            return None
        stated = record["profile"] or Profile()
        newest = sorted(record["queries"].items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
        return Profile(stated.free_text, stated.context, tuple(Query(*pair) for pair in newest))


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=12))
def test_every_store_does_what_the_contract_says(stores, kind, steps):
    model = Model()
    with stores.clock() as clock, tempfile.TemporaryDirectory() as folder, stores.open(kind, OPTIONS, folder) as store:
        for name, *arguments in steps:
            if name == "wait":
                clock.now += arguments[0]
            else:
                assert getattr(store, name)(*arguments) == getattr(model, name)(*arguments)
            for user in ("u", "v"):
                assert store.recent(user) == model.recent(user)
                assert store.profile(user) == model.profile(user)
