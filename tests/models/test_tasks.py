"""Tasks of the Ranker: losses and scores of each by NumPy, the one score that is served, and nothing without them."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from models import features, losses, registry
from models.options import LossOptions
from models.ranker import Ranker
from models.sizes import Sizes

#: cart is a label event type without a score of its own.
TASKS = {"tasks": {"click": 1.0, "purchase": 3.0}, "task_strengths": {"click": 1, "purchase": 3}}
CATALOGUE = {"loss_weights": {"catalogue": 2.0}, "task_weights": {"purchase": 0.5}}
#: Rows 0 and 3 of the first decision were bought and clicked; row 1 of the second one was put into the cart.
STRENGTHS = [[3, 0, 0, 1], [2, 0, 0, 0], [0, 3, 0, 0]]


@pytest.fixture(scope="module")
def encoder(tools):
    tf.keras.utils.set_random_seed(5)
    return tools.small_encoder()


@pytest.fixture(scope="module")
def inputs(tools):
    candidates = [[2, 7, 1, 4], [3, 6, 1, 0], [5, 2, 3, 0]]
    request = tools.request(**{features.CANDIDATE_ITEMS_XF: candidates})
    return {**request, features.LABEL_STRENGTHS_XF: tf.constant(STRENGTHS, tf.int64)}


def log_softmax(x):
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)) - x.max(-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def mixed(ranker, scores, repeated, habits):
    """`RepeatMixture` of scores [V] of one decision, by its formula."""
    inner, outer = ranker.mixture.inner.get_weights(), ranker.mixture.outer.get_weights()
    gate = float(gelu(habits @ inner[0] + inner[1]) @ outer[0] + outer[1]) + habits @ ranker.mixture.direct.numpy()
    share = 1 / (1 + np.exp(-gate)) if repeated.any() else 0.0
    found = np.empty(len(scores))
    for part, chance in ((repeated > 0, share), (repeated == 0, 1 - share)):
        if part.any():
            found[part] = log_softmax(scores[part]) + np.log(chance)
    return found


def of_tasks(ranker):
    """The weights that only tasks have."""
    head = ranker.head
    return [*ranker.task_gates.weights, head.task_kernels, head.task_biases, head.task_outers]


def test_positives_of_a_task_are_those_of_its_type_and_of_stronger_ones():
    positives = tf.constant([[4, 7, -1, 2]])
    strengths = tf.constant([[1, 3, 0, 2]], tf.int64)
    found = [losses.of_strength(positives, strengths, least).numpy().tolist() for least in (1, 2, 3)]
    assert found == [[[4, 7, -1, 2]], [[-1, 7, -1, 2]], [[-1, 7, -1, -1]]]


@pytest.mark.parametrize("use_mixture", [True, False])
def test_each_loss_and_their_sum_by_numpy(tools, encoder, inputs, use_mixture):
    ranker = tools.make_ranker(encoder=encoder, use_mixture=use_mixture, **TASKS, **CATALOGUE)
    state = ranker.encode_user(inputs)
    found = ranker.compute_losses(inputs, tf.constant(tools.labels), training=False)
    assert set(found) == {"loss", "catalogue_click", "catalogue_purchase"}
    # Of rows of the catalogue: candidates less 2; the purchase of an item that the catalogue does not know is none.
    positives = {"click": [[0, 2], [1], [0]], "purchase": [[0], [], [0]]}
    expected = {}
    for place, (task, rows) in enumerate(positives.items()):
        scores = ranker.raw_scores(state, place).numpy()
        if use_mixture:
            numbers = state.habits.numpy()[:, :5]
            kernel, bias = ranker.task_gates.get_weights()
            habits = np.c_[numbers, (numbers @ kernel + bias)[:, place]]
            log_p = [mixed(ranker, scores[b], state.repeated.numpy()[b], habits[b]) for b in range(3)]
        else:
            log_p = log_softmax(scores)
        terms = [(-np.mean([log_p[b][row] for row in own]), math.sqrt(len(own))) for b, own in enumerate(rows) if own]
        expected[task] = sum(loss * weight for loss, weight in terms) / sum(weight for _, weight in terms)
        assert float(found[f"catalogue_{task}"]) == pytest.approx(expected[task], rel=1e-4)
    assert abs(expected["click"] - expected["purchase"]) > 1e-2
    assert float(found["loss"]) == pytest.approx(2 * (expected["click"] + 0.5 * expected["purchase"]), rel=1e-4)


def test_what_is_served_is_the_mixture_of_the_weighted_mean_of_the_tasks_scores(tools, encoder, inputs):
    ranker = tools.make_ranker(encoder=encoder, **TASKS)
    state = ranker.encode_user(inputs)
    click, purchase = (ranker.raw_scores(state, place).numpy() for place in range(2))
    assert np.abs(click - purchase).max() > 0.1
    mean = (click + 3 * purchase) / 4
    np.testing.assert_allclose(ranker.raw_scores(state), mean, rtol=1e-5, atol=1e-5)
    numbers = state.habits.numpy()[:, :5]
    kernel, bias = ranker.task_gates.get_weights()
    habits = np.c_[numbers, (numbers @ kernel + bias) @ [0.25, 0.75]]
    expected = [mixed(ranker, mean[b], state.repeated.numpy()[b], habits[b]) for b in range(3)]
    catalogue = ranker.score_catalogue(state).numpy()
    np.testing.assert_allclose(catalogue, expected, atol=1e-4)
    # Of the same kind, the order is that of the weighted sum.
    for b in range(3):
        for kind in (0, 1):
            own = state.repeated.numpy()[b] == kind
            assert np.argsort(catalogue[b][own]).tolist() == np.argsort((click + 3 * purchase)[b][own]).tolist()
    candidates = inputs[features.CANDIDATE_ITEMS_XF].numpy()
    for b, place in zip(*np.nonzero(candidates >= features.FIRST_KNOWN_ID), strict=True):
        found = float(ranker.score_candidates(state, inputs)[b, place])
        assert found == pytest.approx(expected[b][candidates[b, place] - features.FIRST_KNOWN_ID], abs=1e-4)


def test_without_tasks_there_is_no_weight_of_them_and_with_them_a_fit_starts_from_the_same_scores(
    tools, encoder, inputs
):
    plain = tools.make_ranker(encoder=encoder)
    assert not hasattr(plain, "task_gates") and not hasattr(plain.head, "task_kernels")
    assert list(plain.trackers)[:2] == ["loss", "catalogue"]
    tf.keras.utils.set_random_seed(4)
    fresh = Ranker(tools.small_config(**TASKS), encoder)
    own = of_tasks(fresh)
    assert not any(weight.numpy().any() for weight in own)
    counted = [weight for model in (plain, fresh) for metric in model.metrics for weight in metric.weights]
    left_out = {id(weight) for weight in (*own, *counted)}
    theirs, ours = ([w for w in model.weights if id(w) not in left_out] for model in (plain, fresh))
    for weight, value in zip(ours, (w.numpy() for w in theirs), strict=True):
        if value.shape != weight.shape:  # what the gate sees has one number more, which is 0 here
            value = np.concatenate([value, np.ones([1, *value.shape[1:]])])
        weight.assign(value)
    np.testing.assert_allclose(fresh(inputs), plain(inputs), atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"sampled_items": 3}, {"use_copy": False, "use_popularity": False}])
def test_steps_lower_the_loss_of_each_task(tools, encoder, changes):
    short = {"loss_weights": {"catalogue": 1.0, "reconstruction": 0.1}}
    ranker = tools.make_ranker(encoder=encoder, **TASKS, **short, **changes)
    pooled = {**tools.pooled_request(ranker), features.LABEL_STRENGTHS_XF: tf.constant(STRENGTHS, tf.int64)}
    labels = tf.constant(tools.labels)
    ranker.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.001), run_eagerly=True)
    before = ranker.compute_losses(pooled, labels, training=False)
    for _ in range(3):
        logs = ranker.train_step((pooled, labels))
    after = ranker.compute_losses(pooled, labels, training=False)
    for name in ("catalogue_click", "catalogue_purchase", "loss"):
        assert float(after[name]) < float(before[name]) and name in logs


def test_a_gradient_reaches_every_weight_of_a_task(tools, encoder, inputs):
    ranker = tools.make_ranker(encoder=encoder, **TASKS, **CATALOGUE)
    own = of_tasks(ranker)
    with tf.GradientTape() as tape:
        loss = ranker.compute_losses(inputs, tf.constant(tools.labels), training=True)["loss"]
    for weight, gradient in zip(own, tape.gradient(loss, own), strict=True):
        for place in range(2):
            part = gradient[:, place] if weight is ranker.task_gates.kernel else gradient[place]
            assert np.abs(part).max() > 1e-7, (weight.name, place)


def test_inputs_without_what_made_a_candidate_positive_are_refused(tools, encoder):
    ranker = tools.make_ranker(encoder=encoder, **TASKS, **CATALOGUE)
    with pytest.raises(ValueError, match=r"inputs have no label_strengths_xf; expected .* for the tasks click, purch"):
        ranker.compute_losses(tools.request(), tf.constant(tools.labels), training=False)


def test_an_export_has_the_one_score_and_needs_no_label(tools, encoder, inputs, tmp_path):
    ranker = tools.make_ranker(encoder=encoder, **TASKS)
    scores = ranker(inputs).numpy()
    asked = tools.request()
    twin = Ranker.from_config(json.loads(json.dumps(ranker.get_config())))
    twin.set_weights(ranker.get_weights())
    np.testing.assert_allclose(twin(asked), scores, atol=1e-5)
    module = tf.Module()
    module.held = ranker.weights
    specs = {name: tf.TensorSpec([None] * value.shape.rank, value.dtype, name) for name, value in asked.items()}
    specs[features.CANDIDATE_TOKENS_XF] = tf.TensorSpec([None, None, 5], tf.int64, features.CANDIDATE_TOKENS_XF)
    module.rank = tf.function(lambda values: ranker(values), input_signature=[specs])
    module.recommend = tf.function(
        lambda values: ranker.score_catalogue(ranker.encode_user(values)), input_signature=[specs]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.rank(asked), scores, rtol=1e-5, atol=1e-5)
    catalogue = ranker.score_catalogue(ranker.encode_user(asked))
    np.testing.assert_allclose(loaded.recommend(asked), catalogue, rtol=1e-5, atol=1e-5)


def test_the_order_in_which_a_configuration_names_tasks_is_none():
    """Weights go by a task's place, and an update takes them over by it."""
    small = {"dimension": 8, "max_history": 4, "slice_length": 2, "code_dimension": 4}
    sizes = Sizes(6, 4, 3, 3, 4, 5, {}, 50, (0, 1, 2, 3, 4), 5, 10, label_strengths=("click", "cart", "purchase"))
    entry = registry.entry("slice_ranker")

    def build(tasks):
        return entry.build(entry.options(**small, tasks=tasks), sizes, LossOptions(task_weights={"click": 0.5})).config

    config = build({"purchase": 3.0, "click": 1.0})
    assert list(config.tasks.items()) == [("click", 1.0), ("purchase", 3.0)]
    assert config.task_strengths == {"click": 1, "purchase": 3} and config.task_weights == {"click": 0.5}
    assert build({}).tasks == {} == build({}).task_strengths
    with pytest.raises(ValueError, match=r"`model\.tasks` names click, view; expected some of click, cart, purchase"):
        build({"click": 1.0, "view": 1.0})
