"""Applies the rules of a shop to what a model has ranked.

The stages, in this order whatever the order in the file (within a stage the file's order counts):

1. Ranking. A fallback on `new_user` or `model_down` takes its place. The better score comes first; equal ones keep
   their order.
2. Candidates: the ranking and pinned items. Whatever rules an item out below rules it out as a pin or fallback, too.
3. Out: items ranked twice (all but the best), unknown ones, forbidden ones, those that wait for review, and those that
   the request excludes.
4. Filters: each takes out what it is about.
5. Boosts, on comparable scores (`serving.rules.scale`).
6. Places (`serving.rules.arrangement`): pins have theirs, MMR and caps share out the others; a fallback on `too_few`
   fills up what is too short.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Sequence
from typing import TypeVar

import numpy as np

from serving.rules import checks, filters, mmr
from serving.rules.answer import Answer, RankedItem, Scored
from serving.rules.arrangement import Arrangement
from serving.rules.candidates import Candidates
from serving.rules.catalogue import Catalogue
from serving.rules.condition import ALWAYS, NEW, USER
from serving.rules.fired import FiredRules
from serving.rules.item_list import ItemList
from serving.rules.kinds import DROP, MODEL_DOWN, NEW_USER, TOO_FEW, Fallback, Mmr, Rule
from serving.rules.mmr import Likeness, MarginalRelevance
from serving.rules.plan import Plan
from serving.rules.rule_set import RuleSet
from serving.rules.scale import boosted, comparable
from serving.rules.shopper import Shopper
from serving.rules.snapshot import BRAND, CATEGORY
from serving.rules.stop_list import StopList

R = TypeVar("R", bound=Rule)


class Engine:
    """Turns a ranking into an answer. Safe to share between threads.

    Args:
      rules: of the shop.
      catalogue: what is known of its items; may be updated meanwhile.

    Raises:
      RulesError: if a file that the rules name cannot be used, the catalogue lacks a column that they name, or pins
        alone exceed a cap.

    Example:
      engine = Engine(RuleSet.load("configs/serving/rules.yaml"), Catalogue.read("items.csv"))
      answer = engine.apply(client.recommend(request), Shopper(request.history, request.context, page="home"))
    """

    def __init__(self, rules: RuleSet, catalogue: Catalogue) -> None:
        self.rules = rules
        self.catalogue = catalogue
        origin, snapshot = str(rules.origin), catalogue.snapshot
        for some in (rules.rules, *rules.overlays.values()):
            checks.check_fields(some, snapshot, origin)
            checks.check_pins_against_caps(some, snapshot, origin)
        every = rules.settings.check_every_ms
        self._lists = {name: ItemList(source, every) for name, source in rules.lists.items()}
        self._stop_list = StopList(rules)
        self._plans = {arm: Plan(some) for arm, some in {"": rules.rules, **rules.overlays}.items()}

    def apply(
        self, ranking: Scored | None, shopper: Shopper, limit: int | None = None, exclude: Collection[str] = ()
    ) -> Answer:
        """The answer to one request.

        Args:
          ranking: the model's, in any order; None if there is none because the model does not answer.
          shopper: who asks.
          limit: at most so many items are answered; None for all.
          exclude: ids of items that this answer must not have, whatever a rule says; no rule fires for them.

        Raises:
          ValueError: if there is not one score for each item, or one that is NaN or plus infinity.
        """
        return _Application(self, shopper, exclude).answer(ranking, limit)


class _Application:
    """One request on its way through the stages."""

    def __init__(self, engine: Engine, shopper: Shopper, exclude: Collection[str]) -> None:
        self._settings = engine.rules.settings
        self._lists = engine._lists
        self._shopper = shopper
        self._now = shopper.time or time.time()
        self._facts = shopper.facts()
        self._plan = engine._plans.get(shopper.arm, engine._plans[""])
        self._snapshot = engine.catalogue.snapshot
        self._stopped = engine._stop_list.get()
        self._excluded = frozenset(exclude)
        self._fired = FiredRules(self._plan.stages)

    def answer(self, ranking: Scored | None, limit: int | None) -> Answer:
        places, scores, is_model = self._ranking(ranking)
        ranked = len(places)
        pins = self._holding(self._plan.pins)
        for pin in pins:
            places.setdefault(pin.item, len(places))
        candidates = Candidates(places, self._snapshot)
        kept = self._kept(candidates)
        pinned = {pin.position: pin for pin in pins if kept[places[pin.item]]}
        at_pins = {position: places[pin.item] for position, pin in pinned.items()}
        kept[[*at_pins.values()]] = False
        order = kept[:ranked].nonzero()[0]
        order, values = self._boosted(candidates, order, scores)
        caps, diverse = self._holding(self._plan.caps), next(iter(self._holding(self._plan.mmr)), None)
        relevance = self._mmr(diverse, candidates, order, values, at_pins) if diverse and len(order) else None
        fallback = self._fallback(TOO_FEW)
        filled: list[str] = []

        def more() -> tuple[np.ndarray, dict[str, np.ndarray]]:
            assert fallback is not None
            filled.extend(item_id for item_id in self._lists[fallback.list].get() if item_id not in places)
            others = Candidates(dict(zip(filled, range(len(filled)), strict=True)), self._snapshot)
            fit = self._kept(others)
            if relevance is not None:
                relevance.likeness.extend(others.rows)
            codes = {cap.by: np.concatenate([candidates.codes(cap.by), others.codes(cap.by)]) for cap in caps}
            return len(candidates) + np.flatnonzero(fit), codes

        arranged = Arrangement(
            order,
            at_pins,
            {cap.by: candidates.codes(cap.by) for cap in caps},
            caps,
            relevance,
            diverse.within if diverse else 0,
            fallback.least if fallback else 0,
            more if fallback else None,
        ).run()
        names, shown = candidates.item_ids + filled, arranged.places[:limit]
        if diverse:
            self._touch(diverse, arranged.promoted, names)
        for cap in caps:
            self._touch(cap, arranged.held_back[cap.name], names)
        for pin in pinned.values():
            self._touch(pin, [places[pin.item]] if places[pin.item] in shown else [], names)
        if fallback and filled:
            own = len(candidates)
            self._touch(fallback, [place for place in shown if place >= own], names)
        return self._answered(shown, names, scores.tolist()[: ranked * is_model], ranked + len(filled))

    # --- stage 1 ---------------------------------------------------------------------------------------------------

    def _ranking(self, ranking: Scored | None) -> tuple[dict[str, int], np.ndarray, bool]:
        """(item id -> place, best first; scores; whether they are a model's)."""
        fallback = self._fallback(NEW_USER) if self._facts[USER] == NEW else None
        if fallback is None and ranking is None:
            fallback = self._fallback(MODEL_DOWN)
        if fallback is not None:
            listed = self._lists[fallback.list].get()
            self._fired.touch(fallback.name, fallback.KIND, listed)
            # As likely as Zipf's law has it: a list says nothing but the order.
            return dict(zip(listed, range(len(listed)), strict=True)), -np.log1p(np.arange(len(listed))), False
        if ranking is None:
            return {}, np.empty(0), False
        return *self._sorted(list(ranking.item_ids), np.asarray(ranking.scores, np.float64)), True

    def _sorted(self, item_ids: list[str], scores: np.ndarray) -> tuple[dict[str, int], np.ndarray]:
        if scores.shape != (len(item_ids),):
            raise ValueError(
                f"the ranking has {len(item_ids)} items and scores of shape {scores.shape}; expected one each."
            )
        usable = scores < np.inf
        if not usable.all():
            at = int(usable.argmin())
            raise ValueError(f"the score of item {item_ids[at]!r} is {scores[at]}; expected a number.")
        if (scores[1:] > scores[:-1]).any():
            order = np.argsort(-scores, kind="stable")
            item_ids, scores = [item_ids[at] for at in order.tolist()], scores[order]
        places = dict(zip(item_ids, range(len(item_ids)), strict=True))
        if len(places) < len(item_ids):
            first: dict[str, int] = {}
            again = [item_id for at, item_id in enumerate(item_ids) if first.setdefault(item_id, at) != at]
            self._fired.rule_out(checks.DUPLICATES, checks.DUPLICATES, again)
            scores = scores[list(first.values())]
            places = dict(zip(first, range(len(first)), strict=True))
        return places, scores

    # --- stages 3 and 4 --------------------------------------------------------------------------------------------

    def _kept(self, candidates: Candidates) -> np.ndarray:
        """bool [candidates], what nothing rules out."""
        kept = np.ones(len(candidates), bool)
        if self._excluded:
            kept &= ~candidates.among(self._excluded)
        if self._settings.unknown_items == DROP:
            self._rule_out(kept, candidates.rows < 0, candidates, checks.UNKNOWN_ITEMS, checks.UNKNOWN_ITEMS)
        for name, item_ids in ((checks.FORBIDDEN, self._stopped.forbidden), (checks.REVIEW, self._stopped.hidden)):
            if item_ids:
                self._rule_out(kept, candidates.among(item_ids), candidates, name, name)
        for rule in self._holding(self._plan.filters):
            out = filters.ruled_out(rule, candidates, self._shopper, self._now)
            if out is not None:
                self._rule_out(kept, out, candidates, rule.name, rule.KIND)
        return kept

    def _rule_out(self, kept: np.ndarray, out: np.ndarray, candidates: Candidates, name: str, kind: str) -> None:
        found = (out & kept).nonzero()[0]
        if found.size:
            kept[found] = False
            self._fired.rule_out(name, kind, map(candidates.item_ids.__getitem__, found.tolist()))

    # --- stage 5 ---------------------------------------------------------------------------------------------------

    def _boosted(self, candidates: Candidates, order: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(order after the boosts, their comparable scores)."""
        values = comparable(scores[order], self._settings.scale)
        is_moved = False
        for rule in self._holding(self._plan.boosts):
            about = rule.where.mask(candidates, self._now)[order].nonzero()[0]
            if about.size:
                values[about] = boosted(values[about], self._settings.scale, rule.multiply, rule.add)
                self._touch(rule, order[about].tolist(), candidates.item_ids)
                is_moved = True
        if not is_moved:
            return order, values
        by_value = np.argsort(-values, kind="stable")
        return order[by_value], values[by_value]

    # --- stage 6 ---------------------------------------------------------------------------------------------------

    def _mmr(
        self, rule: Mmr, candidates: Candidates, order: np.ndarray, values: np.ndarray, pins: dict[int, int]
    ) -> MarginalRelevance:
        """Over the best candidates; alike by vectors or, where no item has one, by category and brand."""
        pool = order[: rule.pool]
        snapshot = self._snapshot
        codes = [snapshot.texts[name].codes for name in (CATEGORY, BRAND)]
        likeness = Likeness(snapshot.vectors, codes, candidates.rows, pool, 1 - rule.weight)
        near = [place for position, place in pins.items() if position <= rule.within]
        return MarginalRelevance(rule.weight * mmr.to_unit(values[: len(pool)]), likeness, near)

    def _answered(self, places: list[int], names: Sequence[str], scores: list[float], ranked: int) -> Answer:
        reasons = self._fired.reasons()
        score_of = scores + [None] * (len(names) - len(scores))
        item_ids = list(map(names.__getitem__, places))
        columns = (
            item_ids,
            map(score_of.__getitem__, places),
            range(1, len(places) + 1),
            map(reasons.get, item_ids, itertools.repeat(())),
        )
        # Without a call of Python for each: an answer has hundreds.
        items = map(tuple.__new__, itertools.repeat(RankedItem), zip(*columns, strict=True))
        return Answer(list(items), self._fired.rules(), ranked)

    # --- rules that hold ---------------------------------------------------------------------------------------------

    def _holding(self, rules: Sequence[R]) -> list[R]:
        return [rule for rule in rules if rule.when is ALWAYS or rule.when.holds(self._facts, self._now)]

    def _fallback(self, on: str) -> Fallback | None:
        return next(iter(self._holding(self._plan.fallbacks.get(on, ()))), None)

    def _touch(self, rule: Rule, places: Sequence[int], names: Sequence[str]) -> None:
        if places:
            self._fired.touch(rule.name, rule.KIND, map(names.__getitem__, places))
