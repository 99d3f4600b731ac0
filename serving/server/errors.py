"""Errors with a gRPC code, and what they become over REST."""

from __future__ import annotations

from http import HTTPStatus

import grpc
import tensorflow as tf

#: Longest text that goes into gRPC's trailers, in bytes, as in TensorFlow Serving.
MAX_DETAILS = 1024

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HTTP: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.CANCELLED: 499,
}


class ServingError(Exception):
    """A request or a load that failed.

    Args:
      code: of gRPC (TensorFlow's codes are the same numbers).
      message: the text a caller reads; TensorFlow Serving's own wherever it has one.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @classmethod
    def wrap(cls, error: Exception) -> ServingError:
        """This error, one of TensorFlow's, or any other (UNKNOWN), as a ServingError."""
        if isinstance(error, cls):
            return error
        if isinstance(error, tf.errors.OpError):
            return cls(_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message)
        if isinstance(error, MemoryError):
            return cls(grpc.StatusCode.RESOURCE_EXHAUSTED, "Out of memory")
        return cls(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")

    @property
    def details(self) -> str:
        """The message, cut to what gRPC's trailers carry."""
        content = self.message.encode("utf-8", "replace")
        if len(content) <= MAX_DETAILS:
            return self.message
        return content[:MAX_DETAILS].decode("utf-8", "ignore") + "...TRUNCATED"

    @property
    def http_status(self) -> int:
        """What REST answers."""
        return _HTTP.get(self.code, HTTPStatus.INTERNAL_SERVER_ERROR)


def invalid_argument(message: str) -> ServingError:
    """The most frequent error."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)
