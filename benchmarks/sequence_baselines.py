"""Training-free baselines of `leave_one_out` and `search`, with SciPy: what a model has to beat. They read no query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sparse

from benchmarks import predictions
from benchmarks.leave_one_out import LeaveOneOut
from benchmarks.protocol import Part
from benchmarks.search import Search
from serving.requests import Request

#: A pair of items at a distance of n events counts n^-_NEARNESS, and _BACKWARD of that against the order of events.
_NEARNESS, _BACKWARD = 0.5, 0.5
#: Exponents of the numbers of events of the item that was had and of the one that is ranked.
_FROM, _TO = 0.5, 0.25
#: What an event counts for each one after it.
DECAYS = (0.3, 0.5, 0.7, 0.9)
_BATCH = 500
_JUDGES = 10_000
_ORDER_OF_EQUALS = 1e-9


class Counts:
    """Counts of the events that a model may be fitted on.

    co_occurrence: with c(i, j) the sum over users and places a < b of the pair (i at a, j at b) of (b - a)^-1/2, plus
    half of the sum for (j, i), and n(i) 1 plus the events of i, an item j gets Σ d^k · c(i, j) / (n(i)^1/2 · n(j)^1/4)
    over the items i of the history, the k-th last one counted d^k. Items of equal score are ordered by popularity, then
    by id; without a history that is all there is.

    Args:
      protocol: whose `fitted` events are counted and whose `known` items are ranked.

    Reference: the item-to-item co-occurrence of Linden et al., Amazon.com Recommendations (2003); direction, distances
    and exponents were chosen on the validation items of Amazon Beauty.
    """

    def __init__(self, protocol: LeaveOneOut | Search) -> None:
        self._ids = np.array(sorted(protocol.known), object)
        self._codes = {item: code for code, item in enumerate(self._ids.tolist())}
        sequences = [np.array([self._codes[item] for item in items], np.int64) for items in protocol.fitted]
        self.events = np.bincount(np.concatenate([*sequences, np.empty(0, np.int64)]), minlength=len(self._ids))
        by_popularity = np.argsort(-self.events, kind="stable")
        self._among_equals = np.empty(len(self._ids))
        self._among_equals[by_popularity] = np.linspace(_ORDER_OF_EQUALS, 0, len(self._ids))
        ordered = self._pairs(sequences)
        several = 1.0 + self.events
        pairs = sparse.diags(several**-_FROM) @ (ordered + _BACKWARD * ordered.T) @ sparse.diags(several**-_TO)
        self._matrix = pairs.tocsr()

    def rank(self, requests: Sequence[Request], decay: float | None) -> pd.DataFrame:
        """The table of `benchmarks.predictions`, by co-occurrence, or by popularity if `decay` is None.

        What a request excludes is left out.
        """
        return predictions.to_frame(self._rankings(requests, decay))

    def _pairs(self, sequences: list[np.ndarray]) -> sparse.csr_matrix:
        shape = (len(self._ids), len(self._ids))
        first, second, weights = [], [], []
        for codes in sequences:
            a, b = np.triu_indices(len(codes), 1)
            first.append(codes[a])
            second.append(codes[b])
            weights.append((b - a) ** -_NEARNESS)
        if not first:
            return sparse.csr_matrix(shape)
        places = (np.concatenate(first), np.concatenate(second))
        return sparse.csr_matrix((np.concatenate(weights), places), shape=shape)

    def _rankings(self, requests: Sequence[Request], decay: float | None) -> Iterator[tuple[str, list, list]]:
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            share = self.events / max(1, self.events.sum())
            scores = np.tile(share, (len(batch), 1)) if decay is None else self._score(batch, decay)
            for request, row in zip(batch, scores + self._among_equals, strict=True):
                row[[self._codes[item] for item in request.exclude]] = -np.inf
                number = min(predictions.TOP, len(row))
                best = np.argpartition(-row, number - 1)[:number]
                best = best[np.argsort(-row[best], kind="stable")]
                best = best[np.isfinite(row[best])]
                yield request.user_id, self._ids[best].tolist(), row[best].tolist()

    def _score(self, batch: Sequence[Request], decay: float) -> np.ndarray:
        rows = np.repeat(np.arange(len(batch)), [len(request.history) for request in batch])
        items = [self._codes[event[0]] for request in batch for event in request.history]
        ages = [np.arange(len(request.history))[::-1] for request in batch]
        weights = np.power(decay, np.concatenate([*ages, np.empty(0)]))
        had = sparse.csr_matrix((weights, (rows, items)), shape=(len(batch), len(self._ids)))
        return (had @ self._matrix).toarray()


def best_decay(validation: LeaveOneOut | Search) -> float:
    """Of `DECAYS`, the one with the best NDCG@10 for (at most `_JUDGES` of) a validation protocol's users."""
    counts, part = Counts(validation), validation.parts()[0]
    requests = part.requests[:: -(-len(part.requests) // _JUDGES) or 1]
    targets = {request.user_id: part.targets[request.user_id] for request in requests}

    def ndcg(decay: float) -> float:
        return predictions.score_predictions(counts.rank(requests, decay), targets)["ndcg@10"]

    return max(DECAYS, key=ndcg)


def rankings(protocol: LeaveOneOut | Search, decay: float | None) -> Iterator[tuple[Part, pd.DataFrame]]:
    """Each part of a protocol with its ranking, as `Counts.rank` gives it."""
    counts = Counts(protocol)
    for part in protocol.parts():
        yield part, counts.rank(part.requests, decay)
