"""What goes wrong with the store of shoppers."""

from __future__ import annotations


class StoreError(RuntimeError):
    """A store that cannot be opened, reached or written; the message is one sentence."""
