"""Places by hand, and held against a slow reference that looks at every candidate for every place."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from serving.rules.arrangement import Arrangement
from serving.rules.kinds import LEAVE_OUT, RELAX, Cap
from serving.rules.mmr import Likeness, MarginalRelevance, to_unit


def cap(at_most, within, by="category", if_short=LEAVE_OUT):
    return Cap(name=f"{by}_{within}", by=by, at_most=at_most, within=within, if_short=if_short)


def places(order, codes, caps=(), pins=None, mmr=None, diverse=0, least=0, fallback=()):
    """Arranges candidates whose codes are letters, "." for nothing known; fallback items are the last ones of them."""
    numbers = {name: np.array([".abc".index(letter) for letter in text], int) for name, text in codes.items()}
    return Arrangement(
        np.array(order, np.int64),
        pins or {},
        numbers,
        caps,
        mmr,
        diverse,
        least,
        (lambda: (np.array(fallback, np.int64), numbers)) if fallback else None,
    ).run()


def test_without_rules_the_order_stays():
    assert places([2, 0, 1], {"category": "abc"}).places == [2, 0, 1]
    assert places([], {"category": ""}).places == []


def test_a_cap_lets_others_pass():
    found = places(range(6), {"category": "aaabab"}, [cap(2, 4)])
    # a a . . : the third and fifth wait for the end of the first four places, but only two others are there.
    assert found.places == [0, 1, 3, 5, 2, 4]
    assert found.held_back == {"category_4": [2, 4]}


def test_each_cap_says_what_it_held_back_in_its_own_places():
    codes = {"category": "aabb.a", "brand": "aaaaaa"}
    found = places([0, 1, 2, 3], codes, [cap(1, 2), cap(2, 6, by="brand")], fallback=[4, 5], least=3)
    # The second is of the same category, the third is the second of the brand; then nothing is left but for the caps.
    assert found.places == [0, 2]
    assert found.held_back == {"category_2": [1], "brand_6": [1, 3]}


def test_what_waits_comes_back_in_order_when_the_places_are_over():
    found = places(range(7), {"category": "aaaab.c"}, [cap(1, 3)])
    assert found.places == [0, 4, 5, 1, 2, 3, 6]
    assert found.held_back == {"category_3": [1, 2, 3]}


def test_the_answer_ends_where_only_capped_ones_are_left():
    found = places(range(4), {"category": "aaab"}, [cap(2, 5)])
    assert found.places == [0, 1, 3]
    assert found.held_back == {"category_5": [2]}


def test_a_cap_that_may_be_relaxed_is():
    found = places(range(4), {"category": "aaab"}, [cap(2, 5, if_short=RELAX)])
    assert found.places == [0, 1, 3, 2]
    assert found.held_back == {"category_5": [2]}
    strict = cap(1, 3, by="brand")
    found = places(range(4), {"category": "aaaa", "brand": "abba"}, [cap(1, 4, if_short=RELAX), strict])
    assert found.places == [0, 1]  # of category a, the relaxed one; both brands are full


def test_two_caps_hold_together():
    found = places(range(6), {"category": "aabbcc", "brand": "ababab"}, [cap(1, 3), cap(1, 2, by="brand")])
    assert found.places == [0, 3, 4, 1, 2, 5]


def test_nothing_known_is_not_counted():
    assert places(range(4), {"category": "a..a"}, [cap(1, 4)]).places == [0, 1, 2]


def test_pins_count_from_the_start():
    found = places([0, 1, 2], {"category": "abca"}, [cap(1, 3)], pins={3: 3})
    assert found.places == [1, 2, 3, 0]
    assert found.held_back == {"category_3": [0]}


def test_pins_have_their_places_and_close_up_in_a_short_list():
    codes = {"category": "......"}
    assert places([0, 1, 2], codes, pins={1: 3, 3: 4}).places == [3, 0, 4, 1, 2]
    assert places([0], codes, pins={2: 3, 9: 4, 7: 5}).places == [0, 3, 5, 4]
    assert places([0], codes, [cap(1, 5)], pins={2: 3, 9: 4, 7: 5}).places == [0, 3, 5, 4]


def test_fallback_items_fill_up_and_keep_to_caps():
    assert places([0, 1], {"category": "ababc"}, fallback=[2, 3, 4], least=4).places == [0, 1, 2, 3]
    found = places([0, 1, 2], {"category": "aaabac"}, [cap(2, 4)], fallback=[3, 4, 5], least=4)
    assert found.places == [0, 1, 3, 5, 2]  # the third a waits, the fourth is not needed
    assert found.held_back == {"category_4": [2]}
    assert places([0, 1], {"category": "ababc"}, fallback=[2, 3, 4], least=2).places == [0, 1]
    assert places([], {"category": "ababc"}, fallback=[2, 3, 4], least=9).places == [2, 3, 4]


@pytest.mark.parametrize("caps", [(), (cap(2, 4),)])
def test_pins_have_their_places_among_fallback_items(caps):
    found = places([0], {"category": "abc."}, caps, pins={3: 1}, fallback=[2, 3], least=3)
    assert found.places == [0, 2, 1]


def mmr_of(values, vectors, weight, chosen=()):
    """Over as many candidates as there are values, some of all chosen from the start."""
    unit = np.array(vectors, np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    places, count = np.arange(len(vectors)), len(values)
    likeness = Likeness(unit, [], places, places[:count], 1 - weight)
    return MarginalRelevance(weight * to_unit(np.array(values)), likeness, chosen)


def test_mmr_by_hand():
    # The second is the first again; the third is worse and something else. Relevance is 1, .5 and 0:
    # .6 · .5 − .4 · 1 = −.1 for the second, 0 for the third.
    values, vectors = [3.0, 2.0, 1.0], [[1, 0], [1, 0], [0, 1]]
    found = places(range(3), {}, mmr=mmr_of(values, vectors, 0.6), diverse=3)
    assert (found.places, found.promoted) == ([0, 2, 1], [2])
    # .8 · .5 − .2 · 1 = .2: now the second is still better.
    found = places(range(3), {}, mmr=mmr_of(values, vectors, 0.8), diverse=3)
    assert (found.places, found.promoted) == ([0, 1, 2], [])
    # Opposite is no better than unlike: .6 · .5 − 0 for the second, 0 − 0 for the third.
    found = places(range(3), {}, mmr=mmr_of(values, [[1, 0], [0, 1], [-1, 0]], 0.6), diverse=3)
    assert found.places == [0, 1, 2]
    # A pinned item (the fourth) is chosen from the start.
    found = places(range(3), {}, pins={2: 3}, mmr=mmr_of(values, [[1, 0], [0, 1], [0, 1], [1, 0]], 0.4, [3]), diverse=3)
    assert found.places == [1, 3, 0, 2]


@pytest.mark.parametrize(("beyond", "expected"), [([1, 0, 0], [0, 3, 1, 2]), ([0, 1, 0], [0, 3, 2, 1])])
def test_mmr_counts_what_is_shown_from_beyond_its_pool(beyond, expected):
    # The cap leaves nothing of the pool, the first three, for the second place; the fourth, which comes there, is what
    # the first or the second is.
    mmr = mmr_of([1.0, 0.0, 0.0], [[1, 0, 0], [0, 1, 0], [0, 0, 1], beyond], 0.5)
    assert places(range(4), {"category": "aaab"}, [cap(1, 2)], mmr=mmr, diverse=4).places == expected


def test_likeness_without_vectors_is_the_share_of_category_and_brand():
    codes = [np.array([1, 1, 2, 0, 0]), np.array([1, 0, 1, 0, 0])]
    likeness = Likeness(None, codes, np.array([4, 3, 2, 1, 0]), np.array([4, 3, 2, 1]), 0.5)
    assert [likeness.to(place).tolist() for place in (4, 3, 2, 1, 0)] == [
        [0.5, 0.25, 0.25, 0], [0.25, 0.25, 0, 0], [0.25, 0, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 0],
    ]  # fmt: skip
    likeness.extend(np.array([2, 1]))
    assert likeness.to(5).tolist() == [0.25, 0, 0.5, 0] and likeness.to(6).tolist() == [0.25, 0.25, 0, 0]


def test_to_unit():
    np.testing.assert_allclose(to_unit(np.array([4.0, 3.0, -np.inf, 2.0])), [1, 0.5, 0, 0])
    assert to_unit(np.array([2.0, 2.0, -np.inf])).tolist() == [1, 1, 0]
    assert to_unit(np.array([-np.inf])).tolist() == [0]


def slow(order, pins, of, caps=(), relevance=(), alike=None, weight=0.0, diverse=0, fallback=(), least=0):
    """The same by looking at every candidate for every place; `alike` [candidates, candidates], the pool is as long as
    `relevance`."""
    left, filling, answer = list(order), list(fallback), []
    last = max([diverse, *(one.within for one in caps)], default=0)
    ahead = dict(pins)

    def allowed(place, position, relaxed=False):
        for one in caps:
            if position <= one.within and of[one.by][place] and not (relaxed and one.if_short == RELAX):
                inside = [*answer, *(pin for at, pin in ahead.items() if at <= one.within)]
                if sum(of[one.by][other] == of[one.by][place] for other in inside) >= one.at_most:
                    return False
        return True

    for position in range(1, last + 1):
        if position in ahead:
            answer.append(ahead.pop(position))
            continue
        fit = [place for place in left if allowed(place, position)]
        among = [place for place in fit if list(order).index(place) < len(relevance)]
        if position <= diverse and among:
            chosen = [*answer, *(pin for at, pin in ahead.items() if at <= diverse)]
            near = {place: max([0.0, *(alike[place, other] for other in chosen)]) for place in among}
            value = {at: weight * relevance[list(order).index(at)] - (1 - weight) * near[at] for at in among}
            fit = [max(among, key=value.__getitem__)]  # the first of equal ones
        if not fit and position <= least:
            fit = [place for place in filling if allowed(place, position)]
        if not fit:
            fit = [place for place in left if allowed(place, position, relaxed=True)]
        if not fit:
            return answer + [ahead[at] for at in sorted(ahead)]
        answer.append(fit[0])
        (left if fit[0] in left else filling).remove(fit[0])
    left += filling[: max(0, least - len(answer) - len(left) - len(ahead))]
    for at in sorted(ahead):
        left.insert(min(at - 1 - len(answer), len(left)), ahead[at])
    return answer + left


@st.composite
def cases(draw):
    count = draw(st.integers(1, 14))
    pinned = draw(st.integers(0, min(3, count - 1)))
    filling = draw(st.integers(0, min(4, count - pinned - 1)))
    positions = draw(st.lists(st.integers(1, 12), min_size=pinned, max_size=pinned, unique=True))
    order = draw(st.permutations(range(pinned, count - filling)))
    letters = st.lists(st.sampled_from([0, 1, 1, 2, 3]), min_size=count, max_size=count)
    windows = st.integers(2, 10)
    short = st.sampled_from([LEAVE_OUT, RELAX])
    caps = [cap(draw(st.integers(1, within - 1)), within, by, draw(short)) for by in ("category", "brand")
            for within in draw(st.lists(windows, max_size=1))]  # fmt: skip
    # Numbers without rounding: halves and whole ones.
    scores = sorted(draw(st.lists(st.integers(0, 4), min_size=len(order), max_size=len(order))), reverse=True)
    return {
        "order": order,
        "pins": dict(zip(positions, range(pinned), strict=True)),
        "categories": draw(letters),
        "brands": draw(letters),
        "caps": caps,
        "scores": scores,
        "weight": draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        "diverse": draw(st.integers(0, 9)),
        "pool": draw(st.integers(1, 14)),
        "vectors": draw(st.booleans()),
        "fallback": list(range(count - filling, count)),
        "least": draw(st.integers(0, 12)),
    }


@settings(max_examples=150)
@given(cases())
def test_as_the_slow_reference_has_it(case):
    order, pins, weight, fallback = np.array(case["order"], np.int64), case["pins"], case["weight"], case["fallback"]
    codes = {"category": np.array(case["categories"]), "brand": np.array(case["brands"])}
    rows, own = np.arange(len(codes["brand"])), len(codes["brand"]) - len(fallback)
    alike = np.zeros([len(rows)] * 2)
    if case["vectors"]:
        # Of length 1 without rounding; some are opposite, some the same.
        signs = np.where(codes["brand"] > 1, -1, 1).astype(np.float32)
        vectors = np.eye(3, dtype=np.float32)[codes["category"] % 3] * signs[:, np.newaxis]
        for one, other in np.ndindex(alike.shape):
            alike[one, other] = max(0.0, float(vectors[one] @ vectors[other]))
    else:
        vectors = None
        for one, other in np.ndindex(alike.shape):
            alike[one, other] = sum(0 < column[one] == column[other] for column in codes.values()) / 2
    relevance = to_unit(np.array(case["scores"], float)[: case["pool"]])
    likeness = Likeness(vectors, list(codes.values()), rows[:own], order[: case["pool"]], 1 - weight)
    near = [place for at, place in pins.items() if at <= case["diverse"]]
    mmr = MarginalRelevance(weight * relevance, likeness, near)

    def more():
        likeness.extend(rows[own:])
        return np.array(fallback, np.int64), codes

    some = {name: column[:own] for name, column in codes.items()}
    rest = (case["diverse"], case["least"], more if fallback else None)
    found = Arrangement(order, pins, some, case["caps"], mmr if len(order) else None, *rest).run()
    of = {"category": case["categories"], "brand": case["brands"]}
    rest = (alike, weight, case["diverse"] if len(order) else 0, fallback, case["least"])
    assert found.places == slow(order.tolist(), pins, of, case["caps"], relevance, *rest)


def test_mmr_over_drawn_vectors_as_the_slow_reference_has_it():
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=[150, 16]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    relevance = to_unit(np.sort(rng.normal(size=100))[::-1])
    order = np.arange(150)
    mmr = MarginalRelevance(0.6 * relevance, Likeness(vectors, [], order, order[:100], 0.4))
    found = Arrangement(order, {}, {}, (), mmr, 30).run()
    alike = np.maximum(vectors.astype(float) @ vectors.astype(float).T, 0)
    expected = slow(list(range(150)), {}, {}, (), relevance, alike, 0.6, 30)
    assert found.places == expected != list(range(150))
