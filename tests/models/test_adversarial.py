"""FGM and VAT, against a linear model whose gradients and divergences are written out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models import adversarial, perturbation

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(3, 2, 4)).astype(np.float32), RNG.normal(size=(8, 5)).astype(np.float32)
LABELS = np.array([1, 4, 0])


def logits(x):
    return tf.reshape(x, [3, 8]) @ W


def log_softmax(values):
    values = values - values.max(-1, keepdims=True)
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def lengths(x):
    return np.sqrt((x**2).sum((1, 2), keepdims=True))


def test_fgm_goes_along_the_gradient_of_each_row():
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=logits(x))
        slope = tape.gradient(tf.reduce_mean(loss), x)
    moved = adversarial.along([slope, None], [x, x], 0.3)
    probability = np.exp(log_softmax(X.reshape(3, 8) @ W))
    own = ((probability - np.eye(5)[LABELS]) @ W.T).reshape(X.shape)
    np.testing.assert_allclose(moved[0].numpy(), 0.3 * lengths(X) * own / lengths(own), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(moved[1].numpy(), 0)


def test_a_row_without_a_slope_stays_and_half_precision_does_not_overflow():
    x = tf.constant(X, tf.float16)
    slope = tf.constant(np.stack([X[0] * 0, X[1] * 1e4, X[2] * 1e-4]), tf.float16)
    moved = adversarial.along([slope], [x], 0.5)[0]
    assert moved.dtype == tf.float32
    np.testing.assert_array_equal(moved[0].numpy(), 0)
    np.testing.assert_allclose(moved[1:].numpy(), 0.5 * X[1:], rtol=2e-2, atol=1e-3)  # along itself


def test_divergence_is_kl_and_only_what_moved_learns():
    clean, moved = (tf.Variable(values) for values in RNG.normal(size=(2, 3, 5)))
    with tf.GradientTape() as tape:
        found = adversarial.divergence_from(clean, moved)
    p, q = log_softmax(clean.numpy()), log_softmax(moved.numpy())
    assert float(found) == pytest.approx((np.exp(p) * (p - q)).sum(1).mean(), rel=1e-6)
    of_clean, of_moved = tape.gradient(found, [clean, moved])
    assert of_clean is None
    np.testing.assert_allclose(of_moved.numpy(), (np.exp(q) - np.exp(p)) / 3, atol=1e-6)


def test_vat_is_one_power_iteration_with_the_fisher_matrix(monkeypatch):
    """At a small move d, KL is ½ dᵀF d, with F = W(diag p - ppᵀ)Wᵀ of softmax(Wᵀx): its gradient is F d."""
    probe = RNG.normal(size=X.shape).astype(np.float32)
    monkeypatch.setattr(tf.random, "normal", lambda shape: tf.constant(probe))
    kernel = tf.Variable(W)

    def distribution():
        return tf.reshape(perturbation.embedded(tf.constant(X)), [3, 8]) @ kernel

    with tf.GradientTape() as tape:
        found = adversarial.virtual_loss(tape, distribution, 0.2, lambda loss: 1024 * loss)
    p = np.exp(log_softmax(X.reshape(3, 8) @ W))
    direction = lengths(X) * probe / lengths(probe)
    slope = np.stack(
        [W @ (np.diag(row) - np.outer(row, row)) @ W.T @ d.reshape(8) for row, d in zip(p, direction, strict=True)]
    )
    slope = slope.reshape(X.shape)
    move = 0.2 * lengths(X) * slope / lengths(slope)
    q = log_softmax((X + move).reshape(3, 8) @ W)
    assert float(found) == pytest.approx((p * (np.log(p) - q)).sum(1).mean(), rel=0.02)
    # The direction is no part of what is learned: p - q reaches the kernel through the moved input alone.
    expected = (X + move).reshape(3, 8).T @ (np.exp(q) - p) / 3
    np.testing.assert_allclose(tape.gradient(found, kernel).numpy(), expected, atol=0.02 * np.abs(expected).max())


def test_outputs_are_moved_in_the_order_they_were_recorded():
    def model():
        return perturbation.embedded(tf.constant([[1.0]])), perturbation.embedded(tf.constant([[2.0]]))

    with perturbation.recording() as noted:
        model()
    points = noted.points
    assert [float(point) for point in points] == [1, 2]
    with perturbation.perturbing(noted, [tf.constant([[10.0]]), tf.constant([[20.0]])]):
        assert [float(value) for value in model()] == [11, 22]
    assert [float(value) for value in model()] == [1, 2]
    with pytest.raises(ValueError, match="more embedding outputs than the 2"), perturbation.perturbing(noted, points):
        model()
        model()
    with (
        pytest.raises(ValueError, match="has 0 embedding outputs; expected 2"),
        perturbation.perturbing(noted, points),
    ):
        pass
    assert not perturbation.active()
    with perturbation.recording(), pytest.raises(ValueError, match="one pass at a time"), perturbation.recording():
        pass


def test_a_perturbed_pass_draws_what_the_recorded_one_drew():
    def model():
        return [*perturbation.uniform([3]).numpy(), *perturbation.uniform([2], tf.float64).numpy()]

    with perturbation.recording() as noted:
        drawn = model()
    assert min(drawn) >= 0 and max(drawn) < 1
    for _ in range(2):  # VAT perturbs twice
        with perturbation.perturbing(noted, []):
            assert model() == drawn
    assert model() != drawn
    with pytest.raises(ValueError, match="more often than the 2 times"), perturbation.perturbing(noted, []):
        model()
        model()
    with pytest.raises(ValueError, match="has 0 draws; expected 2"), perturbation.perturbing(noted, []):
        pass
    assert not perturbation.active()
