"""EvidencePath against loops over pairs, and that no decision is scored by counts with its own answer in them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import features
from models.evidence_path import EvidencePath
from models.neighbours import count_evidence, similar_texts
from models.shopper import Shopper
from serving.compression import StoredWeight

ITEMS = 6
SHOPPERS = [
    Shopper(np.array([0, 1, 0]), np.array([2]), key=10),
    Shopper(np.array([1, 3]), np.array([0, 2]), key=11),
    Shopper(np.array([4]), np.array([], int), key=12),
    Shopper(np.array([2, 0, 1, 3, 5]), np.array([4]), key=13),
]
TOKENS = np.array([[2, 7, 8, 3], [2, 7, 9, 9], [2, 8, 9, 3], [2, 6, 3, 0], [2, 6, 7, 3], [2, 0, 0, 0]])
IGNORED = (0, 2, 3)
POSITIONS = tf.constant([[0, -1, 3, -1], [-1, -1, -1, -1], [5, 1, 0, -1]])
HISTORIES = ([0, 3], [], [5, 1, 0])


def cosines(tokens):
    words = sorted(set(tokens.ravel()) - set(IGNORED))
    bags = np.array([[float(word in text) for word in words] for text in tokens])
    bags *= np.log(len(tokens) / bags.sum(0))
    norms = np.linalg.norm(bags, axis=1, keepdims=True)
    bags /= np.where(norms > 0, norms, 1)
    found = bags @ bags.T
    np.fill_diagonal(found, 0)
    return found


def pair_by_pair(shoppers, content):
    """Of each pair weight, cosine, after, before and next, [V, V, 5]; and the events of each item."""
    sequences = [shopper.sequence for shopper in shoppers]
    events = np.bincount(np.concatenate(sequences), minlength=ITEMS)
    weight, after, following = (np.zeros([ITEMS, ITEMS]) for _ in range(3))
    for sequence in sequences:
        for a, first in enumerate(sequence):
            for b in range(a + 1, len(sequence)):
                second = sequence[b]
                weight[first, second] += (b - a) ** -0.5
                weight[second, first] += 0.5 * (b - a) ** -0.5
                after[first, second] += 1
                following[first, second] += b == a + 1
    weight /= (1 + events)[:, None] ** 0.5 * (1 + events)[None, :] ** 0.25
    np.fill_diagonal(weight, 0)
    # An item is no neighbour of itself, so nothing is kept of it after itself.
    others = 1 - np.eye(ITEMS)
    return np.stack([weight, content, after * others, after.T * others, following * others], -1), events


def expected(path, shoppers, content, history, kept=(1,) * ITEMS):
    """The score of every item for a history, by the formula."""
    pairs, events = pair_by_pair(shoppers, content)
    scores = np.zeros(ITEMS)
    for j in range(ITEMS):
        weight, alike, after, before = (
            sum(share * pairs[i, j, channel] for i, share in shares)
            for channel, shares in enumerate(
                [[(i, 0.7 ** (len(history) - 1 - place)) for place, i in enumerate(history)]] * 2
                + [[(i, 1) for i in history]] * 2
            )
        )
        if weight * kept[j] + alike == 0:
            continue
        newest = pairs[history[-1], j]
        counted = np.array([weight**0.5, np.log1p(after), np.log1p(before), newest[0] ** 0.5, np.log1p(newest[4])])
        counted = np.append(counted, np.log1p(events[j])) * kept[j]
        f = np.array([counted[0], alike, counted[1], counted[2], counted[3], newest[1], counted[4], counted[5]])
        f = tf.constant(f[np.newaxis], tf.float32)
        scores[j] = path.straight(f) + path.outer(path.inner(f))
    return scores


@pytest.fixture(scope="module")
def path(tools):
    path = EvidencePath(ITEMS, ITEMS, ITEMS, folds=2)
    path.set_texts(TOKENS, IGNORED)
    path.count(SHOPPERS)
    for layer in (path.straight, path.inner, path.outer):
        tools.shake(layer)
    return path


def test_scores_are_those_of_the_formula(path):
    found = path(POSITIONS).numpy()
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(found[row], expected(path, SHOPPERS, cosines(TOKENS), history), atol=1e-5)
    assert np.count_nonzero(found[0]) >= 3


def test_in_training_the_fold_of_the_user_is_left_out(path):
    users = tf.constant([10, 12, 13], tf.int64)
    found = path(POSITIONS, users, training=True).numpy()
    for row, (key, history) in enumerate(zip((10, 12, 13), HISTORIES, strict=True)):
        others = [shopper for shopper in SHOPPERS if shopper.key % 2 != key % 2]
        np.testing.assert_allclose(found[row], expected(path, others, cosines(TOKENS), history), atol=1e-5)


def test_a_sample_has_the_scores_of_its_items(path):
    rows = tf.constant([4, 0, 2])
    found = path(POSITIONS, kept=tf.constant([0.0, 1.0, 1.0]), rows=rows)
    whole = path(POSITIONS, kept=tf.constant([1.0, 1, 1, 1, 0, 1])).numpy()
    np.testing.assert_allclose(found, whole[:, [4, 0, 2]], atol=1e-6)


def test_of_a_hidden_item_only_the_text_counts(path):
    kept = np.array([1.0, 0, 0, 1, 0, 1], np.float32)
    found = path(POSITIONS, kept=tf.constant(kept)).numpy()
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(found[row], expected(path, SHOPPERS, cosines(TOKENS), history, kept), atol=1e-5)


def test_only_neighbours_by_count_or_text_are_kept():
    content = similar_texts(TOKENS, IGNORED, 1)
    found = count_evidence([one.sequence for one in SHOPPERS], ITEMS, 2, content)
    pairs, _ = pair_by_pair(SHOPPERS, content.toarray())
    for item in range(ITEMS):
        nearest = set(np.argsort(-pairs[item, :, 0], kind="stable")[:2][np.sort(pairs[item, :, 0])[::-1][:2] > 0])
        nearest |= set(np.flatnonzero(content.toarray()[item]))
        values = np.concatenate([found.weights[item, :, None], found.cosines[item, :, None], found.counts[item]], -1)
        real = values.any(-1)
        assert set(found.rows[item][real]) == nearest
        np.testing.assert_allclose(values[real], pairs[item, found.rows[item][real]], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(2, 8), st.integers(1, 5)), elements=st.integers(0, 9)), st.integers(1, 8)
)
def test_texts_are_as_near_as_their_words(tokens, number):
    found, every = similar_texts(tokens, IGNORED, number).toarray(), cosines(tokens)
    for row, cosine in zip(found, every, strict=True):
        np.testing.assert_allclose(np.sort(row)[::-1][:number], np.sort(cosine)[::-1][:number], atol=1e-5)
        assert np.count_nonzero(row) <= number
        np.testing.assert_allclose(row[row > 0], cosine[row > 0], atol=1e-5)


def test_nothing_is_said_before_anything_is_counted(tools):
    path = EvidencePath(ITEMS, 2, 2)
    tools.shake(path.outer)
    assert not path(POSITIONS).numpy().any()


def test_counts_alone_or_texts_alone_do():
    for number, content in ((0, 2), (2, 0)):
        path = EvidencePath(ITEMS, number, content)
        path.set_texts(TOKENS, IGNORED)
        path.count(SHOPPERS)
        assert path.cosines.numpy().any() == bool(content)
        assert path.weights_of.numpy().any()  # those of similar texts have counts as well


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_with_half_precision_scores_are_the_same(tools, path, policy):
    with tools.precision(policy):
        half = EvidencePath(ITEMS, ITEMS, ITEMS, folds=2)
        half.set_weights(path.get_weights())
        found = half(POSITIONS, kept=tf.ones([ITEMS], policy.removeprefix("mixed_")))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, path(POSITIONS), atol=1e-6)


def test_after_an_export_as_int8_the_pairs_still_count():
    rng = np.random.default_rng(0)
    sequences = [rng.choice(40, 60, p=np.arange(40, 0, -1) / 820) for _ in range(400)]
    found = count_evidence(sequences, 40, 10, similar_texts(rng.integers(0, 30, [40, 4]), IGNORED, 5))
    assert found.counts.max() > 1000
    assert found.weights.dtype == found.cosines.dtype == np.float32 and found.counts.dtype == np.int32
    stored = StoredWeight(found.weights, "int8", "weights", False).read().numpy()
    np.testing.assert_allclose(stored, found.weights, atol=found.weights.max(1).max() / 200)


def test_training_needs_users_and_counts(path):
    expected = "own answers cannot be left out; expected `users`, and `count` before"
    with pytest.raises(ValueError, match=expected):
        path(POSITIONS, training=True)
    with pytest.raises(ValueError, match=expected):
        EvidencePath(ITEMS, 2, 2)(POSITIONS, tf.constant([0] * len(POSITIONS), tf.int64), training=True)


def test_fewer_than_two_folds_are_refused():
    with pytest.raises(ValueError, match="folds must be at least 2, not 1"):
        EvidencePath(ITEMS, 2, 2, folds=1)


def test_the_ranker_adds_it_and_training_sees_other_counts(tools):
    ranker = tools.make_ranker(
        neighbours=ITEMS, content_neighbours=2, use_copy=False, use_mixture=False, use_cooccurrence=False
    )
    inputs = tools.request()
    before = ranker.raw_scores(ranker.encode_user(inputs)).numpy()
    assert ranker.counts
    ranker.count(iter(SHOPPERS))
    state = ranker.encode_user(inputs)
    path, kept = ranker.evidence_path, ranker.item_encoder.kept()
    added = ranker.raw_scores(state).numpy() - before
    np.testing.assert_allclose(added, path(state.positions, kept=kept).numpy(), atol=1e-4)
    assert np.abs(added[0]).max() > 1e-2
    trained = ranker.encode_user(inputs, training=True).similar.numpy()
    users = inputs[features.USER_KEY_XF]
    np.testing.assert_allclose(trained, path(state.positions, users, kept, training=True).numpy(), atol=1e-5)
    assert not any(variable.shape[:1] == [path.folds * ITEMS] for variable in ranker.variables)
