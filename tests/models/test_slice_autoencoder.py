"""SliceAutoencoder: which events go where, by brute force, and what it makes of them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.slice_autoencoder import SliceAutoencoder, newest_positions

LENGTHS = [0, 1, 3, 5, 9]


@pytest.fixture(scope="module")
def autoencoder(tools):
    autoencoder = SliceAutoencoder(dimension=8, code_dimension=3, slice_length=2, slices=3)
    autoencoder.build([None, None, 8])
    tools.shake(autoencoder)
    return autoencoder


@pytest.fixture(scope="module")
def events():
    return np.random.default_rng(0).normal(size=(5, 9, 8)).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 8))
def test_newest_positions_by_brute_force(lengths, kept):
    expected = [([-1] * kept + list(range(length)))[-kept:] for length in lengths]
    assert newest_positions(tf.sequence_mask(lengths, 9), kept).numpy().tolist() == expected


def test_vectors_codes_and_reconstructions_of_every_slice(autoencoder, events):
    out = autoencoder(events, tf.sequence_mask(LENGTHS, 9))
    dense = {
        name: getattr(autoencoder, name).get_weights()
        for name in ("encoder_hidden", "encoder_code", "decoder_hidden", "decoder_vector")
    }

    def through(x, hidden, last):
        return tf.nn.gelu(x @ dense[hidden][0] + dense[hidden][1]).numpy() @ dense[last][0] + dense[last][1]

    for row, length in enumerate(LENGTHS):
        for place in range(3):
            stop = length - 2 * (2 - place)
            own = list(range(max(stop - 2, 0), max(stop, 0)))
            assert bool(out["slice_mask"][row, place]) == bool(own)
            if not own:
                for name in ("vectors", "codes", "reconstructions"):
                    assert not out[name][row, place].numpy().any()
                continue
            # The block sees the slice's real events alone, each with the position it has in a full slice.
            raw = events[row, own]
            states = raw + autoencoder.positions.numpy()[2 - len(own) :]
            states = autoencoder.blocks[0](states[None], tf.ones([1, len(own)], tf.bool))[0].numpy()
            vector = (states + raw).sum(0) / np.sqrt(len(own))
            np.testing.assert_allclose(out["vectors"][row, place], vector, atol=1e-4)
            code = through(vector, "encoder_hidden", "encoder_code")
            np.testing.assert_allclose(out["codes"][row, place], code, atol=1e-4)
            rebuilt = through(code, "decoder_hidden", "decoder_vector")
            np.testing.assert_allclose(out["reconstructions"][row, place], rebuilt, atol=1e-4)
        # Of the last slice, whose states are the ones left over.
        np.testing.assert_allclose(out["newest"][row], states[-1] if length else np.zeros(8), atol=1e-4)


def test_padding_changes_nothing(autoencoder, events, tools):
    longer = np.concatenate([events, np.full([5, 4, 8], 3, np.float32)], 1)
    for row, length in enumerate(LENGTHS):
        longer[row, length:] = 7
    mask = tf.sequence_mask(LENGTHS, 9)
    tools.assert_close(autoencoder(longer, tf.sequence_mask(LENGTHS, 13)), autoencoder(events, mask))


def test_only_the_newest_events_of_a_long_history_count(autoencoder, events, tools):
    mask = tf.ones([5, 9], tf.bool)
    before = autoencoder(events, mask)
    older, newer = events.copy(), events.copy()
    older[:, :3] += 1
    newer[:, 3] += 1
    tools.assert_close(autoencoder(older, mask), before)
    assert np.abs(autoencoder(newer, mask)["vectors"] - before["vectors"]).max() > 0.1


def test_training_the_reconstruction_rebuilds_the_vectors(events):
    """A bottleneck as wide as the data can hold it: the error must fall far."""
    tf.keras.utils.set_random_seed(0)
    autoencoder = SliceAutoencoder(dimension=8, code_dimension=8, slice_length=2, slices=3)
    mask = tf.sequence_mask(LENGTHS, 9)
    autoencoder(events, mask)
    decoder = [
        autoencoder.encoder_hidden,
        autoencoder.encoder_code,
        autoencoder.decoder_hidden,
        autoencoder.decoder_vector,
    ]
    weights = [weight for layer in decoder for weight in layer.trainable_weights]
    optimizer = tf.keras.optimizers.Adam(0.01)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            out = autoencoder(events, mask)
            loss = tf.reduce_mean(tf.square(out["reconstructions"] - out["vectors"]))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    first = float(step())
    for _ in range(150):
        last = float(step())
    assert last < 0.1 * first
