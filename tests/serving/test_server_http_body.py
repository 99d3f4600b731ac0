"""Bodies of HTTP requests: their framing, their limits, and the memory that all of them share."""

import gzip
import io
import zlib
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server import http_body
from serving.server.http_body import BadBody, Body, ByteBudget


def body_of(raw, budget=None, **headers):
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Body(io.BytesIO(raw), message, budget or ByteBudget())


def content(raw, budget=None, **headers):
    with body_of(raw, budget, **headers) as body:
        body.receive()
        return body.content()


def status(raw, budget=None, **headers):
    with pytest.raises(BadBody) as caught:
        content(raw, budget, **headers)
    return caught.value.status


def chunked(pieces, ends=b"\r\n"):
    return b"".join(b"%x" % len(piece) + ends + piece + ends for piece in [*pieces, b""])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.sampled_from([b"\n", b"\r\n"]))
def test_chunks_are_joined(pieces, ends):
    assert content(chunked(pieces, ends), Transfer_Encoding="chunked") == b"".join(pieces)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_a_length_is_kept_to(raw, length):
    if length <= len(raw):
        assert content(raw, Content_Length=str(length)) == raw[:length]
    else:
        assert status(raw, Content_Length=str(length)) == 400


def test_no_length_is_no_body():
    assert content(b"the next request") == b""


REFUSED = [
    (b"", {"Content_Length": "-1"}, 400),
    (b"", {"Content_Length": "1_0"}, 400),
    (b"", {"Content_Length": "\N{SUPERSCRIPT TWO}"}, 400),
    (b"", {"Content_Length": "9" * 5000}, 413),
    (b"", {"Content_Length": str((64 << 20) + 1)}, 413),
    (b"", {"Transfer_Encoding": "gzip"}, 501),
    (b"0x1\r\na\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}, 400),
    (b"-1\r\n", {"Transfer_Encoding": "chunked"}, 400),
    (b"", {"Transfer_Encoding": "chunked"}, 400),
    (b"5\r\nabc", {"Transfer_Encoding": "chunked"}, 400),
    (b"f" * 16 + b"\r\n", {"Transfer_Encoding": "chunked"}, 413),
]


@pytest.mark.parametrize(("raw", "headers", "expected"), REFUSED)
def test_refused(raw, headers, expected):
    assert status(raw, **headers) == expected


def test_leading_zeros_are_no_length():
    assert content(b"ab", Content_Length="0" * 5000 + "2") == b"ab"


@given(st.binary(max_size=1000))
def test_gzip_is_undone(raw):
    packed = gzip.compress(raw)
    headers = {"Content_Encoding": "gzip", "Content_Length": str(len(packed))}
    assert content(packed, **headers) == raw
    if raw:
        assert content(packed[:-9], **{**headers, "Content_Length": str(len(packed) - 9)}) == b""


def test_bytes_are_taken_as_they_arrive_and_given_back_at_the_end():
    budget = ByteBudget(100)
    with body_of(b"a" * 60, budget, Content_Length="60") as first:
        first.receive()
        with body_of(b"", budget, Content_Length="40") as silent:
            with pytest.raises(BadBody):
                silent.receive()
            assert status(b"b" * 60, budget, Content_Length="60") == 503
            assert content(b"b" * 40, budget, Content_Length="40") == b"b" * 40  # all that is left, while it is open
    assert content(b"b" * 100, budget, Content_Length="100") == b"b" * 100
    assert budget.take(100)
    assert not budget.take(1)


def test_what_is_inflated_counts(monkeypatch):
    monkeypatch.setattr(http_body, "_PIECE_BYTES", 64)
    packed = gzip.compress(bytes(10_000))
    headers = {"Content_Encoding": "gzip", "Content_Length": str(len(packed))}
    assert len(packed) < 100
    assert status(packed, ByteBudget(5000), **headers) == 503
    assert content(packed, ByteBudget(10_000 + len(packed)), **headers) == bytes(10_000)
    monkeypatch.setattr(http_body, "MAX_BODY_BYTES", 9_999)
    assert status(packed, **headers) == 413


def test_only_gzip_is_undone():
    packed = zlib.compress(b"text")
    assert content(packed, Content_Encoding="gzip", Content_Length=str(len(packed))) == b""
    assert content(packed, Content_Length=str(len(packed))) == packed
