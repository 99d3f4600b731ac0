"""The zoo's entries by name: what each is for, and how it is built from a configuration."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models import zoo
from models.options import ModelOptions

#: Name in a module of `models.zoo` of its entry; the module has the entry's name.
ENTRY = "ENTRY"


@dataclass(frozen=True)
class Entry:
    """A model of the zoo.

    Attributes:
      purpose: what it is for, in one line.
      task: what it does: `ranking` (of a catalogue), `click` (how likely a candidate is clicked), `tagging` (of texts).
      gate_metric: the metric that says whether it is good.
      signatures: that its SavedModel has beside the default one, by the names of `serving.contract`.
      options: dataclass of what a configuration may say of it.
      build: (options, sizes, `models.options.LossOptions`) -> a model: from `models.sizes.Sizes` a
        `models.candidate_model.CandidateModel`, for `ranking` a `models.catalogue_model.CatalogueModel`; for `tagging`
        from `models.sizes.TextSizes` a `models.tagger.ProfileTagger`.
      losses: of `models.options.LossOptions`, the settings that it reads; a fit says of the others that they are passed
        over.
    """

    purpose: str
    task: str
    gate_metric: str
    signatures: tuple[str, ...]
    options: type[ModelOptions]
    build: Callable[[Any, Any, Any], Any]
    losses: tuple[str, ...] = ()


def names() -> tuple[str, ...]:
    """Names of all entries, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(zoo.__path__)))


def entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
      ValueError: if there is none.
    """
    if name not in names():
        raise ValueError(f"the zoo has no entry {name!r}; expected one of {', '.join(names())}.")
    found: Entry = getattr(importlib.import_module(f"{zoo.__name__}.{name}"), ENTRY)
    return found
