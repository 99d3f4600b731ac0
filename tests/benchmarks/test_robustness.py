"""Damaged requests: what each way hits, that every model gets the same ones, and what is reported of them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import robustness
from benchmarks.next_basket import NextBasket
from benchmarks.servable import Servable
from serving.requests import Request

ITEMS = [f"i{number}" for number in range(50)]


def request(user, events=400, text="waterproof boots and a tent", query="trail shoes"):
    history = tuple((f"own{place}", "view" if place % 2 else "click", 1000 + place) for place in range(events))
    return Request(user_id=user, history=history, profile_text=text, query=query)


def damaged(name, one, seed=1):
    return robustness.damage(name, [one], ITEMS, seed)[0]


@settings(max_examples=20)
@given(name=st.sampled_from(sorted(robustness.DAMAGES)), user=st.text(max_size=3), events=st.integers(0, 30))
def test_damage_follows_from_seed_and_user_and_leaves_a_request_that_can_be_sent(name, user, events):
    one = request(user, events)
    first, again = damaged(name, one), damaged(name, one)
    assert first == again
    assert [event[2] for event in first.history] == sorted(event[2] for event in first.history)
    untouched = ("user_id", "request_time", "context", "exclude", "allow")
    assert all(getattr(first, part) == getattr(one, part) for part in untouched)
    others = robustness.damage(name, [request("somebody", 7), one], ITEMS, 1)
    assert others[1] == first


def test_a_tenth_of_the_events_is_dropped():
    one = request("u")
    kept = damaged("dropped", one).history
    assert set(kept) <= set(one.history)
    assert 0.05 < 1 - len(kept) / 400 < 0.15
    assert kept != damaged("dropped", one, seed=2).history


def test_neighbours_change_places_and_times_do_not():
    one = request("u")
    found = damaged("shuffled", one).history
    assert sorted(event[:2] for event in found) == sorted(event[:2] for event in one.history)
    assert [event[2] for event in found] == [event[2] for event in one.history]
    moved = np.mean([event[0] != own[0] for event, own in zip(found, one.history, strict=True)])
    assert 0.12 < moved < 0.27


def test_a_tenth_of_the_events_is_of_other_items():
    one = request("u")
    found = damaged("spurious", one).history
    strange = [event[0] in ITEMS for event in found]
    assert 0.05 < np.mean(strange) < 0.15
    assert all(event[1:] == own[1:] for event, own in zip(found, one.history, strict=True))
    assert all(event == own for event, own, wrong in zip(found, one.history, strange, strict=True) if not wrong)


def _edits(one, other):
    """Least insertions, deletions, replacements and swaps of neighbours from one word to the other."""
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    table[:, 0], table[0] = range(len(one) + 1), range(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            same = one[i - 1] == other[j - 1]
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (not same))
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[-1, -1]


@pytest.mark.parametrize("user", "abcdefgh")
def test_a_typo_is_one_edit_of_one_word(user):
    text = " ".join(["lightweight"] * 30)
    found = damaged("typos", request(user, text=text, query="防水登山靴 boots"))
    edits = [_edits(*pair) for pair in zip(found.profile_text.split(), text.split(), strict=True)]
    assert sorted(edits) == [0] * 27 + [1] * 3
    edits = [_edits(*pair) for pair in zip(found.query.split(), ["防水登山靴", "boots"], strict=True)]
    assert sorted(edits) == [0, 1]
    assert damaged("typos", request(user, text="", query="a")).query == "a"


def test_what_is_kept_is_a_ratio_with_users_in_pairs():
    rng = np.random.default_rng(0)
    whole = rng.random(300)
    low, high = robustness.kept_interval(whole, 0.8 * whole)
    assert low == pytest.approx(0.8) == high  # each user loses the same share
    low, high = robustness.kept_interval(whole, 0.8 * rng.permutation(whole))
    assert low < 0.8 < high and high - low > 0.05
    assert robustness.kept_interval(np.zeros(3), np.zeros(3)) == []


def test_a_model_that_counts_the_history_loses_by_other_items_and_not_by_order(top4, shop):
    protocol = NextBasket.build(shop.settings, shop.tables, shop.seconds("2020-03-01"))
    servable = Servable(top4, ("country",))
    lines = {line["damage"]: line for line in robustness.evaluate(servable, protocol, seed=3, users=100)}
    assert set(lines) == set(robustness.DAMAGES)
    assert lines["shuffled"]["kept"] == lines["typos"]["kept"] == 1
    assert all(0 <= line["kept"] <= 2 and line["n"] == 3 for line in lines.values())
    assert lines["typos"]["changed"] == 1  # every title is mistyped, and no model reads it here
    few = next(iter(robustness.evaluate(servable, protocol, seed=3, users=2)))
    assert few["n"] == 2


def test_the_command_prints_a_line_for_each_damage_and_model(place, ran, fits, top4, export, capfd):
    ran(place, "train", "eval", "catalogue", "recent")
    arguments = ["--config", str(place.config), "--data", str(place.data), "--task", "next_basket"]
    arguments += ["--servable", str(top4), "--variant", "tough=train.adversarial.kind=fgm"]
    assert robustness.main(arguments) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(line.get("variant"), line["damage"]) for line in lines] == [
        (name, damage) for name in (None, "tough") for damage in robustness.DAMAGES
    ]
    assert {line["seed"] for line in lines} == {11}
    assert robustness.main([*arguments, "--variant", "bad"]) == 1
    assert "cannot be read; expected NAME=KEY=VALUE" in capfd.readouterr().err
    final = [*arguments[:6], "--servable", str(export(4, final=True)), "--validation"]
    assert robustness.main(final) == 1
    assert "does not say that the model was fitted without the validation" in capfd.readouterr().err
