"""A BERT that fills in masked words."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertConfig

from models.masked_word_model import MaskedWordModel

PAD, UNK, CLS, SEP, MASK = range(5)
CONFIG = BertConfig(
    vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
).to_dict()  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(2)
    return MaskedWordModel(CONFIG, MASK)


def test_the_answer_is_the_distribution_at_the_mask(model):
    tokens = tf.constant([[CLS, 9, MASK, SEP], [CLS, MASK, SEP, PAD]])
    logits = model.network(input_ids=tokens, attention_mask=tf.cast(tokens > 0, tf.int32)).logits
    expected = tf.nn.log_softmax(tf.stack([logits[0, 2], logits[1, 1]])).numpy()
    np.testing.assert_allclose(model(tokens).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(expected).sum(1), 1, atol=1e-5)


def test_padding_changes_nothing(model):
    short = tf.constant([[CLS, 9, MASK, SEP]])
    long = tf.pad(short, [[0, 0], [0, 3]])
    np.testing.assert_allclose(model(long).numpy(), model(short).numpy(), atol=1e-5)
    np.testing.assert_allclose(model.pool(long).numpy(), model.pool(short).numpy(), atol=1e-5)


def test_the_head_is_tied_to_the_word_embeddings(model):
    before = model(tf.constant([[CLS, 9, MASK, SEP]])).numpy()
    (words,) = [v for v in model.trainable_variables if v.shape == [30, 16]]  # one table, for both ends
    kept = words.numpy()
    words.assign(
        tf.tensor_scatter_nd_update(words, [[20]], [10.0 * tf.constant([1.0, -1.0] * 8)])
    )  # a word that the text lacks
    after = model(tf.constant([[CLS, 9, MASK, SEP]])).numpy()
    words.assign(kept)
    assert abs(after[0, 20] - before[0, 20]) > 0.1


def test_the_loss_is_of_the_words_taken_out_alone(model):
    tokens, words = tf.constant([[CLS, 9, MASK, 12, SEP]]), tf.constant([[PAD, PAD, 11, PAD, PAD]])
    expected = -model(tokens).numpy()[0, 11]
    assert model.masked_loss(tokens, words, training=False).numpy() == pytest.approx(expected, abs=1e-5)
    assert model.masked_loss(tokens, tf.fill(tokens.shape, PAD), training=False).numpy() == 0


def test_it_learns_what_stands_beside(model):
    """Word w is always followed by w + 1; a masked one is to be found from its neighbour."""
    twin = MaskedWordModel(CONFIG, MASK)
    twin.set_weights(model.get_weights())
    first = np.arange(6, 28, 2)
    tokens = np.stack([np.full(11, CLS), first, np.full(11, MASK), np.full(11, SEP)], 1)
    words = np.where(tokens == MASK, first[:, None] + 1, PAD)
    optimizer, variables = tf.keras.optimizers.Adam(0.003), twin.trainable_variables
    tf.config.run_functions_eagerly(False)  # so many steps are worth a trace

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = twin.masked_loss(tf.constant(tokens), tf.constant(words))
        found = zip(tape.gradient(loss, variables), variables, strict=True)
        optimizer.apply_gradients((g, v) for g, v in found if g is not None)

    optimizer.build(variables)
    for _ in range(90):
        step()
    tf.config.run_functions_eagerly(True)
    assert (twin(tf.constant(tokens)).numpy().argmax(1) == first + 1).mean() > 0.8
