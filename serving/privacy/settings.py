"""What a configuration says of personal data."""

from __future__ import annotations

from dataclasses import dataclass

from models import features
from models.options import choice

FREE_TEXT, REVIEW_TEXT = "free_text", "text"

#: Texts that people write, by the names of their columns in raw tables and of their fields in requests.
TEXTS = (features.QUERY, FREE_TEXT, REVIEW_TEXT, features.PROFILE_TEXT)


@dataclass(frozen=True)
class PrivacySettings:
    """How personal data is protected; the same for the pipeline that reads raw tables and for the gateway.

    Attributes:
      enabled: user ids and session ids become pseudonyms, and texts are redacted.
      redact: of `query`, `free_text` (users), `text` (reviews) and `profile_text` (requests), those that are redacted.
      key_file: path of the key of pseudonyms; "" for the one that the variable SHOP_PSEUDONYM_KEY_FILE names.
    """

    enabled: bool = False
    redact: tuple[str, ...] = choice(*TEXTS, default=TEXTS)
    key_file: str = ""
