"""The click classifier: what an entry of the zoo must hold, and what its scores depend on."""

import json

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel
from models.click_classifier import ClickClassifier
from models.layers.platt_scaling import PlattScaling
from models.options import LossOptions, TextEncoderOptions
from models.pair_tokens import pair_tokens
from models.sizes import Sizes
from models.zoo.click_classifier import ENTRY, ClickClassifierOptions
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.settings import TrainSettings

SIZES = Sizes(6, 4, 3, 3, 4, 5, {"country": 4}, 50, (0, 1, 2, 3, 4), 5, 10)
ENCODER = {"hidden_size": 8, "layers": 1, "heads": 2, "intermediate_size": 8}
LOSSES = LossOptions(catalogue=0.0, binary=1.0)


def make(tools, **options):
    """A classifier with moved weights that knows the catalogue of six items."""
    tf.keras.utils.set_random_seed(1)
    encoder = TextEncoderOptions(**ENCODER)
    model = ENTRY.build(
        ClickClassifierOptions(text_encoder=encoder, dropout=0.0, id_dropout=0.0, **options), SIZES, LOSSES
    )
    model.set_catalogue(tools.small_table(), tools.small_sales(), 100)
    tools.shake(model)
    return model


@pytest.fixture(scope="module", params=["both", "text", "evidence"])
def model(request, tools):
    return make(tools, use_text=request.param != "evidence", use_evidence=request.param != "text")


@pytest.fixture(scope="module")
def both(tools):
    return make(tools)


@pytest.fixture(scope="module")
def inputs(tools):
    return tools.request()


def test_candidates_have_logits_and_padding_has_none(model, inputs):
    assert isinstance(model, CandidateModel) and isinstance(model.platt, PlattScaling)
    scores = model(inputs).numpy()
    real = inputs[features.CANDIDATE_ITEMS_XF].numpy() > 0
    assert scores.shape == (3, 4) and np.isfinite(scores).all()
    assert (scores[~real] == 0).all() and len(set(scores[real])) == real.sum()


def test_text_and_evidence_add_up_and_bert_reads_the_pair(tools, both, inputs):
    scores = both(inputs).numpy()
    query, profile = inputs[features.QUERY_TOKENS_XF], inputs[features.PROFILE_TOKENS_XF]
    table = tools.small_table().tokens
    # (decision, candidate): known items have the catalogue's text, the unknown one that of the request
    for row, place, text in ((0, 0, table[0]), (0, 2, [2, 17, 31, 3, 0]), (1, 1, table[4]), (2, 0, table[3])):
        pair = pair_tokens([query[row : row + 1], profile[row : row + 1]], tf.constant([text]), 2, 3)
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        at = tf.constant([[0, place]], tf.int64)
        encoder, both.encoder = both.encoder, None
        rest = both._logits(alone, at, False).numpy()[0]
        both.encoder = encoder
        np.testing.assert_allclose(scores[row, place], encoder(*pair).numpy()[0] + rest, atol=1e-4)


def test_a_user_without_a_word_or_a_deed_still_tells_items_apart(model, inputs):
    blank = {name: tf.zeros_like(value) for name, value in inputs.items()}
    blank[features.CANDIDATE_ITEMS_XF] = inputs[features.CANDIDATE_ITEMS_XF]
    blank[features.CANDIDATE_TEXT_POSITIONS_XF] = inputs[features.CANDIDATE_TEXT_POSITIONS_XF]
    blank[features.CANDIDATE_TOKENS_XF] = inputs[features.CANDIDATE_TOKENS_XF]
    scores = model(blank).numpy()[0]
    assert np.isfinite(scores).all() and len(set(np.round(scores, 5))) == 4


def test_padding_changes_nothing_and_a_decision_answers_alone_as_in_a_batch(model, inputs):
    padded = dict(inputs)
    history = (features.HISTORY_ITEMS_XF, features.HISTORY_TYPES_XF, features.HISTORY_GAPS_XF)
    for name in (*history, features.HISTORY_GAP_BUCKETS_XF, features.QUERY_TOKENS_XF, features.PROFILE_TOKENS_XF):
        padded[name] = tf.pad(inputs[name], [[0, 0], [0, 3]])
    expected = model(inputs).numpy()
    np.testing.assert_allclose(model(padded).numpy(), expected, atol=1e-4)
    for row in range(3):
        alone = model({name: value[row : row + 1] for name, value in inputs.items()}).numpy()
        np.testing.assert_allclose(alone[0], expected[row], atol=1e-4)


def test_config_and_saved_model_round_trips(model, inputs, tmp_path):
    twin = ClickClassifier.from_config(json.loads(json.dumps(model.get_config())))
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(twin(inputs).numpy(), model(inputs).numpy(), atol=1e-5)
    module = tf.Module()
    module.held = model.weights
    specs = {name: tf.TensorSpec([None] * value.shape.rank, value.dtype, name) for name, value in inputs.items()}
    module.run = tf.function(lambda values: model(values), input_signature=[specs])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.run(inputs), model(inputs), atol=1e-5)
    row = {name: value[:1] for name, value in inputs.items()}
    np.testing.assert_allclose(loaded.run(row), model(inputs)[:1], atol=1e-4)


def test_scores_are_calibrated_and_the_loss_is_not(tools, both, inputs):
    labels = tf.constant(tools.labels)
    raw, loss = both(inputs).numpy(), both.compute_losses(inputs, labels, training=False)["loss"].numpy()
    real = labels.numpy() >= 0
    expected = np.mean(np.logaddexp(0, raw[real]) - labels.numpy()[real] * raw[real])
    assert loss == pytest.approx(expected, abs=1e-5)
    both.platt.log_temperature.assign(np.log(2.0))
    both.platt.offset.assign(0.25)
    np.testing.assert_allclose(both(inputs).numpy()[real], raw[real] / 2 + 0.25, atol=1e-4)
    assert both.compute_losses(inputs, labels, training=False)["loss"].numpy() == pytest.approx(expected, abs=1e-5)
    both.platt.log_temperature.assign(0.0)
    both.platt.offset.assign(0.0)


def test_training_learns_from_a_sample_of_each_decision_and_reaches_every_weight(tools, inputs):
    model = make(tools, train_candidates=2)
    seen = []
    logits = model._logits
    model._logits = lambda inputs, places, training: seen.append(places.numpy()) or logits(inputs, places, training)
    labels = tf.constant(tools.labels)
    with tf.GradientTape() as tape:
        total = model.compute_losses(inputs, labels, training=False)["loss"]
    gradients = tape.gradient(total, model.trainable_variables)
    assert [v.name for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None] == []
    assert len(seen[0]) == (np.array(tools.labels) >= 0).sum()
    drawn = {tuple(map(tuple, seen[-1]))}
    for _ in range(8):
        model.compute_losses(inputs, labels, training=True)
        assert np.bincount(seen[-1][:, 0]).tolist() == [2, 2, 2]
        assert (np.array(tools.labels)[tuple(seen[-1].T)] >= 0).all()
        drawn.add(tuple(map(tuple, seen[-1])))
    assert len(drawn) > 3
    model.compile(optimizer=tf.keras.optimizers.Adam(0.02))
    before = model.compute_losses(inputs, labels, training=False)["loss"].numpy()
    for _ in range(15):
        model.train_step((inputs, labels))
    assert model.compute_losses(inputs, labels, training=False)["loss"].numpy() < 0.9 * before


def test_what_is_shown_beside_an_item_is_counted_by_hand(tools):
    model = make(tools, use_text=False, use_slate=True)
    model.evidence.item_inputs.item_categories.assign([2, 3, 2, 0, 1, 2])
    model.evidence.item_inputs.item_brands.assign([2, 2, 3, 3, 1, 0])
    shown = tf.constant([[0, 1, 2, 5, -1], [3, 4, -1, -1, -1], [1, -1, -1, -1, -1]])
    owners, rows = tf.constant([0, 0, 0, 0, 1, 1, 2, 0]), tf.constant([0, 1, 2, 5, 3, 4, 1, -1])
    found = model.evidence._slate(shown, owners, rows).numpy()
    third, share = 1 / 3, 3 / 4  # ids 0 and 1 are no category and no brand that two items could share
    expected = [[2 * third, third, share], [0, third, share], [2 * third, 0, share], [2 * third, 0, share]]
    np.testing.assert_allclose(found, [*expected, [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, share]], atol=1e-6)


def test_how_often_an_item_was_chosen_is_counted_until_the_day_before(tools, inputs):
    model = make(tools, use_text=False)
    sales, day = tools.small_sales(), inputs[features.REQUEST_DAY_XF].numpy()[2] - 100
    assert 0 < day < len(sales)
    before = model(inputs).numpy()
    later = np.arange(len(sales))[:, np.newaxis]
    for since, change in ((day, False), (day - 1, True)):
        model.set_catalogue(tools.small_table(), np.where(later >= since, sales[:, ::-1] + 1, sales), 100)
        moved = np.abs(model(inputs).numpy() - before).max(1) > 1e-5
        assert moved.tolist() == [True, True, change]  # the others are asked later


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_with_half_precision_scores_are_about_the_same(tools, inputs, policy):
    options = {"use_text": False, "use_slate": True}
    expected = make(tools, **options)
    with tools.precision(policy):
        half = make(tools, **options)
        half.set_weights(expected.get_weights())
        found = half(inputs).numpy()
    np.testing.assert_allclose(found, expected(inputs), atol=0.05 * np.abs(expected(inputs)).max())


def test_the_slate_changes_scores_where_it_is_read_and_nowhere_else(tools, inputs):
    ids = inputs[features.CANDIDATE_ITEMS_XF].numpy()
    ids[0, 1] = 5  # of the category of the first candidate, where the one before was not
    other = {**inputs, features.CANDIDATE_ITEMS_XF: tf.constant(ids)}
    for use_slate in (False, True):
        model = make(tools, use_text=False, use_slate=use_slate)
        categories = np.array([2, 0, 0, 2, 0, 0])
        model.evidence.item_inputs.item_categories.assign(categories)
        changed = np.abs(model(inputs).numpy() - model(other).numpy()) > 1e-5
        assert changed.tolist() == [[use_slate, True, use_slate, use_slate], [False] * 4, [False] * 4]
        twin = ClickClassifier.from_config(json.loads(json.dumps(model.get_config())))
        assert twin.evidence.use_slate == use_slate


def test_bert_has_a_rate_of_its_own(tools, inputs):
    model = make(tools, text_rate=0.1)
    assert ClickClassifier.from_config(json.loads(json.dumps(model.get_config()))).text_rate == 0.1
    slow = {id(weight) for weight, factor in model.rate_factors() if factor == 0.1}
    assert slow == {id(weight) for weight in model.encoder.trainable_weights}
    settings = TrainSettings(learning_rate=0.01, weight_decay=0.0, warmup_share=0.0)
    model.compile(optimizer=make_optimizer(settings, 5, model.rate_factors()))
    before = [weight.numpy() for weight in model.trainable_variables]
    model.train_step((inputs, tf.constant(tools.labels)))
    # Adam's first step moves a weight by its rate, however large its gradient is, and less only where it is next to 0.
    moved = [np.abs(weight - old).max() for weight, old in zip(model.trainable_variables, before, strict=True)]
    own = np.array([id(weight) in slow for weight in model.trainable_variables])
    assert np.array(moved)[own].max() == pytest.approx(0.001, rel=1e-3)
    assert np.array(moved)[~own].max() == pytest.approx(0.01, rel=1e-3)


def test_what_cannot_be_built_is_one_sentence():
    with pytest.raises(ValueError, match=r"click_classifier learns clicks; expected a weight for `losses\.binary`"):
        ENTRY.build(ClickClassifierOptions(), SIZES, LossOptions())
    with pytest.raises(ValueError, match="encoder and evidence are None; expected one of them"):
        ClickClassifier(SIZES, None, None)
    with pytest.raises(ValueError, match=r"`model.use_slate` is true; expected `model.use_evidence: true`"):
        ClickClassifierOptions(use_evidence=False, use_slate=True).check()
