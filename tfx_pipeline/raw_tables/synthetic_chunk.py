"""A chunk of users living through the log of the synthetic shop: events, reviews and what was behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.features import SECONDS_PER_DAY
from tfx_pipeline.raw_tables import synthetic_words as words
from tfx_pipeline.raw_tables.synthetic_pool import Pool
from tfx_pipeline.raw_tables.synthetic_sessions import (
    VIEW_SHARE,
    Sessions,
    buy_share,
    cart_share,
    make_sessions,
    show,
    utility,
)
from tfx_pipeline.raw_tables.synthetic_world import Array, Items, ShopSettings, Users, moments

EVENT_TYPES = ("search", "impression", "click", "view", "cart", "purchase")
SEARCH, IMPRESSION, CLICK, VIEW, CART, PURCHASE = range(len(EVENT_TYPES))
REVIEW_SHARE = 0.35


@dataclass(frozen=True)
class Chunk:
    """What happened to one chunk of users.

    Attributes:
      users: their truth and their table.
      sessions: theirs.
      events, reviews: as the tables have them.
      impressions: session (row of `sessions`), item (row of the catalogue), position, click_probability,
        purchase_probability, click, purchase.
    """

    users: Users
    sessions: Sessions
    events: pd.DataFrame
    reviews: pd.DataFrame
    impressions: pd.DataFrame


def make_chunk(
    settings: ShopSettings, items: Items, pools: tuple[Pool, ...], users: Users, first: int, rng: np.random.Generator
) -> Chunk:
    """Lets a chunk of users live through the whole log; session numbers start at `first`."""
    sessions = make_sessions(settings, items, pools, users, first, rng)
    impressions = show(items, pools, sessions, rng)
    return Chunk(users, sessions, *_outcomes(settings, items, sessions, impressions, rng), impressions)


def _outcomes(
    settings: ShopSettings, items: Items, sessions: Sessions, shown: pd.DataFrame, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draws what follows the impressions; adds `click` and `purchase` to `shown`."""
    session, item, position = (shown[name].to_numpy() for name in ("session", "item", "position"))
    logit = utility(items, sessions, session, item)
    n = len(shown)
    click = rng.random(n) < shown["click_probability"].to_numpy()
    view = click & (rng.random(n) < VIEW_SHARE)
    cart = view & (rng.random(n) < cart_share(items, item, logit))
    purchase = cart & (rng.random(n) < buy_share(items, sessions, session, item))
    shown["click"], shown["purchase"] = click, purchase

    start = sessions.time[session]
    at = start + sessions.search[session]
    click_at = start + 8 + 20 * position + rng.integers(0, 12, n)
    view_at = click_at + 2
    cart_at = view_at + rng.integers(15, 120, n)
    buy_at = cart_at + rng.integers(60, 900, n)
    consumable = np.array([c.consumable for c in words.CATEGORIES])[items.category[item]]
    amount = 1.0 + np.where(consumable, rng.poisson(0.6, n), 0)
    price = items.price[item]

    searches = np.flatnonzero(sessions.search)
    parts = [(SEARCH, searches, np.full(len(searches), -1), sessions.time[searches], None, None)]
    parts.append((IMPRESSION, session, item, at, None, None))
    parts.append((CLICK, session[click], item[click], click_at[click], None, None))
    parts.append((VIEW, session[view], item[view], view_at[view], None, None))
    parts.append((CART, session[cart], item[cart], cart_at[cart], amount[cart], price[cart]))
    parts.append((PURCHASE, session[purchase], item[purchase], buy_at[purchase], amount[purchase], price[purchase]))
    code = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    rows, what, when = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))  # type: ignore[misc]
    quantity, paid = (
        np.concatenate([np.full(len(part[1]), np.nan) if part[i] is None else part[i] for part in parts])
        for i in (4, 5)
    )
    order = np.lexsort((code, rows, when))
    code, rows, what, when, quantity, paid = (a[order] for a in (code, rows, what, when, quantity, paid))
    events = pd.DataFrame(
        {
            "user_id": sessions.user_ids[rows],
            "item_id": np.append(items.ids, "")[what],
            "event_type": np.array(EVENT_TYPES, dtype=object)[code],
            "timestamp": moments(when),
            "quantity": quantity,
            "price": paid,
            "query": np.where(code == SEARCH, sessions.query[rows], ""),
            "session_id": sessions.ids[rows],
        }
    )
    bought = np.flatnonzero(purchase)
    return events, _reviews(
        settings, items, sessions, session[bought], item[bought], buy_at[bought], logit[bought], rng
    )


def _reviews(
    settings: ShopSettings,
    items: Items,
    sessions: Sessions,
    session: Array,
    item: Array,
    bought_at: Array,
    logit: Array,
    rng: np.random.Generator,
) -> pd.DataFrame:
    n = len(item)
    when = bought_at + (rng.uniform(1, 12, n) * SECONDS_PER_DAY).astype(np.int64)
    rating = np.clip(np.round(4.0 + 0.6 * logit + 0.8 * rng.normal(size=n)), 1, 5).astype(np.int64)
    form = rng.integers(0, 2, n)
    written = np.flatnonzero((rng.random(n) < REVIEW_SHARE) & (when < settings.end))
    written = written[np.argsort(when[written], kind="stable")]
    texts = []
    for row in written.tolist():
        language = int(sessions.language[session[row]])
        name = words.PRODUCTS[items.product[item[row]]].name[language]
        attribute = words.ATTRIBUTES[items.attributes[item[row], 0]][0][language]
        tone = 0 if rating[row] < 3 else 1 if rating[row] == 3 else 2
        texts.append(words.REVIEW_TEXTS[language][tone][form[row]].format(name, attribute))
    return pd.DataFrame(
        {
            "user_id": sessions.user_ids[session[written]],
            "item_id": items.ids[item[written]],
            "rating": rating[written].astype(np.float64),
            "text": np.array(texts, dtype=object),
            "timestamp": moments(when[written]),
        }
    )
