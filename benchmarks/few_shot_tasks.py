"""Short texts of a shop and their classes, for `benchmarks.few_shot`."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfx_pipeline.raw_tables.rejects import DataError


@dataclass(frozen=True)
class TextTask:
    """Texts to classify.

    Attributes:
      texts: of the shop.
      labels: int, class of each.
      words: of each class, that a prompt's [MASK] may stand for.
      pattern: the prompt, with {text} and [MASK].
    """

    texts: list[str]
    labels: np.ndarray
    words: tuple[tuple[str, ...], ...]
    pattern: str


_CATEGORIES = {
    "Baby": ("baby",),
    "Beauty": ("beauty", "cosmetics"),
    "Electronics": ("electronics", "technology"),
    "Fashion": ("fashion", "clothing"),
    "Food": ("food", "drink"),
    "Home": ("home", "furniture"),
    "Office": ("office", "paper"),
    "Outdoor": ("outdoor", "camping"),
    "Pets": ("pet", "dog"),
    "Sports": ("sports", "fitness"),
}

#: A console's names are taken out of the title: which games and accessories are its own has to be known.
_PLATFORMS = {
    ("nintendo",): r"nintendo|wii( u)?|gamecube|game ?boy( advance)?|3?ds\b( ?lite)?|n64|mario",
    ("playstation", "sony"): r"play ?station( \w)?|ps[1234]|psp|ps vita|sony",
    ("xbox", "microsoft"): r"xbox( 360| one)?|kinect|microsoft",
}


def sentiment(data: pathlib.Path) -> TextTask:
    """Reviews of the synthetic shop, English and Chinese: 0 for a rating up to 2, 1 from 4 on."""
    reviews = pd.read_parquet(data / "reviews.parquet", columns=["rating", "text"]).drop_duplicates("text")
    reviews = reviews[(reviews["rating"] >= 4) | (reviews["rating"] <= 2)]
    labels = (reviews["rating"] >= 4).to_numpy(np.int64)
    words = (("terrible", "bad", "poor"), ("great", "good", "perfect"))
    return TextTask(reviews["text"].tolist(), labels, words, "{text} It was [MASK].")


def category(data: pathlib.Path, chinese: bool = False) -> TextTask:
    """Top category of the synthetic shop's titles, of which half is English and half Chinese."""
    items = pd.read_parquet(data / "items.parquet", columns=["title", "category"])
    names = items["category"].str.split(" > ").str[0]
    texts = items["title"].str.split(" · ").str[int(chinese)]
    labels = names.map({name: place for place, name in enumerate(_CATEGORIES)}).to_numpy(np.int64)
    return TextTask(texts.tolist(), labels, tuple(_CATEGORIES.values()), "{text}. This is a [MASK] product.")


def platform(data: pathlib.Path) -> TextTask:
    """Console of the titles of Amazon Video Games that name exactly one, with its names taken out."""
    items = pd.read_csv(data, sep="\t", names=["item", "title"], header=0, quoting=3, dtype=str).dropna()
    found: list[tuple[str, int]] = []
    for title in items["title"]:
        named = [place for place, names in enumerate(_PLATFORMS.values()) if re.search(rf"\b({names})", title, re.I)]
        if len(named) == 1:
            every = "|".join(_PLATFORMS.values())
            rest = re.sub(r"[\s\-:;,.()\[\]/]+", " ", re.sub(rf"\b({every})", " ", title, flags=re.I)).strip()
            if len(rest.split()) > 1:
                found.append((rest, named[0]))
    texts = [text for text, _ in found]
    return TextTask(
        texts, np.array([label for _, label in found]), tuple(_PLATFORMS), "{text}. A game for the [MASK] console."
    )


TASKS: dict[str, Callable[[pathlib.Path], TextTask]] = {
    "sentiment": sentiment,
    "category": category,
    "category_zh": lambda data: category(data, chinese=True),
    "platform": platform,
}


def read(name: str, data: pathlib.Path) -> TextTask:
    """The texts of a task.

    Args:
      name: of `TASKS`.
      data: folder of the synthetic shop's tables, or for `platform` a `.item` file of RecBole's form.

    Raises:
      DataError: if they cannot be read.
    """
    try:
        return TASKS[name](data)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{data}: holds no texts for the task {name} ({error}).") from None
