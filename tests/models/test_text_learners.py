"""Learning from texts alone: what is hidden, and both losses against NumPy."""

import math

import numpy as np
import pytest
import tensorflow as tf

from models.masked_language_model import MaskedLanguageModel, hide_words
from models.profile_encoder import ProfileEncoder
from models.text_distiller import TextDistiller

SPECIAL = (0, 1, 2, 3, 4)  # [PAD] [UNK] [CLS] [SEP] [MASK]
TEXTS = tf.constant([[2, 7, 9, 3, 0], [2, 11, 12, 13, 3], [2, 8, 3, 0, 0]], tf.int32)


def encoder(mode="full", hidden=8):
    tf.keras.utils.set_random_seed(0)
    return ProfileEncoder.from_scratch(
        20, hidden, 1, 2, 16, max_length=16, dropout=0.0, dimension=4, fine_tuning=mode, lora_rank=2, adapter_size=3
    )


def hide(tokens, seed=(1, 2), share=0.3):
    return [part.numpy() for part in hide_words(tokens, tf.constant(seed), share, SPECIAL, 20, 4, 0)]


def test_words_are_hidden_eighty_ten_ten():
    tokens = np.random.default_rng(0).integers(0, 20, (400, 50)).astype(np.int32)
    hidden, asked = hide(tf.constant(tokens))
    words, chosen = tokens > 4, asked > 0
    assert not chosen[~words].any()
    np.testing.assert_array_equal(asked[chosen], tokens[chosen])
    np.testing.assert_array_equal(hidden[~chosen], tokens[~chosen])
    assert chosen[words].mean() == pytest.approx(0.3, abs=0.02)
    assert (hidden[chosen] == 4).mean() == pytest.approx(0.8, abs=0.02)
    # Another word is drawn of all 15, and so is the same one in a fifteenth of the draws.
    assert (hidden[chosen] == tokens[chosen]).mean() == pytest.approx(0.1 + 0.1 / 15, abs=0.015)
    put_in = hidden[chosen & (hidden != 4) & (hidden != tokens)]
    assert set(put_in) == set(range(5, 20))


def test_a_seed_hides_the_same_and_another_one_others():
    tokens = tf.fill([20, 20], 7)
    np.testing.assert_array_equal(hide(tokens)[0], hide(tokens)[0])
    assert (hide(tokens)[0] != hide(tokens, (1, 3))[0]).any()


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def test_the_loss_is_the_cross_entropy_of_the_hidden_words_by_hand():
    learner = MaskedLanguageModel(encoder())
    for place, weight in enumerate(learner.own):
        weight.assign(np.random.default_rng(place).normal(size=weight.shape))
    tokens, targets = TEXTS.numpy(), np.zeros([3, 5], np.int32)
    tokens[0, 1], targets[0, 1], targets[1, 3] = 4, 7, 13
    main, head = learner.encoder.bert.bert, learner.head.predictions
    transform, terms = head.transform, []
    for row, place in ((0, 1), (1, 3)):
        length = int((tokens[row] > 0).sum())
        h = learner.encoder.bert(tokens[row : row + 1, :length]).last_hidden_state[0, place].numpy()
        x = gelu(h @ transform.dense.kernel.numpy() + transform.dense.bias.numpy())
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-12) * transform.LayerNorm.gamma + transform.LayerNorm.beta
        logits = main.embeddings.weight.numpy() @ np.asarray(x) + head.bias.numpy()
        terms.append(np.log(np.exp(logits).sum()) - logits[targets[row, place]])
    found = learner.compute_text_loss(tf.constant(tokens), tf.constant(targets), training=False)
    assert float(found) == pytest.approx(np.mean(terms), abs=1e-4)
    nothing = learner.compute_text_loss(TEXTS, tf.zeros_like(TEXTS), training=False)
    assert float(nothing) == 0


@pytest.mark.parametrize("width", [8, 6])
def test_the_distillers_loss_by_hand(width):
    learner = TextDistiller(encoder(), width, relations=0.7)
    targets = np.random.default_rng(3).normal(size=(3, width)).astype(np.float32)
    s = learner.encoder.pool(TEXTS).numpy()
    mapped = s @ learner.map.kernel.numpy() if width != 8 else s
    assert (learner.map is None) == (width == 8)

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    apart = np.mean(1 - (unit(mapped) * unit(targets)).sum(1))
    relations = np.mean((unit(s) @ unit(s).T - unit(targets) @ unit(targets).T) ** 2)
    found = learner.compute_text_loss(TEXTS, tf.constant(targets), training=False)
    assert float(found) == pytest.approx(apart + 0.7 * relations, abs=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "lora", "adapters", "prefix"])
@pytest.mark.parametrize("kind", [MaskedLanguageModel, TextDistiller])
def test_berts_own_weights_learn_whatever_the_fit_trains(mode, kind):
    student = encoder(mode)
    if kind is MaskedLanguageModel:
        learner, targets = kind(student), tf.constant([[0, 7, 0, 0, 0], [0, 0, 0, 13, 0], [0, 8, 0, 0, 0]])
    else:
        learner, targets = kind(student, 8), tf.random.normal([3, 8])
    pooler = student.bert.bert.pooler.get_weights()
    own = {id(weight) for weight in learner.learned}
    others = [(weight, weight.numpy()) for weight in student.weights if id(weight) not in own]
    before = [weight.numpy() for weight in learner.learned]
    learner.compile(optimizer=tf.keras.optimizers.legacy.Adam(0.01))
    first = float(learner.train_step((TEXTS, targets))["loss"])
    for _ in range(10):
        learner.train_step((TEXTS, targets))
    assert float(learner.compute_text_loss(TEXTS, targets, training=False)) < 0.8 * first
    still = [
        weight.name
        for weight, value in zip(learner.learned, before, strict=True)
        if np.array_equal(weight.numpy(), value) and "key/bias" not in weight.name
    ]
    assert still == []
    for weight, value in others:
        np.testing.assert_array_equal(weight, value)
    for found, expected in zip(student.bert.bert.pooler.get_weights(), pooler, strict=True):
        np.testing.assert_array_equal(found, expected)
