"""A signature, read once: its maps as dicts, for protobuf's cost a microsecond a look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server import tensors


class Signature:
    """What requests need of a SignatureDef; aliases are in their order.

    Args:
      proto: the SignatureDef.
    """

    def __init__(self, proto: meta_graph_pb2.SignatureDef) -> None:
        self.proto = proto
        #: Input alias -> tensor name.
        self.inputs: Mapping[str, str] = {alias: proto.inputs[alias].name for alias in sorted(proto.inputs)}
        #: Input alias -> DataType number.
        self.input_types: Mapping[str, int] = {alias: proto.inputs[alias].dtype for alias in sorted(proto.inputs)}
        #: Output alias -> tensor name.
        self.outputs: Mapping[str, str] = {alias: proto.outputs[alias].name for alias in sorted(proto.outputs)}
        #: Input alias -> what stands in for an input that is not sent.
        self.defaults: Mapping[str, np.ndarray] = {
            alias: tensors.to_numpy(proto.defaults[alias]) for alias in sorted(proto.defaults)
        }
