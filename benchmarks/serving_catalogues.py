"""SavedModels of large catalogues for `benchmarks.serving`, and what NumPy takes for the same search.

The model is the zoo's `two_tower` as it ships (configs/models/two_tower.yaml), of random weights, exported as the
pipeline does, without spare rows. In place of Transform's graph there are look-ups of ids, the only part of it that
this model reads; a shop's context columns would add one each.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from models import features
from serving import contract, protos
from serving.client import build_inputs
from serving.client.tensors import fill_tensor
from serving.requests import Request

DIMENSION, TOP_K = 64, contract.DEFAULT_TOP_K
_EVENT, _DAY = "purchase", features.SECONDS_PER_DAY


def item_id(row: int) -> str:
    """Of a row of the catalogue."""
    return f"item{row:07d}"


def requests(items: int, events: int, users: int, name: str) -> Iterator[Any]:
    """PredictRequests of `recommend` to a model of that name, of users with so many events on so many items."""
    rng = np.random.default_rng(7)
    for user in range(users):
        rows = rng.integers(0, items, events)
        history = [(item_id(row), _EVENT, _DAY * (place + 1)) for place, row in enumerate(rows)]
        message = protos.PredictRequest()
        message.model_spec.name, message.model_spec.signature_name = name, contract.RECOMMEND
        one = Request(user_id=f"u{user}", history=history)
        for part, array in build_inputs(contract.RECOMMEND, [one], ()).items():
            fill_tensor(message.inputs[part], array)
        yield message


def build(folder: str, number: str) -> Callable[..., Any]:
    """Writes a SavedModel with the signatures `rank` and `recommend` over a catalogue of so many items."""
    import tensorflow as tf

    from models import registry
    from models.item_encoder import ItemTable
    from models.options import LossOptions
    from models.sizes import Sizes
    from models.zoo.two_tower import TwoTowerOptions
    from serving.forbidden_items import write_forbidden_items
    from serving.signatures import CatalogueServable, Tags

    items = int(number)
    rng = np.random.default_rng(0)
    tf.keras.utils.set_random_seed(0)
    small: dict[str, Any] = {"event_types": 3, "categories": 50, "brands": 50, "price_buckets": 11, "gap_buckets": 11}
    words: dict[str, Any] = {"wordpieces": 5, "special_tokens": (0, 1, 2, 3, 4), "text_length": 1}
    entry = registry.entry("two_tower")
    model = entry.build(
        TwoTowerOptions(dimension=DIMENSION), Sizes(items=items, context={}, days=1, **small, **words), LossOptions()
    )
    drawn: dict[str, Any] = {
        name: rng.integers(0, small[name], items) for name in ("categories", "brands", "price_buckets")
    }
    everything = np.ones(items, bool)
    prices = rng.normal(size=items).astype(np.float32)
    tokens = np.zeros([items, 1], np.int64)
    table = ItemTable(tokens=tokens, prices=prices, trained=everything, servable=everything, **drawn)
    model.set_catalogue(table, np.zeros([1, items], np.float32), 0)
    model.keep_item_vectors()

    class Transform(tf.Module):
        """Ids of items."""

        def __init__(self, vocabulary: str) -> None:
            super().__init__()
            whole, place = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
            lines = tf.lookup.TextFileInitializer(vocabulary, tf.string, whole, tf.int64, place)
            unknown = features.UNKNOWN_ID - features.FIRST_KNOWN_ID
            self._rows = tf.lookup.StaticHashTable(lines, unknown)

        def __call__(self, raw: Mapping[str, Any]) -> dict[str, Any]:
            names = {
                features.HISTORY_ITEMS_XF: features.HISTORY_ITEM_IDS,
                features.CANDIDATE_ITEMS_XF: features.CANDIDATE_ITEM_IDS,
            }
            return {
                name: raw[of].with_values(self._rows.lookup(raw[of].values) + features.FIRST_KNOWN_ID)
                for name, of in names.items()
            }

    spec = {
        name: tf.io.VarLenFeature(tf.as_dtype(dtype))
        if kind == "list"
        else tf.io.FixedLenFeature([1], tf.as_dtype(dtype))
        for name, (dtype, kind) in features.REQUEST_FEATURES.items()
    }
    ids = [item_id(row) for row in range(items)]
    with tempfile.TemporaryDirectory() as work:
        vocabulary, forbidden = pathlib.Path(work, features.ITEM_VOCABULARY), pathlib.Path(work, "forbidden_items")
        vocabulary.write_text("".join(f"{one}\n" for one in ids), encoding="utf-8")
        write_forbidden_items(forbidden, frozenset())
        servable = CatalogueServable(
            model,
            Transform(str(vocabulary)),
            spec,
            str(vocabulary),
            ids,
            str(forbidden),
            Tags((), (), ()),
            context_columns=(),
            title_length=1,
            last_moment=1000 * _DAY,
            top_k=TOP_K,
        )
        tf.saved_model.save(servable, folder, signatures=servable.signatures(entry.signatures))
    return lambda: {}


def reference(number: str) -> Callable[..., Any]:
    """Seconds of `calls` searches of the nearest TOP_K of so many items by NumPy: a product, a partition, a sort."""
    items = int(number)
    rng = np.random.default_rng(0)
    table = rng.normal(size=[items, DIMENSION]).astype(np.float32)
    users = rng.normal(size=[64, DIMENSION]).astype(np.float32)

    def nearest(user: np.ndarray) -> np.ndarray:
        scores = table @ user
        best = np.argpartition(scores, items - TOP_K)[items - TOP_K :]
        return best[np.argsort(-scores[best])]

    def answer(calls: int) -> Any:
        seconds = []
        for call in range(calls):
            began = time.perf_counter()
            nearest(users[call % len(users)])
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    return answer
