"""The log of exposures."""

from __future__ import annotations

import os

from serving.experiment.daily_log import DailyLog
from serving.experiment.exposure import Exposure


class ExposureLog:
    """Appends exposures to a folder, a file a day (`DailyLog`); safe for several threads and processes.

    Args:
      folder: is made if it is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._log = DailyLog(folder)

    def write(self, exposure: Exposure) -> bool:
        """Logs an exposure; False, and nothing is logged, for one without a user id, which nothing can be told from.

        Raises:
          OSError: if it cannot be written.
        """
        if not exposure.user_id:
            return False
        self._log.append(exposure.time, {name: value for name, value in vars(exposure).items() if value != ()})
        return True
