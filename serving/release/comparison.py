"""How two versions answer the same requests."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from serving import contract

#: Names that are compared of a ranking.
POSITIONS = 10


@dataclass
class SignatureComparison:
    """How stable and canary answer the same requests for one signature.

    Attributes:
      requests: that were sent to each.
      stable_errors, canary_errors: codes of gRPC of those that failed.
      faults: what is wrong with answers of the canary and not with stable's: outputs that lack, NaN, no item at all.
      agreements: of each pair of answers: of names the share of the first 10 that both have, of numbers their rank
        correlation.
      stable_seconds, canary_seconds: of answers.
    """

    requests: int = 0
    stable_errors: list[str] = field(default_factory=list)
    canary_errors: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)
    stable_seconds: list[float] = field(default_factory=list)
    canary_seconds: list[float] = field(default_factory=list)

    @property
    def is_worse(self) -> bool:
        """Whether the canary fails where stable does not."""
        return len(self.canary_errors) > len(self.stable_errors) or bool(self.faults)

    @property
    def agreement(self) -> float | None:
        """The mean; None without any."""
        return statistics.fmean(self.agreements) if self.agreements else None

    @property
    def latency_ratio(self) -> float | None:
        """The canary's median time to stable's; None without answers of both."""
        if not self.stable_seconds or not self.canary_seconds:
            return None
        return statistics.median(self.canary_seconds) / statistics.median(self.stable_seconds)

    def add(self, stable: Mapping[str, np.ndarray], canary: Mapping[str, np.ndarray]) -> None:
        """Counts two answers to one request."""
        faults = [fault for name in sorted(stable) if (fault := _fault(name, stable[name], canary.get(name)))]
        self.faults += faults
        names = sorted(stable, key=lambda name: (name not in contract.RANKED, name))
        if not faults and names:
            found = _agreement(names[0], stable[names[0]], canary[names[0]])
            if found is not None:
                self.agreements.append(found)


def _fault(name: str, stable: np.ndarray, canary: np.ndarray | None) -> str:
    if canary is None:
        return f"{name} is missing"
    if canary.dtype != stable.dtype or canary.ndim != stable.ndim:
        return f"{name} is of another kind"
    if stable.dtype.kind == "f" and np.isnan(canary).any() and not np.isnan(stable).any():
        return f"{name} holds NaN"
    if name in contract.RANKED and stable.any() and not canary.any():
        return f"{name} is empty"
    return ""


def _agreement(name: str, stable: np.ndarray, canary: np.ndarray) -> float | None:
    if name in contract.RANKED:
        ours, theirs = (set(filter(None, array[..., :POSITIONS].ravel().tolist())) for array in (canary, stable))
        return len(ours & theirs) / max(len(ours), len(theirs)) if ours or theirs else 1.0
    if stable.dtype.kind not in "fi" or stable.shape != canary.shape:
        return None
    finite = np.isfinite(stable) & np.isfinite(canary)
    ours, theirs = canary[finite], stable[finite]
    if len(ours) < 2 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return None
    from scipy import stats  # takes a second, which other commands need not wait

    return float(stats.spearmanr(ours, theirs).statistic)
