"""One case of `benchmarks.training`, in a process of its own: prints one JSON object."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import training
from models import features, registry
from models.catalogue_model import CatalogueModel
from models.item_encoder import ItemTable
from models.options import LossOptions, TextEncoderOptions
from models.sizes import Sizes
from models.zoo.slice_ranker import SliceRankerOptions
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.settings import TrainSettings

TITLE_LENGTH, WORDS, DAYS = 12, 2000, 30

Batch = tuple[dict[str, tf.Tensor], tf.Tensor]


def sasrec(file: str, warm_up: int) -> dict[str, Any]:
    """Sequences a second of the zoo's SASRec, trained as Trainer does it.

    Args:
      file: of sequences, as `training.sequences` makes them; of each the last event is the decision's positive.
      warm_up: steps that are not timed.
    """
    entry = registry.entry("sasrec")
    model = entry.build(entry.options(), sizes(training.ITEMS), LossOptions())
    steps = np.load(file)

    def batches() -> Iterable[Batch]:
        for rows in steps:
            lengths = (rows > 0).sum(1)
            history = np.zeros([len(rows), lengths.max() - 1], np.int64)
            for place, length in enumerate(lengths):
                history[place, : length - 1] = rows[place, -length:-1] + features.FIRST_KNOWN_ID - 1
            inputs = {
                features.HISTORY_ITEMS_XF: tf.constant(history),
                features.CANDIDATE_ITEMS_XF: tf.constant(rows[:, -1:] + features.FIRST_KNOWN_ID - 1, tf.int64),
            }
            yield inputs, tf.ones([len(rows), 1])

    seconds, loss = fit(model, batches(), len(steps), warm_up)
    done = (len(steps) - warm_up) * steps.shape[1]
    return {"sequences_per_second": round(done / seconds, 1), "peak_mb": peak_mb(), "loss": loss}


def slice_ranker(history: int, items: int, sampled: int, warm_up: int = 3, steps: int = 10) -> dict[str, Any]:
    """Milliseconds of a step of the flagship with the parts that are on by default, a frozen small BERT and its texts
    encoded before; evidence, affinity, words and the linear path are off.

    Args:
      history: events of each decision, all of them read.
      items: V.
      sampled: items drawn for the softmax; 0 takes all.
      warm_up, steps: steps that are not timed, and that are.
    """
    slice_length = min(50, history)
    encoder = TextEncoderOptions(trainable="frozen", hidden_size=16, layers=1, heads=1, intermediate_size=16)
    options = SliceRankerOptions(max_history=history, slice_length=slice_length, text_encoder=encoder)
    model = registry.entry(options.entry).build(options, sizes(items), LossOptions(sampled_items=sampled))
    rng = np.random.default_rng(0)
    none = np.zeros(items, np.int64)
    tokens = rng.integers(5, WORDS, [items, TITLE_LENGTH])
    table = ItemTable(
        tokens=tokens,
        categories=none,
        brands=none,
        price_buckets=none,
        prices=np.zeros(items, np.float32),
        trained=np.ones(items, bool),
        servable=np.ones(items, bool),
    )
    # Encoding all texts once is no part of a step.
    model.refresh_item_text = lambda: None
    model.set_catalogue(table, rng.poisson(0.1, [DAYS, items]).astype(np.float32), 0)

    def batches() -> Iterable[Batch]:
        shape = [training.BATCH, history]
        for _ in range(warm_up + steps):
            gaps = np.sort(rng.uniform(0, 300, shape).astype(np.float32))[:, ::-1]
            ids = rng.integers(0, items, [training.BATCH, history + 1]) + features.FIRST_KNOWN_ID
            pooled = np.zeros([training.BATCH, encoder.hidden_size], np.float32)
            inputs = {
                features.HISTORY_ITEMS_XF: ids[:, :-1],
                features.HISTORY_TYPES_XF: np.full(shape, features.FIRST_KNOWN_ID),
                features.HISTORY_GAPS_XF: gaps,
                features.HISTORY_GAP_BUCKETS_XF: np.ones(shape, np.int64),
                features.REQUEST_DAY_XF: np.full(training.BATCH, DAYS),
                features.PROFILE_POOLED_XF: pooled,
                features.QUERY_POOLED_XF: pooled,
                features.QUERY_TOKENS_XF: np.zeros([training.BATCH, 4], np.int64),
                features.CANDIDATE_ITEMS_XF: ids[:, -1:],
            }
            yield {name: tf.constant(value) for name, value in inputs.items()}, tf.ones([training.BATCH, 1])

    seconds, loss = fit(model, batches(), warm_up + steps, warm_up)
    return {"step_ms": round(1000 * seconds / steps, 1), "peak_mb": peak_mb(), "loss": loss}


def fit(model: CatalogueModel, batches: Iterable[Batch], steps: int, warm_up: int) -> tuple[float, float]:
    """Trains as Trainer does; returns the seconds of the steps after the warm-up, and the last loss."""
    model.compile(optimizer=make_optimizer(TrainSettings(), steps))
    step = tf.function(model.train_step, reduce_retracing=True)
    # Ready before, so that what is timed is the training.
    ready = list(batches)
    started, loss = 0.0, float("nan")
    for number, batch in enumerate(ready):
        if number == warm_up:
            started = time.perf_counter()
        loss = float(step(batch)["loss"])
    return time.perf_counter() - started, loss


def sizes(items: int) -> Sizes:
    """Sizes of a shop with so many items."""
    return Sizes(
        items=items,
        event_types=4,
        categories=2,
        brands=2,
        price_buckets=2,
        gap_buckets=4,
        context={},
        wordpieces=WORDS,
        special_tokens=(0, 1, 2, 3, 4),
        text_length=TITLE_LENGTH,
        days=DAYS,
    )


def peak_mb() -> int:
    """The most memory that this process has held, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    case, *arguments = sys.argv[1:]
    found = sasrec(arguments[0], int(arguments[1])) if case == "sasrec" else slice_ranker(*map(int, arguments))
    print(json.dumps(found))
