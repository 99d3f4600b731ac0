"""What an application is told when it gets no answer."""

from __future__ import annotations

import math
from typing import Any


class Refusal(Exception):
    """An answer that is no 200; the message is one sentence without paths or personal data.

    Args:
      status: of HTTP.
      code: a word for programs.
      message: for people.
      retry_after: seconds until it may be worth while to ask again; None to say nothing of it.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, beside its type and length."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def body(self, request_id: str) -> dict[str, Any]:
        """The document that is answered."""
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}


def nothing_there() -> Refusal:
    """That there is no such path."""
    return Refusal(404, "not_found", "There is nothing at this path.")


def invalid(message: str) -> Refusal:
    """That a request's body is not as it should be."""
    return Refusal(422, "invalid_request", message)
