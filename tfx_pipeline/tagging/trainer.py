"""Trainer's `run_fn` of the task `tagging`: reads, fits, chooses thresholds and exports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tfx.components.trainer.fn_args_utils import FnArgs

from models import features, registry, tagger, text_words
from models.tag_metrics import ClassCounts
from models.tag_thresholds import best_thresholds
from models.tagger import ProfileTagger
from serving import contract
from serving.requests import Request
from serving.tagger_signatures import TaggerServable
from serving.warmup import write_warmup
from tfx_pipeline import settings as settings_module
from tfx_pipeline import trainer
from tfx_pipeline.averaging import averaged
from tfx_pipeline.callbacks import CheckpointKeeper, traced_once
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.settings import Settings
from tfx_pipeline.tagging import inputs
from tfx_pipeline.tagging.weak_labels import GIVEN
from tfx_pipeline.trainer import Data
from tfx_pipeline.training_step import make_training_step

_WARMUP_TEXTS = ("waterproof hiking boots", "我要买苹果 iPhone 12", "")


def run_fn(fn_args: FnArgs) -> None:
    """Called by TFX's Trainer; see `tfx_pipeline.trainer.run`."""
    trainer.run(fn_args, fit_and_export)


def fit_and_export(
    settings: Settings,
    data: Data,
    *,
    export_dir: str,
    log_dir: str,
    checkpoints: str,
    final: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Fits a tagger and writes the SavedModel.

    A validation fit learns from the texts before `decisions.train_until`, stops early by the entry's gate metric, keeps
    the best epoch, and chooses the tags' thresholds on the held-out texts. A final fit learns from all texts for as
    many epochs, and takes the thresholds over.

    Args:
      settings: of the pipeline.
      data: the files.
      export_dir: of the SavedModel.
      log_dir: of TensorBoard.
      checkpoints: folder for going on after a kill.
      final: what the validation fit left (`contract.RUN_FILE`), for a final fit.

    Returns:
      What `contract.RUN_FILE` says.

    Raises:
      ValueError: if there is no text, or the device that the settings ask for is not there.
    """
    train, entry = settings.train, registry.entry(settings.model.entry)
    tf.keras.utils.set_random_seed(train.seed)
    hardware = trainer.hardware_of(train)
    print(f"  training on {hardware.name}", flush=True)
    sizes = inputs.read_sizes(data.transform, settings.transform)
    with trainer.precision(hardware.policy), hardware.strategy.scope():
        model: ProfileTagger = entry.build(settings.model, sizes, train.losses)
    held_out = inputs.held_out_texts(
        data.eval_files, data.transform, sizes.tags, number=train.validation_decisions, batch_size=train.batch_size
    ).cache()
    keeper = CheckpointKeeper(checkpoints, None if final else entry.gate_metric, train.patience)
    scoring = TagScoring(model, held_out)
    with trainer.precision(hardware.policy):
        _train(settings, data, hardware, model, keeper, None if final else scoring, final, log_dir)
    keeper.restore_best(model)
    parameters = int(sum(np.prod(v.shape) for v in model.trainable_variables))
    model.text_encoder.merge()
    if final:
        if keeper.state["history"] and not np.isfinite(keeper.state["history"][-1]["loss"]):
            raise ValueError("the final fit's loss is not finite; expected a lower train.learning_rate.")
        model.thresholds.assign(final["thresholds"])
    run = {
        "best_epoch": keeper.state["best_epoch"],
        "best_value": keeper.state["best_value"],
        "metrics": dict(final["metrics"]) if final else scoring.evaluate(),
        "thresholds": model.thresholds.numpy().tolist(),
        "parameters": parameters,
        "device": hardware.name,
        "seed": train.seed,
        "final": bool(final),
        "history": keeper.state["history"],
        "settings": settings_module.handed_on(settings),
    }
    export(model, settings, data, export_dir)
    with tf.io.gfile.GFile(f"{export_dir}/{contract.RUN_FILE}", "w") as file:
        file.write(json.dumps(run, indent=1))
    with tf.summary.create_file_writer(log_dir).as_default():
        text = json.dumps(settings_module.to_dict(settings), indent=2, ensure_ascii=False)
        tf.summary.text("configuration", f"```\n{text}\n```", step=0)
    return run


def _train(
    settings: Settings,
    data: Data,
    hardware: trainer.Hardware,
    model: ProfileTagger,
    keeper: CheckpointKeeper,
    scoring: TagScoring | None,
    final: Mapping[str, Any] | None,
    log_dir: str,
) -> None:
    train = settings.train
    epochs, done = final["best_epoch"] if final else train.epochs, keeper.state["epochs_done"]
    texts, steps = inputs.training_texts(
        data.train_files,
        data.transform,
        model.tags,
        batch_size=train.batch_size * train.accumulate,
        seed=train.seed,
        epochs=range(done, epochs),
        replicas=hardware.strategy.num_replicas_in_sync,
    )
    if not steps:
        raise ValueError("the train split holds no text; expected queries, reviews or titles before train_until.")
    with hardware.strategy.scope():
        model.training_step = make_training_step(train, model)
        optimizer = make_optimizer(train, steps * train.epochs, model.text_encoder.rate_factors())
        model.compile(optimizer=optimizer)
        optimizer._create_all_weights([*model.trainable_variables, *model.training_step.variables])
    tf.io.gfile.makedirs(keeper.folder)
    keeper.restore(model)
    callbacks: list[tf.keras.callbacks.Callback] = [scoring] if scoring else []
    callbacks += [
        keeper,
        tf.keras.callbacks.TensorBoard(log_dir, write_graph=True, profile_batch=0),
        tfa.callbacks.TQDMProgressBar(show_epoch_progress=False, leave_overall_progress=False),
    ]
    if done:
        print(f"  going on after epoch {done}, where an earlier run was stopped", flush=True)
    if not keeper.state["stopped"] and done < epochs:
        model.fit(texts, epochs=epochs, initial_epoch=done, steps_per_epoch=steps, callbacks=callbacks, verbose=0)


class TagScoring(tf.keras.callbacks.Callback):
    """Chooses the tags' thresholds on held-out texts after each epoch and adds macro and micro F1 to the logs.

    With averaged weights where the optimizer keeps them. Thresholds are measured on the texts that they were chosen on.
    Must come first in the list of callbacks.

    Args:
      model: the one in training.
      texts: batches of (inputs, labels).
    """

    def __init__(self, model: ProfileTagger, texts: tf.data.Dataset) -> None:
        super().__init__()
        self.model = model
        self._texts = texts
        self._function: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        with averaged(self.model):
            values = self.evaluate()
        loss = (logs or {}).get("loss", float("nan"))
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items() if name.endswith("macro_f1"))
        print(f"  epoch {epoch + 1}/{self.params.get('epochs', '?')}  loss {loss:.4f}  {shown}", flush=True)
        if logs is not None:
            # A head without a labelled text has no value, and what is kept of a run is JSON.
            logs.update({name: value for name, value in values.items() if np.isfinite(value)})

    def evaluate(self) -> dict[str, float]:
        """Sets the thresholds of the model as it stands, and measures it."""
        if self._function is None:
            model = self.model
            self._function = traced_once(lambda batch: model(batch, training=False), self._texts)
        probability, true = [], []
        words, sentiment = ClassCounts(), ClassCounts()
        names = np.array([*text_words.WORD_LABELS, text_words.OUTSIDE])  # the last one for -1, no word
        feelings = np.array([text_words.NEGATIVE, text_words.POSITIVE])
        for batch, labels in self._texts:
            found = self._function(batch)
            probability.append(tf.sigmoid(found[tagger.TAGS]).numpy())
            true.append(labels[tagger.TAGS].numpy() >= GIVEN)
            rows = labels[tagger.WORDS].numpy()
            decided = np.where(rows >= 0, found[tagger.WORDS].numpy().argmax(-1), -1)
            words.add_pairs(names[rows].ravel(), names[decided].ravel(), text_words.OUTSIDE)
            known = labels[tagger.SENTIMENT].numpy() >= 0
            content = (found[tagger.SENTIMENT].numpy() >= 0).astype(int)
            sentiment.add_pairs(feelings[labels[tagger.SENTIMENT].numpy()[known]], feelings[content[known]], "")
        if not probability:
            raise ValueError("the eval split holds no text; expected some between train_until and eval_until.")
        scores, given = np.concatenate(probability), np.concatenate(true)
        thresholds = best_thresholds(scores, given)
        self.model.thresholds.assign(thresholds)
        tags = ClassCounts()
        said = scores >= thresholds
        for tag in np.flatnonzero((said | given).any(0)):
            a, b = given[:, tag], said[:, tag]
            tags.counts[str(tag)] = [int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum())]
        heads = {"tag": tags, "word": words, "sentiment": sentiment}
        return {
            f"{head}_{average}_f1": counts.value(average, "f1")
            for head, counts in heads.items()
            for average in ("macro", "micro")
        }


def export(model: ProfileTagger, settings: Settings, data: Data, export_dir: str) -> None:
    """Writes the SavedModel with the signatures of its entry, and warm-up requests."""
    entry, context = registry.entry(settings.model.entry), settings.data.context
    names = [name.decode() for name in data.transform.vocabulary_by_name(features.TAG_VOCABULARY)]
    layer = data.transform.transform_features_layer()
    servable = TaggerServable(model, layer, names, context, top_tags=settings.serve.tags)
    tf.saved_model.save(servable, export_dir, signatures=servable.signatures(entry.signatures))
    requests = [Request(profile_text=text) for text in _WARMUP_TEXTS]
    write_warmup(export_dir, settings.serve.model_name, requests, context, entry.signatures)
