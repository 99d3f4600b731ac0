"""What one user did, for models that count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shopper:
    """What one user did, as far as it may be counted.

    Attributes:
      history: int [H], rows of the catalogue, oldest first, as often as they were met.
      positives: int [P], rows of what the newest decision found to be chosen then.
      key: a hash of the user.
    """

    history: np.ndarray
    positives: np.ndarray
    key: int = 0

    @property
    def sequence(self) -> np.ndarray:
        """Int [H + P], everything in its order."""
        return np.concatenate([self.history, self.positives])
