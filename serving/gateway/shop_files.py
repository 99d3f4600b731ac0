"""What the files of a shop say now: who may call, which rules and which experiment hold, what is popular."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable
from typing import TypeVar

from serving.experiment.arm import Arm
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.gateway.json_logs import log
from serving.gateway.settings import TITLES, GatewaySettings
from serving.gateway.tokens import Token, Tokens
from serving.rules.catalogue import Catalogue
from serving.rules.engine import Engine
from serving.rules.item_list import read_item_list
from serving.rules.kinds import KEEP
from serving.rules.rule_set import RuleSet, RuleSettings
from serving.rules.snapshot import Snapshot
from serving.rules.watched import Watched

T = TypeVar("T")
_TITLE = "title"
#: Who calls where no tokens are asked for.
ANYBODY = Token("anybody", "0" * 64)


class ShopFiles:
    """Reads the files of a configuration, and again when they change; requests only look at the attributes.

    A file that cannot be read any more, or rules and an experiment that do not fit together any more, leave what was
    there before, and the log says why.

    Args:
      settings: that name the files.

    Attributes:
      engine: of the rules.
      experiment: that deals users to arms.
      tokens: of callers; None where none are asked for.
      popular: items, best first; empty where no file names them.

    Raises:
      ValueError: if a file cannot be used, or they do not fit together; the message is one sentence.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        columns = [_TITLE] if TITLES in settings.profile_text.sources else []
        self._columns = tuple(dict.fromkeys([*settings.item_columns, *columns]))
        self._catalogue = Catalogue(Snapshot.of([], {}))
        # The engine looks at what rules name by itself: lists, forbidden items, the review queue.
        self._items = _followed(settings.items, lambda path: Catalogue.read(path, self._columns).snapshot)
        if self._items:
            self._catalogue.replace(self._items.get())
        self._engine = _followed(settings.rules, self._read_engine)
        self._experiment = _followed(settings.experiment, Experiment.read)
        self._tokens = _followed(settings.access.tokens, Tokens.read)
        self._popular = _followed(settings.fallback.popular, read_item_list)
        self._disagreement = ""
        self.engine = self._engine.get() if self._engine else _no_rules(self._catalogue)
        self.experiment = self._experiment.get() if self._experiment else _no_experiment(settings)
        self.tokens = self._tokens.get() if self._tokens else None
        self.popular = self._popular.get() if self._popular else ()
        _check_arms(self.experiment, self.engine)

    def look(self) -> None:
        """Reads what has changed; takes time, so that it is called in a thread."""
        if self._items:
            snapshot = self._items.get()
            if snapshot is not self._catalogue.snapshot:
                self._catalogue.replace(snapshot)
                log("items changed", items=len(snapshot.index))
        if self._tokens:
            self.tokens = self._tokens.get()
        if self._popular:
            self.popular = self._popular.get()
        engine = self._engine.get() if self._engine else self.engine
        experiment = self._experiment.get() if self._experiment else self.experiment
        if engine is self.engine and experiment is self.experiment:
            return
        try:
            _check_arms(experiment, engine)
        except ValueError as error:
            if str(error) != self._disagreement:
                log("rules and experiment stay as they were", logging.ERROR, reason=str(error))
            self._disagreement = str(error)
        else:
            self.engine, self.experiment, self._disagreement = engine, experiment, ""
            log(
                "rules or experiment changed",
                experiment=experiment.name,
                arms={a.name: a.share for a in experiment.arms},
            )

    def title(self, item_id: str) -> str | None:
        """The title of an item, where `profile_text` needs titles; None for an item that is not in the table."""
        snapshot = self._catalogue.snapshot
        row = snapshot.index.get(item_id)
        if row is None:
            return None
        column = snapshot.texts[_TITLE]
        return column.names[column.codes[row]]

    def _read_engine(self, path: pathlib.Path) -> Engine:
        rules = RuleSet.load(path, self._catalogue.fields, self._settings.context_columns)
        return Engine(rules, self._catalogue)


def rules_of(arm: Arm) -> str:
    """What the rules know an arm by: the overlay that it asks for, else its own name."""
    return arm.rules or arm.name


def _followed(path: str, read: Callable[[pathlib.Path], T]) -> Watched[T] | None:
    """What a file holds, looked at anew at each call; None where none is named."""
    return Watched(pathlib.Path(path), lambda: read(pathlib.Path(path)), every_ms=0) if path else None


def _no_rules(catalogue: Catalogue) -> Engine:
    return Engine(RuleSet(pathlib.Path(), RuleSettings(unknown_items=KEEP), {}, (), {}, ()), catalogue)


def _no_experiment(settings: GatewaySettings) -> Experiment:
    """One that asks everybody of the same model."""
    model = settings.model
    arm = Arm("all", model.name, 1.0, model.label, model.version)
    return Experiment("none", "none", arm.name, (arm,), "1970-01-01")


def _check_arms(experiment: Experiment, engine: Engine) -> None:
    """Raises a ValueError if an arm's rules are not there, or come about by its name alone."""
    overlays = engine.rules.overlays
    for arm in experiment.arms:
        if arm.rules and arm.rules not in overlays:
            known = ", ".join(overlays) or "none"
            raise ExperimentError(f"arm {arm.name!r} has the rules {arm.rules!r}; expected an overlay ({known}).")
        if not arm.rules and arm.name in overlays:
            raise ExperimentError(
                f"arm {arm.name!r} has no `rules`, and there is an overlay of its name; expected `rules: {arm.name}`, "
                "or another name."
            )
