"""The whole Ranker: masks, candidates against the catalogue, cold items, queries, and what it may not see."""

import json

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.ranker import Ranker

LISTS = (
    features.HISTORY_ITEMS_XF,
    features.HISTORY_TYPES_XF,
    features.HISTORY_GAPS_XF,
    features.HISTORY_GAP_BUCKETS_XF,
)


@pytest.fixture(scope="module")
def ranker(tools):
    return tools.make_ranker()


@pytest.fixture(scope="module")
def inputs(tools):
    return tools.request()


@pytest.fixture(scope="module")
def scores(ranker, inputs):
    return ranker(inputs).numpy()


def with_history(inputs, row, items, types, gaps, buckets):
    """The same request with another history in one row."""
    width = max(len(items), inputs[features.HISTORY_ITEMS_XF].shape[1])
    changed = dict(inputs)
    for name, values in zip(LISTS, (items, types, gaps, buckets), strict=True):
        old = inputs[name].numpy()
        new = np.zeros([len(old), width], old.dtype)
        new[:, : old.shape[1]] = old
        new[row] = 0
        new[row, : len(values)] = values
        changed[name] = tf.constant(new)
    return changed


def test_padding_of_every_list_changes_nothing(ranker, inputs, scores):
    padded = dict(inputs)
    for name in (*LISTS, features.PROFILE_TOKENS_XF, features.QUERY_TOKENS_XF):
        padded[name] = tf.pad(inputs[name], [[0, 0], [0, 4]])
    padded[features.CANDIDATE_ITEMS_XF] = tf.pad(inputs[features.CANDIDATE_ITEMS_XF], [[0, 0], [0, 2]])
    places = tf.pad(inputs[features.CANDIDATE_TEXT_POSITIONS_XF], [[0, 0], [0, 2]], constant_values=-1)
    padded[features.CANDIDATE_TEXT_POSITIONS_XF] = places
    padded[features.CANDIDATE_TOKENS_XF] = tf.pad(inputs[features.CANDIDATE_TOKENS_XF], [[0, 0], [0, 2], [0, 3]])
    np.testing.assert_allclose(ranker(padded)[:, :4], scores, atol=1e-5)


def test_a_decision_is_scored_alike_alone_and_among_others_eager_and_in_a_graph(ranker, inputs, scores):
    for row in range(3):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        np.testing.assert_allclose(ranker(alone)[0], scores[row], rtol=1e-5, atol=1e-5)


def test_known_candidates_score_as_in_the_catalogue(ranker, inputs, scores):
    catalogue = ranker.score_catalogue(ranker.encode_user(inputs)).numpy()
    candidates = inputs[features.CANDIDATE_ITEMS_XF].numpy()
    known = candidates >= features.FIRST_KNOWN_ID
    assert known.sum() == 8
    for row, place in zip(*np.nonzero(known), strict=True):
        assert scores[row, place] == pytest.approx(
            catalogue[row, candidates[row, place] - features.FIRST_KNOWN_ID], abs=1e-5
        )
    np.testing.assert_allclose(np.exp(catalogue).sum(1), 1, atol=1e-4)  # log-probabilities over all items


def bare_table(tools, **changes):
    """The small table without attributes, whose items 4 and 5 have no trained id."""
    zero = np.zeros(6, np.int64)
    return tools.small_table(
        categories=zero, brands=zero, price_buckets=zero, prices=zero.astype(np.float32), **changes
    )


@pytest.mark.parametrize("use_mixture", [True, False])
def test_a_new_item_scores_as_an_unsold_item_of_the_catalogue_with_its_text(tools, use_mixture):
    table = bare_table(tools)
    sales = tools.small_sales()
    sales[:, 4] = 0
    ranker = tools.make_ranker(table, sales, use_mixture=use_mixture)
    if use_mixture:
        ranker.mixture.log_temperature.assign(0.4)
    tokens = np.tile(table.tokens[4], [3, 1, 1])
    request = tools.request(
        **{
            features.CANDIDATE_ITEMS_XF: [[1, 6], [1, 6], [1, 6]],
            features.CANDIDATE_TEXT_POSITIONS_XF: [[0]] * 3,
            features.CANDIDATE_TOKENS_XF: tokens,
        }
    )
    found = ranker(request).numpy()
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-5)
    request[features.CANDIDATE_TOKENS_XF] = tf.constant(np.tile(table.tokens[0], [3, 1, 1]))
    assert np.abs(ranker(request)[:, 0] - found[:, 0]).max() > 1e-3


def test_the_text_of_a_known_candidate_is_not_read(ranker, inputs, scores):
    changed = dict(inputs)
    changed[features.CANDIDATE_TEXT_POSITIONS_XF] = tf.constant([[0], [1], [2]], tf.int64)
    changed[features.CANDIDATE_TOKENS_XF] = tf.constant(np.full([3, 1, 5], 9), tf.int64)
    candidates = inputs[features.CANDIDATE_ITEMS_XF].numpy()
    known = candidates >= features.FIRST_KNOWN_ID
    np.testing.assert_allclose(ranker(changed).numpy()[known], scores[known], atol=1e-5)


def test_an_item_that_may_not_be_recommended_is_left_out_but_still_scored_as_a_candidate(tools, inputs):
    ranker = tools.make_ranker(tools.small_table(servable=np.array([1, 1, 0, 1, 1, 1], bool)))
    catalogue = ranker.score_catalogue(ranker.encode_user(inputs)).numpy()
    assert (catalogue[:, 2] == -1e9).all()
    np.testing.assert_allclose(np.exp(np.delete(catalogue, 2, 1)).sum(1), 1, atol=1e-4)
    assert np.abs(ranker(inputs).numpy()).max() < 100


def test_a_query_changes_only_the_rows_that_have_one(ranker, inputs, scores):
    query = np.array(inputs[features.QUERY_TOKENS_XF])
    query[1] = [2, 41, 3]
    changed = ranker({**inputs, features.QUERY_TOKENS_XF: tf.constant(query)}).numpy()
    np.testing.assert_allclose(changed[[0, 2]], scores[[0, 2]], atol=1e-5)
    assert np.abs(changed[1] - scores[1]).max() > 1e-3


def test_the_item_whose_text_is_the_query_gains_most(tools, inputs):
    """With equal projections and vectors of the text alone, the match is s for the very text, and less for others."""
    ranker = tools.make_ranker(bare_table(tools, trained=np.zeros(6, bool)))
    for layer in (ranker.query_match.text_projection, ranker.item_encoder.text_projection):
        layer.set_weights(ranker.query_match.query_projection.get_weights())
    ranker.query_match.word_vectors.assign(tf.zeros_like(ranker.query_match.word_vectors))
    text = ranker.item_tokens.numpy()[3]
    asked = {**inputs, features.QUERY_TOKENS_XF: tf.constant(np.tile(text, [3, 1]))}
    scale, matched = float(ranker.query_match.scale), ranker.encode_user(asked).match
    ranker.query_match.scale.assign(0.0)
    gained = (matched - ranker.encode_user(asked).match).numpy()
    np.testing.assert_allclose(gained[:, 3], scale, atol=1e-4)
    assert (gained.argmax(1) == 3).all()
    assert not gained[:, 5].any()  # an item without a text


def test_an_empty_history_and_one_of_unknown_items_only_are_scored(ranker, scores, inputs):
    assert np.isfinite(scores).all()
    state = ranker.encode_user(inputs)
    assert not state.repeated.numpy()[1:].any()
    assert not state.slices["slice_mask"].numpy()[1].any()
    assert state.slices["slice_mask"].numpy()[2].tolist() == [False, False, True]


def test_a_long_history_gives_its_newest_events_to_the_slices_and_all_to_the_repeat_path(ranker, inputs):
    """Slices hold 3 x 2 events: of nine, the first three reach the repeat path alone."""
    rest = ([2, 3] * 4 + [2], [9.0, 8, 7, 6, 5, 4, 3, 2, 1], [3] * 9)
    old, other, newest_other = [4, 5, 4, 2, 2, 3, 2, 3, 2], [5, 5, 5, 2, 2, 3, 2, 3, 2], [4, 5, 4, 3, 2, 3, 2, 3, 2]
    first, second, third = (
        ranker.encode_user(with_history(inputs, 0, items, *rest)) for items in (old, other, newest_other)
    )
    np.testing.assert_allclose(first.slices["vectors"], second.slices["vectors"], atol=1e-5)
    np.testing.assert_allclose(first.vector, second.vector, atol=1e-5)
    assert np.abs(first.slices["vectors"] - third.slices["vectors"]).max() > 1e-3
    assert first.repeated[0].numpy().tolist() == [1, 1, 1, 1, 0, 0]
    assert second.repeated[0].numpy().tolist() == [1, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("offset", [0, 3])
def test_sales_on_the_day_of_the_decision_and_later_change_no_score(tools, ranker, inputs, scores, offset):
    sales = tools.small_sales()
    sales[5 + offset :] += np.arange(6) * 7  # decisions are on days 105, 120 and 103 of a table from 100 to 109
    ranker.popularity_path.set_table(sales, 100)
    changed = ranker(inputs).numpy()
    ranker.popularity_path.set_table(tools.small_sales(), 100)
    np.testing.assert_allclose(changed[[0, 2]], scores[[0, 2]], atol=1e-5)
    assert np.abs(changed[1] - scores[1]).max() > 1e-3


def test_pooled_texts_stand_for_tokens(tools, ranker, scores):
    np.testing.assert_allclose(ranker(tools.pooled_request(ranker)), scores, atol=1e-5)


def test_config_round_trip(ranker, inputs, scores):
    config = json.loads(json.dumps(ranker.get_config()))
    twin = Ranker.from_config(config)
    twin.set_weights(ranker.get_weights())
    np.testing.assert_allclose(twin(inputs), scores, atol=1e-5)
    assert json.loads(json.dumps(twin.get_config())) == config


def test_saved_model_round_trip_with_any_batch_and_any_lengths(ranker, inputs, scores, tmp_path):
    module = tf.Module()
    module.held = ranker.weights
    specs = {name: tf.TensorSpec([None] * value.shape.rank, value.dtype, name) for name, value in inputs.items()}
    for name in (features.CANDIDATE_TOKENS_XF,):
        specs[name] = tf.TensorSpec([None, None, 5], tf.int64, name)
    module.run = tf.function(lambda values: ranker(values), input_signature=[specs])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.run(inputs), scores, rtol=1e-5, atol=1e-5)
    alone = {name: value[2:] for name, value in inputs.items()}
    np.testing.assert_allclose(loaded.run(alone), scores[2:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close_and_scores_are_float32(tools, ranker, inputs, scores, policy):
    with tools.precision(policy):
        half = tools.make_ranker()
        half.set_weights(ranker.get_weights())
        found = half(inputs)
        parts = half.compute_losses(inputs, tf.constant(tools.labels), training=True)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, scores, atol=0.1 * np.abs(scores).max())
    assert all(np.isfinite(float(value)) for value in parts.values())


def test_a_gradient_reaches_every_trained_weight(tools, ranker, inputs):
    with tf.GradientTape() as tape:
        loss = ranker.compute_losses(inputs, tf.constant(tools.labels), training=True)["loss"]
    weights = ranker.trainable_variables
    gradients = tape.gradient(loss, weights)
    assert len(weights) > 60
    still = [weight.name for weight, gradient in zip(weights, gradients, strict=True) if gradient is None]
    assert still == []
