"""How long rules take: answers for rankings of a synthetic catalogue, one after the other in this process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import features
from serving.rules.catalogue import Catalogue
from serving.rules.engine import Engine
from serving.rules.kinds import Pin
from serving.rules.rule_set import RuleSet
from serving.rules.shopper import Shopper
from serving.rules.snapshot import FIRST_SEEN, MIN_AGE, PRICE, Snapshot
from serving.rules.where import EVERYTHING

#: What the example's rules name stands first, and has the most items.
_CATEGORIES: tuple[str, ...] = (
    "Food > Coffee & Tea",
    "Electronics > Phones",
    "Electronics > Audio",
    "Baby > Baby Care",
)
_CATEGORIES += tuple(f"Room {at // 10} > Shelf {at}" for at in range(200))
_BRANDS = ("Daybrew", "Nimbus", *(f"brand {at}" for at in range(500)))
_REGIONS = ("", "", "", "DE|FR", "US", "DE|GB|US")


@dataclass(frozen=True)
class BenchRanking:
    """A ranking as a model would give it."""

    item_ids: list[str]
    scores: np.ndarray


def synthetic_catalogue(items: int, width: int, seed: int, unharmed: Collection[str] = ()) -> Catalogue:
    """Items `i000000` … with everything that rules look at.

    Args:
      items: how many.
      width: of their vectors, 0 for none.
      seed: of the drawing.
      unharmed: items that are in stock, sold everywhere and for every age.
    """
    rng = np.random.default_rng(seed)
    # Few categories and brands have most of the items.
    category = np.minimum(rng.zipf(1.3, items) - 1, len(_CATEGORIES) - 1)
    brand = np.minimum(rng.zipf(1.3, items) - 1, len(_BRANDS) - 1)
    item_ids = [f"i{at:06d}" for at in range(items)]
    safe = np.isin(item_ids, list(unharmed))
    regions = np.where(safe, 0, rng.integers(0, len(_REGIONS), items))
    catalogue = Catalogue(
        Snapshot.of(
            item_ids,
            {
                "category": [_CATEGORIES[at] for at in category],
                "brand": [_BRANDS[at] for at in brand],
                "regions": [_REGIONS[at] for at in regions],
            },
            {
                PRICE: rng.lognormal(3, 1, items),
                MIN_AGE: np.where(safe | (rng.random(items) > 0.05), 0, 18),
                FIRST_SEEN: time.time() - rng.integers(0, 1000, items) * features.SECONDS_PER_DAY,
            },
            safe | (rng.random(items) < 0.9),
        )
    )
    if width:
        catalogue.set_vectors(item_ids, rng.normal(size=[items, width]))
    return catalogue


def measure(
    rules: RuleSet, candidates: int, items: int, width: int, runs: int, limit: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Milliseconds of `Engine.apply` for a known shopper of unknown age on the page `home`, and what fired.

    By the clock (`ms`) and of the processor (`cpu_ms`), which says more on a busy machine. The same rankings are also
    answered without any rule, in turn; `relative` is what the rules cost beside that.

    Args:
      rules: to apply.
      candidates: of each ranking.
      items: of the catalogue.
      width: of the vectors of items, 0 for none.
      runs: answers of each, for 20 rankings in turn; a tenth as many go before and do not count.
      limit: so many items are answered, the best ones; None for all.
      seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    pinned = {rule.item for rule in rules.rules if isinstance(rule, Pin)}
    catalogue = synthetic_catalogue(items, width, seed, pinned)
    engines = {"": Engine(rules, catalogue), "_without_rules": Engine(_without_rules(rules), catalogue)}
    item_ids = list(catalogue.snapshot.item_ids)
    # Items that rules name, so that they have something to do.
    named = [item_id for rule in rules.rules for item_id in sorted(getattr(rule, "where", EVERYTHING).item_ids or ())]
    rankings = []
    for _ in range(20):
        drawn = [item_ids[at] for at in rng.choice(items, candidates, replace=False).tolist()]
        ids = list(dict.fromkeys([*named[: candidates // 10], *drawn]))[:candidates]
        rng.shuffle(ids)
        rankings.append(BenchRanking(ids, np.sort(rng.normal(-8, 2, len(ids)))[::-1]))
    now = int(time.time())
    bought = [(item_id, "purchase", now - 3600 * at) for at, item_id in enumerate(rankings[0].item_ids[:100])]
    shopper = Shopper(history=bought[::-1], context={"country": "DE"}, page="home")
    seconds: dict[str, list[float]] = {f"{clock}{name}": [] for name in engines for clock in ("ms", "cpu_ms")}
    fired: dict[str, set[str]] = {}
    for run in range(-max(runs // 10, 1), runs):
        ranking = rankings[run % len(rankings)]
        for name, engine in engines.items():
            # A model's answer brings texts of its own, whose hashes nobody knows yet.
            fresh = BenchRanking([item_id[:1] + item_id[1:] for item_id in ranking.item_ids], ranking.scores)
            start, worked = time.perf_counter(), time.thread_time()
            answer = engine.apply(fresh, shopper, limit)
            if run >= 0:
                seconds[f"cpu_ms{name}"].append(1000 * (time.thread_time() - worked))
                seconds[f"ms{name}"].append(1000 * (time.perf_counter() - start))
            for one in answer.fired:
                fired.setdefault(one.kind, set()).add(one.name)
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    return {
        "task": "rules",
        "candidates": candidates,
        "answered": limit,
        "items": items,
        "vector_width": width,
        "rules": len(rules.rules),
        "runs": runs,
        **{f"median_{name}": round(value, 4) for name, value in median.items()},
        "relative": round(median["cpu_ms"] / median["cpu_ms_without_rules"], 2),
        "p99_ms": round(float(np.quantile(seconds["ms"], 0.99)), 4),
        "least_ms": round(min(seconds["ms"]), 4),
        "fired": {kind: sorted(names) for kind, names in sorted(fired.items())},
    }


def _without_rules(rules: RuleSet) -> RuleSet:
    return dataclasses.replace(rules, rules=(), overlays={})
