"""When rules hold, and whether two may hold together."""

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serving.rules.condition import ALWAYS, Condition, met_at_once, read_condition
from serving.rules.reader import Place, Section
from serving.rules.shopper import Shopper

PLACE = Place("rules.yaml", 1)


def read(**content):
    section = Section(1)
    section.update(content)
    section.lines = dict.fromkeys(content, 1)
    return read_condition(section, PLACE, "when", ["country"])


def test_times_are_utc_without_a_zone_and_the_end_is_not_within():
    when = read(**{"from": "2024-11-29", "until": "2024-11-29T13:00:00+01:00"})
    assert (when.start, when.end) == (1732838400, 1732881600)
    assert read(until="2024-11-29T12:00:00Z").end == 1732881600
    assert [when.holds({}, now) for now in (1732838399, 1732838400, 1732881599, 1732881600)] == [
        False,
        True,
        True,
        False,
    ]


def test_every_part_must_be_met_by_one_of_its_values():
    when = read(country=["DE", "FR"], page="home", user="new", age="unknown")
    everything = dict(context={"country": "FR"}, page="home")
    assert when.holds(Shopper(**everything).facts(), 0)
    for other in (
        {"context": {"country": "US"}},
        {"context": {}},
        {"page": "search"},
        {"age": 30},
        {"is_new": False},
        {"history": [("tea", "view", 1)]},
    ):
        assert not when.holds(Shopper(**{**everything, **other}).facts(), 0), other
    assert when.holds(Shopper(**everything, history=[("tea", "view", 1)], is_new=True).facts(), 0)
    assert ALWAYS.holds(Shopper().facts(), 0)


NAMES, VALUES = ("country", "page"), ("a", "b", "c")
conditions = st.builds(
    lambda facts, times: Condition(facts, min(times), max(times) + 1),
    st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(VALUES), min_size=1)),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
)


def requests():
    """All that differ for these conditions: facts and a time."""
    return [(dict(zip(NAMES, facts, strict=True)), now) for *facts, now in itertools.product(VALUES, VALUES, range(6))]


@given(conditions, conditions)
def test_two_may_meet_if_there_is_a_request_for_both(one, other):
    meet = any(one.holds(facts, now) and other.holds(facts, now) for facts, now in requests())
    assert one.may_meet(other) == other.may_meet(one) == meet


@given(conditions, st.lists(conditions, max_size=6), st.integers(1, 4))
def test_so_many_may_be_met_at_once_if_there_is_a_request_for_them(base, others, number):
    most = max(sum(one.holds(*request) for one in others) * base.holds(*request) for request in requests())
    found = met_at_once(base, others, number)
    assert (found is not None) == (most >= number)
    if found is not None:
        assert len(set(found)) == number
        assert any(
            all(one.holds(*request) for one in (base, *map(others.__getitem__, found))) for request in requests()
        )


def test_an_empty_condition_is_always_met():
    assert read() == ALWAYS
    with pytest.raises(ValueError, match="`when` is 'home'; expected a mapping"):
        read_condition("home", PLACE, "when", [])
