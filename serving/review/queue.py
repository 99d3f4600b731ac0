"""Items that a person has to look at, and what persons decided."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Iterable

from serving.review.entry import APPROVE, BAN, BY, FLAG, ITEM_ID, REASON, UNBAN, Entry
from serving.review.journal import Journal
from serving.review.state import BANNED, ReviewError, ReviewState


class ReviewQueue:
    """The queue of one folder. `ReviewState` says which action is allowed when.

    What is banned is forbidden in every answer from the engine's next look at the journal on.

    Args:
      folder: of the journal, which is there already.

    Raises:
      ReviewError: if the folder cannot be used; from every method, if the journal cannot or the action is refused.

    Example:
      queue = ReviewQueue("review")
      queue.flag("i000176", "a customer says it is a copy", source="support")
      queue.ban("i000176", "it is", by="anna")
    """

    def __init__(self, folder: str | pathlib.Path) -> None:
        self._journal = Journal(pathlib.Path(folder))

    @property
    def path(self) -> pathlib.Path:
        """The journal, which `serving.rules.forbidden.read_forbidden` reads too."""
        return self._journal.path

    def flag(self, item_id: str, reason: str, source: str) -> None:
        """Puts an item into the queue, an approved one too; a banned one stays banned."""
        self._append(FLAG, item_id, reason, source)

    def flag_once(self, found: Iterable[tuple[str, str, str]]) -> list[str]:
        """Puts items into the queue that their source has never put there, so that what was approved is left in peace.

        Args:
          found: (item_id, reason, source) of each.

        Returns:
          Ids of the items that are new in the queue.
        """
        time = _now()

        def make(state: ReviewState) -> list[Entry]:
            entries: dict[tuple[str, str], Entry] = {}
            for item_id, reason, source in found:
                if (item_id, source) not in state.flagged:
                    entries.setdefault((item_id, source), Entry(time, FLAG, *_checked(item_id, reason, source)))
            return list(entries.values())

        return list(dict.fromkeys(entry.item_id for entry in self._journal.append(make)))

    def approve(self, item_id: str, reason: str = "", *, by: str) -> None:
        """Takes an item out of the queue; it may be shown."""
        self._append(APPROVE, item_id, reason, by)

    def ban(self, item_id: str, reason: str, *, by: str) -> None:
        """Forbids an item, in the queue or not."""
        if not reason.strip():
            raise ReviewError(f"no reason is given to ban {item_id!r}; expected one.")
        self._append(BAN, item_id, reason, by)

    def unban(self, item_id: str, reason: str = "", *, by: str) -> None:
        """Allows a banned item again."""
        self._append(UNBAN, item_id, reason, by)

    def waiting(self) -> dict[str, list[Entry]]:
        """Items that wait, the longest first -> what was said of them since they were last decided on."""
        return self._journal.read(lambda state: {item_id: list(entries) for item_id, entries in state.waiting.items()})

    def banned(self) -> frozenset[str]:
        """Items that are forbidden by now."""
        return self._journal.read(lambda state: state.with_status(BANNED))

    def history(self, item_id: str | None = None) -> list[Entry]:
        """All that was ever said and done, oldest first; of one item, or of all."""
        return [entry for entry in self._journal.entries() if item_id in (None, entry.item_id)]

    def _append(self, action: str, item_id: str, reason: str, by: str) -> None:
        self._journal.append(lambda state: [Entry(_now(), action, *_checked(item_id, reason, by))])


def _checked(item_id: str, reason: str, by: str) -> tuple[str, str, str]:
    item_id, reason, by = item_id.strip(), reason.strip(), by.strip()
    if not item_id or not by:
        raise ReviewError(f"the item is {item_id!r} and `by` {by!r}; expected both.")
    for name, value in ((ITEM_ID, item_id), (REASON, reason), (BY, by)):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # half a character, as from an argument in another encoding
            raise ReviewError(f"`{name}` is {value!r}; expected a text that UTF-8 can write.") from None
    return item_id, reason, by


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
