"""Bearer tokens: who may call.

The file is YAML with hashes in place of the tokens, so that who reads it cannot call:

    tokens:
      - {name: shop, sha256: "9f86d0…", rate: 200, burst: 400}

`python -m serving.gateway token shop --file tokens.yaml` makes a token and adds its line. The file is read again when
it changes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import pathlib
import re
import secrets
from dataclasses import dataclass, field

from models import settings_reader
from models.options import number
from models.settings_reader import SettingsError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_HEAD = "tokens:\n"


@dataclass(frozen=True)
class Token:
    """One caller.

    Attributes:
      name: in logs and metrics.
      sha256: of the token, in hexadecimal digits. Tokens are random and long, so that no slow hash is needed.
      rate: requests a second; 0 for `access.rate`.
      burst: requests at once; 0 for `access.burst`.

    Raises:
      ValueError: for a name or a hash of another form.
    """

    name: str
    sha256: str
    rate: float = number(0.0, 0, 1e6)
    burst: int = number(0, 0, 1e6)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a token has the name {self.name!r}; expected 1 to 64 letters, digits, `_`, `.` and `-`.")
        if not _HASH.fullmatch(self.sha256):
            raise ValueError(f"`sha256` of the token {self.name!r} is no hash; expected 64 hexadecimal digits.")


@dataclass(frozen=True)
class Tokens:
    """All callers.

    Raises:
      ValueError: if two have one name.
    """

    tokens: tuple[Token, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [token.name for token in self.tokens]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`tokens` has the name {name!r} {names.count(name)} times; expected once.")

    @classmethod
    def read(cls, path: str | pathlib.Path) -> Tokens:
        """The tokens of a file.

        Raises:
          SettingsError: if it cannot be used.
        """
        tokens: Tokens = settings_reader.read(cls, pathlib.Path(path))
        return tokens

    def find(self, presented: str) -> Token | None:
        """Whose token this is; takes as long whether it is somebody's or not, and whoever's it is."""
        hashed = _hash(presented)
        found = None
        for token in self.tokens:
            if hmac.compare_digest(hashed, token.sha256):
                found = token
        return found


def add_token(path: str | pathlib.Path, name: str) -> str:
    """Makes a token and adds it to a file, which is made where it is not there, readable for its owner alone.

    Returns:
      The token, which is nowhere else.

    Raises:
      SettingsError: if the file cannot be used or written, or has the name already.
    """
    path = pathlib.Path(path)
    token = secrets.token_urlsafe(32)
    try:
        added = Token(name, _hash(token))
        known = Tokens.read(path) if path.exists() else Tokens()
        Tokens((*known.tokens, added))
    except ValueError as error:
        raise SettingsError(str(error) if isinstance(error, SettingsError) else f"{path}: {error}") from None
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
        if not known.tokens:
            before = _HEAD
        line = json.dumps({"name": name, "sha256": added.sha256})  # in quotes, as either may look like a number
        text = f"{before.rstrip()}\n  - {line}\n"
        # Written beside it and renamed, so that a gateway never reads half of it.
        beside = path.with_name(f".{path.name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        Tokens.read(beside)  # the file may end in something else than its list
        beside.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}); expected a place for tokens.") from None
    except SettingsError:
        beside.unlink()
        raise SettingsError(f"{path}: does not end in its list of tokens; expected no key behind `tokens`.") from None
    return token


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
