"""Protects personal data as the settings say, for raw tables and for requests alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from models import features
from serving.privacy.errors import PrivacyError
from serving.privacy.pseudonyms import Pseudonyms
from serving.privacy.redaction import redact
from serving.privacy.settings import PrivacySettings
from serving.requests import Request

#: Fields that name a person, or a visit of one.
IDS = (features.USER_ID, "session_id")


class Privacy:
    """Pseudonyms for ids and placeholders in texts; changes nothing where the settings do not enable it.

    Declared context columns, items and times stay as they are. Protecting twice changes nothing more, so what passes
    gateway and pipeline ends as what passes one of them. Pickled, it takes the settings along, not the key.

    Args:
      settings: what is protected, and where the key is.

    Raises:
      PrivacyError: if it is enabled and the key cannot be used.

    Example:
      privacy = Privacy(PrivacySettings(enabled=True, key_file="/run/secrets/pseudonym.key"))
      ranking = client.rank(privacy.protect_request(request))
    """

    def __init__(self, settings: PrivacySettings) -> None:
        self.settings = settings
        #: Field -> what its value becomes; no other field changes.
        self.rules: dict[str, Callable[[str], str]] = {}
        if settings.enabled:
            pseudonyms = Pseudonyms.from_file(settings.key_file)
            self.rules = {**dict.fromkeys(IDS, pseudonyms.of), **dict.fromkeys(settings.redact, redact)}

    def protect_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """A row of events, users or reviews, by the column names of the data contract, protected; None stays None.

        Raises:
          PrivacyError: for a field that is to be protected and holds something else than a text.
        """
        protected = dict(event)
        for name, rule in self.rules.items():
            value = protected.get(name)
            if value is not None:
                if not isinstance(value, str):
                    raise PrivacyError(f"`{name}` is of type {type(value).__name__}; expected a text.")
                protected[name] = rule(value)
        return protected

    def protect_request(self, request: Request) -> Request:
        """A request with everything protected that the model is asked about a person."""
        fields = (features.USER_ID, features.PROFILE_TEXT, features.QUERY)
        return dataclasses.replace(request, **self.protect_event({name: getattr(request, name) for name in fields}))

    def __reduce__(self) -> tuple[type[Privacy], tuple[PrivacySettings]]:
        return Privacy, (self.settings,)
