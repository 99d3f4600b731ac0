"""Logs as JSON, one object a line, without personal data.

What the gateway logs itself are fields that name no person: neither ids of users or sessions, nor texts, nor addresses
of clients. Of an error the log has the class and the places in the code; its message may repeat a request's values.
"""

from __future__ import annotations

import datetime
import json
import logging
import pathlib
import sys
import traceback
from typing import Any

LOGGER = logging.getLogger("serving.gateway")
#: Name of the attribute of a record that holds its fields.
_FIELDS = "fields"


def log(event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Writes a line.

    Args:
      event: what happened, such as "request".
      level: of `logging`.
      error: that was caught.
      **fields: numbers and texts about it.
    """
    if error is not None:
        fields["error"] = type(error).__name__
        fields["at"] = [_place(frame) for frame in traceback.extract_tb(error.__traceback__)]
    LOGGER.log(level, event, extra={_FIELDS: fields})


class JsonFormatter(logging.Formatter):
    """Makes a line of a record, of ours or of a library."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        content: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            **getattr(record, _FIELDS, {}),
        }
        if record.name != LOGGER.name:
            content["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            content["error"] = type(record.exc_info[1]).__name__
            content["at"] = [_place(frame) for frame in traceback.extract_tb(record.exc_info[2])]
        return json.dumps(content, ensure_ascii=False, default=str)


def configure() -> None:
    """Sends all logs to stderr as JSON; uvicorn's own lines only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _place(frame: traceback.FrameSummary) -> str:
    return f"{pathlib.Path(frame.filename).name}:{frame.lineno} {frame.name}"
