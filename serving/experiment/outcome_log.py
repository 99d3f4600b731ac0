"""The log of outcomes."""

from __future__ import annotations

import os

from serving.experiment.daily_log import DailyLog
from serving.experiment.outcome import Outcome


class OutcomeLog:
    """Appends outcomes to a folder, a file a day (`DailyLog`); safe for several threads and processes.

    Args:
      folder: is made if it is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._log = DailyLog(folder)

    def write(self, outcome: Outcome) -> None:
        """Logs an outcome.

        Raises:
          OSError: if it cannot be written.
        """
        self._log.append(outcome.time, vars(outcome))
