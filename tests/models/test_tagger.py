"""The model of `profile_tagger`: what it reads, what it learns, and its way through a SavedModel."""

import json

import numpy as np
import pytest
import tensorflow as tf

from models import features, registry, tagger, text_words
from models.layers.attention_pooling import AttentionPooling
from models.options import LossOptions, TextEncoderOptions
from models.sizes import TextSizes
from models.training_options import AdversarialOptions
from models.training_step import TrainingStep

SIZES = TextSizes(tags=4, wordpieces=30, special_tokens=(0, 1, 2, 3, 4), mask_token=4)
# Three texts: three words, the second of two tokens; one word; none. Room for 6 tokens.
INPUTS = {
    features.TEXT_TOKENS_XF: tf.constant([[2, 7, 8, 9, 10, 3], [2, 11, 3, 0, 0, 0], [0] * 6], tf.int64),
    features.TEXT_WORD_PLACES_XF: tf.constant([[1, 2, 4, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0] * 6], tf.int64),
}
LABELS = {
    tagger.TAGS: tf.constant([[1.0, 0.5, 0, 0], [0, 0, 1, 0], [0] * 4]),
    tagger.WORDS: tf.constant([[0, 1, 3, -1, -1, -1], [5, -1, -1, -1, -1, -1], [-1] * 6], tf.int64),
    tagger.SENTIMENT: tf.constant([1, -1, 0], tf.int64),
}


def make(**options):
    tf.keras.utils.set_random_seed(3)
    entry = registry.entry("profile_tagger")
    encoder = TextEncoderOptions(hidden_size=8, layers=1, heads=2, intermediate_size=8)
    small = {"dimension": 5, "dropout": 0.0, "word_dropout": 0.0, "text_encoder": encoder}
    model = entry.build(entry.options(**{**small, **options}), SIZES, LossOptions())
    rng = np.random.default_rng(4)
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(0, 0.2, weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return make()


def test_attention_is_a_softmax_over_the_places_that_count():
    tf.keras.utils.set_random_seed(1)
    pooling = AttentionPooling(units=3)
    states = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool)
    vector, weights = pooling(states, mask)
    kernel, bias, query = (weight.numpy() for weight in pooling.weights)
    scores = np.exp(np.tanh(states[0] @ kernel + bias) @ query)[:, 0] * mask[0]
    np.testing.assert_allclose(weights[0], scores / scores.sum(), rtol=1e-5)
    np.testing.assert_allclose(vector[0], (scores / scores.sum()) @ states[0], rtol=1e-5)
    assert not vector[1].numpy().any() and not weights[1].numpy().any()
    assert AttentionPooling.from_config(pooling.get_config()).units == 3


def test_heads_read_what_they_should(model):
    found = model(INPUTS)
    states = model.text_encoder.token_states(INPUTS[features.TEXT_TOKENS_XF]).numpy()
    kernel, bias = (weight.numpy() for weight in model.word_head.weights)
    np.testing.assert_allclose(found[tagger.WORDS][0, 2], states[0, 4] @ kernel + bias, atol=1e-5)
    # [CLS] and [SEP] are no words.
    pooled, attention = model.pooling(states, np.isin(INPUTS[features.TEXT_TOKENS_XF], [0, 2, 3], invert=True))
    np.testing.assert_allclose(
        found["attention"][0, :3], [attention[0, 1], sum(attention[0, 2:4]), attention[0, 4]], rtol=1e-5
    )
    vector = model.text_encoder.project(pooled)
    np.testing.assert_allclose(found["vector"], vector, atol=1e-5)
    np.testing.assert_allclose(found[tagger.TAGS], model.tag_head(vector), atol=1e-5)
    np.testing.assert_allclose(found["attention"].numpy().sum(1), [1, 1, 0], atol=1e-5)
    assert not found["vector"][2].numpy().any()
    assert found[tagger.WORDS].shape == (3, 6, len(text_words.WORD_LABELS)) and found[tagger.SENTIMENT].shape == (3,)


def test_a_text_answers_alone_and_padded_as_in_a_batch(model):
    together = model(INPUTS)
    for row in range(3):
        alone = {name: tf.pad(value[row : row + 1], [[0, 0], [0, 2]]) for name, value in INPUTS.items()}
        for name, value in model(alone).items():
            expected = together[name][row].numpy()
            found = value[0].numpy()[: len(expected)] if expected.ndim else value[0].numpy()
            if name == tagger.WORDS:  # rows without a word read the first token and mean nothing
                count = int((INPUTS[features.TEXT_WORD_PLACES_XF][row] > 0).numpy().sum())
                found, expected = found[:count], expected[:count]
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_losses_by_hand(model):
    found = {name: value.numpy().astype(np.float64) for name, value in model(INPUTS).items()}
    losses = model.compute_losses(INPUTS, LABELS, training=False)

    def sigmoid_loss(logit, label):
        return np.logaddexp(0, logit) - label * logit

    labels = {name: value.numpy() for name, value in LABELS.items()}
    tags = sigmoid_loss(found[tagger.TAGS], labels[tagger.TAGS]).sum(1)
    assert float(losses[tagger.TAGS]) == pytest.approx(tags[:2].mean(), rel=1e-5)  # the third has none
    words = [
        np.logaddexp.reduce(found[tagger.WORDS][row, place]) - found[tagger.WORDS][row, place, label]
        for row, place, label in [(0, 0, 0), (0, 1, 1), (0, 2, 3), (1, 0, 5)]
    ]
    assert float(losses[tagger.WORDS]) == pytest.approx(np.mean(words), rel=1e-5)
    sentiment = sigmoid_loss(found[tagger.SENTIMENT][[0, 2]], np.array([1, 0]))
    assert float(losses[tagger.SENTIMENT]) == pytest.approx(sentiment.mean(), rel=1e-5)
    total = sum(
        model.loss_weights[name] * float(losses[name]) for name in (tagger.TAGS, tagger.WORDS, tagger.SENTIMENT)
    )
    assert float(losses["loss"]) == pytest.approx(total, rel=1e-5)


def test_it_learns_and_every_weight_takes_part():
    model = make()
    with tf.GradientTape() as tape:
        loss = model.compute_losses(INPUTS, LABELS, training=True)["loss"]
    variables = model.trainable_variables
    idle = [v.name for v, g in zip(variables, tape.gradient(loss, variables), strict=True) if g is None]
    assert not idle
    model.compile(optimizer=tf.keras.optimizers.Adam(0.02))
    step = tf.function(model.train_step)
    for _ in range(60):
        step((INPUTS, LABELS))
    found = model(INPUTS)
    assert (tf.sigmoid(found[tagger.TAGS]).numpy()[0] > [0.8, 0.3, -1, -1]).all()
    assert (tf.sigmoid(found[tagger.TAGS]).numpy()[0, 2:] < 0.2).all()
    assert found[tagger.WORDS][0, :3].numpy().argmax(-1).tolist() == [0, 1, 3]


def test_hidden_tokens_are_words_and_only_in_training():
    model = make(word_dropout=0.95)
    seen = []
    model.text_encoder.token_states = lambda tokens, training=False: seen.append(tokens.numpy()) or tf.zeros([3, 6, 8])
    model(INPUTS)
    model(INPUTS, training=True)
    plain, hidden = seen
    assert (plain == INPUTS[features.TEXT_TOKENS_XF].numpy()).all()
    changed = plain != hidden
    assert changed.any() and (hidden[changed] == SIZES.mask_token).all()
    assert not changed[np.isin(plain, [0, 2, 3])].any()


def test_config_and_saved_model_round_trips(model, tmp_path):
    twin = tagger.ProfileTagger.from_config(json.loads(json.dumps(model.get_config())))
    twin.set_weights(model.get_weights())
    module = tf.Module()
    module.held = model.weights
    specs = {name: tf.TensorSpec([None, None], tf.int64, name) for name in INPUTS}
    module.run = tf.function(lambda inputs: model(inputs), input_signature=[specs])
    tf.saved_model.save(module, str(tmp_path))
    expected = model(INPUTS)
    loaded = tf.saved_model.load(str(tmp_path))
    for found in (twin(INPUTS), loaded.run(INPUTS)):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name].numpy(), value.numpy(), atol=1e-5)


def test_options_that_do_not_go_together():
    options = registry.entry("profile_tagger").options
    with pytest.raises(ValueError, match=r"`model\.tag_weight` is 0; expected a number above 0"):
        options(tag_weight=0.0).check()
    with pytest.raises(ValueError, match=r"`model\.text_encoder\.heads` 3; expected a size"):
        options(text_encoder=TextEncoderOptions(heads=3)).check()


def test_the_adversary_is_asked_of_the_words_that_the_first_pass_hid():
    model = make(word_dropout=0.5)
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.Dropout):  # which draws anew in each pass
            layer.rate = 0.0
    model.compile(optimizer=tf.keras.optimizers.legacy.SGD(0.0))
    model.training_step = TrainingStep(adversary=AdversarialOptions("fgm", epsilon=1e-6, weight=1.0))
    losses = set()
    for _ in range(8):
        found, _ = model.training_step(model, INPUTS, LABELS)
        assert float(found["adversarial"]) == pytest.approx(float(found["loss"]) / 2, rel=1e-5)
        losses.add(round(float(found["adversarial"]), 4))
    assert len(losses) > 1
