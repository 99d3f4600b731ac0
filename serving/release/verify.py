"""Asks stable and canary the same recorded requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

from serving.client.connection import Connection
from serving.client.tensors import read_tensor
from serving.client.tls import Tls
from serving.contract import SERVING_DEFAULT
from serving.release.comparison import SignatureComparison
from serving.release.state import CANARY, STABLE

_SECONDS = 60.0


def compare(
    address: str, questions: Sequence[Any], tls: Tls | None = None, token: str = ""
) -> dict[str, SignatureComparison]:
    """What the labels stable and canary answer on one server, by signature.

    Each question goes to both, one after the other, to which first by turns; a first one, which does not count, opens
    the connection.

    Args:
      address: host:port of the server.
      questions: PredictRequests (`serving.protos`).
      tls: None for a connection in the clear.
      token: sent with each call; "" for none.
    """
    found: dict[str, SignatureComparison] = {}
    headers = (("authorization", f"Bearer {token}"),) if token else ()
    channel, calls = Connection((address,), tls).open(grpc)

    def ask(question: Any, label: str) -> tuple[dict[str, np.ndarray] | str, float]:
        question.model_spec.version_label = label
        started = time.perf_counter()
        try:
            answer = calls["Predict"](question, timeout=_SECONDS, metadata=headers)
        except grpc.RpcError as error:
            return error.code().name, 0.0
        seconds = time.perf_counter() - started
        return {name: read_tensor(tensor) for name, tensor in answer.outputs.items()}, seconds

    with channel:
        for label in (STABLE, CANARY):
            ask(questions[0], label)
        for number, question in enumerate(questions):
            one = found.setdefault(question.model_spec.signature_name or SERVING_DEFAULT, SignatureComparison())
            order = (STABLE, CANARY) if number % 2 else (CANARY, STABLE)
            answers = {label: ask(question, label) for label in order}
            one.requests += 1
            for label, errors, times in (
                (STABLE, one.stable_errors, one.stable_seconds),
                (CANARY, one.canary_errors, one.canary_seconds),
            ):
                answer, seconds = answers[label]
                if isinstance(answer, str):
                    errors.append(answer)
                else:
                    times.append(seconds)
            stable, canary = answers[STABLE][0], answers[CANARY][0]
            if not isinstance(stable, str) and not isinstance(canary, str):
                one.add(stable, canary)
    return dict(sorted(found.items()))
