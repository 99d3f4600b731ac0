"""The profile_matcher: its scores by its formula, and what each source does."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import features, registry
from models.options import LossOptions, TextEncoderOptions
from models.sizes import Sizes
from models.zoo.profile_matcher import SOURCES, ProfileMatcherOptions

LIKED, DISLIKED = 4, 5
SIZES = Sizes(
    items=6,
    event_types=6,
    categories=3,
    brands=3,
    price_buckets=4,
    gap_buckets=5,
    context={"country": 4},
    wordpieces=50,
    special_tokens=(0, 1, 2, 3, 4),
    text_length=5,
    days=10,
    type_ids={"click": 2, "view": 3, features.REVIEW_LIKED: LIKED, features.REVIEW_DISLIKED: DISLIKED},
)
BERT = TextEncoderOptions(trainable="frozen", hidden_size=16, layers=1, intermediate_size=16)


def make(tools, **options):
    tf.keras.utils.set_random_seed(4)
    chosen = ProfileMatcherOptions(**{"dimension": 8, "text_encoder": BERT, **options})
    model = registry.entry("profile_matcher").build(chosen, SIZES, LossOptions(listwise=1.0))
    tools.shake(model)
    tf.config.run_functions_eagerly(True)  # tracing a BERT takes longer than running it once
    model.set_catalogue(tools.small_table(), tools.small_sales(), 100)
    tf.config.run_functions_eagerly(False)
    return model


@pytest.fixture(scope="module")
def model(tools):
    return make(tools)


def catalogue_scores(model, inputs):
    return model.raw_scores(model.encode_user(inputs)).numpy()


def nobody(tools):
    """Three requests of which nothing is known."""
    empty = tools.request()
    return {name: tf.zeros_like(value) if "candidate" not in name else value for name, value in empty.items()}


def test_the_score_is_bilinear_and_cosine_and_what_the_query_matches(tools, model):
    state = model.encode_user(tools.request())
    head, user, items = model.head, state.vector.numpy(), state.items.numpy()
    left = user @ head.user_projection.kernel.numpy() + head.user_projection.bias.numpy()
    right = items @ head.item_projection.kernel.numpy()
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right)]
    expected = left @ head.kernel.numpy() @ right.T + head.cosine_scale.numpy() * unit[0] @ unit[1].T
    np.testing.assert_allclose(catalogue_scores(model, tools.request()), expected + state.match.numpy(), atol=1e-4)
    assert (state.match.numpy()[[0, 2]] == 0).all()  # nobody asks there
    assert np.abs(state.match.numpy()[1]).max() > 0.1


def test_the_bilinear_form_starts_at_the_identity_and_berts_pooler():
    model = registry.entry("profile_matcher").build(
        ProfileMatcherOptions(dimension=20, text_encoder=BERT), SIZES, LossOptions()
    )
    expected = np.eye(20)
    expected[:16, :16] += model.text_encoder.pooler_kernel().numpy()
    np.testing.assert_allclose(model.head.kernel.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("profile", {features.PROFILE_TOKENS_XF: [[2, 15, 33, 3]] * 3}),
        ("query", {features.QUERY_TOKENS_XF: [[2, 23, 3]] * 3}),
        (
            "history",
            {features.HISTORY_ITEMS_XF: [[3, 0, 0, 0, 0]] * 3, features.HISTORY_TYPES_XF: [[2, 0, 0, 0, 0]] * 3},
        ),
        ("context", {features.context_xf("country"): [2] * 3}),
        (
            "sentiment",
            {features.HISTORY_ITEMS_XF: [[3, 0, 0, 0, 0]] * 3, features.HISTORY_TYPES_XF: [[LIKED, 0, 0, 0, 0]] * 3},
        ),
    ],
)
def test_a_source_opens_its_own_gate_and_moves_the_ranking(tools, model, source, changes):
    known = {**nobody(tools), **{name: tf.constant(value, tf.int64) for name, value in changes.items()}}
    state = model.encode_user(known)
    assert (state.gates.numpy() > 0).tolist() == [[other == source for other in SOURCES]] * 3
    assert np.abs(catalogue_scores(model, known) - catalogue_scores(model, nobody(tools))).max() > 1e-3


def test_of_nobody_every_gate_is_shut_and_the_ranking_is_one(tools, model):
    state = model.encode_user(nobody(tools))
    assert (state.gates.numpy() == 0).all()
    scores = model.raw_scores(state).numpy()
    np.testing.assert_allclose(scores, scores[:1].repeat(3, 0), atol=1e-6)
    assert np.ptp(scores[0]) > 1e-3  # what everybody likes


def test_liked_and_disliked_are_told_apart_and_are_no_history(tools, model):
    items = tf.constant([[3, 4, 5, 0, 0]] * 3, tf.int64)
    types = [[LIKED, DISLIKED, 2, 0, 0], [DISLIKED, LIKED, 2, 0, 0], [2, 2, 2, 0, 0]]
    known = {**nobody(tools), features.HISTORY_ITEMS_XF: items, features.HISTORY_TYPES_XF: tf.constant(types, tf.int64)}
    parts, there = model._events("sentiment", known, model.item_vectors())
    vectors = model.item_vectors().numpy()
    np.testing.assert_allclose(parts[0].numpy(), [vectors[1], vectors[2], np.zeros(8)], atol=1e-6)
    assert (parts[1].numpy() == 0).all()  # nobody's rating was in between
    np.testing.assert_allclose(parts[2].numpy(), [vectors[2], vectors[1], np.zeros(8)], atol=1e-6)
    assert there.numpy().tolist() == [True, True, False]
    parts, _ = model._events("history", known, model.item_vectors())
    np.testing.assert_allclose(parts[1].numpy(), vectors[[3, 3, 3]], atol=1e-6)
    for head in np.split(parts[0].numpy()[:2], 3, 1):
        np.testing.assert_allclose(head, vectors[[3, 3]], atol=1e-5)  # the click alone


def test_only_the_newest_events_are_read(tools):
    short = make(tools, max_history=2)
    items = tf.constant([[3, 4, 5, 6, 0], [7, 2, 5, 6, 0], [5, 6, 0, 0, 0]], tf.int64)
    types = tf.constant([[2, 2, 2, 2, 0], [2, 2, 2, 2, 0], [2, 2, 0, 0, 0]], tf.int64)
    known = {**nobody(tools), features.HISTORY_ITEMS_XF: items, features.HISTORY_TYPES_XF: types}
    vectors = short.encode_user(known).vector.numpy()
    np.testing.assert_allclose(vectors, vectors[[2, 2, 2]], atol=1e-6)


@pytest.mark.parametrize("source", SOURCES)
def test_without_a_source_its_weights_and_its_say_are_gone(tools, source):
    options = ProfileMatcherOptions(dimension=8, text_encoder=BERT, sources=tuple(s for s in SOURCES if s != source))
    less = registry.entry("profile_matcher").build(options, SIZES, LossOptions())
    assert source not in less.encoders and len(less.encoders) == 4
    reads = {"profile": features.PROFILE_TOKENS_XF, "query": features.QUERY_TOKENS_XF}
    assert set(less.pooled_texts) == {tokens for name, tokens in reads.items() if name != source}


def test_a_shop_without_columns_has_no_context_and_one_without_reviews_keeps_their_place(tools):
    bare = dataclasses.replace(SIZES, context={}, type_ids={"click": 2})
    options = ProfileMatcherOptions(dimension=8, text_encoder=BERT)
    model = registry.entry("profile_matcher").build(options, bare, LossOptions())
    assert list(model.encoders) == ["profile", "query", "history", "sentiment"]
    assert model.encoders["sentiment"].straight.kernel.shape == [24, 8]
    known = tools.request()
    _, there = model._events("sentiment", known, tf.ones([6, 8]))
    assert not there.numpy().any()
    _, there = model._events("history", known, tf.ones([6, 8]))
    assert there.numpy().tolist() == [True, False, False]


def test_a_cold_candidate_is_scored_by_its_text(tools, model):
    """An item of the catalogue, named as an unknown one with the same text, differs by its attributes and id alone."""
    table = tools.small_table(
        categories=np.zeros(6, int), brands=np.zeros(6, int), price_buckets=np.zeros(6, int),
        prices=np.zeros(6, np.float32), trained=np.zeros(6, bool),
    )  # fmt: skip
    bare = make(tools)
    tf.config.run_functions_eagerly(True)
    bare.set_catalogue(table, tools.small_sales(), 100)
    tf.config.run_functions_eagerly(False)
    tokens = [[[0] * 5]] * 3
    tokens[1] = [table.tokens[2].tolist()]
    asked = tools.request(
        candidate_items_xf=[[2, 3, 4, 5], [4, 1, 3, 2], [2, 3, 4, 5]],
        candidate_text_positions_xf=[[-1], [1], [-1]],
        candidate_tokens_xf=tokens,
    )
    scores = bare(asked).numpy()[1]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    assert abs(scores[1] - scores[2]) > 1e-3


def test_training_hides_sources_and_serving_does_not(tools):
    model = make(tools, source_dropout=0.5, dropout=0.0)
    everything = tools.request(query_tokens_xf=[[2, 23, 3]] * 3)
    everything[features.PROFILE_POOLED_XF] = model.text_encoder.pool(everything[features.PROFILE_TOKENS_XF])
    everything[features.QUERY_POOLED_XF] = model.text_encoder.pool(everything[features.QUERY_TOKENS_XF])
    many = {name: tf.repeat(value, 40, 0) for name, value in everything.items()}
    there = model.encode_user(many).gates.numpy() > 0
    shown = model.encode_user(many, training=True).gates.numpy() > 0
    assert 0.4 < shown[there].mean() < 0.6
    assert not shown[~there].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ()}, "expected each of profile, query, history, context, sentiment once at most"),
        ({"sources": ("query", "query")}, "expected each of .* once at most"),
        ({"half_lives": ()}, "`model.half_lives` is empty"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        ProfileMatcherOptions(**options).check()
