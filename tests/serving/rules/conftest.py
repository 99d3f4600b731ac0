"""A shop of a few items, and engines for rules that a test writes down."""

import numpy as np
import pytest

from serving.results import Recommendation
from serving.rules.catalogue import Catalogue
from serving.rules.engine import Engine
from serving.rules.rule_set import RuleSet
from serving.rules.shopper import Shopper
from serving.rules.snapshot import Snapshot

#: 2024-11-29, noon UTC.
NOW = 1732881600
DAY = 86400

#: id, category, brand, price, regions, min_age, days since first seen, in stock
ITEMS = [
    ("tea", "Food > Tea", "Leaf", 4.5, "", 0, 400, True),
    ("matcha", "Food > Tea", "Leaf", 19.0, "DE|FR", 0, 3, True),
    ("pot", "Kitchen > Pots", "Clay", 30.0, "", 0, 400, True),
    ("mug", "Kitchen > Cups", "Clay", 9.9, "", 0, 30, False),
    ("knife", "Kitchen > Knives", "Steel", 25.0, "DE", 18, 10, True),
    ("wine", "Food > Wine", "Chateau", 12.0, "DE|FR|US", 16, 400, True),
    ("foodie", "Foodie", "", np.nan, "", 0, 0, True),
    ("book", "", "", 15.0, "US", 0, 400, True),
]


@pytest.fixture
def catalogue():
    ids, categories, brands, prices, regions, ages, days, stock = zip(*ITEMS, strict=True)
    return Catalogue(
        Snapshot.of(
            ids,
            {"category": categories, "brand": brands, "regions": regions, "item_type": ["product"] * 7 + ["content"]},
            {
                "price": prices,
                "min_age": ages,
                "first_seen": [NOW - day * DAY if day else 0 for day in days],
            },
            stock,
        )
    )


@pytest.fixture
def load(tmp_path, catalogue):
    """Rules of a text, loaded from a file in tmp_path."""

    def loaded(text):
        path = tmp_path / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        return RuleSet.load(path, catalogue.fields, ("country", "gender"))

    return loaded


@pytest.fixture
def engine(load, catalogue):
    """The engine of rules that are written down; every item passes that no rule is about."""
    return lambda text: Engine(load(text), catalogue)


@pytest.fixture
def ranking():
    """A ranking of items with the scores n, n - 1, …, 1, or with others."""

    def made(ids, scores=None):
        item_ids = ids.split() if isinstance(ids, str) else list(ids)
        return Recommendation(item_ids, np.arange(len(item_ids), 0, -1.0) if scores is None else np.array(scores), 1)

    return made


@pytest.fixture
def shopper():
    """Somebody from Germany, aged 40, who once looked at something."""

    def made(**known):
        defaults = {
            "history": [("other", "view", NOW - 90 * DAY)],
            "context": {"country": "DE"},
            "age": 40,
            "time": NOW,
        }
        return Shopper(**{**defaults, **known})

    return made
