"""What the client hands back; each result names the version that answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class CallError(RuntimeError):
    """A call that the server refused or did not answer; the message is one sentence.

    Attributes:
      code: of gRPC, such as "NOT_FOUND", "UNAVAILABLE" or "DEADLINE_EXCEEDED".
      details: the server's own text.
    """

    def __init__(self, message: str, code: str, details: str) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


@dataclass(frozen=True)
class Ranking:
    """Scores of the candidates of one request, in the request's order.

    Attributes:
      item_ids: the candidates as asked.
      scores: float [candidates], higher is better.
      version: that answered.
    """

    item_ids: list[str]
    scores: np.ndarray
    version: int


@dataclass(frozen=True)
class Recommendation:
    """The best items of the catalogue for one request, best first, padding removed.

    Attributes:
      item_ids: at most K of them.
      scores: float [items], falling.
      version: that answered.
    """

    item_ids: list[str]
    scores: np.ndarray
    version: int


@dataclass(frozen=True)
class UserProfile:
    """The user vector of one request and the tags nearest to it.

    Attributes:
      vector: float [d].
      tags: best first, padding removed.
      tag_scores: float [tags].
      version: that answered.
    """

    vector: np.ndarray
    tags: list[str]
    tag_scores: np.ndarray
    version: int


@dataclass(frozen=True)
class Suggestions:
    """What a prefix may be completed to, padding removed: what begins with it, best first, then what holds it later.

    Attributes:
      texts: queries, categories and words, as they are shown.
      kinds: "query", "category" or "word" for each.
      scores: float [texts], by how often it was asked, sold or met.
      version: that answered.
    """

    texts: list[str]
    kinds: list[str]
    scores: np.ndarray
    version: int


@dataclass(frozen=True)
class VersionStatus:
    """State of one version on the server.

    Attributes:
      version: its number.
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      error_code: of gRPC, 0 for none.
      error_message: why it failed to load, "" for none.
    """

    version: int
    state: str
    error_code: int
    error_message: str


@dataclass(frozen=True)
class TensorSpec:
    """Type of one input or output.

    Attributes:
      dtype: "float", "int64", "string", ..., or "dtype N" for one the client does not read.
      shape: -1 for any size; None when even the rank is open.
    """

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class SignatureSpec:
    """Inputs and outputs of one signature, by alias."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


@dataclass(frozen=True)
class Metadata:
    """Signatures of the version that answered."""

    version: int
    signatures: dict[str, SignatureSpec]
