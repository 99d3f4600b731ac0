"""What goes wrong with a refresh."""

from __future__ import annotations


class RefreshError(ValueError):
    """A version, or a table of items, that cannot be refreshed; the message is one sentence."""
