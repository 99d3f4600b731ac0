"""Views of a history: what stays, what moves, and that the parts of an event stay together."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models import augmentation, features

WAYS = {"crop": augmentation.crop, "mask": augmentation.mask, "reorder": augmentation.reorder}


def batch(lengths, width):
    """Events whose type, gap and bucket tell which event of which row they are."""
    ids = np.zeros((len(lengths), width), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = 2 + 100 * row + np.arange(length)
    return {
        features.HISTORY_ITEMS_XF: tf.constant(ids),
        features.HISTORY_TYPES_XF: tf.constant(ids * 3),
        features.HISTORY_GAPS_XF: tf.constant(ids / 7, tf.float32),
        features.HISTORY_GAP_BUCKETS_XF: tf.constant(ids * 5),
        features.REQUEST_DAY_XF: tf.range(len(lengths)),
    }


def events(inputs, row):
    parts = [inputs[name].numpy()[row] for name in augmentation.EVENT]
    return [tuple(event) for event in zip(*parts, strict=True)]


@settings(max_examples=60)
@given(
    way=st.sampled_from(sorted(WAYS)),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    share=st.sampled_from([0.0, 0.29, 0.5, 0.6, 1.0]),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_view_keeps_events_whole(way, lengths, share, seed):
    inputs = batch(lengths, 9)
    found = WAYS[way](inputs, share, tf.constant([seed, 3]))
    assert found[features.REQUEST_DAY_XF] is inputs[features.REQUEST_DAY_XF]
    for row, length in enumerate(lengths):
        before, after = events(inputs, row)[:length], events(found, row)
        part = int(np.floor(share * length + 1e-6))
        kept = min(length, max(part, 1)) if way == "crop" else length
        assert all(event[0] == 0 and event[2] == 0 for event in after[kept:]), "padding stays behind"
        after = after[:kept]
        if way == "crop":
            assert any(after == before[start : start + kept] for start in range(length - kept + 1))
        elif way == "mask":
            hidden = [i for i in range(length) if after[i] != before[i]]
            assert len(hidden) == part
            assert all(after[i] == (features.UNKNOWN_ID, *before[i][1:]) for i in hidden)
        else:
            assert sorted(after) == sorted(before)
            moved = [i for i in range(length) if after[i] != before[i]]
            assert not moved or moved[-1] - moved[0] < part


@pytest.mark.parametrize("way", WAYS)
def test_every_place_is_drawn_about_as_often(way):
    inputs = batch([6] * 2000, 6)
    found = WAYS[way](inputs, 0.5, tf.constant([1, 2]))
    before, after = (values[features.HISTORY_ITEMS_XF].numpy() % 100 - 2 for values in (inputs, found))
    after = np.where(found[features.HISTORY_ITEMS_XF].numpy() > 1, found[features.HISTORY_ITEMS_XF].numpy(), 0)
    changed = (after != inputs[features.HISTORY_ITEMS_XF].numpy()).mean(0)
    assert before.shape == (2000, 6)
    if way == "mask":
        np.testing.assert_allclose(changed, 0.5, atol=0.05)
    elif way == "crop":  # four starts; the first leaves the first three as they are
        np.testing.assert_allclose(changed, [0.75] * 3 + [1] * 3, atol=0.05)
    else:  # three neighbours of four starts, in six orders: a place in a part keeps its event in a third of them
        starts = np.array([1, 2, 3, 3, 2, 1]) / 4
        np.testing.assert_allclose(changed, starts * 2 / 3, atol=0.05)


def test_a_view_draws_a_way_for_each_row_and_the_same_seed_gives_the_same_view():
    inputs = batch([8] * 400, 8)
    shares = {"crop": 0.5, "mask": 0.5, "reorder": 1.0}
    first, again, other = (augmentation.view(inputs, shares, tf.constant([seed, 1])) for seed in (1, 1, 2))
    ids = first[features.HISTORY_ITEMS_XF].numpy()
    np.testing.assert_array_equal(ids, again[features.HISTORY_ITEMS_XF])
    assert (ids != other[features.HISTORY_ITEMS_XF].numpy()).any(1).mean() > 0.9
    cropped, masked = (ids == 0).any(1), (ids == features.UNKNOWN_ID).any(1)
    assert not (cropped & masked).any()
    counts = [cropped.sum(), masked.sum(), (~cropped & ~masked).sum()]
    assert min(counts) > 95
    only = augmentation.view(inputs, {**shares, "crop": 0.0, "mask": 0}, tf.constant([1, 1]))
    np.testing.assert_array_equal(
        np.sort(only[features.HISTORY_ITEMS_XF], 1), np.sort(inputs[features.HISTORY_ITEMS_XF], 1)
    )
    with pytest.raises(ValueError, match="expected one of crop, mask and reorder above 0"):
        augmentation.view(inputs, {"crop": 0.0}, tf.constant([1, 1]))


def test_what_a_request_lacks_is_not_missed():
    ids = {features.HISTORY_ITEMS_XF: tf.constant([[2, 3, 4, 0]])}
    assert set(augmentation.crop(ids, 0.6, tf.constant([0, 1]))) == set(ids)
