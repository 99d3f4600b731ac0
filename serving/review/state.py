"""What the entries of a review journal come to: which items wait, which are approved, which are banned."""

from __future__ import annotations

from serving.review.entry import APPROVE, BAN, FLAG, UNBAN, Entry

#: What an item may be; one that was never named is none of them.
WAITING, APPROVED, BANNED = "waiting", "approved", "banned"


class ReviewError(ValueError):
    """What cannot be done to an item, or a journal that cannot be read; the message is one sentence."""


class ReviewState:
    """Folds entries, oldest first.

    | before | flag | approve | ban | unban |
    |---|---|---|---|---|
    | nothing known | waiting | refused | banned | refused |
    | waiting | waiting | approved | banned | refused |
    | approved | waiting | refused | banned | refused |
    | banned | banned | refused | refused | approved |
    """

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        # Those that wait, the longest first -> what was said of them since they were last decided on.
        self.waiting: dict[str, list[Entry]] = {}
        self.flagged: set[tuple[str, str]] = set()  # (item, by) of every flag there ever was

    def after(self, action: str, item_id: str) -> str:
        """The status of an item after an action.

        Raises:
          ReviewError: if the action is refused.
        """
        status = self.statuses.get(item_id)
        if action == FLAG:
            return BANNED if status == BANNED else WAITING
        if (action == APPROVE and status == WAITING) or (action == UNBAN and status == BANNED):
            return APPROVED
        if action == BAN and status != BANNED:
            return BANNED
        is_now = f"is {status}" if status else "was never flagged nor banned"
        expected = {APPROVE: f"an item that is {WAITING}", UNBAN: f"an item that is {BANNED}"}
        raise ReviewError(
            f"item {item_id!r} {is_now}; expected {expected.get(action, f'an item that is not {BANNED} yet')}."
        )

    def add(self, entry: Entry) -> None:
        """Takes one more entry.

        Raises:
          ReviewError: if it could not have been made.
        """
        status = self.statuses[entry.item_id] = self.after(entry.action, entry.item_id)
        if entry.action == FLAG:
            self.flagged.add((entry.item_id, entry.by))
        if status == WAITING:
            self.waiting.setdefault(entry.item_id, []).append(entry)
        else:
            self.waiting.pop(entry.item_id, None)

    def with_status(self, status: str) -> frozenset[str]:
        """The items that have a status."""
        return frozenset(item_id for item_id, found in self.statuses.items() if found == status)
