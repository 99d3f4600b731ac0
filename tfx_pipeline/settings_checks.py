"""Which settings go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models import registry
from models.click_metrics import CLICK_METRICS
from models.options import ModelOptions

if TYPE_CHECKING:
    from tfx_pipeline.settings import DataSettings, DecisionSettings, TrainSettings

#: A value of `decisions.split`.
LEAVE_ONE_OUT = "leave_one_out"


def check_item_data(data: DataSettings, model: ModelOptions) -> None:
    """Raises a ValueError of one sentence if settings do not go together."""
    for name in ("image_embedding_width", "item_relations"):
        if getattr(data, name) and data.adapter != "tables":
            raise ValueError(
                f"`data.{name}` is set, which `adapter: {data.adapter}` does not bring; expected `adapter: tables`."
            )
    if data.item_relations and not data.relations.path:
        raise ValueError("`data.item_relations` is true; expected `data.relations.path`, the table's file or glob.")
    for option, name in model.item_data.items():
        if not getattr(data, name):
            raise ValueError(f"`model.{option}` is true; expected `data.{name}` to be set, so that items bring it.")


def check_decisions(decisions: DecisionSettings, model: ModelOptions) -> None:
    """Raises a ValueError of one sentence if settings do not go together."""
    if decisions.keep_unlabelled and (decisions.kind != "session" or decisions.split == LEAVE_ONE_OUT):
        raise ValueError("`decisions.keep_unlabelled` is true; expected the kind `session` and a split by time.")
    if decisions.min_horizon_days > decisions.horizon_days:
        raise ValueError(
            f"`decisions.min_horizon_days` is {decisions.min_horizon_days} and `decisions.horizon_days` "
            f"{decisions.horizon_days}; expected at most the horizon."
        )
    if model.reads_slate and decisions.negatives:
        raise ValueError(
            "`model.use_slate` reads what was shown beside an item, and `decisions.negatives` is "
            f"{decisions.negatives}, which puts items there that never were; expected 0 with it."
        )
    strengths, labels = decisions.label_strengths, decisions.label_event_types
    if strengths and sorted(strengths) != sorted(set(labels)):
        raise ValueError(
            f"`decisions.label_strengths` is {', '.join(strengths)}; expected each of `decisions.label_event_types` "
            f"({', '.join(labels)}) once, the weakest first."
        )


def check_tasks(decisions: DecisionSettings, train: TrainSettings, model: ModelOptions) -> None:
    """Raises a ValueError of one sentence if a model's tasks do not go with what examples and losses say of them."""
    wanted, labels = model.task_weights, decisions.label_event_types
    for task in wanted:
        if task not in labels:
            raise ValueError(
                f"`model.tasks` names {task!r}, which is no label event type; expected some of {', '.join(labels)} "
                "(`decisions.label_event_types`)."
            )
    if wanted and not decisions.label_strengths:
        raise ValueError(
            "`model.tasks` needs examples that say what made a candidate positive; expected "
            f"`decisions.label_strengths` to name {', '.join(labels)}, the weakest first."
        )
    if wanted and not train.losses.catalogue:
        raise ValueError(
            "`model.tasks` are learned by the catalogue loss; expected a `train.losses.catalogue` above 0."
        )
    for task in train.losses.task_weights:
        if task not in wanted:
            raise ValueError(
                f"`train.losses.task_weights` names {task!r}, which is no task of the model; expected some of "
                f"{', '.join(wanted) or 'none'} (`model.tasks`)."
            )


def check_training(train: TrainSettings, model: ModelOptions) -> None:
    """Raises a ValueError of one sentence if settings do not go together."""
    losses, contrastive = train.losses, train.contrastive
    if losses.sampled_items and losses.label_smoothing:
        raise ValueError(
            "`train.losses.label_smoothing` spreads over the whole catalogue; expected it to be 0 with `sampled_items`."
        )
    if registry.entry(model.entry).task == "click" and train.monitor not in CLICK_METRICS:
        raise ValueError(
            f"`train.monitor` is {train.monitor!r}, which ranks a catalogue; expected pooled_auc, gauc or log_loss for "
            f"{model.entry}."
        )
    if not (losses.catalogue or losses.listwise or losses.binary):
        raise ValueError("`train.losses` has no weight for catalogue, listwise or binary; expected one above 0.")
    if train.xla and (not model.static_shapes or losses.listwise or losses.binary or losses.sampled_items):
        raise ValueError(
            "`train.xla` needs a frozen text encoder, `item_text: table`, the full softmax, and neither the "
            "listwise nor the binary loss, nor `use_words`, `use_relations`, `neighbours`, `content_neighbours` or "
            "`linear_regularisation`; BERT on the rows that hold a text, texts of unknown candidates, and a sample "
            "have no shape that XLA knows beforehand, and sums over lists no kernel."
        )
    if train.xla and (train.accumulate > 1 or train.adversarial.kind != "none" or contrastive.weight):
        raise ValueError(
            "`train.xla` compiles the model's own losses on whole batches; expected `accumulate: 1`, "
            "`adversarial.kind: none` and `contrastive.weight: 0` with it."
        )
    if train.accumulate > 1 and train.optimizer == "lazy_adam":
        raise ValueError(
            "`train.accumulate` sums gradients as dense tensors, of which `lazy_adam` has no gain; expected `adamw` "
            "with it."
        )
    if train.adversarial.kind == "vat" and losses.sampled_items:
        raise ValueError(
            "`train.adversarial.kind: vat` compares distributions over the whole catalogue; expected "
            "`losses.sampled_items: 0` with it, or `fgm`."
        )
    if registry.entry(model.entry).task != "ranking" and (train.adversarial.kind == "vat" or contrastive.weight):
        raise ValueError(
            f"{model.entry} does not encode users; expected neither `train.adversarial.kind: vat` nor a weight of "
            "`train.contrastive` for it."
        )
    if registry.entry(model.entry).task == "tagging":
        _check_tagging(train, model)
    if registry.entry(model.entry).task != "ranking" and train.warm_start.enabled:
        raise ValueError(f"{model.entry} ranks no catalogue; expected `train.warm_start.enabled: false` for it.")
    if contrastive.weight and not (contrastive.crop or contrastive.mask or contrastive.reorder):
        raise ValueError(
            "`train.contrastive` has a weight, but no way to change a history; expected `crop`, `mask` or `reorder` "
            "above 0."
        )


def _check_tagging(train: TrainSettings, model: ModelOptions) -> None:
    """Refuses what a tagger's fit does not do."""
    text = train.text
    unused = {
        "train.text": text.pretraining.epochs or text.distillation.epochs or text.mask_share or text.keep,
        "train.losses.weighting": train.losses.weighting != "fixed",
        "train.averaging": train.averaging == "best_epochs",
        "train.xla": train.xla,
    }
    for name, used in unused.items():
        if used:
            raise ValueError(f"`{name}` is set, which a fit of {model.entry} does not read; expected its default.")
