"""Which version serves: canary, promotion and rollback while traffic runs."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from serving.release import clock, compatibility, placement, winner
from serving.release.errors import ReleaseError
from serving.release.experiment_file import DECIMALS
from serving.release.journal import BEGUN, CANARY, DONE, FAILED, LABELLED, PROMOTE, ROLLBACK, STAGE, Entry, Journal
from serving.release.lock import only_operator
from serving.release.placement import Staged
from serving.release.recorded import RecordedRequests
from serving.release.saved_model import SavedModel
from serving.release.settings import ReleaseSettings
from serving.release.state import State
from serving.release.transition import Transition

#: In the served folder: a version may be copied while others are moved.
_STAGE_LOCK = ".stage.lock"


class Release:
    """Changes what serves, so that no request fails and a crash leaves nothing that the same command does not finish.

    New versions are loaded, labels move, the experiment's share follows, and when no label has named the old version
    for `grace_seconds`, it is unloaded. The configuration on the disk is what the servers are told, so one that starts
    anew comes up with it (given --allow_version_labels_for_unavailable_models, without which tensorflow_model_server
    takes no labels in its first configuration).

    What is done is journalled before and after. A command that was killed is finished by the same command, or undone
    by `rollback`, which may also come while an old version is waited for.

    Args:
      settings: of the model.
      by: who does it.
      say: takes a line about each step.
    """

    def __init__(self, settings: ReleaseSettings, by: str, say: Callable[[str], None] = lambda line: None) -> None:
        self.settings = settings
        self.steps = Transition(settings, say)
        self.journal = Journal(pathlib.Path(settings.journal), settings.model)
        self._by = by
        self._say = say

    def unfinished(self) -> Entry | None:
        """How far a command has come that is under way, or was killed.

        Raises:
          ReleaseError: if the journal cannot be read.
        """
        moves = self.journal.moves()
        return moves[-1] if moves and moves[-1].is_open else None

    @property
    def folder(self) -> pathlib.Path:
        """The served one, as seen from here."""
        return pathlib.Path(self.settings.folder)

    def folder_of(self, version: int) -> pathlib.Path:
        """Of a version in it.

        Raises:
          ReleaseError: if there is none.
        """
        found = self._staged()
        if version not in found:
            raise ReleaseError(f"{self.folder}: has no version {version}; expected it to be staged.")
        return found[version]

    def stage(
        self, source: pathlib.Path, version: int | None = None, requests: pathlib.Path | None = None, reason: str = ""
    ) -> Staged:
        """Puts a SavedModel into the served folder; nobody is asked of it yet.

        Args:
          source: a SavedModel, or a folder of versions, of which the newest is taken.
          version: number to give it; None for its own, or the next one.
          requests: recorded ones (`RecordedRequests`), by which every server warms the version up.
          reason: for the journal.

        Raises:
          ReleaseError: for a SavedModel that is not whole, that clients of the stable version could not ask, or that
            would serve at once.
        """
        config = self.steps.config
        with only_operator(self.folder / _STAGE_LOCK, self._operator(STAGE)):
            entry = config.entry()
            if entry and not entry.versions:
                raise ReleaseError(
                    f"{config.path}: `{self.settings.model}` is served by the policy `latest`, so that a version would "
                    "serve as soon as it is staged; expected `promote --version` of what serves now."
                )
            state, chosen = self.steps.state(), placement.newest(source)
            recorded = RecordedRequests(requests) if requests else None

            def check(model: SavedModel) -> None:
                self._check(state, model)
                model.check_variables()

            def complete(model: SavedModel) -> None:
                if recorded:
                    self._say(f"warm-up requests: {recorded.write_warmup(model, self.settings.model)}")

            staged = placement.place(chosen, self.folder, version, requests, check, complete)
            with self._only(STAGE):
                if config.entry() is None:  # so that a server can start
                    config.write([staged.version], {})
                if staged.version not in [one.details.get("version") for one in self.journal.read()]:
                    details = {"version": staged.version, "source": str(chosen), "digest": staged.digest}
                    self._append(STAGE, DONE, state, state, reason, details)
            return staged

    def canary(self, version: int | None = None, share: float | None = None, reason: str = "") -> State:
        """Gives a version the label canary, and a share of the users; returns what serves then.

        Args:
          version: None for the canary that there is, else for the newest version.
          share: from 0 to below 1; None for the share that there is.
          reason: for the journal.

        Raises:
          ReleaseError: for a version that cannot be the canary; nothing has changed then.
        """
        if share is not None and self.steps.experiment is None:
            raise ReleaseError("--share is given, and the settings name no `experiment` that would share users out.")
        if share is not None and not 0 <= share < 1:
            raise ReleaseError(f"--share is {share:g}; expected a number from 0 to below 1.")
        share = None if share is None else round(share, DECIMALS)

        def wanted(now: State) -> State:
            if not now.stable:
                raise ReleaseError("no version serves as stable yet; expected `promote` of the first one.")
            number = version or (now.canary if now.has_canary else max(self._staged(), default=0))
            if number == now.stable:
                raise ReleaseError(f"version {number} serves as stable; expected another one as canary.")
            return State(now.stable, number, now.share if share is None else share)

        def is_same(after: State) -> bool:
            return version in (None, after.canary) and share in (None, after.share)

        return self._move(CANARY, wanted, is_same, reason, {})

    def promote(self, version: int | None = None, reason: str = "", details: Mapping[str, Any] | None = None) -> State:
        """Makes a version the stable one; returns what serves then.

        Args:
          version: None for the canary, or the only version that there is.
          reason: for the journal, with further `details`.

        Raises:
          ReleaseError: if there is no canary, or the version cannot be loaded; nothing has changed then.
        """

        def wanted(now: State) -> State:
            number = version or (now.canary if now.has_canary else 0)
            last = self._last_move()
            if not number and last and last.action == PROMOTE and last.after == now:
                number = now.stable  # promoted already, by this command perhaps
            if not number and not now.stable and len(self._staged()) == 1:
                (number,) = self._staged()
            if not number:
                raise ReleaseError("there is no canary to promote; expected --version.")
            return State(number, number)

        return self._move(PROMOTE, wanted, lambda after: version in (None, after.stable), reason, details or {})

    def rollback(self, version: int | None = None, reason: str = "", details: Mapping[str, Any] | None = None) -> State:
        """Takes a canary, or the last promotion, back; returns what serves then.

        Servers that cannot be reached hold nothing up: they are named in the end, and the same command finishes when
        they are back.

        Args:
          version: to serve again; None for the stable one where there is a canary, else for the stable one before it
            (and only one: again, it changes nothing).
          reason: for the journal, with further `details`.

        Raises:
          ReleaseError: if there is nothing to go back to, or not every server has done so.
        """

        def wanted(now: State) -> State:
            number = version or (now.stable if now.has_canary else self._stable_before(now))
            return State(number, number)

        return self._move(ROLLBACK, wanted, lambda after: version in (None, after.stable), reason, details or {})

    def _move(
        self,
        action: str,
        wanted: Callable[[State], State],
        is_same: Callable[[State], bool],
        reason: str,
        details: Mapping[str, Any],
    ) -> State:
        with self._only(action):
            entry = self._resumed(action, wanted, is_same)
            if entry is None:
                before = self.steps.state()
                after = wanted(before)
                if action != ROLLBACK:
                    self._check(before, SavedModel.read(self.folder_of(after.canary)))
                entry = self._append(action, BEGUN, before, after, reason, details)
            self._say(f"{action}: {entry.before} -> {entry.after}")
            entry = self._go(entry)
        unneeded = self.steps.unneeded()
        left = clock.seconds(entry.time) + self.settings.grace_seconds - time.time()
        if unneeded and left > 0:
            self._say(f"version {', '.join(map(str, sorted(unneeded)))} stays loaded for {left:.0f} seconds")
            time.sleep(left)
        with self._only(action):
            now = self.unfinished()
            if now is None or (now.time, now.action) != (entry.time, entry.action):
                self._say("another command took over")
                return self.steps.state()
            if unneeded:
                with self.steps.fleet() as fleet:
                    self.steps.unload(fleet)
                    for why in fleet.lost.values():
                        self._say(why)
            self._append(action, DONE, entry.before, entry.after, entry.reason, entry.details)
        return entry.after

    def _resumed(self, action: str, wanted: Callable[[State], State], is_same: Callable[[State], bool]) -> Entry | None:
        """What a command that was killed has left to do; None if it left nothing."""
        left = self.unfinished()
        if left is None:
            return None
        if left.action == action:
            if not is_same(left.after):
                raise ReleaseError(f"{left} is not finished; expected the same again, or `rollback`.")
            return left
        if action != ROLLBACK:
            raise ReleaseError(f"{left} is not finished; expected `{left.action}` again, or `rollback`.")
        if not left.before.stable:
            raise ReleaseError(f"{left} is not finished, and nothing served before; expected `{left.action}` again.")
        after = wanted(dataclasses.replace(left.before, canary=0))
        return self._append(ROLLBACK, BEGUN, self.steps.state(), after, f"undoes {left}", {})

    def _go(self, entry: Entry) -> Entry:
        """Goes to `after`, from wherever a killed command has left things, as far as an old version is waited for."""
        before, after = entry.before, entry.after
        is_rollback = entry.action == ROLLBACK
        with self.steps.fleet() as fleet:
            try:
                self.steps.load(fleet, after)
                if fleet.lost and not is_rollback:
                    raise ReleaseError("; ".join(fleet.lost.values()))
            except ReleaseError as error:
                if before == after or not self.steps.is_labelled(after):
                    self.steps.revert(fleet)
                    self._append(entry.action, FAILED, before, before, entry.reason, {"error": str(error)})
                raise
            self.steps.label(fleet, after)
            if entry.phase == BEGUN and (is_rollback or not fleet.lost):
                self.steps.share(before, after)
            if fleet.lost:
                other = "" if is_rollback else ", or `rollback`"
                raise ReleaseError(
                    f"{'; '.join(fleet.lost.values())} - {'the rest is rolled back; ' if is_rollback else ''}expected "
                    f"`{entry.action}` again when all servers answer{other}."
                )
        if self.settings.winner_file and (entry.action == PROMOTE or before.stable != after.stable):
            self._hand_on(entry)
        if entry.phase == LABELLED:
            return entry
        return self._append(entry.action, LABELLED, before, after, entry.reason, entry.details)

    def _hand_on(self, entry: Entry) -> None:
        file, version = pathlib.Path(self.settings.winner_file), entry.after.stable
        if winner.write(file, self.folder_of(version), entry):
            self._say(f"settings of version {version} for the next training: {file}")
        else:
            self._say(f"version {version} does not say what it was made with; {file} is without settings")

    def _check(self, state: State, model: SavedModel) -> None:
        """Refuses a version that clients of the stable one could not ask."""
        stable = self._staged().get(state.stable)
        if state.stable and stable is None:
            raise ReleaseError(f"{self.folder}: lacks version {state.stable}, which serves as stable.")
        if stable and not stable.samefile(model.path):
            compatibility.check(SavedModel.read(stable), model)

    def _staged(self) -> dict[int, pathlib.Path]:
        return placement.versions(self.folder)

    def _last_move(self) -> Entry | None:
        done = [entry for entry in self.journal.moves() if entry.phase == DONE]
        return done[-1] if done else None

    def _stable_before(self, now: State) -> int:
        """The version that the last promotion replaced; the stable one where that is rolled back already."""
        last = self._last_move()
        if last and last.action == ROLLBACK and last.after == now:  # by this command perhaps
            self._say(f"{last} is done; --version goes back further")
            return now.stable
        for entry in reversed(self.journal.moves()):
            was = entry.before.stable
            is_promotion = entry.action == PROMOTE and entry.phase == DONE
            if is_promotion and entry.after.stable == now.stable and was not in (0, now.stable):
                return was
        raise ReleaseError(f"no version served as stable before version {now.stable}; expected --version.")

    def _append(
        self, action: str, phase: str, before: State, after: State, reason: str, details: Mapping[str, Any]
    ) -> Entry:
        entry = Entry(clock.now(), self._by, self.settings.model, action, phase, before, after, reason, details)
        self.journal.append(entry)
        return entry

    def _only(self, action: str) -> AbstractContextManager[None]:
        return only_operator(self.settings.lock_file, self._operator(action))

    def _operator(self, action: str) -> str:
        return f"{action} of `{self.settings.model}` by {self._by}"
