"""Which texts are taken, in which split, and that nothing later reaches a text of an earlier split."""

import dataclasses

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import features, text_words
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.raw_tables.adapter import ITEM_COLUMNS
from tfx_pipeline.tagging import texts
from tfx_pipeline.tagging.settings import DESCRIPTION, FREE_TEXT, QUERY, REVIEW, SOURCES, TITLE, TaggingSettings

BOUNDARIES = Boundaries(0, 100, 200)
LABELS = ("buy",)
BOOTS = {"hiking boots": 1.0, "Sport": 1.0}
HALF = {"hiking boots": 0.5, "Sport": 0.5, "desk lamp": 0.5, "Home": 0.5}
TITLES = {"a": "Acme hiking boots", "b": "Nord hiking boots", "c": "Acme desk lamp", "d": "Nord desk lamp"}


def items(**first_seen):
    frame = pd.DataFrame({"item_id": list(TITLES), "title": list(TITLES.values())})
    frame = frame.assign(
        description="", category=["Sport", "Sport", "Home", "Home"], brand=["Acme", "Nord"] * 2, price=1.0,
        item_type="product", first_seen=[first_seen.get(item, 1) for item in TITLES],
    )  # fmt: skip
    return ItemTable(frame[list(ITEM_COLUMNS)])


def frame_of(rows):
    """(user, item, type, time, session, query)."""
    names = ["user_id", "item_id", "event_type", "timestamp", "session_id", "query"]
    return pd.DataFrame(rows, columns=names).astype({"timestamp": "int64"}).assign(quantity=1.0, price=1.0)


def found(events, users=(), reviews=(), table=None, sources=SOURCES):
    """Texts of users by split, as (source, text, tags, sentiment)."""
    table = table or items()
    frame = frame_of(events)
    users = pd.DataFrame(list(users), columns=["user_id", "free_text"])
    reviews = pd.DataFrame(list(reviews), columns=["user_id", "item_id", "rating", "text", "timestamp"])
    stats = ItemStats.combine([ItemStats.partial(frame, table, LABELS, BOUNDARIES)], len(table))
    labeller = texts.make_labeller(table, stats, BOUNDARIES, TaggingSettings())
    splits: dict[str, list] = {}
    for written in texts.of_users(frame, users, reviews, table, LABELS, sources):
        for text in texts.label(written, labeller, BOUNDARIES):
            splits.setdefault(text.split, []).append(text)
    return splits


def search(user, time, query, session="s"):
    return (user, "", "search", time, session, query)


def buy(user, item, time, session="s"):
    return (user, item, "buy", time, session, "")


@pytest.mark.parametrize(
    ("events", "chosen"),
    [
        ([search("u", 10, "cosy"), buy("u", "a", 11)], BOOTS),
        # Another session, another user, before the query, another kind of event: not chosen after it.
        ([search("u", 10, "cosy"), buy("v", "c", 11), buy("u", "a", 12), buy("u", "c", 13, "t")], BOOTS),
        ([buy("u", "c", 9), search("u", 10, "cosy"), ("u", "d", "view", 11, "s", ""), buy("u", "a", 12)], BOOTS),
        # The next query takes over.
        ([search("u", 10, "cosy"), buy("u", "a", 11), search("u", 12, "boots"), buy("u", "c", 13)], BOOTS),
        # An item counts once.
        ([search("u", 10, "cosy"), buy("u", "a", 11), buy("u", "a", 12), buy("u", "c", 13)], HALF),
        # Without sessions within an hour.
        ([search("u", 10, "cosy", ""), buy("u", "a", 50, ""), buy("u", "c", 4000, "")], BOOTS),
    ],
)  # fmt: skip
def test_what_is_chosen_after_a_query(events, chosen):
    first = found(events, sources=(QUERY,))[features.TRAIN_SPLIT][0]
    assert (first.text, first.source, first.time) == ("cosy", QUERY, 10)
    assert first.labels.tags == pytest.approx(chosen)


def test_texts_are_split_by_when_they_are_written():
    events = [search("u", 10, "hiking boots"), search("u", 150, "desk lamp", "t"), search("u", 250, "desk lamp", "x")]
    reviews = [("u", "c", 5.0, "great lamp", 160), ("u", "a", 1.0, "bad", 20), ("u", "a", 3.0, "so so", 30)]
    splits = found(events, [("u", "likes boots"), ("nobody", "likes lamps")], reviews)
    train = {(text.source, text.text, text.sentiment) for text in splits[features.TRAIN_SPLIT]}
    assert train == {
        (QUERY, "hiking boots", ""),
        (FREE_TEXT, "likes boots", ""),
        (REVIEW, "bad", text_words.NEGATIVE),
        (REVIEW, "so so", ""),
    }
    late = {(text.source, text.text, text.sentiment) for text in splits[features.EVAL_SPLIT]}
    assert late == {(QUERY, "desk lamp", ""), (REVIEW, "great lamp", text_words.POSITIVE)}
    assert [dataclasses.replace(t, split="") for t in splits[features.RECENT_SPLIT]] == [
        dataclasses.replace(t, split="") for t in splits[features.EVAL_SPLIT]
    ]


def test_titles_belong_to_when_their_item_is_known_first():
    table = items(b=150, d=250)
    frame = frame_of([search("u", 10, "boots")])
    stats = ItemStats.combine([ItemStats.partial(frame, table, LABELS, BOUNDARIES)], len(table))
    labeller = texts.make_labeller(table, stats, BOUNDARIES, TaggingSettings(min_count=1))
    rows = [(t.split, t.text) for t in texts.of_items(table, stats, BOUNDARIES, labeller, (TITLE, DESCRIPTION))]
    assert {text for split, text in rows if split == features.TRAIN_SPLIT} == {TITLES["a"], TITLES["c"]}
    assert [text for split, text in rows if split == features.EVAL_SPLIT] == [TITLES["b"]]
    assert {text for split, text in rows if split == features.CATALOGUE_SPLIT} == {TITLES[item] for item in "abc"}
    assert ("nord",) not in labeller.lexicon.terms  # nothing is learned from titles that come later


later = st.lists(
    st.tuples(st.sampled_from("uv"), st.sampled_from("abcd"), st.integers(100, 300), st.sampled_from(["s", "t", ""])),
    max_size=6,
)


def bytes_of(events, reviews, split):
    splits = found(events, [("u", "likes to walk")], reviews)
    rows = [texts.to_example(text).SerializeToString(deterministic=True) for text in splits.get(split, [])]
    return sorted(rows)


PAST = [search("u", 5, "cosy"), buy("u", "a", 6), search("v", 97, "nice thing", "t"), buy("v", "c", 99, "t")]


@settings(max_examples=40, deadline=None)
@given(later)
def test_nothing_after_the_boundary_reaches_what_is_trained_on(future):
    events = [buy(user, item, time, session) for user, item, time, session in future]
    reviews = [(user, item, 5.0, "late", time) for user, item, time, _ in future]
    assert bytes_of(PAST + events, reviews, features.TRAIN_SPLIT) == bytes_of(PAST, [], features.TRAIN_SPLIT)


def test_the_leak_test_can_fail(monkeypatch):
    monkeypatch.setattr(texts.Written, "chosen_before", lambda self, moment: list(dict.fromkeys(self.chosen)))
    late = [buy("v", "a", 101, "t")]
    assert bytes_of(PAST + late, [], features.TRAIN_SPLIT) != bytes_of(PAST, [], features.TRAIN_SPLIT)


def test_an_example_has_every_raw_feature():
    (text, *_) = found([search("u", 10, "登山 hiking boots")], sources=(QUERY,))[features.TRAIN_SPLIT]
    example = texts.to_example(text)
    assert set(example.features.feature) == set(features.TEXT_FEATURES)
    values = {name: [v.decode() for v in f.bytes_list.value] for name, f in example.features.feature.items()}
    assert values[features.TEXT] == ["登山 hiking boots"]
    assert values[features.SLICE_LANGUAGE] == ["Chinese"] and values[features.SLICE_SOURCE] == ["query"]
    assert values[features.TEXT_WORD_LABELS] == ["O", "O", "B-product", "I-product"]
    weights = example.features.feature[features.TEXT_TAG_WEIGHTS].float_list.value
    assert dict(zip(values[features.TEXT_TAGS], weights, strict=True)) == BOOTS
