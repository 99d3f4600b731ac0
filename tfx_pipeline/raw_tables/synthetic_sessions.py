"""Sessions of the synthetic shop: what is wanted, typed and shown, and how likely each item is chosen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.features import SECONDS_PER_DAY
from tfx_pipeline.raw_tables import synthetic_words as words
from tfx_pipeline.raw_tables.synthetic_pool import Pool
from tfx_pipeline.raw_tables.synthetic_world import START, Array, Items, ShopSettings, Users, numbered

SESSION_SECONDS = 3600  # a session is over by then, and none of the same user begins before
SLATE = 8
DRAWS = 14  # of which the first SLATE distinct ones are shown

# --- frozen constants of the difficulty; `synthetic.py` has the figures that they give --------------------------
SEARCH_SHARE = 0.66
# what a query names: product, attribute + product, brand + product, interest, bare noun, attribute, brand
FORMS = ("product", "attribute product", "brand product", "interest", "head", "attribute", "brand")
FORM_SHARES = (0.34, 0.32, 0.1, 0.06, 0.08, 0.05, 0.05)
NAMES_PRODUCT = np.array([True, True, True, False, True, False, False])
NAMES_ATTRIBUTE = np.array([False, True, False, False, False, True, False])
NAMES_BRAND = np.array([False, False, True, False, False, False, True])
PRODUCT_SYNONYM_SHARE = 0.12
ATTRIBUTE_SYNONYM_SHARE = 0.15
TYPO_SHARE = 0.05
JOINED_SHARE = 0.5  # of Chinese queries, written without spaces
# the logging policy's slots: product asked for, category, popular, anything
SEARCH_SLOTS = (0.42, 0.28, 0.15, 0.15)
BROWSE_SLOTS = (0.0, 0.58, 0.24, 0.18)
LOST_SHARE = 0.55  # of slots for the product, given to popular items where the query leaves it open
TASTE_SHARPNESS = 1.5
# the utility of an item (a logit)
BIAS = -2.7
WEIGHT_SEARCH_CATEGORY = 1.1
WEIGHT_BROWSE_CATEGORY = 0.7
WEIGHT_PRODUCT = 0.8
WEIGHT_ATTRIBUTE = 0.6
WEIGHT_BRAND = 0.6
WEIGHT_TASTE = 0.25
WEIGHT_LIKING = 0.6
WEIGHT_PRICE = 0.25
WEIGHT_POPULARITY = 0.25
WEIGHT_HABIT = 1.6
POSITION_BIAS = 0.12
VIEW_SHARE = 0.85


@dataclass(frozen=True)
class Sessions:
    """Sessions and what is true of them: arrays over sessions, in order of time within a chunk of users.

    Attributes:
      ids, user_ids: strings.
      user: row in its chunk of users.
      time: of the first event, in seconds.
      language: 0 English, 1 Chinese.
      search: whether it began with a query.
      form: what the query names, an index into `FORMS`; -1 without a search.
      category, product, attribute, brand: what is wanted; the last three are -1 unless a query names them.
      habit: the item that is due, -1 for none.
      query: as typed, "" without a search.
      terms: the query's words before typos and joining, separated by spaces.
      typo: whether it has one.
      taste, liking, price_level: the user's, at that moment.
    """

    ids: Array
    user_ids: Array
    user: Array
    time: Array
    language: Array
    search: Array
    form: Array
    category: Array
    product: Array
    attribute: Array
    brand: Array
    habit: Array
    query: Array
    terms: Array
    typo: Array
    taste: Array
    liking: Array
    price_level: Array


def make_pools(items: Items) -> tuple[Pool, Pool, Pool, Pool]:
    """The pools of a slate's slots: product asked for, category, popular, anything."""
    everything = np.zeros(len(items.ids), np.int64)
    return (
        Pool(np.where(items.sold, items.product, -1), items.weight, items.first_seen),
        Pool(items.category, items.weight, items.first_seen),
        Pool(everything, items.weight**1.6, items.first_seen),
        Pool(everything, np.ones(len(everything)), items.first_seen),
    )


def sigmoid(x: Array) -> Array:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def utility(items: Items, sessions: Sessions, rows: Array, chosen: Array) -> Array:
    """The logit of a click at the top position.

    Args:
      items: the catalogue.
      sessions: the sessions.
      rows: [n] rows of `sessions`.
      chosen: [n] or [n, m] rows of the catalogue.

    Returns:
      Of the shape of `chosen`.
    """
    extra = (slice(None),) + (None,) * (chosen.ndim - 1)

    def wanted(name: str, of_item: Array) -> Array:
        value: Array = getattr(sessions, name)[rows][extra]
        return (value >= 0) & (of_item == value)

    category = items.category[chosen]
    taste = np.take_along_axis(sessions.taste[rows], category.reshape(len(rows), -1), axis=1).reshape(chosen.shape)
    affinity = np.einsum("nd,n...d->n...", sessions.liking[rows], items.latent[chosen])
    gap = items.price_level[chosen] - sessions.price_level[rows][extra]
    weight = np.where(sessions.search[rows], WEIGHT_SEARCH_CATEGORY, WEIGHT_BROWSE_CATEGORY)[extra]
    attributes = items.attributes[chosen]
    attribute = wanted("attribute", attributes[..., 0]) | wanted("attribute", attributes[..., 1])
    score: Array = (
        BIAS
        + weight * wanted("category", category)
        + WEIGHT_PRODUCT * wanted("product", items.product[chosen])
        + WEIGHT_ATTRIBUTE * attribute
        + WEIGHT_BRAND * wanted("brand", items.brand[chosen])
        + WEIGHT_TASTE * taste
        + WEIGHT_LIKING * affinity
        - WEIGHT_PRICE * 0.5 * np.minimum(gap**2, 9.0)
        + WEIGHT_POPULARITY * np.log(items.weight[chosen])
        + WEIGHT_HABIT * wanted("habit", chosen)
    )
    return score


def cart_share(items: Items, item: Array, logit: Array) -> Array:
    """The probability that what was viewed goes into the cart."""
    share: Array = items.sold[item] * sigmoid(0.7 * logit + 0.1)
    return share


def buy_share(items: Items, sessions: Sessions, session: Array, item: Array) -> Array:
    """The probability that what is in the cart is bought."""
    return sigmoid(1.0 - 0.5 * np.abs(items.price_level[item] - sessions.price_level[session]))


def make_sessions(
    settings: ShopSettings, items: Items, pools: tuple[Pool, ...], users: Users, first: int, rng: np.random.Generator
) -> Sessions:
    """Draws when users of a chunk come and what they want; session numbers start at `first`."""
    latest = settings.end - SESSION_SECONDS
    days_left = (settings.end - users.joined) / SECONDS_PER_DAY
    count = rng.poisson(users.rate * days_left) + (users.joined > START)
    rows = np.repeat(np.arange(len(users.ids)), count)
    times = users.joined[rows] + (rng.random(len(rows)) * (latest - users.joined[rows])).astype(np.int64)
    opening = np.flatnonzero(np.diff(rows, prepend=-1) != 0)
    opening = opening[users.joined[rows[opening]] > START]
    times[opening] = users.joined[rows[opening]]  # joining is the first session

    regular = np.flatnonzero(users.habit >= 0)
    rounds = np.ceil(days_left[regular] / users.period[regular]).astype(np.int64)
    again = np.repeat(regular, rounds)
    turn = np.arange(len(again)) - np.repeat(np.cumsum(rounds) - rounds, rounds)
    phase = rng.random(len(users.ids))[again]
    due = users.joined[again] + ((turn + phase) * users.period[again] + 0.6 * rng.random(len(again))) * SECONDS_PER_DAY
    due = due.astype(np.int64)

    user, time = np.concatenate([rows, again]), np.concatenate([times, due])
    habit = np.concatenate([np.full(len(rows), -1), users.habit[again]])
    order = np.lexsort((time, user))
    user, time, habit = user[order], time[order], habit[order]
    close = (np.diff(user, prepend=-1) == 0) & (np.diff(time, prepend=0) < SESSION_SECONDS)
    keep = ~close & (time <= latest)
    user, time, habit = user[keep], time[keep], habit[keep]
    order = np.argsort(time, kind="stable")
    user, time, habit = user[order], time[order], habit[order]

    n = len(user)
    taste, liking = users.at(user, time, settings.end)
    category = (TASTE_SHARPNESS * taste + rng.gumbel(size=taste.shape)).argmax(axis=1)
    category = np.where(habit >= 0, items.category[habit], category)
    anchor = np.where(habit >= 0, habit, pools[1].draw(rng, category, time))
    search = rng.random(n) < SEARCH_SHARE
    form = np.where(search, rng.choice(len(FORMS), n, p=FORM_SHARES), -1)
    second = (items.attributes[anchor, 1] >= 0) & (rng.random(n) < 0.5)
    attribute = np.where(second, items.attributes[anchor, 1], items.attributes[anchor, 0])
    language = users.language[user]
    terms, query, typo = _queries(rng, form, language, items.product[anchor], attribute, items.brand[anchor])
    return Sessions(
        ids=numbered("s", first, n, 9),
        user_ids=users.ids[user],
        user=user,
        time=time,
        language=language,
        search=search,
        form=form,
        category=category,
        product=np.where(search & NAMES_PRODUCT[form], items.product[anchor], -1),
        attribute=np.where(search & NAMES_ATTRIBUTE[form], attribute, -1),
        brand=np.where(search & NAMES_BRAND[form], items.brand[anchor], -1),
        habit=habit,
        query=query,
        terms=terms,
        typo=typo,
        taste=taste,
        liking=liking,
        price_level=users.price_level[user],
    )


def _queries(
    rng: np.random.Generator, form: Array, language: Array, product: Array, attribute: Array, brand: Array
) -> tuple[Array, Array, Array]:
    n = len(form)
    products = np.array(
        [(p.name, p.synonym, p.head) for p in words.PRODUCTS], dtype=object
    )  # [product, which, language]
    attributes = np.array(words.ATTRIBUTES, dtype=object)
    interests = np.array([c.interest for c in words.CATEGORIES], dtype=object)
    brands = np.array([(english.lower(), chinese) for english, chinese in words.BRANDS], dtype=object)
    which = np.where(form == FORMS.index("head"), 2, rng.random(n) < PRODUCT_SYNONYM_SHARE)
    noun = np.where(NAMES_PRODUCT[form], products[product, which, language], "")
    noun = np.where(form == FORMS.index("interest"), interests[product // words.PRODUCTS_PER_CATEGORY, language], noun)
    synonym = (rng.random(n) < ATTRIBUTE_SYNONYM_SHARE).astype(np.int64)
    before = np.where(NAMES_ATTRIBUTE[form], attributes[attribute, synonym, language], "")
    before = np.where(NAMES_BRAND[form], brands[brand, language], before)
    gap = np.where((before != "") & (noun != ""), " ", "")
    terms = np.where(form >= 0, before + gap + noun, "").astype(object)

    joined = (language == words.CHINESE) & (rng.random(n) < JOINED_SHARE)
    query = terms.copy()
    query[joined] = [text.replace(" ", "") for text in query[joined]]
    typo = (form >= 0) & (rng.random(n) < TYPO_SHARE)
    places = rng.random(n)
    for row in np.flatnonzero(typo):
        query[row] = mistyped(query[row], places[row], bool(language[row] == words.CHINESE))
    return (
        terms,
        query,
        typo & (query != terms) & ~(joined & (query == np.array([t.replace(" ", "") for t in terms], dtype=object))),
    )


def mistyped(text: str, place: float, chinese: bool) -> str:
    """Swaps two neighbouring letters, or leaves out a Chinese character."""
    if len(text) < 3:
        return text
    if chinese:
        at = int(place * len(text))
        return text[:at] + text[at + 1 :]
    at = 1 + int(place * (len(text) - 2))
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


def show(items: Items, pools: tuple[Pool, ...], sessions: Sessions, rng: np.random.Generator) -> pd.DataFrame:
    """Draws the slates.

    Returns:
      session (row of `sessions`), item (row of `items`), position, click_probability, purchase_probability.
    """
    n = len(sessions.ids)
    times = np.repeat(sessions.time, DRAWS)
    slots = np.where(
        np.repeat(sessions.search, DRAWS),
        rng.choice(4, n * DRAWS, p=SEARCH_SLOTS),
        rng.choice(4, n * DRAWS, p=BROWSE_SLOTS),
    )
    form, product = np.repeat(sessions.form, DRAWS), np.repeat(sessions.product, DRAWS)
    vague = np.isin(form, [FORMS.index(name) for name in ("interest", "head", "attribute", "brand")])
    slots = np.where((slots == 0) & vague & (rng.random(n * DRAWS) < LOST_SHARE), 2, slots)
    slots = np.where((slots == 0) & (product < 0), 1, slots)
    drawn = np.empty(n * DRAWS, np.int64)
    groups = (product, np.repeat(sessions.category, DRAWS), np.zeros_like(product), np.zeros_like(product))
    for slot, (pool, group) in enumerate(zip(pools, groups, strict=True)):
        here = slots == slot
        drawn[here] = pool.draw(rng, group[here], times[here])
    drawn = drawn.reshape(n, DRAWS)
    due = np.flatnonzero(sessions.habit >= 0)
    drawn[due, rng.integers(0, SLATE, len(due))] = sessions.habit[due]

    fresh = np.ones(drawn.shape, bool)
    for column in range(1, DRAWS):
        fresh[:, column] = (drawn[:, :column] != drawn[:, column : column + 1]).all(axis=1)
    position = np.cumsum(fresh, axis=1) - 1
    shown = fresh & (position < SLATE)
    session = np.nonzero(shown)[0]
    item, position = drawn[shown], position[shown]
    logit = utility(items, sessions, session, item)
    click = sigmoid(logit - POSITION_BIAS * position)
    bought = VIEW_SHARE * cart_share(items, item, logit) * buy_share(items, sessions, session, item)
    return pd.DataFrame(
        {
            "session": session,
            "item": item,
            "position": position,
            "click_probability": click,
            "purchase_probability": click * bought,
        }
    )


def joined(parts: list[Sessions]) -> Sessions:
    """The sessions of several chunks, one after the other."""
    names = [field.name for field in dataclasses.fields(Sessions)]
    return Sessions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
