"""JSON as RapidJSON reads and writes it, whose texts and line breaks a caller of TensorFlow Serving sees."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.server.errors import ServingError, invalid_argument

BASE64 = "b64"
_INDENT = " " * 4
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
#: What a backslash begins: a surrogate pair, half of one (the group), or any other escape.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F])|.)", re.DOTALL)
#: Characters of a part of the body that an error quotes.
_MOST_QUOTED = 1024
_QUOTING = json.JSONEncoder(indent=4, ensure_ascii=False)
#: Beginning of Python's message -> RapidJSON's.
_MESSAGES = {
    "Expecting property name": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string": "Missing a closing quotation mark in string.",
    "Invalid control character": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Extra data": "The document root must not be followed by other values.",
}


def parse_body(body: bytes) -> dict[str, Any]:
    """Reads a request body; NaN, Infinity and -Infinity may stand bare.

    Raises:
      ServingError: INVALID_ARGUMENT when it is not a JSON object or its signature's name is not a string.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8")
        document = json.loads(text)
    except UnicodeDecodeError as error:
        raise invalid_argument(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from None
    except json.JSONDecodeError as error:
        raise invalid_argument(f"JSON Parse error: {_parse_error(error)} at offset: {error.pos}") from None
    except ValueError:
        raise invalid_argument("JSON Parse error: Invalid value. A number has too many digits") from None
    except RecursionError:
        raise invalid_argument("JSON Parse error: the document is nested too deeply") from None
    _check_surrogates(text)
    if not isinstance(document, dict):
        raise format_error(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid_argument(
            f"JSON Value: {value_text(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def format_error(value: Any, what: str) -> ServingError:
    """INVALID_ARGUMENT for a part of the body, which it quotes."""
    return invalid_argument(f"JSON Value: {value_text(value)} {what}")


def value_text(value: Any) -> str:
    """A part of the body as an error quotes it: its beginning, where TensorFlow Serving quotes all of it."""
    if isinstance(value, float):
        return format_float(value, single=False)
    text = ""
    for piece in _QUOTING.iterencode(value):
        text += piece
        if len(text) > _MOST_QUOTED:
            return text[:_MOST_QUOTED] + "...TRUNCATED"
    return text


def type_name(value: Any) -> str:
    """The JSON type of a value, as errors name it."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    if isinstance(value, str):
        return "String"
    return "Object" if isinstance(value, dict) else "Array" if isinstance(value, list) else "Number"


def is_base64(value: Any) -> bool:
    """Whether a value is {"b64": ".."}."""
    return isinstance(value, dict) and list(value) == [BASE64] and isinstance(value[BASE64], str)


def format_float(value: float, single: bool) -> str:
    """A number as TensorFlow Serving writes it: 6 digits if they bring the value back, else all it takes."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    back = float(np.float32(text)) if single else float(text)
    if back != value:
        text = f"{value:.9g}" if single else f"{value:.17g}"
    return text if "." in text or "e" in text else text + ".0"


def format_string(value: str) -> str:
    """A string in quotes; other characters than ASCII stand as they are."""
    return json.dumps(value, ensure_ascii=False)


def format_object(members: Mapping[str, str], level: int) -> str:
    """An object, one line a member, whose values are texts.

    Args:
      members: name -> text.
      level: of the object; the document's own is 0.
    """
    if not members:
        return "{}"
    start = "\n" + _INDENT * (level + 1)
    lines = [f"{start}{format_string(name)}: {text}" for name, text in members.items()]
    return "{" + ",".join(lines) + "\n" + _INDENT * level + "}"


def format_list(texts: list[str], level: int) -> str:
    """A list, one line an element; level as in `format_object`."""
    if not texts:
        return "[]"
    start = "\n" + _INDENT * (level + 1)
    return "[" + ",".join(start + text for text in texts) + "\n" + _INDENT * level + "]"


def format_line(texts: list[str]) -> str:
    """A list on one line."""
    return "[" + ", ".join(texts) + "]"


def _check_surrogates(text: str) -> None:
    """Refuses escapes of half a character, which no UTF-8 can hold."""
    if not _SURROGATE.search(text):
        return
    for escape in _ESCAPE.finditer(text):
        if escape[1]:
            raise invalid_argument(
                f"JSON Parse error: The surrogate pair in string is invalid. at offset: {escape.start()}"
            )


def _parse_error(error: json.JSONDecodeError) -> str:
    for start, message in _MESSAGES.items():
        if error.msg.startswith(start):
            return message
    if not error.msg.startswith("Expecting ',' delimiter"):
        return "Invalid value."
    before = _STRING.sub("", error.doc[: error.pos])
    depth = 0
    for mark in re.findall(r"[][{}]", before)[::-1]:
        depth += 1 if mark in "]}" else -1
        if depth < 0:
            return (
                "Missing a comma or ] after an array element."
                if mark == "["
                else "Missing a comma or } after an object member."
            )
    return "Invalid value."
