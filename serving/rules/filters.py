"""Which candidates the filters rule out for a shopper."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Any

import numpy as np

from models import features
from serving.rules.candidates import Candidates
from serving.rules.kinds import KEEP, AgeLimit, AlreadyBought, Block, OutOfStock, Region, Rule
from serving.rules.shopper import Shopper
from serving.rules.snapshot import MIN_AGE, REGIONS
from serving.rules.where import EVERYTHING


def ruled_out(rule: Rule, candidates: Candidates, shopper: Shopper, now: float) -> np.ndarray | None:
    """bool [candidates], what a filter is against; None for nothing at all.

    Args:
      rule: of one of `kinds.FILTERS`.
      candidates: n of them.
      shopper: who asks.
      now: seconds since 1970-01-01 UTC.
    """
    if isinstance(rule, Block):
        return rule.where.mask(candidates, now)
    found = _UNCONDITIONAL[type(rule)](rule, candidates, shopper, now)
    where = getattr(rule, "where", EVERYTHING)
    return found if found is None or where is EVERYTHING else found & where.mask(candidates, now)


def _out_of_stock(rule: OutOfStock, candidates: Candidates, shopper: Shopper, now: float) -> np.ndarray:
    return ~candidates.snapshot.in_stock.take(candidates.rows)


def _region(rule: Region, candidates: Candidates, shopper: Shopper, now: float) -> np.ndarray | None:
    region = shopper.context.get(rule.column, "")
    if not region and rule.if_unknown == KEEP:
        return None
    if rule.allowed:
        return None if region in rule.allowed else np.ones(len(candidates), bool)
    return ~candidates.snapshot.sold_in(region).take(candidates.codes(REGIONS))


def _age_limit(rule: AgeLimit, candidates: Candidates, shopper: Shopper, now: float) -> np.ndarray | None:
    if shopper.age is None and rule.if_unknown == KEEP:
        return None
    age = 0 if shopper.age is None else shopper.age
    if rule.min_age:
        return None if age >= rule.min_age else np.ones(len(candidates), bool)
    return candidates.numbers(MIN_AGE) > age


def _already_bought(rule: AlreadyBought, candidates: Candidates, shopper: Shopper, now: float) -> np.ndarray | None:
    since = now - rule.within_days * features.SECONDS_PER_DAY
    lately = shopper.history[bisect.bisect_left(shopper.history, since, key=lambda event: event[2]) :]
    bought = {item_id for item_id, event_type, _ in lately if event_type in rule.event_types}
    return candidates.among(bought) if bought else None


#: Without `where`.
_UNCONDITIONAL: dict[type[Rule], Callable[[Any, Candidates, Shopper, float], np.ndarray | None]] = {
    OutOfStock: _out_of_stock,
    Region: _region,
    AgeLimit: _age_limit,
    AlreadyBought: _already_bought,
}
