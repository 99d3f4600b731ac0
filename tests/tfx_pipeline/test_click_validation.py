"""What is measured of clicks after an epoch, and which epoch is kept for it."""

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel
from models.click_metrics import ClickMetrics
from models.layers.platt_scaling import PlattScaling
from tfx_pipeline.callbacks import CheckpointKeeper
from tfx_pipeline.click_validation import ClickValidation

INPUTS = (features.CANDIDATE_ITEMS_XF, features.USER_KEY_XF)


class Bent(CandidateModel):
    """Scores a candidate by its id's place in a table of logits, twice as far from 0 as it should be."""

    def __init__(self, logits):
        super().__init__(len(logits), name="bent")
        self.logits = self.add_weight(name="logits", shape=[len(logits)], initializer="zeros")
        self.logits.assign(2 * logits)
        self.platt = PlattScaling()

    def call(self, inputs, training=False):
        return self.platt(tf.gather(self.logits, inputs[features.CANDIDATE_ITEMS_XF]), training=training)

    def compute_losses(self, inputs, labels, training):
        loss = tf.reduce_mean(tf.square(self.logits))
        return {"loss": loss}


@pytest.fixture
def held_out():
    """40 batches of 25 decisions with 1 to 6 candidates, clicked with the probability of the true logit."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 1, 50).astype(np.float32)
    items = rng.integers(0, 50, [1000, 6])
    labels = (rng.random([1000, 6]) < 1 / (1 + np.exp(-logits[items]))).astype(np.float32)
    labels[np.arange(6)[None, :] >= rng.integers(1, 7, 1000)[:, None]] = -1
    users = rng.integers(0, 100, 1000)
    inputs = {features.CANDIDATE_ITEMS_XF: items, features.USER_KEY_XF: users}
    return logits, tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(25)


def test_probabilities_are_calibrated_then_measured(held_out):
    logits, batches = held_out
    model = Bent(logits)
    validation = ClickValidation(model, batches)
    found = validation.evaluate()
    assert np.exp(model.platt.calibration()[0]) == pytest.approx(2, abs=0.25)
    by_model, before = ClickMetrics(), ClickMetrics()
    for inputs, labels in batches:
        users = inputs[features.USER_KEY_XF].numpy()
        by_model.update(labels, model(inputs), users)
        before.update(labels, model(inputs, training=True), users)
    assert found == pytest.approx(by_model.result(), abs=1e-5)
    assert found["log_loss"] < before.result()["log_loss"] - 0.01 and found["ece"] < before.result()["ece"] / 2
    assert found["pooled_auc"] == pytest.approx(before.result()["pooled_auc"], abs=1e-6)
    assert validation.evaluate() == pytest.approx(found, abs=1e-6)  # the first calibration leaves no trace


def test_a_model_is_traced_once_for_batches_of_any_shape(held_out):
    traced = []

    class Traced(Bent):
        def call(self, inputs, training=False):
            traced.append(inputs[features.CANDIDATE_ITEMS_XF].shape)
            return super().call(inputs, training=training)

    rows = held_out[1].unbatch().enumerate().map(lambda row, pair: _cut(pair, 1 + row % 6))
    batches = rows.padded_batch(7, padding_values=({name: np.int64(0) for name in INPUTS}, np.float32(-1)))
    validation = ClickValidation(Traced(held_out[0]), batches)
    assert len({labels.shape[0] for _, labels in batches}) == 2
    assert validation.evaluate() == validation.evaluate()
    assert [shape.as_list() for shape in traced] == [[None, None]]


def _cut(pair, width):
    inputs, labels = pair
    candidates = inputs[features.CANDIDATE_ITEMS_XF][:width]
    return {**inputs, features.CANDIDATE_ITEMS_XF: candidates}, labels[:width]


def test_scores_that_are_no_numbers_are_told(held_out):
    logits, batches = held_out
    found = ClickValidation(Bent(np.full_like(logits, np.nan)), batches).evaluate()
    assert all(np.isnan(value) for value in found.values())


def test_the_epoch_with_the_least_log_loss_is_kept(tmp_path, held_out):
    model = Bent(held_out[0])
    model.compile(optimizer=tf.keras.optimizers.legacy.SGD(0.1))
    model.optimizer._create_all_weights(model.trainable_variables)
    keeper = CheckpointKeeper(str(tmp_path), "log_loss", patience=2)
    keeper.set_model(model)
    keeper.restore(model)
    for epoch, value in enumerate((0.5, 0.4, 0.45, 0.41)):
        model.logits.assign(tf.fill([50], float(epoch)))
        keeper.on_epoch_end(epoch, {"log_loss": value})
    assert (keeper.state["best_epoch"], keeper.state["best_value"], keeper.state["stopped"]) == (2, 0.4, True)
    keeper.restore_best(model)
    assert (model.logits.numpy() == 1).all()
