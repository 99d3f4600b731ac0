"""Settings of a pipeline: frozen dataclasses read strictly from YAML.

A runnable `configs/NAME.yaml` composes one file of `configs/data/` and one of `configs/models/`:

    name: demo
    include: [data/synthetic.yaml, models/slice_ranker_small.yaml]
    train:
      epochs: 6

Later files and the file itself override earlier ones, key by key. An unknown key, a wrong type or a value outside
its range is a `SettingsError` of one sentence that names the file and the key.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import pathlib
import types
import typing
from dataclasses import dataclass, field
from typing import Any

import yaml

from models import features
from serving import contract

#: A value of `decisions.split`.
LEAVE_ONE_OUT = "leave_one_out"


class SettingsError(ValueError):
    """A configuration that cannot be used; the message is one sentence for a person."""


@dataclass(frozen=True)
class TableSettings:
    """One raw table of the `tables` adapter.

    Attributes:
      path: file name or glob below the data directory; CSV (also .gz) or Parquet by its ending.
      columns: contract name -> column name in the file, where they differ.
      delimiter: of CSV files.
    """

    path: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    delimiter: str = ","


@dataclass(frozen=True)
class DataSettings:
    """Where the raw tables come from and what they declare.

    Attributes:
      adapter: `tables` (the data contract itself), `online_retail` (UCI Online Retail), `amazon_sequences` (sequences
        of ids, as S3-Rec's) or `recbole` (RecBole's atomic files).
      events, items, users, reviews, relations: the tables, for the `tables` adapter; the last three optional. Of
        `recbole`, `columns` of the first three.
      context: declared context columns (string): of the users table, else of the events.
      max_reject_share: share of rejected event rows past which reading stops with an error. Rows that an adapter
        drops by definition (cancellations of Online Retail, say) are counted as dropped, not as rejected.
    """

    adapter: str = "tables"
    events: TableSettings = field(default_factory=lambda: TableSettings(path="events.*"))
    items: TableSettings = field(default_factory=lambda: TableSettings(path="items.*"))
    users: TableSettings = field(default_factory=TableSettings)
    reviews: TableSettings = field(default_factory=TableSettings)
    relations: TableSettings = field(default_factory=TableSettings)
    context: tuple[str, ...] = ()
    max_reject_share: float = 0.05


@dataclass(frozen=True)
class ProfileTextSettings:
    """What goes into `profile_text`.

    Attributes:
      sources: in this order, of `free_text` (users table), `queries`, `reviews`, `titles` (of label events).
      max_items: newest entries taken of each of queries, reviews and titles.
      max_chars: the text is cut after so many characters.
    """

    sources: tuple[str, ...] = ("free_text", "queries", "reviews", "titles")
    max_items: int = 6
    max_chars: int = 400


@dataclass(frozen=True)
class DecisionSettings:
    """How decisions are cut from the event log.

    Attributes:
      split: `global_time`, by moments that hold for everybody, or `leave_one_out`, as benchmarks of the literature do:
        of each user's label events the last is the test (in no split), the one before it an `eval` decision (and, for
        the final fit, `recent`), and each earlier one a `train` decision, with what the user did before it as history.
        Times then only give the order (see `example_gen.leave_one_out`), and `kind`, its days, and the three moments
        below are not looked at.
      train_prefixes: for `leave_one_out`: at most so many train decisions a user, the newest; 0 for all.
      kind: `session` (one decision per session with a label event, at its first event) or `window` (one per user
        and cut with label events in [cut, cut + horizon)).
      label_event_types: event types that make an item a positive.
      impression_event_types: event types that only show an item: candidates with label 0 unless positive, never
        part of a history.
      every_days, horizon_days: for `window`: distance of cuts (counted back from each boundary), length of the window.
      min_horizon_days: windows that would reach past the split's end are cut off there if so long a part of them is
        left; 0 leaves them all out, and with them what was bought last.
      candidates: N, the fixed length of the candidate list.
      max_positives: at most so many positives a decision (the rest is counted, newest kept).
      negatives: sampled by popularity as of the decision's time among items that had an event before it, never a
        positive, as far as N allows.
      seed: of the sampling.
      train_start: first moment of a train decision (ISO date, UTC); "" for the first event.
      train_until: label windows of `train` end by then; the catalogue's and the validation model's knowledge too.
      eval_until: label windows of `eval` start at train_until or later and end by then.
        Both are ISO dates, or shares of the time range such as "0.8".
    """

    split: str = "global_time"
    train_prefixes: int = 0
    kind: str = "session"
    label_event_types: tuple[str, ...] = ("purchase",)
    impression_event_types: tuple[str, ...] = ("impression",)
    every_days: float = 7.0
    horizon_days: float = 30.0
    min_horizon_days: float = 0.0
    candidates: int = 120
    max_positives: int = 20
    negatives: int = 99
    seed: int = 17
    train_start: str = ""
    train_until: str = "0.8"
    eval_until: str = "1.0"
    profile_text: ProfileTextSettings = field(default_factory=ProfileTextSettings)


@dataclass(frozen=True)
class TransformSettings:
    """What Transform learns and makes.

    Attributes:
      wordpiece: `learned` (from the training text) or `packaged:minilm` or the path of a vocab.txt.
      wordpiece_size: most entries of a learned vocabulary.
      lower_case: fold case and accents before WordPiece.
      profile_length, query_length, title_length: tokens kept, [CLS] and [SEP] included.
      gap_buckets, price_buckets: numbers of quantile buckets.
    """

    wordpiece: str = "learned"
    wordpiece_size: int = 8000
    lower_case: bool = True
    profile_length: int = 48
    query_length: int = 16
    title_length: int = 20
    gap_buckets: int = 16
    price_buckets: int = 10


@dataclass(frozen=True)
class TextEncoderSettings:
    """The BERT of the profile encoder.

    Attributes:
      pretrained: "" for a BERT from scratch, `packaged:minilm`, a hub name or a folder.
      trainable: `frozen`, `top_n` or `full`.
      top_n: transformer layers trained with `top_n`.
      hidden_size, layers, heads, intermediate_size: of a BERT from scratch.
      pooling: `mean`, `cls` or `max`.
    """

    pretrained: str = ""
    trainable: str = "full"
    top_n: int = 2
    hidden_size: int = 64
    layers: int = 2
    heads: int = 2
    intermediate_size: int = 128
    pooling: str = "mean"


@dataclass(frozen=True)
class ModelSettings:
    """The `slice_ranker`.

    Attributes:
      entry: name of the zoo entry.
      dimension: d, width of user and item vectors.
      dropout: of embeddings, slices and fusion.
      text_encoder: the BERT.
      max_history: newest events cut into slices; a multiple of `slice_length`.
      slice_length: L, events a slice.
      slice_layers, slice_heads: of the slice Transformer.
      code_dimension: width of the autoencoder's code C_i.
      merge: `weighted`, `mean`, `attention` or `concat`.
      merge_source: `codes` (C_i) or `vectors` (X_i).
      use_profile, use_autoencoder, use_merge: parts to switch off for ablations.
      use_cooccurrence: what is bought beside what, learned as vectors of their own for the items of the history.
      use_mixture: score repeats and other items by two distributions, weighed by a gate, instead of by one.
      use_copy, use_popularity, use_lexical: the explicit paths: repeats and frequency, popularity, words of the query.
      decay_days: time constants of the co-occurrence path's sums, and initial ones of the copy path's decayed counts.
      popularity_days: windows of the popularity path.
      id_dropout: share of item ids hidden in training, so that text and attributes alone learn to carry an item.
      history_dropout: share of history events hidden from the slices, and of its items from the co-occurrence path, in
        training.
      item_text: `table` (item texts are encoded once an epoch) or `through` (in every step, so that BERT learns from
        them).
    """

    entry: str = "slice_ranker"
    dimension: int = 64
    dropout: float = 0.2
    text_encoder: TextEncoderSettings = field(default_factory=TextEncoderSettings)
    max_history: int = 64
    slice_length: int = 16
    slice_layers: int = 1
    slice_heads: int = 2
    code_dimension: int = 32
    merge: str = "weighted"
    merge_source: str = "codes"
    use_profile: bool = True
    use_autoencoder: bool = True
    use_merge: bool = True
    use_cooccurrence: bool = True
    use_mixture: bool = True
    use_copy: bool = True
    use_popularity: bool = True
    use_lexical: bool = True
    decay_days: tuple[float, ...] = (7.0, 30.0, 120.0)
    popularity_days: tuple[int, ...] = (7, 30, 365)
    id_dropout: float = 0.1
    history_dropout: float = 0.0
    item_text: str = "table"


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses; 0 switches one off.

    Attributes:
      catalogue: full-softmax cross-entropy over the catalogue for the positives.
      listwise: softmax cross-entropy over the labelled candidates.
      binary: sigmoid cross-entropy over the labelled candidates.
      reconstruction: the autoencoder's (softmax over the slice's items plus MSE of its vector).
      label_smoothing: of the catalogue loss.
      sampled_items: items drawn for each step's softmax (corrected for the drawing) where the catalogue is too large
        for a full one; 0 takes the whole catalogue.
    """

    catalogue: float = 1.0
    listwise: float = 0.0
    binary: float = 0.0
    reconstruction: float = 0.1
    label_smoothing: float = 0.0
    sampled_items: int = 0


@dataclass(frozen=True)
class TrainSettings:
    """How the Trainer trains.

    Attributes:
      epochs: at most; early stopping ends earlier.
      patience: epochs without a better validation metric before stopping.
      monitor: the validation metric (over the whole catalogue, higher is better): `ndcg@10`, `recall@10`, `hr@10`, or
        one of them with `novel_` before it, where items of the user's history are left out.
      validation_decisions: at most so many decisions of the eval split are ranked after each epoch.
      batch_size: decisions a step (global, over all replicas).
      learning_rate, warmup_share, weight_decay: of AdamW with linear warm-up and cosine decay.
      optimizer: `adamw` or `lazy_adam`.
      averaging: `none`, or `ema`: what is validated, kept and exported is a moving average of the weights.
      average_decay: of the moving average for each step; smaller in the first steps.
      final: refit on everything before `eval_until` for the number of epochs the validation run fixed, and push that.
      device: `auto`, `cpu` or `gpu` (an error without one).
      mixed_precision, xla: on a GPU.
      seed: of weights, shuffling and dropout.
    """

    epochs: int = 10
    patience: int = 3
    monitor: str = "ndcg@10"
    validation_decisions: int = 2000
    batch_size: int = 128
    learning_rate: float = 1e-3
    warmup_share: float = 0.1
    weight_decay: float = 1e-4
    optimizer: str = "adamw"
    averaging: str = "none"
    average_decay: float = 0.999
    final: bool = False
    device: str = "auto"
    mixed_precision: bool = False
    xla: bool = False
    seed: int = 7
    losses: LossSettings = field(default_factory=LossSettings)


@dataclass(frozen=True)
class EvaluateSettings:
    """The gate.

    Attributes:
      metrics: names of `models.metrics`, such as `ndcg@10`.
      slices: slice features or declared context columns to report, each on its own.
      thresholds: metric -> lowest value that is blessed.
      slice_thresholds: slice feature -> metric -> lowest value on each of its values.
      max_drop: metric -> how much worse than the last blessed model is still blessed (ε).
    """

    metrics: tuple[str, ...] = ("ndcg@10", "recall@10", "hr@10", "mrr", "map", "auc")
    slices: tuple[str, ...] = (
        features.SLICE_USER,
        features.SLICE_ITEMS,
        features.SLICE_CATEGORY,
        features.SLICE_HISTORY,
    )
    thresholds: dict[str, float] = field(default_factory=dict)
    slice_thresholds: dict[str, dict[str, float]] = field(default_factory=dict)
    max_drop: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ServeSettings:
    """Export and serving.

    Attributes:
      model_name: under which the server offers it.
      top_k: K of `recommend` and `search`.
      tags: T of `profile`.
    """

    model_name: str = "ranker"
    top_k: int = 100
    tags: int = 10


@dataclass(frozen=True)
class BeamSettings:
    """The data side.

    Attributes:
      args: arguments of Beam's pipeline, as on its command line.
    """

    args: tuple[str, ...] = ("--direct_running_mode=in_memory", "--direct_num_workers=1")


@dataclass(frozen=True)
class VertexSettings:
    """What only Vertex AI Pipelines needs.

    Attributes:
      project, region: of Google Cloud.
      root: gs:// folder of artifacts.
      serving: gs:// folder that Pusher fills and tensorflow_model_server polls.
      image: container image with this package in it.
      machine_type, accelerator_type, accelerator_count: of the Trainer's worker.
      beam_args: Dataflow arguments.
    """

    project: str = ""
    region: str = "us-central1"
    root: str = ""
    serving: str = ""
    image: str = ""
    machine_type: str = "n1-standard-8"
    accelerator_type: str = "NVIDIA_TESLA_T4"
    accelerator_count: int = 1
    beam_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """A runnable configuration; `name` is the pipeline's name."""

    name: str = ""
    data: DataSettings = field(default_factory=DataSettings)
    decisions: DecisionSettings = field(default_factory=DecisionSettings)
    transform: TransformSettings = field(default_factory=TransformSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    beam: BeamSettings = field(default_factory=BeamSettings)
    vertex: VertexSettings = field(default_factory=VertexSettings)


_CHOICES = {
    "data.adapter": ("tables", "online_retail", "amazon_sequences", "recbole"),
    "decisions.split": ("global_time", LEAVE_ONE_OUT),
    "decisions.kind": ("session", "window"),
    "decisions.profile_text.sources": ("free_text", "queries", "reviews", "titles"),
    "model.text_encoder.trainable": ("frozen", "top_n", "full"),
    "model.text_encoder.pooling": ("mean", "cls", "max"),
    "model.item_text": ("table", "through"),
    "model.merge": ("weighted", "mean", "attention", "concat"),
    "model.merge_source": ("codes", "vectors"),
    "train.optimizer": ("adamw", "lazy_adam"),
    "train.averaging": ("none", "ema"),
    "train.monitor": ("ndcg@10", "recall@10", "hr@10", "novel_ndcg@10", "novel_recall@10", "novel_hr@10"),
    "model.entry": ("slice_ranker",),
    "train.device": ("auto", "cpu", "gpu"),
}


#: setting -> (lowest, highest) value allowed.
_RANGES: dict[str, tuple[float, float]] = {
    "data.max_reject_share": (0, 1),
    "decisions.train_prefixes": (0, 1e6),
    "decisions.every_days": (1e-3, 1e6),
    "decisions.horizon_days": (1e-3, 1e6),
    "decisions.min_horizon_days": (0, 1e6),
    "decisions.candidates": (1, 1e6),
    "decisions.max_positives": (1, 1e6),
    "decisions.negatives": (0, 1e6),
    "transform.profile_length": (3, 512),
    "transform.query_length": (3, 512),
    "transform.title_length": (3, 512),
    "transform.gap_buckets": (2, 1e4),
    "transform.price_buckets": (2, 1e4),
    "model.dimension": (1, 1e5),
    "model.dropout": (0, 0.99),
    "model.history_dropout": (0, 0.99),
    "model.id_dropout": (0, 0.99),
    "model.max_history": (1, 1e6),
    "model.slice_length": (1, 1e5),
    "train.epochs": (1, 1e6),
    "train.patience": (1, 1e6),
    "train.validation_decisions": (1, 1e9),
    "train.batch_size": (1, 1e6),
    "train.learning_rate": (0, 1e3),
    "train.warmup_share": (0, 0.99),
    "train.weight_decay": (0, 1e3),
    "train.average_decay": (0, 0.999999),
    "train.losses.catalogue": (0, 1e6),
    "train.losses.listwise": (0, 1e6),
    "train.losses.binary": (0, 1e6),
    "train.losses.reconstruction": (0, 1e6),
    "train.losses.label_smoothing": (0, 0.99),
    "train.losses.sampled_items": (0, 1e7),
    "serve.top_k": (1, 1e5),
    "serve.tags": (1, 1e4),
}


def load(path: str | pathlib.Path) -> Settings:
    """Reads a runnable configuration and everything it includes.

    Args:
      path: of a YAML file; `include` paths are relative to the `configs` folder that holds it.

    Raises:
      SettingsError: if a file is missing, is not YAML, or holds an unknown key or an unusable value.
    """
    path = pathlib.Path(path)
    merged: dict[str, Any] = {}
    content = _read_yaml(path)
    includes = _convert(tuple[str, ...], content.pop("include", []), str(path), "include")
    for file in (path.parent / include for include in includes):
        included = _read_yaml(file)
        _build(Settings, included, str(file), "")  # so that an error names this file
        merged = _merge(merged, included)
    merged = _merge(merged, content)
    settings = from_dict(merged, str(path))
    if not settings.name:
        raise SettingsError(f"{path}: `name` is missing; expected the pipeline's name.")
    return settings


def from_dict(content: dict[str, Any], origin: str = "settings") -> Settings:
    """Builds settings from plain values, with the same checks as `load`."""
    settings: Settings = _build(Settings, content, origin, "")
    if settings.train.losses.sampled_items and settings.train.losses.label_smoothing:
        raise SettingsError(
            f"{origin}: `train.losses.label_smoothing` spreads over the whole catalogue; expected it to be 0 with "
            "`sampled_items`."
        )
    losses = settings.train.losses
    through = settings.model.item_text == "through" or settings.model.text_encoder.trainable != "frozen"
    if settings.train.xla and (through or losses.listwise or losses.binary or losses.sampled_items):
        raise SettingsError(
            f"{origin}: `train.xla` needs a frozen text encoder, `item_text: table`, the full softmax, and neither the "
            "listwise nor the binary loss; BERT on the rows that hold a text, texts of unknown candidates, and a "
            "sample have no shape that XLA knows beforehand."
        )
    horizon, shortest = settings.decisions.horizon_days, settings.decisions.min_horizon_days
    if shortest > horizon:
        raise SettingsError(
            f"{origin}: `decisions.min_horizon_days` is {shortest} and `decisions.horizon_days` {horizon}; expected at "
            "most the horizon."
        )
    events, length = settings.model.max_history, settings.model.slice_length
    if events % length:
        raise SettingsError(
            f"{origin}: `model.max_history` is {events} and `model.slice_length` {length}; expected whole slices, "
            f"such as a `max_history` of {length * (events // length + 1)}."
        )
    _check_context(settings.data.context, origin)
    return settings


def _check_context(columns: tuple[str, ...], origin: str) -> None:
    taken = set(features.raw_features(()))
    taken |= {value for name, value in vars(features).items() if name.endswith(("_XF", "_VOCABULARY"))}
    for signature in (contract.RANK, contract.RECOMMEND):
        taken |= {part.name for part in contract.signature_inputs(signature)}
    for column in columns:
        names = {column, features.context_xf(column), features.context_vocabulary(column)}
        if not column or columns.count(column) > 1 or names & taken:
            raise SettingsError(
                f"{origin}: `data.context` names {column!r}; expected each column once, and none whose name a feature, "
                "a vocabulary or an input of a signature has."
            )


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain values (JSON-able) of settings or of a part of them."""
    return _plain(dataclasses.asdict(settings))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _read_yaml(path: pathlib.Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected a YAML file.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8; expected a YAML file in UTF-8.") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}: is not valid YAML{where}.") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: holds {type(content).__name__}; expected a mapping of settings.")
    return content


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _build(kind: Any, content: dict[str, Any], origin: str, prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if key not in hints:
            known = ", ".join(sorted(hints))
            raise SettingsError(f"{origin}: unknown key `{name}`; expected one of {known}.")
        values[key] = _convert(hints[key], value, origin, name)
    return kind(**values)


def _convert(hint: Any, value: Any, origin: str, name: str) -> Any:
    def wrong(expected: str) -> SettingsError:
        return SettingsError(f"{origin}: `{name}` is {value!r}; expected {expected}.")

    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise wrong("a mapping")
        return _build(hint, value, origin, f"{name}.")
    shape = typing.get_origin(hint)
    if shape is tuple:
        if not isinstance(value, (list, tuple)):
            raise wrong("a list")
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, origin, name) for item in value)
    if shape is dict:
        if not isinstance(value, dict):
            raise wrong("a mapping")
        inner = typing.get_args(hint)[1]
        return {str(key): _convert(inner, item, origin, f"{name}.{key}") for key, item in value.items()}
    if isinstance(hint, types.UnionType):
        raise TypeError(f"unsupported annotation of {name}")
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        raise wrong(f"one of {', '.join(choices)}")
    if hint is bool:
        if not isinstance(value, bool):
            raise wrong("true or false")
        return value
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise wrong("a whole number" if hint is int else "a number")
        if hint is int and value != int(value):
            raise wrong("a whole number")
        low, high = _RANGES.get(name, (value, value))
        if not low <= value <= high:
            raise wrong(f"a number from {low:g} to {high:g}")
        return hint(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise wrong("a text")
    return value
