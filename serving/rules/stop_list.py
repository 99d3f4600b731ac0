"""Items that no rule can bring into an answer, as the files that say so have them now."""

from __future__ import annotations

import functools
import logging
import pathlib
from typing import NamedTuple

from serving.review.journal import Journal
from serving.review.state import BANNED, ReviewError, ReviewState
from serving.rules.forbidden import ForbiddenError, read_forbidden
from serving.rules.reader import RulesError
from serving.rules.rule_set import HIDE, RuleSet
from serving.rules.watched import Watched

_log = logging.getLogger(__name__)


class Stopped(NamedTuple):
    """Ids of items.

    Attributes:
      forbidden: listed, or banned in the review queue.
      hidden: waiting there, where the rules hide such items.
    """

    forbidden: frozenset[str]
    hidden: frozenset[str]


class StopList:
    """Follows the lists of forbidden items and the review queue that rules name.

    Args:
      rules: whose files they are.

    Raises:
      RulesError: if a file cannot be used when it is first read; what happens later, `Watched` says.
    """

    def __init__(self, rules: RuleSet) -> None:
        settings = rules.settings
        hides = settings.review.pending == HIDE
        self._parts: list[Watched[Stopped]] = []
        try:
            for path in rules.paths(settings.forbidden):
                read = functools.partial(_listed, path)
                self._parts.append(Watched(path, read, settings.check_every_ms))
            if settings.review.dir:
                (folder,) = rules.paths([settings.review.dir])
                journal = Journal(folder)

                def stopped(state: ReviewState) -> Stopped:
                    return Stopped(state.with_status(BANNED), frozenset(state.waiting) if hides else frozenset())

                def follow() -> Stopped:
                    return journal.read(stopped)

                nothing = Stopped(frozenset(), frozenset())
                if not journal.path.exists():
                    _log.warning(
                        "%s is not there yet; nothing is stopped by the review queue until it is.", journal.path
                    )
                self._parts.append(Watched(journal.path, follow, settings.check_every_ms, missing=nothing))
        except (ForbiddenError, ReviewError) as error:
            raise RulesError(str(error)) from None
        self._joined: tuple[list[Stopped], Stopped] = ([], Stopped(frozenset(), frozenset()))

    def get(self) -> Stopped:
        """What is stopped now."""
        parts = [part.get() for part in self._parts]
        known, joined = self._joined
        if len(known) != len(parts) or any(one is not other for one, other in zip(known, parts, strict=True)):
            empty: frozenset[str] = frozenset()
            joined = Stopped(
                empty.union(*(part.forbidden for part in parts)), empty.union(*(part.hidden for part in parts))
            )
            self._joined = parts, joined
        return joined


def _listed(path: pathlib.Path) -> Stopped:
    return Stopped(read_forbidden(path), frozenset())
