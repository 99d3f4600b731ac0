"""From a server's answers to results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from serving import contract, protos
from serving.client.tensors import read_tensor
from serving.requests import Request
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

Row = Mapping[str, Any]

#: Parts of a result that may be asked for alone -> their outputs.
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    contract.PROFILE: {"vector": (contract.VECTOR,), "tags": (contract.TAGS, contract.TAG_SCORES)},
    contract.TAG: {
        "tags": (contract.TAGS, contract.TAG_SCORES),
        "words": (contract.WORDS, contract.WORD_LABELS, contract.WORD_SCORES),
        "sentiment": (contract.SENTIMENT,),
    },
}
#: Outputs of texts; the others are of numbers.
_TEXTS = (
    contract.ITEM_IDS,
    contract.TAGS,
    contract.SUGGESTIONS,
    contract.KINDS,
    contract.WORDS,
    contract.WORD_LABELS,
)
_NOTHING = np.zeros(0, np.float32)


def outputs_of(signature: str, only: str | None) -> tuple[str, ...]:
    """Names of the outputs to be read.

    Args:
      signature: a named one.
      only: a part of its result; None for all of it.

    Raises:
      ValueError: for what is no part.
    """
    if only is None:
        return contract.OUTPUTS[signature]
    parts = PARTS[signature]
    if only not in parts:
        raise ValueError(f"`only` is {only!r}; expected one of {', '.join(parts)} for {signature}.")
    return parts[only]


def results(signature: str, requests: Sequence[Request], answer: Any, outputs: Sequence[str]) -> list[Any]:
    """One result for each request.

    Args:
      signature: that was asked.
      requests: in the order of the batch.
      answer: PredictResponse.
      outputs: that were asked for.

    Raises:
      ValueError: when the answer is not what the contract says.
    """
    arrays = {}
    for name in outputs:
        if name not in answer.outputs:
            raise ValueError(f"the answer lacks the output `{name}`")
        try:
            arrays[name] = read_tensor(answer.outputs[name])
        except (KeyError, ValueError):
            raise ValueError(f"the answer's output `{name}` cannot be read") from None
        if arrays[name].shape[:1] != (len(requests),):
            raise ValueError(f"the answer's output `{name}` is not of {len(requests)} rows")
        if arrays[name].ndim != (1 if name == contract.SENTIMENT else 2):
            raise ValueError(f"the answer's output `{name}` is of shape {list(arrays[name].shape)}")
        if (arrays[name].dtype == object) != (name in _TEXTS):
            raise ValueError(f"the answer's output `{name}` is not of {'texts' if name in _TEXTS else 'numbers'}")
    if signature == contract.RANK and arrays[contract.SCORES].shape[1] < max(len(r.candidates) for r in requests):
        raise ValueError(f"the answer's output `{contract.SCORES}` has not one for each candidate")
    version, read = answer.model_spec.version.value, _RESULTS[signature]
    return [
        read(request, {name: array[row] for name, array in arrays.items()}, version)
        for row, request in enumerate(requests)
    ]


def statuses(answer: Any) -> list[VersionStatus]:
    """What GetModelStatusResponse says."""
    return [
        VersionStatus(item.version, protos.STATES[item.state], item.status.error_code, item.status.error_message)
        for item in answer.model_version_status
    ]


def metadata(answer: Any) -> Metadata:
    """What GetModelMetadataResponse says of signatures."""
    signatures = protos.SignatureDefMap.FromString(answer.metadata["signature_def"].value)
    return Metadata(
        answer.model_spec.version.value,
        {
            name: SignatureSpec(_specs(signature.inputs), _specs(signature.outputs))
            for name, signature in signatures.signature_def.items()
        },
    )


def _ranking(request: Request, row: Row, version: int) -> Ranking:
    return Ranking(list(request.candidates), row[contract.SCORES][: len(request.candidates)], version)


def _recommendation(request: Request, row: Row, version: int) -> Recommendation:
    item_ids = _texts(row[contract.ITEM_IDS])
    return Recommendation(item_ids, row[contract.SCORES][: len(item_ids)], version)


def _profile(request: Request, row: Row, version: int) -> UserProfile:
    tags = _texts(row.get(contract.TAGS, ()))
    scores = row.get(contract.TAG_SCORES, _NOTHING)
    return UserProfile(row.get(contract.VECTOR, _NOTHING), tags, scores[: len(tags)], version)


def _suggestions(request: Request, row: Row, version: int) -> Suggestions:
    texts = _texts(row[contract.SUGGESTIONS])
    return Suggestions(texts, _texts(row[contract.KINDS])[: len(texts)], row[contract.SCORES][: len(texts)], version)


def _text_tags(request: Request, row: Row, version: int) -> TextTags:
    tags, words = _texts(row.get(contract.TAGS, ())), _texts(row.get(contract.WORDS, ()))
    return TextTags(
        tags,
        row.get(contract.TAG_SCORES, _NOTHING)[: len(tags)],
        words,
        _texts(row.get(contract.WORD_LABELS, ())),
        row.get(contract.WORD_SCORES, _NOTHING)[: len(words)],
        float(row.get(contract.SENTIMENT, "nan")),
        version,
    )


_RESULTS: dict[str, Callable[[Request, Row, int], Any]] = {
    contract.RANK: _ranking,
    contract.RECOMMEND: _recommendation,
    contract.SEARCH: _recommendation,
    contract.PROFILE: _profile,
    contract.SUGGEST: _suggestions,
    contract.TAG: _text_tags,
}


def _texts(values: Sequence[bytes]) -> list[str]:
    """Decodes a row of strings up to its padding."""
    texts = [value.decode("utf-8", "replace") for value in values]
    return texts[: texts.index("")] if "" in texts else texts


def _specs(infos: Any) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            protos.DATA_TYPE_NAMES.get(info.dtype, f"dtype {info.dtype}"),
            None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in infos.items()
    }
