"""The JSON bodies of REST classify and regress as examples, with TensorFlow Serving's rules and texts."""

from __future__ import annotations

from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import input_pb2

from serving.server.errors import invalid_argument
from serving.server.json_request import check_decimal, decode_base64
from serving.server.json_text import format_error, is_base64, type_name

_INT64 = range(-(2**63), 2**63)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read_examples(document: dict[str, Any]) -> input_pb2.Input:
    """The examples in a body, and their context where it has one.

    Args:
      document: of `json_text.parse_body`.

    Raises:
      ServingError: INVALID_ARGUMENT for values that do not fit.
    """
    message = input_pb2.Input()
    examples = message.example_list.examples
    if "context" in document:
        _fill_example(document["context"], message.example_list_with_context.context)
        examples = message.example_list_with_context.examples
    if "examples" not in document:
        raise format_error(document, "When method is classify, key 'examples' is expected and was not found")
    values = document["examples"]
    if not isinstance(values, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not values:
        raise format_error(document, "'examples' value is an empty array")
    for value in values:
        _fill_example(value, examples.add())
    return message


def _fill_example(value: Any, example: example_pb2.Example) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example.features.SetInParent()
    for name, content in value.items():
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_value(item, name, feature)


def _add_value(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, (bool, int)):
        if value not in _INT64:
            kind = "uint64" if 0 < value < 2**64 else "larger"
            raise invalid_argument(f"Feature: {name} has {kind} element. Only int64 is supported.")
        _list(feature, "int64_list", name).append(int(value))
    elif isinstance(value, float):
        floats = _list(feature, "float_list", name)
        check_decimal(value, types_pb2.DT_FLOAT)
        floats.append(value)
    elif isinstance(value, str):
        _list(feature, "bytes_list", name).append(value.encode("utf-8"))
    elif is_base64(value):
        _list(feature, "bytes_list", name).append(decode_base64(value))
    else:
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _list(feature: feature_pb2.Feature, kind: str, name: str) -> Any:
    """The feature's values, which are all of one kind."""
    known = feature.WhichOneof("kind")
    if known not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KINDS[known]}")
    return getattr(feature, kind).value
