"""What happens after each epoch: ranking metrics, checkpoints, what TensorBoard shows."""

from __future__ import annotations

import abc
import functools
import json
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel
from models.catalogue_model import CatalogueModel
from models.click_metrics import LOWER_IS_BETTER
from models.layers.repeat_mixture import RepeatMixture
from models.metrics import RankingMetrics
from models.paths import named_items
from tfx_pipeline.averaging import averaged

METRICS = ("ndcg@10", "recall@10", "hr@10")
NOVEL = "novel_"
#: The metric of each label event type, before `_TYPE`.
OF_TYPE = "ndcg@10"

#: Scores (decisions x items) kept for the calibration, 512 MiB with what belongs to them.
CALIBRATION_SCORES = 2**26


class Validation(tf.keras.callbacks.Callback, abc.ABC):
    """Measures the model on held-out decisions after each epoch and adds the metrics to the logs.

    It measures the averaged weights where the optimizer keeps them; training goes on from its own. Must come first in
    the list of callbacks.

    Args:
      model: the one in training; construct this outside its strategy's scope.
      decisions: dataset of (inputs, labels).
    """

    def __init__(self, model: CandidateModel, decisions: tf.data.Dataset) -> None:
        super().__init__()
        self.model = model
        self._decisions = decisions

    @abc.abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Metrics of the model as it stands."""

    def shown(self, name: str) -> bool:
        """Whether a metric is printed after an epoch."""
        return True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        started = time.time()
        with averaged(self.model) as exchanged:
            values = self.evaluate()
        if exchanged and self.model.learns_text:
            self.model.refresh_item_text()
        if logs is not None:
            logs.update(values)
            logs["learning_rate"] = _learning_rate(self.model)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items() if self.shown(name))
        loss = (logs or {}).get("loss", float("nan"))
        total = self.params.get("epochs", "?")
        print(
            f"  epoch {epoch + 1}/{total}  loss {loss:.4f}  {shown}  (measured in {time.time() - started:.0f} s)",
            flush=True,
        )


def traced_once(function: Callable[[Any], Any], batches: tf.data.Dataset) -> Callable[[Any], Any]:
    """A graph of a function of inputs that takes those of all batches of a dataset, whatever their shapes.

    Traced for the shapes of each batch, until it is general enough, a model takes several times its time.
    """
    return tf.function(function, input_signature=[batches.element_spec[0]])


class CatalogueRanking(Validation):
    """A `Validation` that ranks the whole catalogue.

    Before that it encodes the items' texts anew (BERT may have learned), calibrates the repeat mixture and balances it.
    `novel_*` leaves items of the user's history out of targets and ranking.

    Memory: the batches' scores are kept until the calibration is done, at most `calibration_scores` of them (decisions
    x items) and those of one more batch; decisions beyond are ranked but do not calibrate.

    Args:
      model: the one in training; construct this outside its strategy's scope.
      decisions: dataset of (inputs, labels).
      calibration_scores: how many scores are kept, 8 bytes each.
      label_strengths: label event types, the weakest first, where decisions say which made a candidate positive: with
        `ndcg@10_TYPE` of each, of the same ranking, where what a weaker event made positive counts as no positive.
    """

    def __init__(
        self,
        model: CatalogueModel,
        decisions: tf.data.Dataset,
        calibration_scores: int = CALIBRATION_SCORES,
        label_strengths: Sequence[str] = (),
    ) -> None:
        super().__init__(model, decisions)
        # A copy on one device: no gradient can be taken of variables that several replicas mirror.
        self._mixture = RepeatMixture.from_config(model.mixture.get_config()) if model.mixture else None
        self._calibration_scores = calibration_scores
        self._strengths = {f"{OF_TYPE}_{name}": place for place, name in enumerate(label_strengths, 1)}
        self._function: Any = None

    def shown(self, name: str) -> bool:
        return "ndcg" in name

    def evaluate(self) -> dict[str, float]:
        """Metrics of the model as it stands."""
        model = self.model
        if model.learns_text:
            model.refresh_item_text()
        allowed = tf.cast(model.servable, tf.float32)
        batches = (self._raw(inputs, labels) for inputs, labels in self._decisions)
        kept: list[tuple[np.ndarray, ...]] = []
        mixture, theirs = self._mixture, model.mixture
        if mixture and theirs:
            mixture.set_weights(theirs.get_weights())
            held = 0
            while held < self._calibration_scores and (batch := next(batches, None)) is not None:
                kept.append(batch)
                held += batch[0].size
            decisions = [batch[:4] for batch in kept]
            mixture.calibrate(decisions, allowed)
            mixture.balance(decisions, allowed)
            theirs.log_temperature.assign(mixture.log_temperature)
            theirs.offset.assign(mixture.offset)
        kept.reverse()
        everything, novel = RankingMetrics(METRICS), RankingMetrics(METRICS)
        by_type = {name: RankingMetrics([OF_TYPE]) for name in self._strengths}
        servable = model.servable.numpy() > 0
        while (batch := kept.pop() if kept else next(batches, None)) is not None:
            scores, repeated, habits, positives, strengths = batch
            if mixture:
                scores = mixture(scores, repeated, habits, allowed)[0].numpy()
            labels = _labels(positives, servable)
            everything.update(labels, scores)
            novel.update(np.where(repeated > 0, -1, labels), scores)
            for name, place in self._strengths.items():
                by_type[name].update(_labels(np.where(strengths >= place, positives, -1), servable), scores)
        found = everything.result()
        found.update({NOVEL + name: value for name, value in novel.result().items()})
        found.update({name: metric.result()[OF_TYPE] for name, metric in by_type.items()})
        return found

    def _raw(self, inputs: dict[str, tf.Tensor], labels: tf.Tensor) -> tuple[np.ndarray, ...]:
        if self._function is None:
            model = self.model
            self._function = traced_once(lambda batch: _raw_scores(model, batch), self._decisions)
        scores, repeated, habits = self._function(inputs)
        rows = tf.cast(inputs[features.CANDIDATE_ITEMS_XF], tf.int32) - features.FIRST_KNOWN_ID
        # An item that may not be recommended has no probability that a calibration could raise.
        usable = tf.logical_and(labels > 0, tf.gather(self.model.servable, tf.maximum(rows, 0)) > 0)
        positives = tf.where(usable, tf.maximum(rows, -1), -1)
        strengths = inputs[features.LABEL_STRENGTHS_XF] if self._strengths else tf.zeros_like(positives)
        return scores.numpy(), repeated.numpy(), habits.numpy(), positives.numpy(), strengths.numpy()


def _labels(positives: np.ndarray, servable: np.ndarray) -> np.ndarray:
    """Labels of all items, [B, V], from the rows of the positives, [B, N]; -1 for items that may not be recommended."""
    labels = np.zeros([len(positives), len(servable)], np.float32)
    rows, places = np.nonzero(positives >= 0)
    labels[rows, positives[rows, places]] = 1
    labels[:, ~servable] = -1
    return labels


def _raw_scores(model: CatalogueModel, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(raw scores [B, V], repeated [B, V], habits [B, n]); without the mixture no habits."""
    state: Any = model.encode_user(inputs)
    scores = model.raw_scores(state)
    if model.mixture is not None:
        return scores, state.repeated, state.habits
    return scores, named_items(state.positions, tf.shape(scores)[1]), tf.zeros([tf.shape(scores)[0], 0])


class CheckpointKeeper(tf.keras.callbacks.Callback):
    """Keeps the best weights, stops early, and lets a killed run go on where its last whole epoch ended.

    The best weights are averaged ones where the optimizer averages; a run goes on from raw weights and averages both.

    Args:
      folder: of checkpoints; a run finds there what an earlier, killed, one left.
      monitor: name in the logs, higher is better unless `LOWER_IS_BETTER` names it; None takes the last epoch for the
        best and never stops.
      patience: epochs without a better value before stopping.
      best: so many of the best epochs' weights are kept; with `monitor` None those of the last epoch alone.
      also: epochs, from 1, whose weights are kept besides.

    Attributes:
      state: what is known of the run so far, an earlier one's part included: `epochs_done`, `best_epoch`, `best_value`,
        `stopped`, `history` (logs of each epoch), `kept` ([epoch, goodness, weights] of each that is kept, best first).
    """

    def __init__(
        self, folder: str, monitor: str | None, patience: int, best: int = 1, also: Collection[int] = ()
    ) -> None:
        super().__init__()
        self.folder = folder
        self._monitor = monitor
        self._patience = patience
        self._best, self._also = best, also
        self._state_file = f"{folder}/state.json"
        self.state: dict[str, Any] = {
            "epochs_done": 0,
            "best_epoch": 0,
            "best_value": None,
            "stopped": False,
            "history": [],
            "kept": [],
        }
        if tf.io.gfile.exists(self._state_file):
            with tf.io.gfile.GFile(self._state_file) as file:
                self.state = json.loads(file.read())

    def restore(self, model: CandidateModel) -> None:
        """Takes up weights and optimizer of an earlier run, if there is one; must come before a fit."""
        beside = tf.train.Checkpoint(variables=model.training_step.variables)
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, beside=beside)
        self._last = tf.train.CheckpointManager(self._checkpoint, f"{self.folder}/last", max_to_keep=2)
        if self.state["epochs_done"]:
            self._checkpoint.restore(self.state["checkpoint"]).expect_partial()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        state = self.state
        before = {weights for _, _, weights in state["kept"]}
        state["epochs_done"] = epoch + 1
        state["history"].append({name: float(value) for name, value in logs.items()})
        if self._monitor is None:
            state["best_epoch"] = epoch + 1
            self._keep(epoch + 1, float(epoch))
        else:
            if self._monitor not in logs:
                raise ValueError(f"train.monitor is {self._monitor!r}; expected one of {', '.join(sorted(logs))}.")
            value = float(logs[self._monitor])
            if not np.isfinite(value):
                raise ValueError(
                    f"{self._monitor} is {value} after epoch {epoch + 1}; expected decisions that it is defined on."
                )
            sign = -1 if self._monitor in LOWER_IS_BETTER else 1
            self._keep(epoch + 1, sign * value)
            if state["best_value"] is None or sign * value > sign * state["best_value"]:
                state["best_value"], state["best_epoch"] = value, epoch + 1
            elif epoch + 1 - state["best_epoch"] >= self._patience:
                state["stopped"] = True
                self.model.stop_training = True
        state["checkpoint"] = self._last.save(checkpoint_number=epoch + 1)
        partial = f"{self._state_file}.partial"
        with tf.io.gfile.GFile(partial, "w") as file:
            file.write(json.dumps(state))
        tf.io.gfile.rename(partial, self._state_file, overwrite=True)
        for left in before - {weights for _, _, weights in state["kept"]}:
            for file in tf.io.gfile.glob(f"{left}.*"):
                tf.io.gfile.remove(file)

    def restore_best(self, model: CandidateModel) -> None:
        """Puts the best weights back."""
        if self.state["best_epoch"]:
            self.kept(model)[self.state["best_epoch"]]()

    def kept(self, model: CandidateModel) -> dict[int, Callable[[], None]]:
        """Epoch -> function that gives a model its weights, the best first."""

        def restore(weights: str) -> None:
            _weights(model).read(weights).assert_existing_objects_matched()

        return {epoch: functools.partial(restore, weights) for epoch, _, weights in self.state["kept"]}

    def _keep(self, epoch: int, goodness: float) -> None:
        """Writes the weights if they are among the best, and forgets those that no longer are."""
        earlier = self.state["kept"]
        # Stable, so that of equal epochs the first counts as the better.
        ranked = sorted([*earlier, [epoch, goodness, f"{self.folder}/best-{epoch}"]], key=lambda entry: -entry[1])
        kept = [entry for place, entry in enumerate(ranked) if place < self._best or entry[0] in self._also]
        if any(entry[0] == epoch for entry in kept):
            with averaged(self.model):
                _weights(self.model).write(f"{self.folder}/best-{epoch}")
        self.state["kept"] = kept


def _weights(model: CandidateModel) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(weights={str(i): v for i, v in enumerate(model.variables)})


def _learning_rate(model: CandidateModel) -> float:
    optimizer = model.optimizer
    rate = optimizer.learning_rate
    return float(rate(optimizer.iterations) if callable(rate) else rate)
