"""Packed repeated numbers as protobuf writes them, to and from NumPy.

protobuf's own containers take 0.3 us a value in Python, which is most of what a large tensor would cost.
"""

from __future__ import annotations

import numpy as np

_CHUNK = 1 << 16
_MOST_BYTES = 10


def pack(number: int, values: np.ndarray, varint: bool) -> bytes:
    """A packed field on the wire.

    Args:
      number: of the field.
      values: flat; a whole type for varints, as signed or unsigned as the field is.
      varint: as varints, rather than the values' own bytes.
    """
    content = _to_varints(values) if varint else values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def unpack(message: bytes, number: int) -> bytes:
    """The content of a packed field of a serialized message; empty without one."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == 0:
            _, position = _read_varint(message, position)
        elif kind == 2:
            size, position = _read_varint(message, position)
            if key >> 3 == number:
                return message[position : position + size]
            position += size
        else:
            position += 8 if kind == 1 else 4
    return b""


def from_varints(content: bytes) -> np.ndarray:
    """Packed varints as uint64 (two's complement of negative ones)."""
    raw = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(ends) == len(raw):
        return raw.astype(np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(raw)) - np.repeat(starts, ends - starts + 1)
    parts = (raw & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts)


def _to_varints(values: np.ndarray) -> bytes:
    wide = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    if not len(wide) or wide.max() < 0x80:
        return wide.astype(np.uint8).tobytes()
    place = np.arange(_MOST_BYTES)
    shifts = (7 * place).astype(np.uint64)
    chunks = []
    for start in range(0, len(wide), _CHUNK):
        part = wide[start : start + _CHUNK, None]
        groups = (part >> shifts).astype(np.uint8) & 0x7F
        sizes = 1 + np.count_nonzero(part >> shifts[1:], axis=1)[:, None]
        groups[place < sizes - 1] |= 0x80
        chunks.append(groups[place < sizes].tobytes())
    return b"".join(chunks)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
