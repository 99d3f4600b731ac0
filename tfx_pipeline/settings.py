"""Settings of a pipeline: frozen dataclasses read strictly from YAML.

A runnable `configs/NAME.yaml` composes one file of `configs/data/` and one of `configs/models/`:

    name: demo
    include: [data/synthetic.yaml, models/slice_ranker.yaml]
    train: {epochs: 6}

Later files and the file itself override earlier ones, key by key. An unknown key, a wrong type or a value outside
its range is a `SettingsError` of one sentence that names the file and the key.
"""

from __future__ import annotations

import dataclasses
import pathlib
from dataclasses import dataclass, field
from typing import Any

from models import features, registry, settings_reader
from models.options import LossOptions, ModelOptions, QueryOptions, choice, number
from models.settings_reader import SettingsError
from models.training_options import AdversarialOptions, ContrastiveOptions
from serving import contract
from serving.privacy.settings import PrivacySettings
from tfx_pipeline import settings_checks, tasks
from tfx_pipeline.export_settings import ExportSettings
from tfx_pipeline.tagging.settings import TaggingSettings
from tfx_pipeline.text_settings import AugmentationSettings, TextTrainingSettings
from tfx_pipeline.warm_start_settings import WarmStartSettings

#: A value of `decisions.split`.
LEAVE_ONE_OUT = settings_checks.LEAVE_ONE_OUT

#: The zoo's entry where a configuration names none.
DEFAULT_ENTRY = "slice_ranker"

#: Parts of a configuration that mean something to entries of one task only.
_OF_A_TASK = ("evaluate", "serve")

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
      image_embedding_width: numbers in each list of the items' column image_embedding, which `tables` then reads; 0
        passes it over.
      item_relations: the relations of items go with the catalogue, so that a model can read them.
      context: declared context columns (string): of the users table, else of the events.
      max_reject_share: share of rejected event rows past which reading stops with an error. Rows that an adapter
        drops by definition (cancellations of Online Retail, say) are counted as dropped, not as rejected.
      privacy: whether and how ids and texts of persons are protected as they are read.
    """

    adapter: str = choice("tables", "online_retail", "amazon_sequences", "recbole")
    events: TableSettings = field(default_factory=lambda: TableSettings(path="events.*"))
    items: TableSettings = field(default_factory=lambda: TableSettings(path="items.*"))
    users: TableSettings = field(default_factory=TableSettings)
    reviews: TableSettings = field(default_factory=TableSettings)
    relations: TableSettings = field(default_factory=TableSettings)
    image_embedding_width: int = number(0, 0, 1e5)
    item_relations: bool = False
    context: tuple[str, ...] = ()
    max_reject_share: float = number(0.05, 0, 1)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)

    @property
    def item_features(self) -> tuple[str, ...]:
        """Which of `features.DECLARED_ITEM_FEATURES` the catalogue has."""
        relations = (features.ITEM_RELATION_KINDS, features.ITEM_RELATED_ITEMS) if self.item_relations else ()
        return ((features.ITEM_IMAGE,) if self.image_embedding_width else ()) + relations


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
      label_strengths: the label event types again, the weakest first, such as [click, cart, purchase]: examples then
        say which was the strongest that made a candidate positive, for `model.tasks` and metrics of each; empty leaves
        it out.
      impression_event_types: event types that only show an item: candidates with label 0 unless positive, never
        part of a history.
      keep_unlabelled: for `session`: a session with impressions and no label event is a decision too, with negatives
        alone, so that a click probability is learned from, and measured on, all that was shown.
      review_events: reviews are events of the history too, of the types `review_liked` (rating 4 and more),
        `review_disliked` (2 and less) and `review_neutral` (see `example_gen.review_events`).
      every_days, horizon_days: for `window`: distance of cuts (counted back from each boundary), length of the window.
      min_horizon_days: windows that would reach past the split's end are cut off there if so long a part of them is
        left; 0 leaves them all out, and with them what was bought last.
      candidates: N, the fixed length of the candidate list.
      max_positives: at most so many positives a decision (the rest is counted, newest kept).
      negatives: sampled by popularity as of the decision's time among items that had an event before it, never a
        positive, as far as N allows.
      train_negatives: sampled for decisions that are trained on, up to `negatives`, whose lists are shorter by what is
        missing; -1 for as many. A loss over the whole catalogue needs none.
      seed: of the sampling.
      train_start: first moment of a train decision (ISO date, UTC); "" for the first event.
      train_until: label windows of `train` end by then; the catalogue's and the validation model's knowledge too.
      eval_until: label windows of `eval` start at train_until or later and end by then.
        Both are ISO dates, or shares of the time range such as "0.8".
      augmentation: more train decisions, with other words for the same.
    """

    split: str = choice("global_time", LEAVE_ONE_OUT)
    train_prefixes: int = number(0, 0, 1e6)
    kind: str = choice("session", "window")
    label_event_types: tuple[str, ...] = ("purchase",)
    label_strengths: tuple[str, ...] = ()
    impression_event_types: tuple[str, ...] = ("impression",)
    keep_unlabelled: bool = False
    review_events: bool = False
    every_days: float = number(7.0, 0.001, 1e6)
    horizon_days: float = number(30.0, 0.001, 1e6)
    min_horizon_days: float = number(0.0, 0, 1e6)
    candidates: int = number(120, 1, 1e6)
    max_positives: int = number(20, 1, 1e6)
    negatives: int = number(99, 0, 1e6)
    train_negatives: int = number(-1, -1, 1e6)
    seed: int = number(17, 0, 2**31 - 1)
    train_start: str = ""
    train_until: str = "0.8"
    eval_until: str = "1.0"
    profile_text: ProfileTextSettings = field(default_factory=ProfileTextSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)


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
class TrainSettings:
    """How the Trainer trains.

    Attributes:
      epochs: at most; early stopping ends earlier.
      patience: epochs without a better validation metric before stopping.
      monitor: the validation metric: over the whole catalogue `ndcg@10`, `recall@10`, `hr@10`, or one of them with
        `novel_` before it, where items of the user's history are left out; over candidates `pooled_auc`, `gauc` or
        `log_loss` (`models.click_metrics`), where scores are logits.
      validation_decisions: at most so many decisions of the eval split are measured after each epoch.
      batch_size: decisions that are worked off at once (over all replicas).
      accumulate: so many times `batch_size` decisions make a step, in the memory of one (gradient accumulation).
      learning_rate, warmup_share, weight_decay: of AdamW with linear warm-up and cosine decay.
      optimizer: `adamw` or `lazy_adam`.
      averaging: `none`; `ema`: what is validated, kept and exported is a moving average of the weights; `best_epochs`:
        what is exported is the mean of the weights after the best epochs, as far as validation gains by it.
      averaged_epochs: at most so many are averaged by `best_epochs`.
      average_decay: of the moving average for each step; smaller in the first steps.
      final: refit on everything before `eval_until` for the number of epochs the validation run fixed, and push that.
      device: `auto`, `cpu` or `gpu` (an error without one); `mixed_precision` and `xla` are for a GPU.
      adversarial, contrastive: what is trained beside the losses.
      seed: of weights, shuffling, dropout and drawn queries.
      losses, queries: weights of the losses; queries for decisions that have none, where a model reads them as text.
      text: what the text encoder learns before the fit, and how its inputs are disturbed in it.
      warm_start: from the last blessed model instead of from scratch.
    """

    epochs: int = number(10, 1, 1e6)
    patience: int = number(3, 1, 1e6)
    monitor: str = choice(
        *("ndcg@10", "recall@10", "hr@10", "novel_ndcg@10", "novel_recall@10", "novel_hr@10"),
        *("pooled_auc", "gauc", "log_loss"),
    )
    validation_decisions: int = number(2000, 1, 1e9)
    batch_size: int = number(128, 1, 1e6)
    accumulate: int = number(1, 1, 10_000)
    learning_rate: float = number(1e-3, 0, 1000)
    warmup_share: float = number(0.1, 0, 0.99)
    weight_decay: float = number(1e-4, 0, 1000)
    optimizer: str = choice("adamw", "lazy_adam")
    averaging: str = choice("none", "ema", "best_epochs")
    averaged_epochs: int = number(3, 2, 100)
    average_decay: float = number(0.999, 0, 0.999999)
    final: bool = False
    device: str = choice("auto", "cpu", "gpu")
    mixed_precision: bool = False
    xla: bool = False
    seed: int = number(7, 0, 2**31 - 1)
    losses: LossOptions = field(default_factory=LossOptions)
    adversarial: AdversarialOptions = field(default_factory=AdversarialOptions)
    contrastive: ContrastiveOptions = field(default_factory=ContrastiveOptions)
    queries: QueryOptions = field(default_factory=QueryOptions)
    text: TextTrainingSettings = field(default_factory=TextTrainingSettings)
    warm_start: WarmStartSettings = field(default_factory=WarmStartSettings)


@dataclass(frozen=True)
class EvaluateSettings:
    """The gate.

    Attributes:
      metrics: names of `models.metrics`, such as `ndcg@10`, and of `models.click_metrics`, such as `log_loss`.
      slices: slice features or declared context columns to report, each on its own.
      thresholds: metric -> lowest value that is blessed; the highest one of a metric of which less is better.
      slice_thresholds: slice feature -> metric -> the same on each of its values.
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
      tags, suggestions: T of `profile`, K of `suggest`.
      tagger: a pushed tagger (a version's folder, or the folder of versions, of which the newest is taken), whose tags
        of the profile text join those of a ranking entry's `profile`; "" for none.
      forbidden: a list of forbidden items (`serving.rules.forbidden`, read when the model is exported), which no
        signature answers and `rank` puts last; "" for none. `serving.refresh_catalogue` puts in another one.
    """

    model_name: str = "ranker"
    top_k: int = number(100, 1, 100000)
    tags: int = number(10, 1, 10000)
    suggestions: int = number(10, 1, 1000)
    tagger: str = ""
    forbidden: str = ""


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
    model: ModelOptions = field(default_factory=lambda: registry.entry(DEFAULT_ENTRY).options())
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    export: ExportSettings = field(default_factory=ExportSettings)
    beam: BeamSettings = field(default_factory=BeamSettings)
    vertex: VertexSettings = field(default_factory=VertexSettings)
    tagging: TaggingSettings = field(default_factory=TaggingSettings)

    @property
    def declared_features(self) -> tuple[str, ...]:
        """Which of `features.DECLARED_FEATURES` the examples have."""
        return (*self.data.item_features, *((features.LABEL_EVENT_TYPES,) if self.decisions.label_strengths else ()))


def load(path: str | pathlib.Path, entry: str = "") -> Settings:
    """Reads a runnable configuration and everything it includes.

    Args:
      path: of a YAML file; `include` paths are relative to the `configs` folder that holds it.
      entry: another entry of the zoo, on the same data. `ENTRY.yaml` is then included in place of the file that it
        includes from a folder `models`; of the file's own `model`, `train` and `evaluate.slice_thresholds` nothing is
        left, but what `models.ENTRY` says counts (and nothing of its `evaluate` and `serve` if its own entry has
        another task); the pipeline's name gets `_ENTRY` behind it. "" and the file's own entry leave all as it is.

    Raises:
      SettingsError: if a file is missing, is not YAML, or holds an unknown key or an unusable value, or `models` names
        the file's own entry or one that the zoo does not have.
    """
    path = pathlib.Path(path)
    content = settings_reader.read_yaml(path)
    includes = settings_reader.convert(tuple[str, ...], content.pop("include", []), str(path), "include")
    others = content.pop("models", {})
    if not isinstance(others, dict) or not all(isinstance(value, dict) for value in others.values()):
        raise SettingsError(f"{path}: `models` is {others!r}; expected a mapping of entries to mappings of settings.")
    if entry and entry not in registry.names():
        raise SettingsError(f"the zoo has no entry {entry!r}; expected one of {', '.join(registry.names())}.")
    named = _own_entry(path, includes, content) if entry or others else ""
    for other in others:
        if other == named:
            raise SettingsError(
                f"{path}: `models.{other}` names its own entry; expected those settings in the file itself."
            )
        if other not in registry.names():
            raise SettingsError(
                f"{path}: `models.{other}` is no entry; expected some of {', '.join(registry.names())}."
            )
    if entry and entry != named:
        same_task = named in registry.names() and tasks.task_of(named) is tasks.task_of(entry)
        own = ("model", "train", *(() if same_task else _OF_A_TASK))
        replaced = [file for file in includes if pathlib.PurePath(file).parent.name == "models"]
        home = pathlib.PurePath(replaced[0]).parent if replaced else pathlib.PurePath("models")
        includes = (*(file for file in includes if file not in replaced), str(home / f"{entry}.yaml"))
        content = {key: value for key, value in content.items() if key not in own}
        if isinstance(content.get("evaluate"), dict):  # what new users and items must get depends on what a model reads
            content["evaluate"] = {k: v for k, v in content["evaluate"].items() if k != "slice_thresholds"}
        content = settings_reader.merge(content, others.get(entry, {}))
    parts = [(path.parent / file, settings_reader.read_yaml(path.parent / file)) for file in includes]
    merged: dict[str, Any] = {}
    for _, part in [*parts, (path, content)]:
        merged = settings_reader.merge(merged, part)
    options = _options(merged, str(path))
    for file, part in parts:  # so that an error names this file
        _build(part, str(file), options)
    settings = from_dict(merged, str(path))
    if not settings.name:
        raise SettingsError(f"{path}: `name` is missing; expected the pipeline's name.")
    return dataclasses.replace(settings, name=f"{settings.name}_{entry}") if entry not in ("", named) else settings


def _own_entry(path: pathlib.Path, includes: tuple[str, ...], content: dict[str, Any]) -> str:
    """The entry that a configuration names itself."""
    own: dict[str, Any] = {}
    parts = [(path.parent / file, settings_reader.read_yaml(path.parent / file)) for file in includes]
    for file, part in [*parts, (path, content)]:
        model = part.get("model", {})
        if not isinstance(model, dict):
            raise SettingsError(f"{file}: `model` is {model!r}; expected a mapping of settings.")
        own = settings_reader.merge(own, {"model": model})
    return str(own["model"].get("entry", DEFAULT_ENTRY))


def from_dict(content: dict[str, Any], origin: str = "settings") -> Settings:
    """Builds settings from plain values, with the same checks as `load`."""
    settings = _build(content, origin, _options(content, origin))
    try:
        settings_checks.check_item_data(settings.data, settings.model)
        settings_checks.check_decisions(settings.decisions, settings.model)
        settings_checks.check_training(settings.train, settings.model)
        settings.model.check()
        settings_checks.check_tasks(settings.decisions, settings.train, settings.model)
        settings.train.text.check(list(settings.model.text_encoders.values()))
        settings.decisions.augmentation.check()
    except ValueError as error:
        raise SettingsError(f"{origin}: {error}") from None
    _check_context(settings.data.context, origin)
    return settings


def _options(content: dict[str, Any], origin: str) -> type[ModelOptions]:
    """The dataclass of the model that plain values name."""
    model = content.get("model", {})
    name = model.get("entry", DEFAULT_ENTRY) if isinstance(model, dict) else DEFAULT_ENTRY
    if name not in registry.names():
        raise SettingsError(f"{origin}: `model.entry` is {name!r}; expected one of {', '.join(registry.names())}.")
    return registry.entry(name).options


def _build(content: dict[str, Any], origin: str, options: type[ModelOptions]) -> Settings:
    others = {key: value for key, value in content.items() if key != "model"}
    settings: Settings = settings_reader.build(Settings, others, origin)
    model = settings_reader.convert(options, content.get("model", {}), origin, "model")
    return dataclasses.replace(settings, model=model)


def _check_context(columns: tuple[str, ...], origin: str) -> None:
    taken = set(features.raw_features((), tuple(features.DECLARED_FEATURES)))
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


def handed_on(settings: Settings) -> dict[str, Any]:
    """What a model hands to the configuration of the next one: how it was made, and not of which examples."""
    return {part: to_dict(getattr(settings, part)) for part in ("transform", "model", "train")}


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain values (JSON-able) of settings or of a part of them."""
    return settings_reader.plain(dataclasses.asdict(settings))
