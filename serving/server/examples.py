"""The input of Classify, Regress and MultiInference: examples as one tensor of serialized protos."""

from __future__ import annotations

import numpy as np
from tensorflow_serving.apis import input_pb2

from serving.server import tensors
from serving.server.errors import invalid_argument


def serialized_examples(message: input_pb2.Input) -> np.ndarray:
    """The examples [n], each with the bytes of the shared context before its own, so that its own features win.

    Raises:
      ServingError: INVALID_ARGUMENT when there are none.
    """
    context = b""
    kind = message.WhichOneof("kind")
    examples = getattr(message, kind).examples if kind else []
    if not examples:
        raise invalid_argument("Input is empty.")
    if kind == "example_list_with_context":
        context = message.example_list_with_context.context.SerializeToString()
    return tensors.objects([context + example.SerializeToString() for example in examples])
