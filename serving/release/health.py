"""Whether a canary's requests fail more often, or take longer, than the stable version's."""

from __future__ import annotations

import math

from serving.experiment.confidence_sequence import ConfidenceSequence
from serving.release.traffic import Counts
from serving.release.watch_settings import WatchSettings

#: The interval is tightest at so many times `least_requests`.
_PLANNED = 10


def fault(stable: Counts, canary: Counts, settings: WatchSettings) -> str | None:
    """What is wrong with a canary; "" for nothing, None while there are too few requests to say.

    Errors are wrong where the sequential interval (`ConfidenceSequence`) of the difference between the two shares lies
    above `max_more_errors`: it may be looked at as often as one likes. The shares are those of Agresti and Caffo, with
    one failure and one success more each, so that no share is 0 for certain.

    Args:
      stable, canary: what came in the same time.
      settings: least numbers and limits.
    """
    if min(stable.requests, canary.requests) < settings.least_requests:
        return None
    shares = [(one.errors + 1) / (one.requests + 2) for one in (stable, canary)]
    variances = [share * (1 - share) / (one.requests + 2) for share, one in zip(shares, (stable, canary), strict=True)]
    sequence = ConfidenceSequence(settings.alpha, _PLANNED * 2 * settings.least_requests)
    half = float(sequence.width(stable.requests + canary.requests)) * math.sqrt(sum(variances))
    if shares[1] - shares[0] - half > settings.max_more_errors:
        return (
            f"{canary.errors:,.0f} of {canary.requests:,.0f} requests to the canary failed, and "
            f"{stable.errors:,.0f} of {stable.requests:,.0f} to stable"
        )
    if stable.latency and canary.latency and canary.latency / stable.latency > settings.max_latency_ratio:
        ratio = canary.latency / stable.latency
        return (
            f"requests to the canary take {ratio:.2f} times as long as those to stable, over {canary.requests:,.0f} "
            f"requests; expected at most {settings.max_latency_ratio:g} times"
        )
    return ""
