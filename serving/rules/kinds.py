"""The kinds of rules and what each says: frozen dataclasses, read strictly from YAML by `serving.rules.rule_set`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from models.options import choice, number
from serving.rules.condition import ALWAYS, Condition
from serving.rules.where import EVERYTHING, Where

#: Values of `if_unknown`: what becomes of an item when it is not known whether this shopper may see it.
DROP, KEEP = "drop", "keep"
#: Values of `if_short`.
LEAVE_OUT, RELAX = "leave_out", "relax"
#: Values of a fallback's `on`.
NEW_USER, MODEL_DOWN, TOO_FEW = "new_user", "model_down", "too_few"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What all rules have.

    Attributes:
      name: under which answers say that it fired.
      when: requests for which it holds.
    """

    KIND: ClassVar[str] = ""
    name: str
    when: Condition = ALWAYS


# --- filters: what they rule out is in no answer, pins and fallbacks included --------------------------------------


@dataclass(frozen=True, kw_only=True)
class OutOfStock(Rule):
    """Rules out what is not in stock.

    Attributes:
      where: of these items only.
    """

    KIND: ClassVar[str] = "out_of_stock"
    where: Where = EVERYTHING


@dataclass(frozen=True, kw_only=True)
class Region(Rule):
    """Rules out what is not sold where the shopper is.

    Attributes:
      column: of the context, that says where the shopper is.
      allowed: regions in which the items may be shown; empty for the `regions` of each item.
      where: of these items only.
      if_unknown: `drop` or `keep` what is not sold everywhere when the request does not say where the shopper is.
    """

    KIND: ClassVar[str] = "region"
    column: str = "country"
    allowed: tuple[str, ...] = ()
    where: Where = EVERYTHING
    if_unknown: str = choice(DROP, KEEP)


@dataclass(frozen=True, kw_only=True)
class AgeLimit(Rule):
    """Rules out what is for older shoppers.

    Attributes:
      min_age: years from which the items may be shown; 0 for the `min_age` of each item.
      where: of these items only.
      if_unknown: `drop` or `keep` what has a limit when the shopper's age is not known.
    """

    KIND: ClassVar[str] = "age_limit"
    min_age: int = number(0, 0, 150)
    where: Where = EVERYTHING
    if_unknown: str = choice(DROP, KEEP)


@dataclass(frozen=True, kw_only=True)
class Block(Rule):
    """Rules out items, brands, categories.

    Attributes:
      where: these.
    """

    KIND: ClassVar[str] = "block"
    where: Where


@dataclass(frozen=True, kw_only=True)
class AlreadyBought(Rule):
    """Rules out what the shopper has bought lately.

    Attributes:
      within_days: so many days back.
      event_types: of the history that count as bought.
      where: of these items only.
    """

    KIND: ClassVar[str] = "already_bought"
    within_days: float = number(30.0, 0, 36500)
    event_types: tuple[str, ...] = ("purchase",)
    where: Where = EVERYTHING


# --- boosts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Boost(Rule):
    """Moves items up or down by their comparable scores (`serving.rules.scale`); one of the two numbers is given.

    Attributes:
      where: these items.
      multiply: a factor; below 1 it moves them down.
      add: a summand; below 0 it moves them down.
    """

    KIND: ClassVar[str] = "boost"
    where: Where
    multiply: float | None = number(None, 1e-6, 1e6)
    add: float | None = number(None, -1e6, 1e6)


# --- diversity -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Mmr(Rule):
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): places go to what is good and unlike the others.

    Of several that hold, the first counts.

    Attributes:
      within: places that are chosen so.
      weight: of relevance, 0 to 1; the rest is that of unlikeness. 1 leaves the order as it is.
      pool: so many of the best items are chosen from.
    """

    KIND: ClassVar[str] = "mmr"
    within: int = number(20, 1, 200)
    weight: float = number(0.7, 0, 1)
    pool: int = number(100, 1, 1000)


@dataclass(frozen=True, kw_only=True)
class Cap(Rule):
    """At most so many items with the same category, brand or other text within the first places.

    Attributes:
      by: a text column; items that have nothing there are not counted.
      at_most: of one value.
      within: the first places.
      if_short: where nothing else is left for these places: `leave_out` ends the list there, `relax` goes past the cap.
    """

    KIND: ClassVar[str] = "cap"
    by: str
    at_most: int = number(2, 1, 1000)
    within: int = number(10, 1, 1000)
    if_short: str = choice(LEAVE_OUT, RELAX)


# --- pins and fallbacks --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pin(Rule):
    """Gives an item a place.

    Attributes:
      item: its id.
      position: from 1; the last one of a list that is shorter.
    """

    KIND: ClassVar[str] = "pin"
    item: str
    position: int = number(1, 1, 1000)


@dataclass(frozen=True, kw_only=True)
class Fallback(Rule):
    """Shows a list of items where the model's ranking does not do.

    Of several that hold with the same `on`, the first counts.

    Attributes:
      on: `new_user`: in place of the ranking, for a shopper without a history; `model_down`: when there is no ranking;
        `too_few`: behind it, when less than `least` items are left.
      list: name of one of `lists`.
      least: for `too_few`.
    """

    KIND: ClassVar[str] = "fallback"
    on: str = choice(NEW_USER, MODEL_DOWN, TOO_FEW)
    list: str
    least: int = number(0, 0, 1000)


FILTERS = (OutOfStock, Region, AgeLimit, Block, AlreadyBought)
#: Kind -> its class, in the order in which they are applied.
KINDS: dict[str, type[Rule]] = {kind.KIND: kind for kind in (*FILTERS, Boost, Mmr, Cap, Pin, Fallback)}
