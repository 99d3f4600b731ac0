"""An update in place of a fit: from a model's weights, a few low-rate steps on what is new and a share of what is old.

The base is the last blessed model. Its weights are found in its SavedModel, and `contract.WARM_START_FILE` beside them
says for which vocabularies they are: those of the new examples may have grown and changed their order, so rows are
moved by name (of an item, a word, a category, …), and what is new starts as in any fit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features, registry, wordpiece
from models.catalogue_model import CatalogueModel
from models.sizes import Sizes
from serving import contract
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.export_settings import ExportSettings
from tfx_pipeline.settings import Settings
from tfx_pipeline.warm_start_settings import WarmStartSettings

_ITEMS, _WORDS = "items", "wordpieces"

#: Size -> its vocabulary; all but items, words and relations have ids for padding and the unknown before the first.
_VOCABULARIES = {
    _ITEMS: features.ITEM_VOCABULARY,
    "event_types": features.EVENT_TYPE_VOCABULARY,
    "categories": features.CATEGORY_VOCABULARY,
    "brands": features.BRAND_VOCABULARY,
}


@dataclass(frozen=True)
class Base:
    """A model to start from.

    Attributes:
      folder: of its SavedModel.
      until_day: days since 1970-01-01 UTC; it knows no event of that day or later.
      model: plain values of the settings `model` that it was built with.
      vocabularies: name -> entries in the order of their ids, those for padding and the unknown included.
    """

    folder: str
    until_day: int
    model: dict[str, Any]
    vocabularies: dict[str, list[str]]


@dataclass(frozen=True)
class Chosen:
    """Which decisions of a split an update is about; bool, one a decision.

    Attributes:
      new, replayed: to learn from: what the base does not know, and what it was fitted on.
      yesterday: what the base does not know, of users who are held out: nothing is learned from it.
    """

    new: np.ndarray
    replayed: np.ndarray
    yesterday: np.ndarray


def keeps_weights(settings: Settings) -> bool:
    """Whether a SavedModel has the weights of the fit: `export` may round, prune or drop some, and LoRA is merged."""
    encoders = settings.model.text_encoders.values()
    return settings.export == ExportSettings() and all(encoder.trainable != "lora" for encoder in encoders)


def find(folder: str) -> Base | None:
    """What `write` left in a SavedModel; None if it is not there."""
    file = f"{folder}/{contract.WARM_START_FILE}"
    if not tf.io.gfile.exists(file):
        return None
    with tf.io.gfile.GFile(file) as content:
        return Base(folder, **json.loads(content.read()))


def write(
    export_dir: str, settings: Settings, transform: tft.TFTransformOutput, item_ids: Sequence[str], until_day: int
) -> None:
    """Leaves in a SavedModel what an update needs to know of it, if it has the weights of the fit."""
    if not keeps_weights(settings):
        return
    content = {
        "until_day": until_day,
        "model": settings_lib.to_dict(settings.model),
        "vocabularies": vocabularies(settings, transform, item_ids),
    }
    with tf.io.gfile.GFile(f"{export_dir}/{contract.WARM_START_FILE}", "w") as file:
        file.write(json.dumps(content))


def vocabularies(settings: Settings, transform: tft.TFTransformOutput, item_ids: Sequence[str]) -> dict[str, list[str]]:
    """Every vocabulary that Transform has learned, as `Base.vocabularies`."""

    def entries(name: str) -> list[str]:
        return [entry.decode() for entry in transform.vocabulary_by_name(name)]

    # No entry of a vocabulary is empty or a lone space.
    special = ["", " "]
    found = {size: [*special, *entries(name)] for size, name in _VOCABULARIES.items()}
    found[_ITEMS] = list(item_ids)
    if settings.data.item_relations:
        found["relations"] = entries(features.RELATION_VOCABULARY)
    if settings.transform.wordpiece == wordpiece.LEARNED:
        found[_WORDS] = entries(features.WORDPIECE_VOCABULARY)
    for column in settings.data.context:
        found[f"context {column}"] = [*special, *entries(features.context_vocabulary(column))]
    return found


def transfer(model: CatalogueModel, base: Base, settings: Settings, sizes: Sizes, known: Mapping[str, Any]) -> None:
    """Gives a new model the base's weights: those that are trained, and all of its BERT.

    Counted tables and what is known of the catalogue are not taken over; the items' texts are encoded anew where the
    BERT has changed by it.

    Args:
      model: built with `sizes`, not trained.
      base: of the same settings `model`.
      settings: of the pipeline.
      sizes: of the new examples.
      known: their `vocabularies`.

    Raises:
      ValueError: if the weights do not fit.
    """
    saved = tf.train.load_checkpoint(f"{base.folder}/variables/variables")
    shapes = saved.get_variable_to_shape_map()
    number = sum(name.startswith("_weights/") for name in shapes)
    if number != len(model.weights):
        raise ValueError(
            f"{base.folder}: has {number} weights where the model has {len(model.weights)}; expected a base of the "
            "same code."
        )
    axes = vocabulary_axes(model, settings, sizes, known)
    text_changed = False
    bert = set() if model.text_encoder is None else {id(variable) for variable in model.text_encoder.weights}
    wanted = bert | {id(variable) for variable in model.trainable_variables}
    places = {name: _places(entries, base.vocabularies.get(name, [])) for name, entries in known.items()}
    for place, variable in enumerate(model.weights):
        if id(variable) not in wanted:
            continue
        old, new = saved.get_tensor(f"_weights/{place}/.ATTRIBUTES/VARIABLE_VALUE"), variable.numpy()
        named = axes[place]
        same = [axis for axis in range(new.ndim) if axis not in named]
        if old.ndim != new.ndim or any(old.shape[axis] != new.shape[axis] for axis in same):
            raise ValueError(
                f"{base.folder}: {variable.name} has the shape {list(old.shape)} where the model's is "
                f"{list(new.shape)}; expected a base of the same code and the same `transform`."
            )
        rows = [
            places[named[axis]] if axis in named else (np.arange(n), np.arange(n)) for axis, n in enumerate(new.shape)
        ]
        if new.ndim:
            new[np.ix_(*(now for now, _ in rows))] = old[np.ix_(*(before for _, before in rows))]
        found = new if new.ndim else old
        text_changed |= id(variable) in bert and not np.array_equal(found, variable.numpy())
        variable.assign(found)
    if text_changed:
        model.refresh_item_text()


def vocabulary_axes(
    model: CatalogueModel, settings: Settings, sizes: Sizes, known: Iterable[str]
) -> list[dict[int, str]]:
    """For each weight of a model: axis -> the vocabulary whose entries it goes along.

    No entry of the zoo has to declare it: another model is built in which each vocabulary is larger by a number of its
    own, and shows it in its shapes.

    Raises:
      ValueError: if an axis follows several vocabularies at once.
    """
    steps = {2**power: name for power, name in enumerate(known)}
    longer: dict[str, Any] = {"context": dict(sizes.context)}
    for step, name in steps.items():
        if name.startswith("context "):
            longer["context"][name.removeprefix("context ")] += step
        else:
            longer[name] = getattr(sizes, name) + step
    entry = registry.entry(settings.model.entry)
    other = entry.build(settings.model, dataclasses.replace(sizes, **longer), settings.train.losses)
    axes = []
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        grown = {axis: b - a for axis, (a, b) in enumerate(zip(ours.shape, theirs.shape, strict=True)) if a != b}
        if set(grown.values()) - set(steps):
            raise ValueError(f"{ours.name} follows several vocabularies along one axis; expected one at most.")
        axes.append({axis: steps[step] for axis, step in grown.items()})
    return axes


def choose(
    users: np.ndarray,
    days: np.ndarray,
    since: int,
    settings: WarmStartSettings,
    seed: int,
    newest_of_user: np.ndarray | None = None,
) -> Chosen:
    """Which decisions an update learns from, and on which it shows that it forgets nothing.

    Args:
      users: int64 [D], keys of the users.
      days: int [D], when the decisions were made.
      since: the base's `until_day`.
      settings: of the warm start.
      seed: of the drawing.
      newest_of_user: float [D], rising with time within each user: only the highest of what is new, and of what is old,
        is learned from; None learns from all.
    """
    unknown = days >= since
    # A hash of the day too, so that it is not the same users who are never learned from.
    mixed = (users.astype(np.uint64) ^ np.uint64(since)) * np.uint64(0x9E3779B97F4A7C15)
    held_out = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53 < settings.held_out
    new, old = unknown & ~held_out, ~unknown
    if newest_of_user is not None:
        new, old = _highest(users, newest_of_user, new), _highest(users, newest_of_user, old)
    newest = np.flatnonzero(new)[np.argsort(-days[new], kind="stable")]
    new[newest[settings.decisions :]] = False
    wanted = round(new.sum() * settings.replay / (1 - settings.replay))
    places = np.flatnonzero(old)
    drawn = np.random.default_rng(seed).permutation(places)[:wanted]
    replayed = np.zeros(len(users), bool)
    replayed[drawn] = True
    return Chosen(new, replayed, unknown & held_out)


def check_forgetting(before: float, after: float, settings: WarmStartSettings) -> None:
    """Raises a ValueError if NDCG@10 on yesterday's test fell by more than is allowed."""
    if before - after > settings.max_forgotten:
        raise ValueError(
            f"the update forgets: NDCG@10 on yesterday's test fell from {before:.4f} to {after:.4f}, by more than "
            f"`train.warm_start.max_forgotten` ({settings.max_forgotten:g}); expected a lower "
            "`train.warm_start.learning_rate` or a larger `train.warm_start.replay`."
        )


def _places(now: Sequence[str], before: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the entries that both vocabularies have: (in the new one, in the old one)."""
    rows = {entry: row for row, entry in enumerate(before)}
    pairs = [(row, rows[entry]) for row, entry in enumerate(now) if entry in rows]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _highest(users: np.ndarray, rising: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Bool: of each user the one with the highest number among those marked; of equals the last."""
    places = np.flatnonzero(among)
    order = places[np.lexsort((places, rising[places], users[places]))]
    last = np.ones(len(order), bool)
    last[:-1] = users[order][1:] != users[order][:-1]
    found = np.zeros(len(users), bool)
    found[order[last]] = True
    return found
