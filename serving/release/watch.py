"""Promotes a canary, or rolls it back, by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.release import health
from serving.release.errors import ReleaseError
from serving.release.fleet import is_failed
from serving.release.journal import PROMOTE, ROLLBACK
from serving.release.release import Release
from serving.release.state import State
from serving.release.traffic import Counts, Traffic, read_page

WAIT, GONE = "wait", "gone"


@dataclass(frozen=True)
class Verdict:
    """What is to become of a canary.

    Attributes:
      action: promote, rollback, wait, or gone where there is none any more.
      reason: one sentence.
      details: the numbers behind it, for the journal.
    """

    action: str
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Watch:
    """Looks at a canary until it is promoted or rolled back, by this or by somebody else.

    It is rolled back as soon as a server cannot load it, its requests fail more often or take longer than stable's
    (`health.fault`), or the experiment's sequential test says that it loses (`serving.experiment.decision`). It is
    promoted when that test says that it wins and, where there are metrics, nothing is wrong with them.

    Args:
      release: of the model.
      say: takes a line about each look.
      pause: waits for so many seconds.
    """

    def __init__(
        self, release: Release, say: Callable[[str], None], pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._release = release
        self._settings = release.settings.watch
        self._say = say
        self._pause = pause
        self._canary = 0
        self._traffic: tuple[Traffic, Traffic] | None = None
        self._next_decision = 0.0
        self._decision: Verdict | None = None

    def run(self) -> Verdict:
        """Looks, waits and looks again; returns what ended it.

        A look or a command that fails, since a server or a page does not answer, say, is made again after the pause.

        Raises:
          ReleaseError: if there is no canary when it begins, or nothing that could decide about one.
        """
        if not self._release.steps.state().has_canary:
            raise ReleaseError("there is no canary to watch; expected `canary` first.")
        if not self._settings.canary.pages and not self._settings.exposures:
            raise ReleaseError("the settings' `watch` names neither metrics nor logs; expected what is to be watched.")
        verdict: Verdict | None = None
        while True:
            try:
                left = self._release.unfinished()
                if verdict is None or left is None or left.action != verdict.action:  # else: goes on with it
                    verdict = self.look()
                    self._say(f"{verdict.action}: {verdict.reason}")
                if verdict.action == PROMOTE:
                    self._release.promote(self._canary, verdict.reason, verdict.details)
                if verdict.action == ROLLBACK:
                    self._release.rollback(None, verdict.reason, verdict.details)
                if verdict.action != WAIT:
                    return verdict
            except ReleaseError as error:
                self._say(f"{WAIT}: {error}")
            self._pause(self._settings.every_seconds)

    def look(self) -> Verdict:
        """What is to become of the canary as things stand.

        Raises:
          ReleaseError: if what decides cannot be read.
        """
        state = self._release.steps.state()
        if not state.has_canary:
            return Verdict(GONE, f"there is no canary any more ({state})")
        if state.canary != self._canary:
            self._begin(state)
        if why := self._failed_load(state):
            return Verdict(ROLLBACK, why)
        fault, details = self._fault()
        if fault:
            return Verdict(ROLLBACK, fault, details)
        decision = self._decide()
        if decision.action != ROLLBACK and fault is None:
            counts = ", ".join(f"{arm} {found['requests']:,.0f}" for arm, found in details.items())
            few = f"Too few requests were counted to say whether any fail ({counts}"
            return Verdict(WAIT, f"{decision.reason} {few} of {self._settings.least_requests:,}).", details)
        return decision if decision.action != WAIT else Verdict(WAIT, decision.reason, details)

    def _begin(self, state: State) -> None:
        self._canary = state.canary
        self._decision, self._next_decision = None, 0.0
        settings = self._settings
        self._traffic = None
        if settings.canary.pages:
            self._traffic = Traffic(settings.stable, read_page), Traffic(settings.canary, read_page)

    def _failed_load(self, state: State) -> str:
        with self._release.steps.fleet() as fleet:
            for address, statuses in fleet.statuses().items():
                for status in statuses if isinstance(statuses, list) else ():
                    if status.version == state.canary and is_failed(status):
                        return f"{address} cannot load version {state.canary}: {status.error_message}"
        return ""

    def _fault(self) -> tuple[str | None, dict[str, Any]]:
        """What is wrong, "" for nothing, None if that cannot be said yet; and the numbers."""
        if self._traffic is None:
            return "", {}
        stable, canary = (traffic.look() for traffic in self._traffic)
        for why in dict.fromkeys(why for traffic in self._traffic for why in traffic.unread):
            self._say(why)
        return health.fault(stable, canary, self._settings), {"stable": _plain(stable), "canary": _plain(canary)}

    def _decide(self) -> Verdict:
        """The experiment's decision, as of the last look at the logs."""
        settings, experiment = self._settings, self._release.steps.experiment
        if not settings.exposures or experiment is None:
            return Verdict(WAIT, "no experiment decides about a promotion.")
        if self._decision is None or time.monotonic() >= self._next_decision:
            from serving.experiment.decision import decide
            from serving.experiment.errors import ExperimentError
            from serving.experiment.exposure import Exposure
            from serving.experiment.log_reader import LogReader
            from serving.experiment.outcome import Outcome

            try:
                found = decide(
                    experiment.read(),
                    LogReader(settings.exposures, Exposure),
                    LogReader(settings.outcomes, Outcome),
                    arm=experiment.canary().name,
                )
            except ExperimentError as error:
                raise ReleaseError(str(error)) from None
            evidence = {name: vars(one) for name, one in found.evidence.items()}
            details = {"users": dict(found.users), "days": found.days, "evidence": evidence}
            self._decision = Verdict(found.action, found.reason, details)
            self._next_decision = time.monotonic() + settings.experiment_seconds
        return self._decision


def _plain(counts: Counts) -> dict[str, float | None]:
    return vars(counts).copy()
