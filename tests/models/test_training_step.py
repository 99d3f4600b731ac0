"""What a training step adds to a model's own losses: parts, adversaries, contrast, learned weights."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from models import features, perturbation, registry
from models.options import LossOptions, TextEncoderOptions
from models.sizes import Sizes
from models.training_options import AdversarialOptions, ContrastiveOptions
from models.training_step import TrainingStep
from models.uncertainty_weights import UncertaintyWeights

SIZES = Sizes(
    items=6,
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
)
#: The trained entries without dropout; text and history are read by the first.
SMALL = {
    "slice_ranker": {"dimension": 8, "max_history": 4, "slice_length": 2, "code_dimension": 4, "id_dropout": 0.0},
    "sasrec": {"dimension": 8, "max_history": 4, "intermediate": 16},
    "bert4rec": {"dimension": 8, "max_history": 4, "intermediate": 16},
    "gru4rec": {"dimension": 8, "max_history": 4, "units": 6},
    "two_tower": {"dimension": 8, "hidden": (12,), "id_dropout": 0.0},
    "din": {"dimension": 8, "max_history": 4, "items_at_once": 4, "attention": 5, "hidden": (7,), "id_dropout": 0.0},
}
#: And one whose losses depend on what else is in the batch.
QUERY = {"dimension": 8, "max_history": 4, "vocabulary": 20, "history_dropout": 0.0, "neighbours": 0}
ALL = {**SMALL, "query_recommender": {**QUERY, "content_neighbours": 0, "hard_negatives": 2, "id_dropout": 0.0}}


def make(name, tools):
    if name == "slice_ranker":
        return tools.make_ranker(dropout=0.0)
    return build(name, {**ALL[name], "dropout": 0.0}, tools)


def build(name, options, tools):
    tf.keras.utils.set_random_seed(1)
    entry = registry.entry(name)
    model = entry.build(entry.options(**options), SIZES, LossOptions(listwise=1.0, binary=1.0))
    model.set_catalogue(tools.small_table(), tools.small_sales(), 100)
    tools.shake(model)
    return model


def twice(inputs, labels):
    """Every decision two times, so that both halves of the batch are the same."""
    both = {name: tf.concat([value, value], 0) for name, value in inputs.items()}
    return both, tf.concat([labels, labels], 0)


def step(model, batch, **arguments):
    model.compile(optimizer=tf.keras.optimizers.legacy.SGD(0.0))
    model.training_step = TrainingStep(**arguments)
    found, gradients = model.training_step(model, *batch)
    dense = {v.ref(): tf.convert_to_tensor(g).numpy() for g, v in gradients}
    return {name: float(value) for name, value in found.items()}, dense


def assert_same_gradients(one, other):
    assert set(one) == set(other)
    scale = max(np.abs(value).max() for value in other.values())
    assert scale > 1e-3
    for key, value in one.items():
        np.testing.assert_allclose(value, other[key], atol=2e-5 * scale, err_msg=key.deref().name)


@pytest.fixture(scope="module")
def batch(tools):
    return tools.request(), tf.constant(tools.labels)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "bert4rec"])  # which hides events at random
def test_two_parts_have_the_gradient_of_the_whole_batch(name, tools, batch):
    model, both = make(name, tools), twice(*batch)
    whole = step(model, both)
    found, gradients = step(model, both, parts=2)
    assert found == pytest.approx(whole[0], rel=1e-5)
    assert_same_gradients(gradients, whole[1])


def test_parts_are_the_same_in_a_graph(tools, batch):
    model, both = make("two_tower", tools), twice(*batch)
    whole = step(model, both)[1]
    model.training_step = TrainingStep(parts=2)
    variables = [v for v in model.trainable_variables if v.ref() in whole]
    found = tf.function(lambda: [g for g, _ in model.training_step(model, *both)[1]])()
    assert_same_gradients({v.ref(): g.numpy() for g, v in zip(found, variables, strict=True)}, whole)


def test_uneven_parts_weigh_by_their_rows_and_more_parts_than_rows_are_as_many(tools, batch):
    model = make("two_tower", tools)  # one positive in most rows: each row has a loss of its own
    labels = tf.constant([[1.0, 0, 0, 0], [1, 0, 0, -1], [0, 1, 0, -1]])
    inputs = batch[0]
    rows = [step(model, ({k: v[i : i + 1] for k, v in inputs.items()}, labels[i : i + 1])) for i in range(3)]
    for parts in (3, 50):
        found, gradients = step(model, (inputs, labels), parts=parts)
        assert found["loss"] == pytest.approx(np.mean([row[0]["loss"] for row in rows]), rel=1e-5)
        mean = {key: np.mean([row[1].get(key, 0 * value) for row in rows], 0) for key, value in gradients.items()}
        assert_same_gradients(gradients, mean)
    found, _ = step(model, (inputs, labels), parts=2)  # one row and two
    pair = step(model, ({k: v[1:] for k, v in inputs.items()}, labels[1:]))[0]["loss"]
    assert found["loss"] == pytest.approx((rows[0][0]["loss"] + 2 * pair) / 3, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["fgm", "vat"])
def test_an_adversary_costs_and_is_learned_from(name, kind, tools, batch):
    model = make(name, tools)
    plain, without = step(model, batch)
    epsilon = 0.5 if name == "query_recommender" else 0.05  # of whose score the vectors are a small part
    options = AdversarialOptions(kind, epsilon, weight=0.5)
    tf.keras.utils.set_random_seed(5)
    found, gradients = step(model, batch, adversary=options)
    clean = found["loss"] - 0.5 * found["adversarial"]
    assert found["adversarial"] > (clean if kind == "fgm" else 0) + 1e-6
    if name != "bert4rec":  # which hides other events in each step
        assert clean == pytest.approx(plain["loss"], rel=1e-5)
    assert max(np.abs(gradients[key] - without[key]).max() for key in without) > 1e-4
    assert all(np.isfinite(value).all() for value in gradients.values())
    assert not perturbation.active()


def test_fgm_finds_a_worse_point_than_a_random_move_of_the_same_length(tools, batch):
    model = make("sasrec", tools)
    worst = step(model, batch, adversary=AdversarialOptions("fgm", epsilon=0.05))[0]["adversarial"]
    with perturbation.recording() as noted:
        model.compute_losses(*batch, training=True)
    points = noted.points
    from models.adversarial import along

    for _ in range(10):
        moves = along([tf.random.normal(tf.shape(point)) for point in points], points, 0.05)
        with perturbation.perturbing(noted, moves):
            assert float(model.compute_losses(*batch, training=True)["loss"]) < worst


def test_the_words_of_a_bert_that_learns_are_perturbed_and_those_of_a_frozen_one_are_not(tools, batch):
    noted = {}
    for kind in ("full", "frozen"):
        model = tools.make_ranker(encoder=tools.small_encoder(fine_tuning=kind))
        plain = model.encode_user(batch[0]).vector.numpy()
        with perturbation.recording() as found:
            recorded = model.encode_user(batch[0]).vector.numpy()
        np.testing.assert_allclose(recorded, plain, atol=1e-6)  # the same with words looked up outside of BERT
        noted[kind] = [tuple(point.shape) for point in found.points]
    events = (3, 5, 8)
    assert noted["frozen"] == [events]
    assert sorted(noted["full"]) == sorted([events, (1, 3, 16), (2, 4, 16)])  # one query, two profiles


BERT = TextEncoderOptions(hidden_size=8, layers=1, heads=2, intermediate_size=8)
#: What an entry draws in training, one of each; dropout layers, which draw anew in each pass, are off.
DRAWS = [
    ("slice_ranker", {"query_dropout": 0.5}),
    ("slice_ranker", {"history_dropout": 0.5}),
    ("slice_ranker", {"id_dropout": 0.5}),
    ("slice_ranker", {"sampled_items": 2, "item_text": "through"}),
    ("bert4rec", SMALL["bert4rec"]),
    ("query_recommender", {**ALL["query_recommender"], "history_dropout": 0.5}),
    ("query_recommender", {**ALL["query_recommender"], "id_dropout": 0.5}),
    ("query_recommender", ALL["query_recommender"]),  # negatives
    ("profile_matcher", {"dimension": 8, "id_dropout": 0.0, "source_dropout": 0.5, "text_encoder": BERT}),
    ("click_classifier", {"dimension": 8, "id_dropout": 0.0, "train_candidates": 1, "text_encoder": BERT}),
]


@pytest.mark.parametrize(("name", "changes"), DRAWS, ids=[f"{name} {place}" for place, (name, _) in enumerate(DRAWS)])
def test_the_perturbed_pass_is_asked_what_the_first_one_was(name, changes, tools, batch):
    """Moved by next to nothing, both have the same loss, whatever is drawn."""
    if name == "slice_ranker":
        model = tools.make_ranker(encoder=tools.small_encoder(fine_tuning="full"), dropout=0.0, **changes)
    else:
        model = build(name, {**changes, "dropout": 0.0}, tools)
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.Dropout):  # BERT's own
            layer.rate = 0.0
    asked = {**batch[0], features.QUERY_TEXT_XF: tf.constant(["boots", "tea", "boots"])}  # two items hold each
    losses = set()
    for _ in range(12):
        found, _ = step(model, (asked, batch[1]), adversary=AdversarialOptions("fgm", epsilon=1e-6, weight=1.0))
        assert found["adversarial"] == pytest.approx(found["loss"] / 2, rel=1e-5)
        losses.add(round(found["adversarial"], 4))
    assert len(losses) > 1


def test_half_precision_that_overflows_moves_nothing(tools, batch):
    """A step that the optimizer skips has finite losses to show."""
    model = make("two_tower", tools)
    plain, _ = step(model, batch)
    model.compile(
        optimizer=tf.keras.mixed_precision.LossScaleOptimizer(
            tf.keras.optimizers.legacy.SGD(0.0), dynamic=False, initial_scale=3e38
        )
    )
    model.training_step = TrainingStep(adversary=AdversarialOptions("fgm", epsilon=0.5, weight=1.0))
    found, gradients = model.training_step(model, *batch)
    assert not all(np.isfinite(tf.convert_to_tensor(g).numpy()).all() for g, _ in gradients)
    assert float(found["adversarial"]) == pytest.approx(plain["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["sasrec", "two_tower"])
def test_two_views_of_a_history_are_pulled_together(name, tools):
    inputs = tools.request(
        **{features.HISTORY_ITEMS_XF: [[2, 3, 5, 4, 2], [6, 2, 7, 3, 0], [4, 7, 0, 0, 0]]},
    )
    model = make(name, tools)
    labels = tf.constant(tools.labels)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.01))
    model.training_step = TrainingStep(contrast=ContrastiveOptions(weight=50.0, crop=0.8))

    def contrast():
        tf.keras.utils.set_random_seed(4)
        return np.mean([float(model.training_step._contrastive(model, inputs)) for _ in range(4)])

    before = contrast()
    for _ in range(15):
        shown = model.train_step((inputs, labels))
    assert contrast() < 0.9 * before
    assert {"loss", "contrastive"} <= set(shown)
    assert shown["contrastive"] in [metric.result() for metric in model.metrics]


def test_users_without_a_known_item_have_no_part_in_the_contrast(tools, batch):
    model = make("sasrec", tools)
    found, _ = step(model, batch, contrast=ContrastiveOptions(weight=1.0))
    assert found["contrastive"] == pytest.approx(0, abs=1e-6)  # one of three has one, and nobody to be told from


def test_learned_weights_begin_with_the_fixed_ones_and_move_towards_the_smaller_loss(tools, batch):
    model = tools.make_ranker(dropout=0.0)
    weights = {"catalogue": 1.0, "listwise": 1.0, "binary": 1.0, "reconstruction_items": 0.1}
    weights["reconstruction_vector"] = 0.1
    weighting = UncertaintyWeights(weights)
    plain, own = step(model, batch)
    found, gradients = step(model, batch, weighting=weighting)
    # + s/2 of both tenths
    assert found["loss"] == pytest.approx(plain["loss"] + np.log(10), rel=1e-5)
    learned = {v.ref(): name for name, v in weighting.log_variances.items()}
    assert_same_gradients({key: value for key, value in gradients.items() if key not in learned}, own)
    for key, name in learned.items():  # d/ds (exp(-s)·L + s/2)
        assert gradients[key] == pytest.approx(-weights[name] * plain[name] + 0.5, rel=1e-4)


def test_an_entry_without_embedding_outputs_is_told(tools, batch):
    model = make("sasrec", tools)
    model.compute_losses = lambda inputs, labels, training: {"loss": tf.reduce_sum(model.item_embeddings)}
    with pytest.raises(ValueError, match=r"names no embedding outputs; expected `train\.adversarial\.kind: none`"):
        step(model, batch, adversary=AdversarialOptions("fgm"))


def test_everything_at_once_trains_in_a_graph_and_leaves_no_trace_in_the_model(tools, batch):
    model = make("two_tower", tools)
    variables = len(model.weights)
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.02))
    model.training_step = TrainingStep(
        2,
        AdversarialOptions("fgm", 0.05),
        ContrastiveOptions(weight=0.1),
        UncertaintyWeights({"catalogue": 1.0}),
    )
    dataset = tf.data.Dataset.from_tensors(twice(*batch)).repeat()
    history = model.fit(dataset, steps_per_epoch=10, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert set(history) == {"loss", "catalogue", "adversarial", "contrastive"}
    assert len(model.weights) == variables
    assert float(model.training_step.variables[0]) != 0


def test_parts_below_one_are_refused():
    with pytest.raises(ValueError, match="parts must be at least 1, not 0"):
        TrainingStep(parts=0)
    assert dataclasses.asdict(AdversarialOptions())["kind"] == "none"
