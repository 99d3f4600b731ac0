"""The same decision in other words: synonyms of a dictionary, or what a function of the user's makes of a text."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import random
import re
from collections.abc import Callable, Iterable, Iterator

from tfx.dsl.io import fileio

from models.settings_reader import SettingsError
from tfx_pipeline.example_gen.decision import Decision
from tfx_pipeline.settings import AugmentationSettings

#: From a text to texts that say the same, such as translations there and back.
Hook = Callable[[str], Iterable[str]]


class Augmenter:
    """Copies of a decision with another profile text and query; history, candidates and labels stay.

    The same text always becomes the same texts, so that a run that is done again writes the same bytes.

    Args:
      settings: what to replace words by. The hook must be importable where Beam's workers run; its name counts in the
        pipeline's cache, and the contents of the file of synonyms where it is a local one.

    Raises:
      SettingsError: if the hook cannot be imported, or the file cannot be read or has no group of two.

    Reference: Wei and Zou, EDA (2019); Sennrich et al., Improving Neural Machine Translation Models with Monolingual
    Data (2016).
    """

    def __init__(self, settings: AugmentationSettings) -> None:
        self._settings = settings
        self._hook = _load_hook(settings.hook) if settings.hook else None
        self._others = read_synonyms(settings.synonyms) if settings.synonyms else {}
        longest_first = sorted(self._others, key=lambda phrase: (-len(phrase), phrase))
        # \b lies between a letter and none; a Chinese phrase has letters around it, and no spaces.
        alternatives = [_bounded(phrase) for phrase in longest_first]
        self._pattern = re.compile("|".join(alternatives), re.IGNORECASE) if alternatives else None

    def copies(self, decision: Decision) -> Iterator[Decision]:
        """Copies that differ from the decision, and from each other."""
        texts = zip(self.variants(decision.profile_text), self.variants(decision.query), strict=True)
        seen = {(decision.profile_text, decision.query)}
        for profile_text, query in texts:
            if (profile_text, query) not in seen:
                seen.add((profile_text, query))
                yield dataclasses.replace(decision, profile_text=profile_text, query=query)

    def variants(self, text: str) -> list[str]:
        """`copies` texts from synonyms and `copies` from the hook, where there are such; the text itself for want."""
        found: list[str] = []
        if self._pattern is not None:
            found += [self._with_synonyms(text, number) for number in range(self._settings.copies)]
        if self._hook is not None:
            made = list(self._hook(text))[: self._settings.copies] if text else []
            found += made + [text] * (self._settings.copies - len(made))
        return found

    def _with_synonyms(self, text: str, number: int) -> str:
        digest = hashlib.blake2b(f"{number}\0{text}".encode(), digest_size=8).digest()
        draw = random.Random(int.from_bytes(digest, "big"))

        def replace(found: re.Match[str]) -> str:
            if draw.random() >= self._settings.share:
                return found[0]
            return draw.choice(self._others[found[0].lower()])

        assert self._pattern is not None
        return self._pattern.sub(replace, text)


def read_synonyms(path: str) -> dict[str, list[str]]:
    """Word or phrase, in small letters -> the others of its groups, in the order of the file.

    Raises:
      SettingsError: if the file cannot be read, or no line has two phrases.
    """
    expected = "expected a text file in UTF-8, a line for each group of phrases, separated by commas."
    try:
        with fileio.open(path, "rb") as file:
            lines = file.read().decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise SettingsError(f"decisions.augmentation.synonyms: {path} is not UTF-8; {expected}") from None
    except Exception as error:  # TFX's file systems raise errors of their own
        raise SettingsError(f"decisions.augmentation.synonyms: {path} cannot be read ({error}); {expected}") from None
    others: dict[str, list[str]] = {}
    for line in lines:
        group = list(dict.fromkeys(part.strip() for part in line.split(",") if part.strip()))
        for phrase in group:
            known = others.setdefault(phrase.lower(), [])
            known += [other for other in group if other.lower() != phrase.lower() and other not in known]
    others = {phrase: found for phrase, found in others.items() if found}
    if not others:
        raise SettingsError(f"decisions.augmentation.synonyms: {path} has no group of two; {expected}")
    return others


def _bounded(phrase: str) -> str:
    if not phrase.isascii():
        return re.escape(phrase)
    return rf"(?<![A-Za-z0-9]){re.escape(phrase)}(?![A-Za-z0-9])"


def _load_hook(name: str) -> Hook:
    module, _, function = name.rpartition(".")
    try:
        hook: Hook = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"decisions.augmentation.hook: {name} cannot be imported ({error}); expected module.function."
        ) from None
    return hook
