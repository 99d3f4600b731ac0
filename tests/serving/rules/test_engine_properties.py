"""What holds for any rules, any ranking and any shopper."""

import json
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from serving.results import Recommendation
from serving.rules.catalogue import Catalogue
from serving.rules.engine import Engine
from serving.rules.reader import RulesError
from serving.rules.rule_set import RuleSet
from serving.rules.shopper import Shopper
from serving.rules.snapshot import Snapshot

NOW, DAY = 1732881600, 86400
ITEMS = [f"i{at}" for at in range(16)]
UNKNOWN = ["u0", "u1"]
CATEGORIES = ["", "A", "A > B", "A > C", "D"]
COUNTRIES = ["DE", "FR"]

item_ids = st.sampled_from(ITEMS + UNKNOWN)
some_items = st.lists(item_ids, min_size=1, max_size=6, unique=True)
wheres = st.one_of(
    st.builds(lambda ids: {"item_id": ids}, some_items),
    st.sampled_from([{"category": "A"}, {"category": ["A > B", "D"]}, {"brand": "x"}, {"price": {"max": 8}}]),
)
whens = st.one_of(
    st.just({}),
    st.sampled_from([{"country": "DE"}, {"age": "unknown"}, {"user": "new"}, {"until": "2024-11-29T12:00:01Z"}]),
)


def rules_of(kind, **keys):
    return st.fixed_dictionaries({"kind": st.just(kind), "when": whens, **keys})


rules = st.one_of(
    rules_of("out_of_stock"),
    rules_of("region", if_unknown=st.sampled_from(["drop", "keep"])),
    rules_of("region", where=wheres, allowed=st.just(["DE"])),
    rules_of("age_limit", if_unknown=st.sampled_from(["drop", "keep"])),
    rules_of("block", where=wheres),
    rules_of("already_bought"),
    rules_of("boost", where=wheres, multiply=st.sampled_from([0.5, 2.0])),
    rules_of("boost", where=wheres, add=st.sampled_from([-3.0, 0.4])),
    rules_of("mmr", weight=st.sampled_from([0.0, 0.5, 1.0]), within=st.integers(1, 6), pool=st.integers(6, 12)),
    st.integers(2, 8).flatmap(
        lambda within: rules_of(
            "cap",
            by=st.sampled_from(["category", "brand"]),
            within=st.just(within),
            at_most=st.integers(1, within - 1),
            if_short=st.sampled_from(["leave_out", "leave_out", "relax"]),
        )
    ),
    rules_of("pin", item=item_ids, position=st.integers(1, 12)),
    rules_of("pin", item=item_ids, position=st.integers(1, 4)),
    rules_of("fallback", on=st.sampled_from(["new_user", "model_down"]), list=st.sampled_from(["one", "other"])),
    rules_of("fallback", on=st.just("too_few"), list=st.sampled_from(["one", "other"]), least=st.integers(1, 10)),
)
some_rules = st.lists(rules, max_size=9) | st.lists(rules, min_size=5, max_size=9)
files = st.fixed_dictionaries(
    {
        "unknown_items": st.sampled_from(["drop", "keep"]),
        "scale": st.sampled_from(["standard", "log_probability", "rank"]),
        "lists": st.fixed_dictionaries({"one": some_items, "other": some_items}),
        "rules": some_rules.map(lambda some: [{**rule, "name": f"r{at}"} for at, rule in enumerate(some)]),
        "check_every_ms": st.just(0),
    }
)
scores = st.one_of(st.integers(-5, 5).map(float), st.just(-np.inf))
rankings = st.one_of(
    st.none(),
    st.lists(st.tuples(item_ids, scores), max_size=20),
    st.permutations(ITEMS + UNKNOWN).map(lambda ids: [(item_id, -float(at)) for at, item_id in enumerate(ids)]),
)
shoppers = st.builds(
    Shopper,
    history=st.lists(st.tuples(item_ids, st.just("purchase"), st.integers(NOW - 40 * DAY, NOW)), max_size=3).map(
        lambda events: sorted(events, key=lambda event: event[2])
    ),
    context=st.sampled_from([{}, {"country": "DE"}, {"country": "FR"}]),
    age=st.sampled_from([None, 12, 20]),
    time=st.just(NOW),
)


@pytest.fixture(scope="module")
def catalogue():
    rng = np.random.default_rng(1)
    number = len(ITEMS)
    made = Catalogue(
        Snapshot.of(
            ITEMS,
            {
                "category": rng.choice(CATEGORIES, number).tolist(),
                "brand": rng.choice(["", "x", "y"], number).tolist(),
                "regions": rng.choice(["", "DE", "DE|FR"], number).tolist(),
            },
            {"price": rng.integers(1, 20, number).astype(float), "min_age": rng.choice([0, 0, 18], number)},
            rng.random(number) < 0.8,
        )
    )
    made.set_vectors(ITEMS[::2], rng.normal(size=[number // 2, 3]))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rules")


def made_engine(folder, catalogue, content):
    """The engine, or None for rules that contradict each other, which is seen when they are loaded."""
    path = folder / "rules.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML, too
    try:
        return Engine(RuleSet.load(path), catalogue)
    except RulesError as error:
        assert "pin" in str(error)  # nothing else of these rules may be refused
        return None


def ranking_of(pairs):
    if pairs is None:
        return None
    return Recommendation([item_id for item_id, _ in pairs], np.array([score for _, score in pairs]), 1)


@given(files, rankings, shoppers, st.sets(item_ids), st.booleans(), st.booleans())
def test_a_forbidden_item_is_in_no_answer(folder, catalogue, content, pairs, shopper, forbidden, by_review, asked_for):
    if forbidden and asked_for:  # by pins and fallbacks that always hold
        wanted = sorted(forbidden)
        pins = [
            {"name": f"p{at}", "kind": "pin", "item": item_id, "position": 13 + at} for at, item_id in enumerate(wanted)
        ]
        lists = [
            {"name": f"f_{on}", "kind": "fallback", "on": on, "list": "wanted"} for on in ("new_user", "model_down")
        ]
        filling = {"name": "fill", "kind": "fallback", "on": "too_few", "list": "wanted", "least": 20}
        content = {
            **content,
            "lists": {**content["lists"], "wanted": wanted},
            "rules": [
                *pins,
                *lists,
                filling,
                *(rule for rule in content["rules"] if rule["kind"] not in ("pin", "fallback")),
            ],
        }
    lines = [
        {"item_id": item_id, "reason": "bad", "by": "anna", "time": "2024-11-29T00:00:00Z"}
        for item_id in sorted(forbidden)
    ]
    if by_review:
        (folder / "journal.jsonl").write_text("".join(json.dumps({**line, "action": "ban"}) + "\n" for line in lines))
        content = {**content, "review": {"dir": "."}}
    else:
        (folder / "forbidden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        content = {**content, "forbidden": ["forbidden.jsonl"]}
    engine = made_engine(folder, catalogue, content)
    if engine is not None:
        answer = engine.apply(ranking_of(pairs), shopper)
        assert not forbidden & set(answer.item_ids)
        said = {rule.name: set(rule.items) for rule in answer.fired}.get("forbidden", set())
        assert said <= forbidden
        ranked = {item_id for item_id, _ in pairs or ()}
        if content["unknown_items"] == "drop":
            ranked -= set(UNKNOWN)
        if not any(rule["kind"] == "fallback" for rule in content["rules"]):
            assert ranked & forbidden <= said


@settings(max_examples=100)
@given(files, rankings, shoppers)
def test_answers_keep_to_their_rules(folder, catalogue, content, pairs, shopper):
    engine = made_engine(folder, catalogue, content)
    if engine is None:
        return
    answer = engine.apply(ranking_of(pairs), shopper)
    ids, snapshot = answer.item_ids, catalogue.snapshot
    holding = [rule for rule in engine.rules.rules if rule.when.holds(shopper.facts(), shopper.time)]
    by_kind = {}
    for rule in holding:
        by_kind.setdefault(rule.KIND, []).append(rule)
    fired = {rule.name: set(rule.items) for rule in answer.fired}

    # Each item once, of the ranking, the pins and the lists that hold.
    assert len(set(ids)) == len(ids) and [item.position for item in answer.items] == list(range(1, len(ids) + 1))
    lists = {rule.list for rule in by_kind.get("fallback", [])}
    allowed = {item_id for item_id, _ in pairs or ()} | {rule.item for rule in by_kind.get("pin", [])}
    assert set(ids) <= allowed.union(*(content["lists"][name] for name in lists))
    if content["unknown_items"] == "drop":
        assert not set(ids) & set(UNKNOWN)

    # Filters hold, whoever brought the item in.
    country = shopper.context.get("country", "")
    for item_id in ids:
        row = snapshot.index.get(item_id, -1)
        regions = snapshot.texts["regions"].names[snapshot.texts["regions"].codes[row]]
        if "out_of_stock" in by_kind:
            assert snapshot.in_stock[row]
        for rule in by_kind.get("region", []):
            if not rule.allowed and (country or rule.if_unknown == "drop"):
                assert not regions or country in regions.split("|")
        for rule in by_kind.get("age_limit", []):
            if shopper.age is not None or rule.if_unknown == "drop":
                assert snapshot.numbers["min_age"][row] <= (shopper.age or 0)
        if "already_bought" in by_kind:
            assert not any(event[0] == item_id and event[2] >= NOW - 30 * DAY for event in shopper.history)
        for rule in by_kind.get("block", []):
            assert item_id not in (rule.where.item_ids or ())

    # Pins are where they should be, or as far towards it as the answer reaches.
    out = set().union(*(found for name, found in fired.items() if name in RULED_OUT or name in {
        rule.name for rule in holding if rule.KIND in ("out_of_stock", "region", "age_limit", "block", "already_bought")
    }))  # fmt: skip
    pins = sorted((rule for rule in by_kind.get("pin", []) if rule.item not in out), key=lambda rule: rule.position)
    for behind, rule in enumerate(reversed(pins)):
        assert ids.index(rule.item) + 1 == min(rule.position, len(ids) - behind)
        assert rule.item in fired[rule.name]

    # Caps hold for what is not pinned; pins count from the start.
    pinned = {rule.item: rule.position for rule in pins}
    for cap in by_kind.get("cap", []):
        column = snapshot.texts[cap.by]
        codes = [int(column.codes[snapshot.index.get(item_id, -1)]) for item_id in ids[: cap.within]]
        of_pins = Counter(
            int(column.codes[snapshot.index.get(item_id, -1)]) for item_id, at in pinned.items() if at <= cap.within
        )
        counts = Counter(code for code, item_id in zip(codes, ids, strict=False) if code and item_id not in pinned)
        for code, count in counts.items():
            if cap.if_short == "leave_out":
                assert count <= max(0, cap.at_most - of_pins[code])

    # Filling up ends when there are enough.
    filling = next((rule for rule in by_kind.get("fallback", []) if rule.on == "too_few"), None)
    if filling is not None and filling.name in fired:
        own = [item_id for item_id in ids if item_id not in fired[filling.name]]
        assert len(own) < filling.least or "cap" in by_kind


RULED_OUT = ("unknown_items", "forbidden", "review")


@given(files, rankings, shoppers)
def test_without_a_rule_that_fires_the_order_is_the_rankings(folder, catalogue, content, pairs, shopper):
    engine = made_engine(folder, catalogue, content)
    if engine is None or not pairs:
        return
    answer = engine.apply(ranking_of(pairs), shopper)
    if not answer.fired:
        expected = sorted(range(len(pairs)), key=lambda at: (-pairs[at][1], at))
        assert answer.item_ids == [pairs[at][0] for at in expected]
        assert not any(item.reasons for item in answer.items)
    else:
        assert all(rule.items for rule in answer.fired)
        names = {rule.name for rule in answer.fired}
        assert {reason for item in answer.items for reason in item.reasons} <= names


@given(st.permutations(ITEMS), st.lists(st.integers(-3, 3).map(float), min_size=16, max_size=16), shoppers)
def test_no_rules_at_all(folder, catalogue, ids, values, shopper):
    engine = made_engine(folder, catalogue, {"rules": []})
    answer = engine.apply(ranking_of(list(zip(ids, values, strict=True))), shopper)
    assert answer.item_ids == sorted(ids, key=lambda item_id: (-values[ids.index(item_id)], ids.index(item_id)))
    assert not answer.fired
