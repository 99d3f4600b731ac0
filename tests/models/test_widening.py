"""Rows for items that come after training: they move no score, and what is written into them counts as in any row."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import features, registry
from models.described_items import DescribedItems
from models.options import LossOptions, TextEncoderOptions
from models.pruning import twin
from models.shopper import Shopper
from models.sizes import Sizes
from models.widening import widen

ITEMS, SPARE = 6, 3
#: An item without events in training; its copy is put into a spare row.
COLD = 4
SIZES = Sizes(
    items=ITEMS,
    event_types=4,
    categories=3,
    brands=3,
    price_buckets=4,
    gap_buckets=5,
    context={"country": 4},
    wordpieces=50,
    special_tokens=(0, 1, 2, 3, 4),
    text_length=5,
    days=10,
    type_ids={"click": 2},
)
LOSSES = LossOptions(listwise=1.0, binary=1.0)
BERT = TextEncoderOptions(trainable="frozen", hidden_size=16, layers=1, intermediate_size=16)
READING = {
    "two_tower": {"dimension": 8, "hidden": (12,)},
    "din": {"dimension": 8, "max_history": 4, "items_at_once": 4, "attention": 5, "hidden": (7,)},
    "query_recommender": {"dimension": 8, "heads": 2, "vocabulary": 12, "neighbours": 0, "content_neighbours": 0},
    "profile_matcher": {"dimension": 8, "max_history": 4, "text_encoder": BERT},
    "click_classifier": {"use_text": False, "dimension": 8, "hidden": (6,)},
}
BY_EVENTS = {
    "sasrec": {"dimension": 8, "max_history": 4, "intermediate": 16},
    "gru4rec": {"dimension": 8, "max_history": 4, "units": 6},
    "item_knn": {"neighbours": 8, "max_history": 4},
    "ease": {},
    "popularity": {"window_days": 2},
    "personal_frequency": {},
}
RANKERS = {
    "all paths": {"use_words": True, "use_affinity": True, "neighbours": 3, "linear_regularisation": 1.0},
    "one softmax": {"use_mixture": False},
    "no text": {"item_text": "none", "use_attributes": False, "use_words": True},
}
SHOPPERS = [Shopper(np.array([0, 1, 0]), np.array([2]), 1), Shopper(np.array([1, 3]), np.array([0, 2]), 2)]


@pytest.fixture(params=[*READING, *BY_EVENTS, *RANKERS])
def model(request, tools):
    """With moved weights; it may not recommend its cold item."""
    table = tools.small_table(servable=np.arange(ITEMS) != COLD)
    if request.param in RANKERS:
        made = tools.make_ranker(table, **RANKERS[request.param])
    else:
        tf.keras.utils.set_random_seed(1)
        options = {**READING, **BY_EVENTS}[request.param]
        entry = registry.entry(request.param)
        made = entry.build(entry.options(**options), SIZES, LOSSES)
        made.set_catalogue(table, tools.small_sales(), 100)
        tools.shake(made)
        made.refresh_item_text()
    if made.counts:
        made.count(SHOPPERS)
    return made


def described(table, rows):
    """Rows of a table, as a SavedModel reads them."""
    columns = {
        field.name: np.asarray(getattr(table, field.name), object if field.name == "texts" else None)[rows]
        for field in dataclasses.fields(DescribedItems)
    }
    return DescribedItems(**{name: tf.constant(values.tolist()) for name, values in columns.items()})


def scores_of(model, inputs):
    """(of the candidates, of the catalogue or None)."""
    if not hasattr(model, "encode_user"):
        return model(inputs).numpy(), None
    state = model.encode_user(inputs)
    return model.score_candidates(state, inputs).numpy(), model.score_catalogue(state).numpy()


def test_spare_rows_move_no_score(model, tools):
    inputs = tools.request()
    wide = widen(model, SPARE)
    assert (wide.items, wide.spare_items, model.spare_items) == (ITEMS + SPARE, SPARE, 0)
    assert twin(wide).spare_items == SPARE
    known = inputs[features.CANDIDATE_ITEMS_XF].numpy() > features.UNKNOWN_ID
    (expected, every), (found, all_rows) = scores_of(model, inputs), scores_of(wide, inputs)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-5, atol=1e-5)
    if every is not None:
        np.testing.assert_allclose(all_rows[:, :ITEMS], every, rtol=1e-5, atol=1e-5)


def test_a_new_item_is_what_an_equal_one_without_events_is(model, tools):
    inputs = tools.request(
        # Nobody had the cold item; the last two of each row are it and its copy.
        history_items_xf=[[2, 3, 1, 4, 2], [0] * 5, [1, 1, 0, 0, 0]],
        candidate_items_xf=[
            [2, 7, COLD + 2, ITEMS + 1 + 2],
            [3, 5, COLD + 2, ITEMS + 1 + 2],
            [5, 2, COLD + 2, ITEMS + 1 + 2],
        ],
        candidate_text_positions_xf=[[-1]] * 3,
    )
    wide = widen(model, SPARE)
    before, every = scores_of(wide, inputs)
    wide.put_items(tf.constant([ITEMS + 1], tf.int64), described(tools.small_table(), [COLD]))
    found, all_rows = scores_of(wide, inputs)
    np.testing.assert_array_equal(found[:, :3], before[:, :3])  # the others, to the last bit
    if all_rows is not None:
        others = np.arange(ITEMS + SPARE) != ITEMS + 1
        np.testing.assert_array_equal(all_rows[:, others], every[:, others])
        np.testing.assert_allclose(all_rows[:, ITEMS + 1], found[:, 3], rtol=1e-5, atol=1e-5)
    if not model.READS_ITEMS:
        below = all_rows[:, :ITEMS][:, model.servable.numpy() > 0].min(1)
        assert (found[:, 3] <= below - 1 + 1e-5).all()
        return
    expected = found[:, 2]
    if model.name == "query_recommender":  # which knows how often either was sold
        share = wide.share.numpy()
        assert share[ITEMS + 1] == share[:ITEMS].min()
        expected = expected + wide.prior_scale.numpy() * np.log(share[ITEMS + 1] / share[COLD])
    if model.name == "click_classifier":
        wide.evidence.popularity_path.set_table(np.zeros([10, ITEMS + SPARE]), 100)
        found = scores_of(wide, inputs)[0]
        expected = found[:, 2]
    np.testing.assert_allclose(found[:, 3], expected, rtol=1e-4, atol=1e-4)
    assert np.abs(found[:, 3] - before[:, 3]).max() > 1e-3


def test_writing_what_is_there_changes_nothing_and_something_else_does(model, tools):
    if not model.READS_ITEMS:
        return
    inputs = tools.request(candidate_items_xf=[[3, 5]] * 3, candidate_text_positions_xf=[[-1]] * 3)
    wide = widen(model, SPARE)
    before = scores_of(wide, inputs)[0]
    wide.put_items(tf.constant([1, 3], tf.int64), described(tools.small_table(), [1, 3]))
    np.testing.assert_allclose(scores_of(wide, inputs)[0], before, rtol=1e-4, atol=1e-4)
    wide.put_items(tf.constant([1], tf.int64), described(tools.small_table(), [3]))
    assert np.abs(scores_of(wide, inputs)[0][:, 0] - before[:, 0]).max() > 1e-3


def test_pairs_of_items_bound_the_catalogue(tools):
    assert tools.make_ranker().most_items is None
    assert tools.make_ranker(linear_regularisation=1.0).most_items == 30_000
    entry = registry.entry("ease")
    assert entry.build(entry.options(), SIZES, LOSSES).most_items == 30_000


def test_vectors_that_are_kept_are_those_of_what_is_written(model, tools):
    plain, keeping = widen(model, SPARE), widen(model, SPARE)
    weights = len(keeping.weights)
    keeping.keep_item_vectors()
    assert (keeping.kept_vectors is not None) == model.COMPUTES_VECTORS
    assert len(keeping.weights) == weights
    if not model.COMPUTES_VECTORS:
        return
    inputs, table = tools.request(), tools.small_table()
    for rows, of, texts in (([], [], True), ([ITEMS + 1, 1], [COLD, 0], True), ([3], [5], False)):
        for wide in (plain, keeping) if rows else ():
            wide.put_items(tf.constant(rows, tf.int64), described(table, of), texts=texts)
        for found, expected in zip(scores_of(keeping, inputs), scores_of(plain, inputs), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    keeping.kept_vectors.assign(tf.zeros_like(keeping.kept_vectors))
    assert np.abs(scores_of(keeping, inputs)[0] - scores_of(plain, inputs)[0]).max() > 1e-3


def test_the_vectors_of_related_items_follow_too(tools):
    table = tools.small_table(relations=np.array([[0, 0, 2], [1, 1, 0], [5, 1, 2]]))
    plain = tools.make_ranker(table, use_relations=True, relations=2)
    assert plain.item_encoder.readers(tf.constant([2], tf.int64)).numpy().tolist() == [0, 2, 5]
    keeping = twin(plain)
    keeping.keep_item_vectors()
    before = keeping.kept_vectors.numpy()
    for ranker in (plain, keeping):
        ranker.put_items(tf.constant([2], tf.int64), described(tools.small_table(), [4]))
    np.testing.assert_allclose(keeping.kept_vectors, plain.item_vectors(), atol=1e-6)
    assert np.abs(keeping.kept_vectors - before).max(1).astype(bool).tolist() == [True, False, True, False, False, True]
