"""Items and users of the synthetic shop: their latent truth, and the tables that show a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.features import SECONDS_PER_DAY
from tfx_pipeline.raw_tables import synthetic_words as words
from tfx_pipeline.settings import SettingsError

START = 1_704_067_200  # 2024-01-01 00:00:00 UTC
LATENT = 8
IMAGE = 16
NEW_ITEM_SHARE = 0.2
NEW_USER_SHARE = 0.35
CONTENT_SHARE = 0.03
CAMPAIGN_SHARE = 0.01
HABIT_SHARE = 0.3
NEIGHBOUR_POOL = 64  # items of its category among which an item's also_bought are looked for

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ShopSettings:
    """What is asked of the generator; the same settings give the same shop.

    Attributes:
      users: number of users; events grow linearly with it (about 49 a user in 90 days).
      items: size of the catalogue, at least 100 (80 kinds of product).
      days: length of the log, at least 10.
      seed: of everything.
    """

    users: int = 1500
    items: int = 500
    days: int = 90
    seed: int = 1

    def __post_init__(self) -> None:
        for name, least in (("users", 20), ("items", 100), ("days", 10), ("seed", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"synthetic shop: `{name}` is {getattr(self, name)}; expected at least {least}.")

    @property
    def end(self) -> int:
        """The first second after the log."""
        return START + self.days * SECONDS_PER_DAY


@dataclass(frozen=True)
class Items:
    """The catalogue: arrays over items, in the order of `table`.

    Attributes:
      product, category, brand: indices into the word lists.
      attributes: [items, 2], -1 for none.
      latent: [items, LATENT] unit vectors.
      weight: popularity, before anything is known of a user.
      price_level: z-score of the log price within the category.
      price: NaN for what is not sold (content, campaign).
      sold: whether it can be bought.
      first_seen: seconds, 0 when it was always there.
      ids: item_id.
      attribute_vectors: [attributes, LATENT].
    """

    product: Array
    category: Array
    brand: Array
    attributes: Array
    latent: Array
    weight: Array
    price_level: Array
    price: Array
    sold: Array
    first_seen: Array
    ids: Array
    attribute_vectors: Array
    table: pd.DataFrame
    relations: pd.DataFrame


@dataclass(frozen=True)
class Users:
    """A chunk of users: arrays over its users, in the order of `table`.

    Attributes:
      language: 0 English, 1 Chinese.
      taste: [3, users, categories]: a fixed part, and two that drift rotates between.
      liking: [2, users, LATENT], likewise.
      drift: angle (radians) covered from the start to the end of the log.
      price_level: the price level they like.
      joined: seconds; START for those who were always there.
      rate: expected sessions a day.
      habit: an item bought again and again, -1 for none; every `period` days.
    """

    first: int
    language: Array
    taste: Array
    liking: Array
    drift: Array
    price_level: Array
    joined: Array
    rate: Array
    habit: Array
    period: Array
    ids: Array
    table: pd.DataFrame

    def at(self, rows: Array, times: Array, end: int) -> tuple[Array, Array]:
        """Taste [n, categories] and liking [n, LATENT] of users `rows` at `times`."""
        angle = (self.drift[rows] * (times - START) / (end - START))[:, None]
        turn, other = np.cos(angle), np.sin(angle)
        taste = self.taste[0][rows] + turn * self.taste[1][rows] + other * self.taste[2][rows]
        return taste, turn * self.liking[0][rows] + other * self.liking[1][rows]


def numbered(prefix: str, first: int, count: int, width: int) -> Array:
    """Ids such as "u000017" as an object array."""
    return np.array([f"{prefix}{n:0{width}d}" for n in range(first, first + count)], dtype=object)


def moments(seconds: Array) -> pd.Series:
    """Seconds as UTC times; NaT for 0."""
    times = np.where(seconds == 0, np.datetime64("NaT"), seconds.astype("datetime64[s]"))
    return pd.Series(times.astype("datetime64[ns]")).dt.tz_localize("UTC")


def make_items(settings: ShopSettings) -> Items:
    """Draws the catalogue."""
    rng = np.random.default_rng([settings.seed, 0])
    n, kinds = settings.items, len(words.PRODUCTS)
    product = np.concatenate([np.arange(kinds), rng.integers(0, kinds, n - kinds)])
    category = product // words.PRODUCTS_PER_CATEGORY
    brands_of = np.array([c.brands for c in words.CATEGORIES])
    attributes_of = np.array([c.attributes for c in words.CATEGORIES])
    brand = brands_of[category, rng.integers(0, brands_of.shape[1], n)]
    picks = rng.random((n, attributes_of.shape[1])).argsort(axis=1)[:, :2]
    attributes = np.take_along_axis(attributes_of[category], picks, axis=1)
    attributes[rng.random(n) < 0.4, 1] = -1

    attribute_vectors = rng.normal(size=(len(words.ATTRIBUTES), LATENT))
    brand_vectors = rng.normal(size=(len(words.BRANDS), LATENT))
    second = np.where((attributes[:, 1] >= 0)[:, None], attribute_vectors[attributes[:, 1]], 0.0)
    latent = (
        attribute_vectors[attributes[:, 0]] + second + 0.8 * brand_vectors[brand] + 0.8 * rng.normal(size=(n, LATENT))
    )
    latent /= np.linalg.norm(latent, axis=1, keepdims=True)

    level = 0.5 * rng.normal(size=len(words.BRANDS))[brand] + 0.85 * rng.normal(size=n)
    median = np.array([c.price for c in words.CATEGORIES])[category]
    chance = rng.random(n)
    chance[:kinds] = 1.0  # every kind of product has one that is sold and was always there
    content, campaign = chance < CONTENT_SHARE, (chance >= CONTENT_SHARE) & (chance < CONTENT_SHARE + CAMPAIGN_SHARE)
    sold = ~(content | campaign)
    price = np.where(sold, np.maximum(0.5, np.round(median * np.exp(0.45 * level), 2)), np.nan)
    first_seen = (START + rng.random(n) * 0.95 * settings.days * SECONDS_PER_DAY).astype(np.int64)
    new = rng.random(n) < NEW_ITEM_SHARE
    new[:kinds] = False
    first_seen[~new] = 0
    weight = np.exp(0.9 * rng.normal(size=n))
    image = (latent @ rng.normal(size=(LATENT, IMAGE)) + 0.5 * rng.normal(size=(n, IMAGE))).astype(np.float32)

    order = rng.permutation(n)  # so that an item's number says nothing
    product, category, brand, attributes, latent = (a[order] for a in (product, category, brand, attributes, latent))
    level, price, sold, first_seen, weight, image = (a[order] for a in (level, price, sold, first_seen, weight, image))
    kind = np.where(content, "content", np.where(campaign, "campaign", "product"))[order]
    ids = numbered("i", 0, n, 6)
    table = pd.DataFrame(
        {
            "item_id": ids,
            "title": _titles(product, brand, attributes, kind),
            "description": [
                words.description(b, tuple(a for a in pair if a >= 0), p)
                for b, pair, p in zip(brand.tolist(), attributes.tolist(), product.tolist(), strict=True)
            ],
            "category": np.array([c.path[words.ENGLISH] for c in words.CATEGORIES], dtype=object)[category],
            "brand": np.array([english for english, _ in words.BRANDS], dtype=object)[brand],
            "price": price,
            "item_type": kind.astype(object),
            "first_seen": moments(first_seen),
            "image_embedding": list(image),
        }
    )
    relations = _relations(rng, product, category, brand, latent, ids)
    return Items(
        product=product,
        category=category,
        brand=brand,
        attributes=attributes,
        latent=latent,
        weight=weight,
        price_level=level,
        price=price,
        sold=sold,
        first_seen=first_seen,
        ids=ids,
        attribute_vectors=attribute_vectors,
        table=table,
        relations=relations,
    )


def _titles(product: Array, brand: Array, attributes: Array, kind: Array) -> Array:
    titles = []
    for p, b, pair, k in zip(product.tolist(), brand.tolist(), attributes.tolist(), kind.tolist(), strict=True):
        if k == "content":
            english, chinese = words.PRODUCTS[p].name
            titles.append(f"{english.capitalize()} buying guide · {chinese} 选购指南")
        elif k == "campaign":
            english, chinese = words.BRANDS[b]
            titles.append(f"{english} {words.PRODUCTS[p].name[0]} sale · {chinese} {words.PRODUCTS[p].name[1]} 促销")
        else:
            titles.append(words.title(b, tuple(a for a in pair if a >= 0), p))
    series = pd.Series(titles, dtype=object)
    again = series.groupby(series).cumcount().to_numpy()
    return np.array([t if not n else f"{t} {n + 1}" for t, n in zip(titles, again.tolist(), strict=True)], dtype=object)


def _relations(
    rng: np.random.Generator, product: Array, category: Array, brand: Array, latent: Array, ids: Array
) -> pd.DataFrame:
    parts = []
    for members in (np.flatnonzero(category == c) for c in range(len(words.CATEGORIES))):
        pool = members[rng.permutation(len(members))[:NEIGHBOUR_POOL]]
        closeness = latent[members] @ latent[pool].T
        closeness[members[:, None] == pool[None, :]] = -np.inf
        nearest = pool[np.argsort(-closeness, axis=1, kind="stable")[:, :2]]
        parts.append(pd.DataFrame({"a": np.repeat(members, 2), "relation": "also_bought", "b": nearest.ravel()}))
    groups = category * len(words.BRANDS) + brand
    order = np.argsort(groups, kind="stable")
    following = np.roll(order, -1)
    same = groups[order] == groups[following]
    parts.append(pd.DataFrame({"a": order[same], "relation": "same_brand", "b": following[same]}))
    kinds = {p.name[words.ENGLISH]: index for index, p in enumerate(words.PRODUCTS)}
    for accessory, main in words.ACCESSORY_OF.items():
        members, hosts = np.flatnonzero(product == kinds[accessory]), np.flatnonzero(product == kinds[main])
        chosen = hosts[rng.integers(0, len(hosts), len(members))]
        parts.append(pd.DataFrame({"a": members, "relation": "accessory_of", "b": chosen}))
    joined = pd.concat(parts, ignore_index=True)
    joined = joined[joined["a"] != joined["b"]]
    return pd.DataFrame(
        {
            "item_id": ids[joined["a"].to_numpy()],
            "relation": joined["relation"].to_numpy(),
            "related_item_id": ids[joined["b"].to_numpy()],
        }
    )


def make_users(settings: ShopSettings, items: Items, first: int, count: int, rng: np.random.Generator) -> Users:
    """Draws users number `first` to `first + count`.

    What is common to all users (how tastes hang together with demographics) comes from the seed alone.
    """
    common = np.random.default_rng([settings.seed, 1])
    n_categories = len(words.CATEGORIES)
    effects = [
        common.normal(size=(k, n_categories)) for k in (len(words.COUNTRIES), len(words.GENDERS), len(words.AGE_BANDS))
    ]
    country = rng.choice(len(words.COUNTRIES), count, p=words.COUNTRY_SHARES)
    gender = rng.choice(len(words.GENDERS), count, p=words.GENDER_SHARES)
    age = rng.choice(len(words.AGE_BANDS), count, p=words.AGE_SHARES)
    language = (rng.random(count) < np.array(words.CHINESE_SHARES)[country]).astype(np.int64)
    shared = 0.25 * effects[0][country] + 0.5 * effects[1][gender] + 0.5 * effects[2][age]
    taste = np.stack([shared, rng.normal(size=shared.shape), rng.normal(size=shared.shape)])
    liking = rng.normal(size=(2, count, LATENT))
    price_level = rng.normal(size=count)

    new = rng.random(count) < NEW_USER_SHARE
    joined = np.where(new, START + (rng.random(count) * 0.97 * settings.days * SECONDS_PER_DAY).astype(np.int64), START)
    rate = 0.037 * np.exp(0.7 * rng.normal(size=count) - 0.245)
    consumable = np.array([c.consumable for c in words.CATEGORIES])[items.category]
    regular = np.flatnonzero(consumable & items.sold & (items.first_seen == 0))
    habit = np.where(rng.random(count) < HABIT_SHARE, regular[_best_habit(rng, items, regular, taste, liking)], -1)
    ids = numbered("u", first, count, 7)

    # what is known of a new user: a sentence only, demographics only, both, nothing; most of the others have told both
    told = rng.random(count)
    has_text = np.where(new, (told < 0.3) | ((told >= 0.6) & (told < 0.9)), told < 0.45)
    has_demographics = np.where(new, (told >= 0.3) & (told < 0.9), rng.random(count) < 0.85)
    texts = _free_texts(rng, items, taste[0] + taste[1], liking[0], price_level, language)
    table = pd.DataFrame(
        {
            "user_id": ids,
            "free_text": np.where(has_text, texts, ""),
            "country": np.where(has_demographics, np.array(words.COUNTRIES, dtype=object)[country], ""),
            "gender": np.where(has_demographics, np.array(words.GENDERS, dtype=object)[gender], ""),
            "age_band": np.where(has_demographics, np.array(words.AGE_BANDS, dtype=object)[age], ""),
        }
    )
    return Users(
        first=first,
        language=language,
        taste=taste,
        liking=liking,
        drift=rng.random(count) * np.pi / 2,
        price_level=price_level,
        joined=joined,
        rate=rate,
        habit=habit,
        period=rng.uniform(12, 35, count),
        ids=ids,
        table=table,
    )


def _best_habit(rng: np.random.Generator, items: Items, regular: Array, taste: Array, liking: Array) -> Array:
    count = taste.shape[1]
    offered = rng.integers(0, len(regular), (count, 12))
    item = regular[offered]
    tastes = np.take_along_axis(taste[0] + taste[1], items.category[item], axis=1)
    best = (tastes + np.einsum("ud,ukd->uk", liking[0], items.latent[item])).argmax(axis=1)
    return offered[np.arange(count), best]


def _free_texts(
    rng: np.random.Generator, items: Items, taste: Array, liking: Array, price_level: Array, language: Array
) -> Array:
    top = np.argsort(-taste, axis=1)[:, :2]
    attribute = (liking @ items.attribute_vectors.T).argmax(axis=1)
    price = np.digitize(price_level, (-0.6, 0.6))
    form = rng.integers(0, len(words.FREE_TEXTS[0]), len(taste))
    texts = []
    for (a, b), like, money, f, language_ in zip(
        top.tolist(), attribute.tolist(), price.tolist(), form.tolist(), language.tolist(), strict=True
    ):
        text = words.FREE_TEXTS[language_][f].format(
            words.CATEGORIES[a].interest[language_],
            words.CATEGORIES[b].interest[language_],
            words.ATTRIBUTES[like][0][language_],
            words.PRICE_WORDS[language_][money],
        )
        texts.append(text[0].upper() + text[1:])
    return np.array(texts, dtype=object)
