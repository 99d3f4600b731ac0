"""Trainer's `run_fn`: reads, fits, calibrates and exports."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from models import features, registry
from models.candidate_model import CandidateModel
from models.catalogue_model import CatalogueModel
from models.click_metrics import CLICK_METRICS, LOWER_IS_BETTER
from models.counted_model import CountedModel
from models.options import LossOptions
from models.profile_encoder import text_encoders
from models.pruning import twin
from serving import contract
from tfx_pipeline import best_epochs, inputs, warm_start
from tfx_pipeline import settings as settings_module
from tfx_pipeline.callbacks import CatalogueRanking, CheckpointKeeper, Validation
from tfx_pipeline.click_validation import ClickValidation
from tfx_pipeline.export import export
from tfx_pipeline.inputs import Catalogue
from tfx_pipeline.logs import write_logs
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.pretraining import pretrain
from tfx_pipeline.query_log import users_by_query
from tfx_pipeline.settings import Settings
from tfx_pipeline.shoppers import read_shoppers
from tfx_pipeline.synthetic_queries import with_queries
from tfx_pipeline.text_encoders import write_text_encoders
from tfx_pipeline.training_step import make_training_step
from tfx_pipeline.update import Update, find_base
from tfx_pipeline.word_masking import with_masked_words

FINAL_FIT = "final"

#: Scores (decisions x items) computed at once in validation; sorting them takes some hundred bytes each.
SCORES_AT_ONCE = 2**23

_FLOAT32 = "float32"


@dataclasses.dataclass(frozen=True)
class Data:
    """What one fit reads.

    Attributes:
      train_files, eval_files, catalogue_files: TFRecord files (gz) of transformed examples.
      transform: Transform's output.
    """

    train_files: list[str]
    eval_files: list[str]
    catalogue_files: list[str]
    transform: tft.TFTransformOutput


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fitted model and what it was fitted with.

    Attributes:
      model: the one of the best epoch, calibrated.
      catalogue: what it knows of the items.
      held_out: batches of validation decisions (inputs, labels).
      run: what is written to `contract.RUN_FILE`: `best_epoch`, `best_value`, `averaged_epochs` (empty without
        `averaging: best_epochs`), `metrics`, `calibration`, `parameters` (numbers that are trained),
        `all_parameters` (with a frozen text encoder's; counted tables are none), `device`, `seed`, `final`, `history`,
        `warm_start`, `settings`.
    """

    model: CandidateModel
    catalogue: Catalogue
    held_out: tf.data.Dataset
    run: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What a fit runs on.

    Attributes:
      strategy: one replica a device.
      name: as it is printed.
      policy: Keras' precision policy.
    """

    strategy: tf.distribute.Strategy
    name: str
    policy: str

    @property
    def has_gpu(self) -> bool:
        """Whether it is one, or several."""
        return "GPU" in self.name

    def said_for(self, train: settings_module.TrainSettings) -> str:
        """The name, and what of the settings has no effect on it."""
        idle = [f"train.{name}" for name in ("mixed_precision", "xla") if getattr(train, name) and not self.has_gpu]
        if not idle:
            return self.name
        return f"{self.name}; {' and '.join(idle)} {'is' if len(idle) == 1 else 'are'} for a GPU and left out"


def passed_over(settings: settings_module.Settings) -> list[str]:
    """The settings `train.losses` that are not their defaults, and that the entry does not read."""
    read, default = registry.entry(settings.model.entry).losses, LossOptions()
    given = [name for name, value in vars(settings.train.losses).items() if value != getattr(default, name)]
    # The weights of losses that a model has are learned by its training step.
    return [f"train.losses.{name}" for name in given if name not in (*read, "weighting")]


def run_fn(fn_args: FnArgs) -> None:
    """Called by TFX's Trainer for the task `ranking`; see `run`."""
    run(fn_args, fit_and_export)


def run(fn_args: FnArgs, fit_and_export: Callable[..., Any]) -> None:
    """Fits and exports what TFX's Trainer asks for.

    Args:
      fit_and_export: of the task; called as this module's.
      fn_args: with `custom_config` holding `settings`, `fit` (`validation` or `final`), `checkpoints` (a folder) and
        `source_hash`. A final fit finds the validation run's model in `base_model`, a warm start the model that it
        starts from, if there is one.
    """
    config = fn_args.custom_config
    settings = settings_module.from_dict(config["settings"])
    data = split_files(fn_args.train_files, fn_args.eval_files, fn_args.transform_graph_path)
    final = None
    if config["fit"] == FINAL_FIT:
        with tf.io.gfile.GFile(f"{fn_args.base_model}/{contract.RUN_FILE}") as file:
            final = json.loads(file.read())
    key = json.dumps(
        [config["settings"], config["source_hash"], config["fit"], sorted(data.train_files), fn_args.base_model],
        sort_keys=True,
    )
    checkpoints = f"{config['checkpoints']}/{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    base = find_base(settings, fn_args.base_model, final)
    fit_and_export(
        settings,
        data,
        export_dir=fn_args.serving_model_dir,
        log_dir=fn_args.model_run_dir,
        checkpoints=checkpoints,
        final=final,
        **({} if base is None else {"base": base}),  # settings see to it that only rankings start from a model
    )
    if tf.io.gfile.exists(checkpoints):
        tf.io.gfile.rmtree(checkpoints)


def split_files(train: Sequence[str], evaluation: Sequence[str], transform_graph: str) -> Data:
    """Resolves file patterns; the catalogue split comes among the eval files.

    Raises:
      SettingsError: if a pattern matches no file.
    """

    def files(patterns: Sequence[str]) -> list[str]:
        by_pattern = {pattern: tf.io.gfile.glob(pattern) for pattern in patterns}
        for pattern, matching in by_pattern.items():
            if not matching:
                raise settings_module.SettingsError(
                    f"{pattern}: is no file; expected a split of transformed examples, which a pipeline's run leaves "
                    f"(the split {features.RECENT_SPLIT} only with `train.final`)."
                )
        return sorted(file for matching in by_pattern.values() for file in matching)

    marker = f"Split-{features.CATALOGUE_SPLIT}"
    found = files(evaluation)
    return Data(
        train_files=files(train),
        eval_files=[file for file in found if marker not in file],
        catalogue_files=[file for file in found if marker in file],
        transform=tft.TFTransformOutput(transform_graph),
    )


def fit_and_export(
    settings: Settings,
    data: Data,
    *,
    export_dir: str,
    log_dir: str,
    checkpoints: str,
    final: Mapping[str, Any] | None = None,
    base: warm_start.Base | None = None,
) -> dict[str, Any]:
    """`fit`, then `export` and the logs; returns what `contract.RUN_FILE` says."""
    fitted = fit(settings, data, log_dir=log_dir, checkpoints=checkpoints, final=final, base=base)
    catalogue = fitted.catalogue
    asked = contract.SUGGEST in registry.entry(settings.model.entry).signatures
    queries = users_by_query(data.train_files, data.transform) if asked else {}
    export(fitted.model, settings, data.transform, catalogue, export_dir, queries)
    with tf.io.gfile.GFile(f"{export_dir}/{contract.RUN_FILE}", "w") as file:
        file.write(json.dumps(fitted.run, indent=1))
    if settings.train.text.keep:
        write_text_encoders(fitted.model, settings, data.transform, export_dir)
    until_day = catalogue.first_day + len(catalogue.sales)
    warm_start.write(export_dir, settings, data.transform, catalogue.item_ids, until_day)
    write_logs(log_dir, settings, fitted.model, fitted.catalogue, fitted.held_out)
    return fitted.run


def fit(
    settings: Settings,
    data: Data,
    *,
    log_dir: str,
    checkpoints: str,
    final: Mapping[str, Any] | None = None,
    base: warm_start.Base | None = None,
) -> Fitted:
    """Fits a model.

    A validation fit sees no event of the day of the first eval decision or later, stops early, and keeps the best
    epoch. A final fit knows everything and trains for the number of epochs that the validation fit found best.

    A fit that was killed goes on after its last whole epoch with the weights, the optimizer and the order of decisions
    of an uninterrupted one; only dropout, `sampled_items` and `text.mask_share` draw other numbers.

    Args:
      settings: of the pipeline.
      data: the files.
      log_dir: of TensorBoard.
      checkpoints: folder for going on after a kill.
      final: what the validation fit left (`contract.RUN_FILE`), for a final fit.
      base: a model to start from (see `warm_start`); None starts from scratch.

    Raises:
      ValueError: if a split is empty, the device that the settings ask for is not there, or an update forgets.
    """
    train = settings.train
    tf.keras.utils.set_random_seed(train.seed)
    hardware = hardware_of(train)
    print(f"  training on {hardware.said_for(train)}", flush=True)
    if idle := passed_over(settings):
        print(f"  {settings.model.entry} passes over {', '.join(idle)}", flush=True)
    until = None if final else inputs.first_request_day(data.eval_files, data.transform)
    catalogue = inputs.read_catalogue(data.catalogue_files, data.transform, settings, until_day=until)
    relations = catalogue.table.relations
    if relations is not None:
        left_out = f"{catalogue.unknown_relations:,} to unknown items left out"
        print(f"  {len(relations):,} relations between items, {left_out}", flush=True)
    with precision(hardware.policy):
        with hardware.strategy.scope():
            model = build_model(settings, data.transform, catalogue)
        held_out = _held_out(settings, data, model, catalogue)
        averaged = list(final.get("averaged_epochs", ())) if final else []
        epochs = max([final["best_epoch"], *averaged]) if final else train.epochs
        best = train.averaged_epochs if train.averaging == "best_epochs" and not final else 1
        keeper = CheckpointKeeper(checkpoints, None if final else train.monitor, train.patience, best, averaged)
        validation = None if final else _validation(settings, model, held_out)
        update = None
        if base is not None and not isinstance(model, CountedModel):
            update = Update(base, settings, data.train_files, data.transform, model, catalogue, _texts(model), until)
        if model.counts:
            print("  counting users and items", flush=True)
            asked_of_later = None if update is None else update.held_out
            model.count(read_shoppers(data.train_files, data.transform, asked_of_later))
        if not isinstance(model, CountedModel):
            if update is not None:
                update = update.start(validation)
                epochs = update.settings.train.epochs if update and not final else epochs
            if update is None and not keeper.state["epochs_done"]:
                pretrain(
                    model,
                    settings,
                    inputs.read_sizes(data.transform, settings, catalogue),
                    data.train_files,
                    data.transform,
                    catalogue,
                    strategy=hardware.strategy,
                    folder=f"{checkpoints}/pretraining",
                    log_dir=log_dir,
                )
            _train(settings, data, hardware, model, catalogue, keeper, validation, epochs, log_dir, update)
            keeper.restore_best(model)
            if final and averaged:
                best_epochs.average(model, {epoch: keeper.kept(model)[epoch] for epoch in averaged})
            elif validation and best > 1:
                averaged = best_epochs.average_greedily(model, keeper.kept(model), _goodness(train, validation))
    if hardware.policy != _FLOAT32:
        model = in_float32(model)
        held_out = _held_out(settings, data, model, catalogue)
    parameters, all_parameters = _numbers(model.trainable_variables), _numbers(v for v in model.weights if v.trainable)
    if model.learns_text or hardware.policy != _FLOAT32:
        for encoder in text_encoders(model):
            encoder.merge()
        model.refresh_item_text()
    if update is not None:
        update.measure("after", model)
    if final:
        if keeper.state["history"] and not np.isfinite(keeper.state["history"][-1]["loss"]):
            raise ValueError("the final fit's loss is not finite; expected a lower train.learning_rate.")
        _restore_calibration(model, final["calibration"])
        metrics = dict(final["metrics"])
    else:
        metrics = _validation(settings, model, held_out).evaluate()
    if update is not None:
        update.finish(None if final else metrics["ndcg@10"])
    run = {
        "best_epoch": keeper.state["best_epoch"],
        "best_value": keeper.state["best_value"],
        "averaged_epochs": averaged,
        "metrics": metrics,
        "calibration": _calibration(model),
        "parameters": parameters,
        "all_parameters": all_parameters,
        "device": hardware.name,
        "seed": train.seed,
        "final": bool(final),
        "history": keeper.state["history"],
        "warm_start": None if update is None else update.report,
        "settings": settings_module.handed_on(settings),
    }
    return Fitted(model, catalogue, held_out, run)


def _train(
    settings: Settings,
    data: Data,
    hardware: Hardware,
    model: CandidateModel,
    catalogue: Catalogue,
    keeper: CheckpointKeeper,
    validation: Validation | None,
    epochs: int,
    log_dir: str,
    update: Update | None = None,
) -> None:
    """Trains up to `epochs`, from where the keeper finds an earlier run."""
    train = (settings if update is None else update.settings).train
    done = keeper.state["epochs_done"]
    decisions, steps = inputs.training_decisions(
        data.train_files,
        data.transform,
        settings,
        batch_size=train.batch_size * train.accumulate,
        seed=train.seed,
        epochs=range(done, epochs),
        # A replica without a row has no gradient of the right shape.
        replicas=hardware.strategy.num_replicas_in_sync,
        texts=_texts(model),
        one_a_user=model.one_decision_a_user,
        chosen=None if update is None else update.records,
    )
    if not steps:
        raise ValueError("the train split holds no decision; expected label events before train_until.")
    if train.queries.share and features.QUERY_TEXT_XF in model.token_texts:
        decisions = with_queries(decisions, catalogue.titles, train.queries, train.seed, first=done * steps)
    with hardware.strategy.scope():
        model.training_step = make_training_step(train, model)
        # The rate follows the planned number of epochs, also in a final fit that ends earlier: same epochs, same rates.
        optimizer = make_optimizer(train, steps * train.epochs, model.rate_factors())
        model.compile(optimizer=optimizer, jit_compile=train.xla and hardware.has_gpu)
        # Made within the first step, in its graph, the averages of several replicas have no initial value.
        optimizer._create_all_weights([*model.trainable_variables, *model.training_step.variables])
    decisions = with_masked_words(decisions, train.text.mask_share, data.transform, settings)
    tf.io.gfile.makedirs(keeper.folder)
    keeper.restore(model)
    callbacks: list[tf.keras.callbacks.Callback] = []
    if validation:
        callbacks.append(validation)
    else:
        callbacks.append(tf.keras.callbacks.LambdaCallback(on_epoch_end=_print_epoch))
        if model.learns_text:  # as a `Validation` does after each epoch
            refresh = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: model.refresh_item_text())
            callbacks.append(refresh)
    callbacks += [
        keeper,
        tf.keras.callbacks.TensorBoard(log_dir, write_graph=True, profile_batch=0),
        tfa.callbacks.TQDMProgressBar(show_epoch_progress=False, leave_overall_progress=False),
    ]
    if done:
        print(f"  going on after epoch {done}, where an earlier run was stopped", flush=True)
    if not keeper.state["stopped"] and done < epochs:
        model.fit(decisions, epochs=epochs, initial_epoch=done, steps_per_epoch=steps, callbacks=callbacks, verbose=0)
    if update is not None:
        update.trained()


def _validation(settings: Settings, model: CandidateModel, held_out: tf.data.Dataset) -> Validation:
    """What measures the metric that is monitored."""
    train = settings.train
    if train.monitor not in CLICK_METRICS:
        assert isinstance(model, CatalogueModel)  # settings see to it
        return CatalogueRanking(model, held_out, label_strengths=settings.decisions.label_strengths)
    if model.mixture is not None:
        raise ValueError(
            f"train.monitor is {train.monitor!r}, but the scores of {model.name} are log-probabilities of a catalogue; "
            "expected `model.use_mixture: false`, or a metric of rankings."
        )
    return ClickValidation(model, held_out)


def _numbers(variables: Iterable[tf.Variable]) -> int:
    return int(sum(np.prod(variable.shape) for variable in variables))


def _goodness(train: settings_module.TrainSettings, validation: Validation) -> Callable[[], float]:
    """-> what is monitored, of the model as it stands, higher being better."""
    sign = -1 if train.monitor in LOWER_IS_BETTER else 1
    return lambda: sign * validation.evaluate()[train.monitor]


def in_float32(model: CandidateModel) -> CandidateModel:
    """A model that computes in float32 whatever precision `model` was built with; same variables."""
    with precision(_FLOAT32):
        return twin(model)


def build_model(settings: Settings, transform: tft.TFTransformOutput, catalogue: Catalogue) -> CandidateModel:
    """The configuration's entry of the zoo, untrained, of the right sizes, knowing the catalogue."""
    sizes = inputs.read_sizes(transform, settings, catalogue)
    losses = losses_for(settings, sizes.items)
    if losses != settings.train.losses:
        print(f"  a training step's softmax draws {losses.sampled_items:,} from {sizes.items:,} items", flush=True)
    model: CandidateModel = registry.entry(settings.model.entry).build(settings.model, sizes, losses)
    model.set_catalogue(catalogue.table, catalogue.sales, catalogue.first_day)
    return model


def losses_for(settings: Settings, items: int) -> LossOptions:
    """The losses of a catalogue of so many items: of one too large for the whole softmax a step draws some.

    Not where `train` has what needs the whole one, XLA or VAT, nor for an entry that draws none.
    """
    train = settings.train
    whole = train.xla or train.adversarial.kind == "vat"
    draws = "sampled_items" in registry.entry(settings.model.entry).losses
    return train.losses.sampled(items) if draws and not whole else train.losses


def hardware_of(train: settings_module.TrainSettings) -> Hardware:
    """One replica for each logical GPU, or else for each logical CPU (one, unless the process has split it)."""
    gpus = [] if train.device == "cpu" else tf.config.list_logical_devices("GPU")
    if train.device == "gpu" and not gpus:
        raise ValueError(
            "train.device is `gpu`, but TensorFlow finds none; expected a GPU and the extra `gpu`, or `auto`."
        )
    policy = "mixed_float16" if gpus and train.mixed_precision else _FLOAT32
    devices = gpus or tf.config.list_logical_devices("CPU")
    kind = "GPU" if gpus else "CPU"
    if len(devices) > 1:
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        return Hardware(strategy, f"{len(devices)} {kind}s", policy)
    return Hardware(tf.distribute.get_strategy(), "a GPU" if gpus else "the CPU", policy)


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Within it layers are made with this policy of Keras."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _texts(model: CandidateModel) -> inputs.Texts:
    """What the model reads; a frozen BERT's pooling is done while reading, so that it runs once a text."""
    encoder = model.text_encoder
    if encoder is None or model.learns_text:
        return inputs.Texts((), tf.identity, tuple(dict.fromkeys([*model.pooled_texts, *model.token_texts])))
    encode = tf.function(encoder.pool, input_signature=[tf.TensorSpec([None, None], tf.int64)])
    return inputs.Texts(model.pooled_texts, encode, model.token_texts)


def _held_out(settings: Settings, data: Data, model: CandidateModel, catalogue: Catalogue) -> tf.data.Dataset:
    """Batches of validation decisions, small enough for scores of the whole catalogue."""
    decisions = inputs.held_out_decisions(
        data.eval_files,
        data.transform,
        settings,
        number=settings.train.validation_decisions,
        batch_size=max(1, min(settings.train.batch_size, SCORES_AT_ONCE // model.items)),
        texts=_texts(model),
    )
    queries = settings.train.queries
    if queries.share and features.QUERY_TEXT_XF in model.token_texts:
        all_clean = dataclasses.replace(queries, share=1.0, typos=0.0)
        # Another seed than the train decisions', whose first batches would have the same draws.
        decisions = with_queries(decisions, catalogue.titles, all_clean, settings.train.seed + 1)
    return decisions.cache()


def _print_epoch(epoch: int, logs: Mapping[str, float]) -> None:
    print(f"  epoch {epoch + 1}  loss {logs['loss']:.4f}", flush=True)


def _calibration(model: CandidateModel) -> dict[str, float]:
    scaling = model.mixture or model.platt
    if scaling is None:
        return {}
    temperature, offset = scaling.calibration()
    return {"log_temperature": temperature, "offset": offset}


def _restore_calibration(model: CandidateModel, calibration: Mapping[str, float]) -> None:
    scaling = model.mixture or model.platt
    if scaling is not None:
        scaling.log_temperature.assign(calibration["log_temperature"])
        scaling.offset.assign(calibration["offset"])
