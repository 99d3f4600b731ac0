"""What the client hands back; each result names the version that answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import text_words
from serving import contract


class CallError(RuntimeError):
    """A call that the server refused or did not answer; the message says what failed, and where it can what to do.

    Attributes:
      code: of gRPC, such as "NOT_FOUND", "UNAVAILABLE" or "DEADLINE_EXCEEDED".
      details: the server's own text, all of it.
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
class TextTags:
    """What a text says, padding removed.

    Attributes:
      tags: of the author's interest, best first.
      tag_scores: float [tags], their probabilities.
      words: of the text, in order.
      word_labels: of each word: `O`, or `B-` (first) and `I-` (further word) with `product`, `brand` or `attribute`.
      word_scores: float [words]: how much each counts as a key word; they sum to 1.
      sentiment: probability that it is that of a content customer.
      version: that answered.
    """

    tags: list[str]
    tag_scores: np.ndarray
    words: list[str]
    word_labels: list[str]
    word_scores: np.ndarray
    sentiment: float
    version: int

    @property
    def names(self) -> list[tuple[str, str]]:
        """(phrase, kind) of everything that is named, such as ("iPhone 12", "product"), in the text's order."""
        return [(phrase, kind) for phrase, kind, _ in self._phrases() if kind]

    @property
    def key_words(self) -> list[tuple[str, float]]:
        """(phrase, score), best first; words of one name are one phrase, whose score is the sum of theirs."""
        return sorted(((phrase, score) for phrase, _, score in self._phrases()), key=lambda pair: -pair[1])

    def _phrases(self) -> list[tuple[str, str, float]]:
        groups: list[tuple[list[str], str, float]] = []
        for word, label, score in zip(self.words, self.word_labels, self.word_scores.tolist(), strict=True):
            place, _, kind = label.partition("-")
            if place == "I" and groups and groups[-1][1] == kind:
                words, _, total = groups.pop()
                groups.append(([*words, word], kind, total + score))
            else:
                groups.append(([word], kind, score))
        return [(text_words.join(words), kind, score) for words, kind, score in groups]


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


_CONTEXT_COLUMN = TensorSpec("string", (-1,))


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

    def context_columns(self, signature: str) -> tuple[str, ...]:
        """The context columns that a named signature takes: one string a row, under a name the contract does not know.

        Empty for a signature that the version does not have, or the contract does not name.
        """
        if signature not in self.signatures or signature not in contract.OUTPUTS.keys() - {contract.SERVING_DEFAULT}:
            return ()
        ours = {spec.name for spec in contract.signature_inputs(signature)}
        inputs = self.signatures[signature].inputs
        return tuple(sorted(name for name in set(inputs) - ours if inputs[name] == _CONTEXT_COLUMN))
