"""What goes wrong with the protection of personal data."""

from __future__ import annotations


class PrivacyError(ValueError):
    """Personal data that cannot be protected as asked; the message is one sentence, without the data or the key."""
