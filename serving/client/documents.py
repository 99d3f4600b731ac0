"""Answers as documents of JSON: what `--json` prints, and what the tables show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serving.results import (
    Metadata,
    Ranking,
    Recommendation,
    SignatureSpec,
    Suggestions,
    TensorSpec,
    TextTags,
    UserProfile,
    VersionStatus,
)

Document = dict[str, Any]


def of_items(answer: Ranking | Recommendation, top: int, titles: Mapping[str, str] | None) -> Document:
    """The best items, best first.

    Args:
      answer: of `rank`, `recommend` or `search`.
      top: so many at most.
      titles: item -> title; None shows none, and an item without one has "".
    """
    scores = [_number(score) for score in answer.scores]
    pairs = sorted(zip(answer.item_ids, scores, strict=True), key=lambda pair: _falling(pair[1]))
    items = []
    for item_id, score in pairs[:top]:
        title = {} if titles is None else {"title": titles.get(item_id, "")}
        items.append({"item_id": item_id, **title, "score": score})
    return {"version": answer.version, "of": len(pairs), "items": items}


def of_profile(answer: UserProfile, top: int) -> Document:
    """The nearest tags, and the vector."""
    tags = zip(answer.tags, answer.tag_scores, strict=True)
    return {
        "version": answer.version,
        "tags": [{"tag": tag, "score": _number(score)} for tag, score in tags][:top],
        "vector": [_number(value) for value in answer.vector],
    }


def of_suggestions(answer: Suggestions, top: int) -> Document:
    """What the prefix may be completed to."""
    rows = zip(answer.texts, answer.kinds, answer.scores, strict=True)
    found = [{"text": text, "kind": kind, "score": _number(score)} for text, kind, score in rows]
    return {"version": answer.version, "suggestions": found[:top]}


def of_text_tags(answer: TextTags, top: int) -> Document:
    """Tags, what is named, key words and sentiment."""
    tags = zip(answer.tags, answer.tag_scores, strict=True)
    return {
        "version": answer.version,
        "sentiment": _number(answer.sentiment),
        "tags": [{"tag": tag, "score": _number(score)} for tag, score in tags][:top],
        "names": [{"phrase": phrase, "kind": kind} for phrase, kind in answer.names],
        "key_words": [{"phrase": phrase, "score": _number(score)} for phrase, score in answer.key_words][:top],
    }


def of_statuses(statuses: Sequence[VersionStatus]) -> Document:
    """State of each version."""
    return {"versions": [vars(status).copy() for status in statuses]}


def of_metadata(metadata: Metadata, statuses: Sequence[VersionStatus]) -> Document:
    """Versions, context columns, and what each signature takes and gives."""
    columns = {column for signature in metadata.signatures for column in metadata.context_columns(signature)}
    signatures = {name: _signature(spec) for name, spec in sorted(metadata.signatures.items())}
    return {
        "version": metadata.version,
        **of_statuses(statuses),
        "context_columns": sorted(columns),
        "signatures": signatures,
    }


def _signature(spec: SignatureSpec) -> Document:
    return {"inputs": _tensors(spec.inputs), "outputs": _tensors(spec.outputs)}


def _tensors(specs: Mapping[str, TensorSpec]) -> Document:
    """Name -> type and shape; null in a shape is any size, a shape of null any rank."""
    return {
        name: {
            "dtype": spec.dtype,
            "shape": None if spec.shape is None else [None if size < 0 else size for size in spec.shape],
        }
        for name, spec in sorted(specs.items())
    }


def _number(value: float) -> float | None:
    """JSON knows no infinity."""
    return float(value) if math.isfinite(value) else None


def _falling(score: float | None) -> float:
    return math.inf if score is None else -score
