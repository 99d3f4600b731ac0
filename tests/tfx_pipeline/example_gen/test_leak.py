"""Nothing at or after the decision's time reaches the decision's features, nor the choice of its negatives.

Two shops share their past and have different futures: the features must be the same bytes. Where the futures also
share the events that the decision is about (its positives and impressions), the whole example must be. That the tests
can fail is shown on builders that leak on purpose.
"""

import dataclasses

import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from models import features
from tfx_pipeline.example_gen import decisions as decisions_lib
from tfx_pipeline.example_gen.boundaries import DAY, Boundaries
from tfx_pipeline.example_gen.examples import serialize, to_example
from tfx_pipeline.example_gen.sampling import PopularitySampler
from tfx_pipeline.settings import DecisionSettings, ProfileTextSettings

NOW = 50
#: What may depend on the future: what is to be ranked, its labels, and slices that describe the positives.
ABOUT_THE_FUTURE = (
    features.CANDIDATE_ITEM_IDS,
    features.CANDIDATE_TEXT,
    features.LABEL,
    features.SLICE_ITEMS,
    features.SLICE_CATEGORY,
)
KINDS = {
    "session": (DecisionSettings(kind="session", label_event_types=("buy",)), Boundaries(0, 80, 100)),
    "window": (
        DecisionSettings(kind="window", label_event_types=("buy",), horizon_days=50 / DAY, every_days=1.0),
        Boundaries(0, NOW, 100),
    ),
    "reviewed": (
        DecisionSettings(kind="session", label_event_types=("buy",), review_events=True),
        Boundaries(0, 80, 100),
    ),
    # A train decision whose window the split's end cuts off.
    "cut_off": (
        DecisionSettings(
            kind="window",
            label_event_types=("buy",),
            horizon_days=60 / DAY,
            min_horizon_days=20 / DAY,
            every_days=30 / DAY,
        ),
        Boundaries(0, 80, 100),
    ),
}


def rows(first: int, last: int) -> st.SearchStrategy:
    """Events, searches and reviews in [first, last]; times crowd around the ends."""
    times = st.one_of(st.sampled_from([first, last]), st.integers(first, last))
    words = st.sampled_from(["kettle", "lamp", "红色", "tea"])
    event = st.tuples(
        st.just("event"), st.sampled_from("abcd"), st.sampled_from(["buy", "view", "impression"]), times,
        st.sampled_from(["", "s", "t"]), st.just(""),
    )  # fmt: skip
    search = st.tuples(st.just("event"), st.just(""), st.just("search"), times, st.sampled_from(["", "s"]), words)
    review = st.tuples(st.just("review"), st.sampled_from("abcd"), words, times)
    # Whatever comes later in the session of the request itself.
    later = st.tuples(
        st.just("event"), st.just(""), st.just("search"), st.integers(NOW + 1, 99), st.just("request"), words
    )
    return st.lists(st.one_of(event, search, review, *([later] if first == NOW else [])), max_size=8)


def feature_bytes(shop, kind: str, sources: tuple[str, ...], log: list[tuple]) -> bytes:
    """The features, as written, of the decision at NOW."""
    how, boundaries = KINDS[kind]
    how = dataclasses.replace(how, profile_text=ProfileTextSettings(sources=sources))
    # The request itself: its session opens with its query. The user was there before, and buys afterwards.
    request = [("event", "", "search", NOW, "request", "asked now"), ("event", "d", "buy", NOW + 1, "request", "")]
    every = [("event", "a", "view", 0, "", ""), *log, *request]
    events = [("u", *row[1:]) for row in every if row[0] == "event"]
    reviews = [("u", item, 5.0, text, time) for row in every if row[0] == "review" for _, item, text, time in [row]]
    frame = pd.DataFrame(reviews, columns=["user_id", "item_id", "rating", "text", "timestamp"])
    users = pd.DataFrame([("u", "likes tea", "Ghana")], columns=["user_id", "free_text", "country"])
    items = shop.items("abcd", category=["x", "y", "x", "z"])
    tables = {"reviews": frame.astype({"timestamp": "int64"}), "users": users, "context": ("country",)}
    builder, logs = shop.build(how, boundaries, events, items, **tables)
    log = logs["u"]
    asked = log.sessions[log.queries == "asked now"]
    (moment,) = (
        moment
        for moment in builder.moments(log)
        if moment.time == NOW
        and moment.split != "recent"
        and (how.kind == "window" or log.sessions[moment.labels[0]] == asked)
    )
    example = to_example(builder.build(log, moment), ("country",))
    for name in ABOUT_THE_FUTURE:
        del example.features.feature[name]
    return serialize(example)


def check(shop, kind: str, sources: tuple[str, ...]) -> None:
    """The property, on random logs; the futures are drawn apart, so events are changed, added and deleted."""

    @settings(max_examples=60, database=None, derandomize=True, deadline=None, phases=[Phase.generate])
    @given(past=rows(0, NOW - 1), future=rows(NOW, 99), other_future=rows(NOW, 99))
    def same_bytes(past, future, other_future):
        assert feature_bytes(shop, kind, sources, past + future) == feature_bytes(
            shop, kind, sources, past + other_future
        )

    same_bytes()


ALL = ("free_text", "queries", "reviews", "titles")


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_changes_no_feature(shop, kind):
    check(shop, kind, ALL)


@pytest.mark.parametrize("kind", KINDS)
def test_the_past_does_change_features(shop, kind):
    base = [("event", "b", "buy", NOW - 1, "", "")]
    more = [
        ("event", "c", "view", NOW - 1, "", ""),
        ("event", "", "search", NOW - 1, "", "kettle"),
        ("review", "a", "tea", NOW - 1),
    ]
    seen = {feature_bytes(shop, kind, ALL, base + extra) for extra in ([], *([row] for row in more))}
    assert len(seen) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_builder_that_takes_the_moment_itself_is_caught(shop, kind, monkeypatch):
    honest = decisions_lib.before
    monkeypatch.setattr(decisions_lib, "before", lambda times, moment: honest(times, moment + 1))
    with pytest.raises(AssertionError):
        check(shop, kind, ALL)


@pytest.mark.parametrize("source", ["queries", "reviews", "titles"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_text_that_reads_on_is_caught(shop, kind, source, monkeypatch):
    honest = decisions_lib.DecisionBuilder._profile_text
    leaky = lambda self, log, places, time: honest(self, log, places, time + 1)  # noqa: E731
    monkeypatch.setattr(decisions_lib.DecisionBuilder, "_profile_text", leaky)
    with pytest.raises(AssertionError):
        check(shop, kind, (source,))


def test_a_query_typed_later_in_the_session_is_caught(shop, monkeypatch):
    honest = decisions_lib.DecisionBuilder._sessions

    def leaky(self, log, places, left_out):
        for moment in honest(self, log, places, left_out):
            typed = [query for query in log.queries[log.sessions == log.sessions[moment.labels[0]]] if query]
            yield dataclasses.replace(moment, query=typed[-1] if typed else moment.query)

    monkeypatch.setattr(decisions_lib.DecisionBuilder, "_sessions", leaky)
    with pytest.raises(AssertionError):
        check(shop, "session", ())


# --- the whole example: negatives, too ---------------------------------------------------------------------------
#: Negatives know sales by whole days, so times count in quarters of a day here; NOW lies inside one.
QUARTER = DAY // 4
WHOLE = {
    "session": DecisionSettings(kind="session", label_event_types=("buy",), candidates=9, negatives=6),
    "window": DecisionSettings(
        kind="window",
        label_event_types=("buy",),
        label_strengths=("buy",),
        candidates=9,
        negatives=6,
        every_days=7.5,
        horizon_days=7.5,
    ),
}
SPLITS = {"train": (Boundaries(0, 80 * QUARTER, 100 * QUARTER), "train")}
SPLITS |= {name: (Boundaries(0, NOW * QUARTER, 80 * QUARTER), name) for name in ("eval", "recent")}


def crowd(first: int, last: int) -> st.SearchStrategy:
    """Events in [first, last]: anything of others, and of the user what makes no candidate of the decision."""
    times, items = st.one_of(st.sampled_from([first, last]), st.integers(first, last)), st.sampled_from("abcdefgh")
    types = st.sampled_from(["buy", "view", "impression"])
    others = st.tuples(st.sampled_from("vw"), items, types, times, st.sampled_from(["", "s"]))
    own = st.tuples(st.just("u"), items, st.just("view"), times, st.sampled_from(["", "s"]))
    return st.lists(st.one_of(others, others, own), min_size=4, max_size=20)


def whole_bytes(shop, kind: str, split: str, log: list[tuple]) -> bytes:
    """The decision at NOW, as written: `d` is bought and `c` shown."""
    boundaries, name = SPLITS[split]
    about = [("u", "c", "impression", NOW, "request"), ("u", "d", "buy", NOW + 1, "request"), ("u", "a", "view", 0, "")]
    events = [(user, item, type_, time * QUARTER, session) for user, item, type_, time, session in [*log, *about]]
    items = shop.items("abcdefgh", category=list("xyxyxyxy"), first_seen=[0, DAY, 0, 40 * DAY] * 2)
    builder, logs = shop.build(WHOLE[kind], boundaries, events, items)
    (moment,) = (m for m in builder.moments(logs["u"]) if (m.split, m.time) == (name, NOW * QUARTER))
    return serialize(to_example(builder.build(logs["u"], moment), ()))


def check_whole(shop, kind: str, split: str) -> None:
    @settings(max_examples=25, database=None, derandomize=True, deadline=None, phases=[Phase.generate])
    @given(past=crowd(0, NOW - 1), future=crowd(NOW, 99), other_future=crowd(NOW, 99))
    def same_bytes(past, future, other_future):
        assert whole_bytes(shop, kind, split, past + future) == whole_bytes(shop, kind, split, past + other_future)

    same_bytes()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", WHOLE)
def test_the_future_changes_no_byte_but_what_the_decision_is_about(shop, kind, split):
    check_whole(shop, kind, split)


@pytest.mark.parametrize("later", [1, QUARTER, 100 * DAY], ids=["the moment", "the day", "everything"])
@pytest.mark.parametrize("split", SPLITS)
def test_negatives_that_know_the_future_are_caught(shop, split, later, monkeypatch):
    honest = PopularitySampler.draw
    monkeypatch.setattr(
        PopularitySampler,
        "draw",
        lambda self, rng, number, exclude, moment: honest(self, rng, number, exclude, moment + later),
    )
    with pytest.raises(AssertionError):
        check_whole(shop, "session", split)


def test_sales_of_the_whole_range_are_caught(shop, monkeypatch):
    """Items are those known before, but the counts are not cut."""
    honest = PopularitySampler.__init__

    def leaky(self, stats):
        honest(self, dataclasses.replace(stats, sales_days=stats.sales_days * 0))

    monkeypatch.setattr(PopularitySampler, "__init__", leaky)
    with pytest.raises(AssertionError):
        check_whole(shop, "window", "train")
