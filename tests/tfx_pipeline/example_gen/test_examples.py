import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import features
from tfx_pipeline.example_gen.boundaries import DAY, Boundaries
from tfx_pipeline.example_gen.decision import Decision
from tfx_pipeline.example_gen.examples import catalogue, serialize, to_example
from tfx_pipeline.settings import DecisionSettings

DECISION = Decision(
    split="eval",
    user_id="用户",
    time=1_300_000_000,
    profile_text="tea",
    query="红色 🍵",
    context={"country": "Ghana", "undeclared": "x"},
    history_item_ids=np.array(["a", "b"], object),
    history_event_types=np.array(["view", "buy"], object),
    history_timestamps=np.array([10, 20]),
    candidate_item_ids=["b", "c", ""],
    candidate_text=["", "text of c", ""],
    labels=np.array([0, 1, -1], np.float32),
    slices=dict.fromkeys(features.SLICE_FEATURES, "known"),
)


def values(example: tf.train.Example) -> dict[str, list]:
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        texts = [value.decode() for value in feature.bytes_list.value]
        found[name] = texts if kind == "bytes_list" else list(getattr(feature, kind).value)
    return found


def kinds(example: tf.train.Example) -> dict[str, str]:
    names = {"bytes_list": "string", "int64_list": "int64", "float_list": "float"}
    return {name: names[feature.WhichOneof("kind")] for name, feature in example.features.feature.items()}


def test_a_decision_by_hand():
    found = values(to_example(DECISION, ("country",)))
    assert found == {
        "user_id": ["用户"],
        "request_time": [1_300_000_000],
        "profile_text": ["tea"],
        "query": ["红色 🍵"],
        "country": ["Ghana"],
        "history_item_ids": ["a", "b"],
        "history_event_types": ["view", "buy"],
        "history_timestamps": [10, 20],
        "candidate_item_ids": ["b", "c", ""],
        "candidate_text": ["", "text of c", ""],
        "label": [0.0, 1.0, -1.0],
        "slice_user": ["known"],
        "slice_items": ["known"],
        "slice_category": ["known"],
        "slice_history": ["known"],
    }


def test_decisions_and_catalogue_together_have_exactly_the_raw_features(shop):
    events = [("u", "a", "buy", 1, "")]
    builder, _ = shop.build(DecisionSettings(), Boundaries(0, 50, 60), events, shop.items("a", price=[1.5]))
    decision = kinds(to_example(DECISION, ("country",)))
    (item,) = (kinds(example) for example in catalogue(builder.table, builder.stats, builder.boundaries))
    expected = {name: dtype for name, (dtype, _) in features.raw_features(("country",)).items()}
    assert {**decision, **item} == expected
    assert set(decision) == set(expected) - set(features.CATALOGUE_FEATURES)
    assert set(item) == set(expected) - set(features.SLICE_FEATURES) - {"country"}


def test_a_missing_context_value_and_an_empty_history():
    empty = np.empty(0, object)
    bare = dataclasses.replace(
        DECISION,
        context={},
        history_item_ids=empty,
        history_event_types=empty,
        history_timestamps=np.empty(0, np.int64),
    )
    found = to_example(bare, ("country",))
    assert "country" not in found.features.feature
    assert values(found)["history_item_ids"] == [] and kinds(found)["history_timestamps"] == "int64"
    spec = {"history_item_ids": tf.io.RaggedFeature(tf.string), "country": tf.io.VarLenFeature(tf.string)}
    parsed = tf.io.parse_example([serialize(found), serialize(to_example(DECISION, ("country",)))], spec)
    assert parsed["history_item_ids"].to_list() == [[], [b"a", b"b"]]
    assert tf.sparse.to_dense(parsed["country"]).numpy().tolist() == [[b""], [b"Ghana"]]


def test_the_catalogue_ends_at_eval_until(shop):
    events = [
        ("u", "a", "buy", 1 * DAY, ""),
        ("u", "a", "buy", 1 * DAY + 5, ""),
        ("u", "a", "buy", 3 * DAY, ""),
        ("u", "a", "buy", 5 * DAY, ""),  # at eval_until: not counted
        ("u", "b", "view", 2 * DAY, ""),
        ("u", "late", "buy", 5 * DAY, ""),
    ]
    items = shop.items(
        ["late", "b", "a", "announced", "listed"],
        first_seen=[0, 0, 0, 9 * DAY, 2 * DAY],
        price=[1.0, float("nan"), 2.5, 1.0, 1.0],
        brand=["", "", "Acme", "", ""],
        category=["", "x > y", "", "", ""],
    )
    settings = DecisionSettings(label_event_types=("buy",))
    builder, _ = shop.build(settings, Boundaries(0, 2 * DAY, 5 * DAY), events, items)
    rows = [values(example) for example in catalogue(builder.table, builder.stats, builder.boundaries)]
    assert [row["candidate_item_ids"] for row in rows] == [["a"], ["b"], ["listed"]]
    a, b, listed = rows
    assert a["item_sales_days"] == [1, 3] and a["item_sales_counts"] == [2, 1]
    assert a["candidate_text"] == ["title of a; Acme"] and a["item_title"] == ["title of a"]
    assert a["item_price"] == pytest.approx([2.5]) and a["item_first_seen"] == [DAY]
    assert a["label"] == [-1.0] and a["history_item_ids"] == [] and a["request_time"] == [0]
    assert "item_price" not in b and b["item_category"] == ["x > y"] and b["item_sales_days"] == []
    assert listed["item_first_seen"] == [2 * DAY]


def test_the_same_content_is_the_same_bytes():
    other = to_example(DECISION, ("country",))
    shuffled = tf.train.Example()
    for name in reversed(sorted(other.features.feature)):
        shuffled.features.feature[name].CopyFrom(other.features.feature[name])
    assert serialize(shuffled) == serialize(other)


def test_what_made_a_candidate_positive_is_written_where_a_decision_says_it(shop):
    plain = to_example(DECISION, ("country",))
    assert features.LABEL_EVENT_TYPES not in plain.features.feature
    typed = to_example(dataclasses.replace(DECISION, label_event_types=["", "购买", ""]), ("country",))
    assert values(typed) == {**values(plain), "label_event_types": ["", "购买", ""]}
    expected = features.raw_features(("country",), declared=(features.LABEL_EVENT_TYPES,))
    assert set(expected) - set(features.raw_features(("country",))) == {features.LABEL_EVENT_TYPES}
    assert kinds(typed)[features.LABEL_EVENT_TYPES] == expected[features.LABEL_EVENT_TYPES][0]
