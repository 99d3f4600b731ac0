"""Pseudonyms in place of the ids of persons."""

from __future__ import annotations

import base64
import hmac
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import NoReturn

from serving.privacy.errors import PrivacyError

#: Environment variable with the path of the key's file.
KEY_FILE_VARIABLE = "SHOP_PSEUDONYM_KEY_FILE"

#: What every pseudonym begins with.
PREFIX = "ps_"

_KEY_BYTES = 32
_HASH_BYTES, _SEAL_BYTES = 16, 8


class Pseudonyms:
    """Gives each user id a name that only the holder of the key can find again (HMAC-SHA-256, RFC 2104).

    A pseudonym is `ps_` and 32 characters of URL-safe base64: 128 bits of the id's keyed hash, and 64 of a keyed hash
    of these. The latter tell a pseudonym of this key from an id, so that a log which was written with pseudonyms can be
    read again together with raw tables: `of` gives a pseudonym of its own key back as it is.

    The same key must be used everywhere in one deployment. The object cannot be pickled, so that the key never travels
    to workers. Another key gives other pseudonyms: histories and profiles that are stored know nobody until they are
    loaded anew, and so does what a model learned of single users. `rotation` says who is who.

    Args:
      key: at least 32 bytes, random.

    Raises:
      PrivacyError: for a shorter key.

    Example:
      >>> Pseudonyms(bytes(range(32))).of("17850")
      'ps_dTv6zeFj51uWkPGALPNpboNOsT4qeRQO'
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise PrivacyError(f"the key of pseudonyms has {len(key)} bytes; expected at least {_KEY_BYTES}.")
        self._key = bytes(key)

    @classmethod
    def from_file(cls, path: str = "", environment: Mapping[str, str] = os.environ) -> Pseudonyms:
        """Reads the key: the bytes of a file as they are, but for an end of line behind them.

        Args:
          path: of the file; "" for the one that `SHOP_PSEUDONYM_KEY_FILE` names.
          environment: where that variable is looked for.

        Raises:
          PrivacyError: if no file is named, or it cannot be read or holds too little.
        """
        file = path or environment.get(KEY_FILE_VARIABLE, "")
        if not file:
            raise PrivacyError(f"no key of pseudonyms is named; expected `key_file` or {KEY_FILE_VARIABLE}.")
        try:
            key = pathlib.Path(file).read_bytes()
        except OSError as error:
            raise PrivacyError(f"{file}: cannot be read ({error.strerror}); expected the key of pseudonyms.") from None
        try:
            return cls(key.removesuffix(b"\n").removesuffix(b"\r"))
        except PrivacyError as error:
            raise PrivacyError(f"{file}: {error}") from None

    @property
    def key_id(self) -> str:
        """16 hexadecimal digits that tell keys apart and say nothing about them: an HMAC of a constant."""
        return self._mac(b"key id")[:8].hex()

    def of(self, user_id: str) -> str:
        """The pseudonym of a user id, white space around it not counted; "" for "", a visitor.

        Raises:
          PrivacyError: for anything but a text.
        """
        if not isinstance(user_id, str):
            raise PrivacyError(f"a user id is {type(user_id).__name__}; expected a text.")
        user_id = user_id.strip()
        if not user_id or self._is_own(user_id):
            return user_id
        return self._sealed(self._mac(b"id\0" + user_id.encode("utf-8", "surrogatepass"))[:_HASH_BYTES])

    def __reduce__(self) -> NoReturn:
        raise TypeError("Pseudonyms are not pickled, since the key would be; expected each process to read its key.")

    def _is_own(self, text: str) -> bool:
        if not text.startswith(PREFIX):
            return False
        try:
            content = base64.b64decode(text.removeprefix(PREFIX), b"-_", validate=True)
        except ValueError:
            return False
        # Written anew, since base64 is read in more than one spelling.
        return hmac.compare_digest(text, self._sealed(content[:_HASH_BYTES]))

    def _sealed(self, hashed: bytes) -> str:
        seal = self._mac(b"seal\0" + hashed)[:_SEAL_BYTES]
        return PREFIX + base64.urlsafe_b64encode(hashed + seal).decode("ascii")

    def _mac(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, "sha256")


def rotation(old: Pseudonyms, new: Pseudonyms, user_ids: Iterable[str]) -> dict[str, str]:
    """Pseudonym under the old key -> the same person's under the new one, which only the ids themselves can tell.

    Args:
      old, new: of the two keys.
      user_ids: as the shop knows them.
    """
    return {old.of(user_id): new.of(user_id) for user_id in user_ids}
