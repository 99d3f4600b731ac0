"""Candidates as arrays, and that a long list costs no more than it has to."""

import hypothesis.strategies as st
from hypothesis import given

from serving.rules.candidates import Candidates
from serving.rules.snapshot import Snapshot

ids = st.lists(st.sampled_from("abcdefgh"), unique=True)


class Long(frozenset):
    """Ids that nobody may walk through, as there may be a hundred thousand of them."""

    def __iter__(self):
        raise AssertionError("somebody walks through all of them")


def candidates(item_ids):
    return Candidates({item_id: place for place, item_id in enumerate(item_ids)}, Snapshot.of([], {}))


@given(ids, ids)
def test_which_are_among_some(some, others):
    expected = [item_id in others for item_id in some]
    assert candidates(some).among(frozenset(others)).tolist() == expected
    assert candidates(some).among(set(others)).tolist() == expected


def test_nobody_walks_through_what_is_forbidden():
    forbidden = Long(f"i{at}" for at in range(1000))
    assert candidates(["a", "i7", "i1000", "i0"]).among(forbidden).tolist() == [False, True, False, True]
