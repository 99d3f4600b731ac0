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
import pathlib
from dataclasses import dataclass, field
from typing import Any

from models import features
from models.options import choice, number
from serving import contract
from tfx_pipeline import settings_reader
from tfx_pipeline.settings_reader import SettingsError

#: A value of `decisions.split`.
LEAVE_ONE_OUT = "leave_one_out"

_SOURCES = ("free_text", "queries", "reviews", "titles")


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

    adapter: str = choice("tables", "online_retail", "amazon_sequences", "recbole")
    events: TableSettings = field(default_factory=lambda: TableSettings(path="events.*"))
    items: TableSettings = field(default_factory=lambda: TableSettings(path="items.*"))
    users: TableSettings = field(default_factory=TableSettings)
    reviews: TableSettings = field(default_factory=TableSettings)
    relations: TableSettings = field(default_factory=TableSettings)
    context: tuple[str, ...] = ()
    max_reject_share: float = number(0.05, 0, 1)


@dataclass(frozen=True)
class ProfileTextSettings:
    """What goes into `profile_text`.

    Attributes:
      sources: in this order, of `free_text` (users table), `queries`, `reviews`, `titles` (of label events).
      max_items: newest entries taken of each of queries, reviews and titles.
      max_chars: the text is cut after so many characters.
    """

    sources: tuple[str, ...] = choice(*_SOURCES, default=_SOURCES)
    max_items: int = number(6, 0, 1000)
    max_chars: int = number(400, 0, 1e5)


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

    split: str = choice("global_time", LEAVE_ONE_OUT)
    train_prefixes: int = number(0, 0, 1e6)
    kind: str = choice("session", "window")
    label_event_types: tuple[str, ...] = ("purchase",)
    impression_event_types: tuple[str, ...] = ("impression",)
    every_days: float = number(7.0, 0.001, 1e6)
    horizon_days: float = number(30.0, 0.001, 1e6)
    min_horizon_days: float = number(0.0, 0, 1e6)
    candidates: int = number(120, 1, 1e6)
    max_positives: int = number(20, 1, 1e6)
    negatives: int = number(99, 0, 1e6)
    seed: int = number(17, 0, 2**31 - 1)
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
    wordpiece_size: int = number(8000, 100, 1e6)
    lower_case: bool = True
    profile_length: int = number(48, 3, 512)
    query_length: int = number(16, 3, 512)
    title_length: int = number(20, 3, 512)
    gap_buckets: int = number(16, 2, 10000)
    price_buckets: int = number(10, 2, 10000)


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
    trainable: str = choice("full", "frozen", "top_n")
    top_n: int = number(2, 1, 1000)
    hidden_size: int = number(64, 1, 1e5)
    layers: int = number(2, 1, 1000)
    heads: int = number(2, 1, 1000)
    intermediate_size: int = number(128, 1, 1e6)
    pooling: str = choice("mean", "cls", "max")


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

    entry: str = choice("slice_ranker")
    dimension: int = number(64, 1, 100000)
    dropout: float = number(0.2, 0, 0.99)
    text_encoder: TextEncoderSettings = field(default_factory=TextEncoderSettings)
    max_history: int = number(64, 1, 1e6)
    slice_length: int = number(16, 1, 100000)
    slice_layers: int = number(1, 1, 1000)
    slice_heads: int = number(2, 1, 1000)
    code_dimension: int = number(32, 1, 1e5)
    merge: str = choice("weighted", "mean", "attention", "concat")
    merge_source: str = choice("codes", "vectors")
    use_profile: bool = True
    use_autoencoder: bool = True
    use_merge: bool = True
    use_cooccurrence: bool = True
    use_mixture: bool = True
    use_copy: bool = True
    use_popularity: bool = True
    use_lexical: bool = True
    decay_days: tuple[float, ...] = number((7.0, 30.0, 120.0), 1e-3, 1e6)
    popularity_days: tuple[int, ...] = number((7, 30, 365), 1, 1e6)
    id_dropout: float = number(0.1, 0, 0.99)
    history_dropout: float = number(0.0, 0, 0.99)
    item_text: str = choice("table", "through")

    def check(self) -> None:
        """Raises a ValueError of one sentence if settings do not go together."""
        if self.max_history % self.slice_length:
            raise ValueError(
                f"`model.max_history` is {self.max_history} and `model.slice_length` {self.slice_length}; expected "
                f"whole slices, such as a `max_history` of "
                f"{self.slice_length * (self.max_history // self.slice_length + 1)}."
            )
        if self.dimension % self.slice_heads:
            raise ValueError(
                f"`model.dimension` is {self.dimension} and `model.slice_heads` {self.slice_heads}; expected a "
                "dimension that the heads can share out evenly."
            )
        text = self.text_encoder
        if text.pretrained:
            return
        if text.hidden_size % text.heads:
            raise ValueError(
                f"`model.text_encoder.hidden_size` is {text.hidden_size} and `model.text_encoder.heads` {text.heads}; "
                "expected a size that the heads can share out evenly."
            )
        if text.trainable == "top_n" and text.top_n > text.layers:
            raise ValueError(
                f"`model.text_encoder.top_n` is {text.top_n} and `model.text_encoder.layers` {text.layers}; expected "
                "no more than there are."
            )


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

    catalogue: float = number(1.0, 0, 1e6)
    listwise: float = number(0.0, 0, 1e6)
    binary: float = number(0.0, 0, 1e6)
    reconstruction: float = number(0.1, 0, 1e6)
    label_smoothing: float = number(0.0, 0, 0.99)
    sampled_items: int = number(0, 0, 1e7)


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

    epochs: int = number(10, 1, 1e6)
    patience: int = number(3, 1, 1e6)
    monitor: str = choice("ndcg@10", "recall@10", "hr@10", "novel_ndcg@10", "novel_recall@10", "novel_hr@10")
    validation_decisions: int = number(2000, 1, 1e9)
    batch_size: int = number(128, 1, 1e6)
    learning_rate: float = number(1e-3, 0, 1000)
    warmup_share: float = number(0.1, 0, 0.99)
    weight_decay: float = number(1e-4, 0, 1000)
    optimizer: str = choice("adamw", "lazy_adam")
    averaging: str = choice("none", "ema")
    average_decay: float = number(0.999, 0, 0.999999)
    final: bool = False
    device: str = choice("auto", "cpu", "gpu")
    mixed_precision: bool = False
    xla: bool = False
    seed: int = number(7, 0, 2**31 - 1)
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
    top_k: int = number(100, 1, 100000)
    tags: int = number(10, 1, 10000)


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
    accelerator_count: int = number(1, 0, 64)
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


def load(path: str | pathlib.Path) -> Settings:
    """Reads a runnable configuration and everything it includes.

    Args:
      path: of a YAML file; `include` paths are relative to the `configs` folder that holds it.

    Raises:
      SettingsError: if a file is missing, is not YAML, or holds an unknown key or an unusable value.
    """
    path = pathlib.Path(path)
    merged: dict[str, Any] = {}
    content = settings_reader.read_yaml(path)
    includes = settings_reader.convert(tuple[str, ...], content.pop("include", []), str(path), "include")
    for file in (path.parent / include for include in includes):
        included = settings_reader.read_yaml(file)
        settings_reader.build(Settings, included, str(file))  # so that an error names this file
        merged = settings_reader.merge(merged, included)
    merged = settings_reader.merge(merged, content)
    settings = from_dict(merged, str(path))
    if not settings.name:
        raise SettingsError(f"{path}: `name` is missing; expected the pipeline's name.")
    return settings


def from_dict(content: dict[str, Any], origin: str = "settings") -> Settings:
    """Builds settings from plain values, with the same checks as `load`."""
    settings: Settings = settings_reader.build(Settings, content, origin)
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
    if not (losses.catalogue or losses.listwise or losses.binary):
        raise SettingsError(
            f"{origin}: `train.losses` has no weight for catalogue, listwise or binary; expected one above 0."
        )
    try:
        settings.model.check()
    except ValueError as error:
        raise SettingsError(f"{origin}: {error}") from None
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
    return settings_reader.plain(dataclasses.asdict(settings))
