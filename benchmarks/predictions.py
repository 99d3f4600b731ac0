"""Ranked lists of a benchmark as a table: one row per user and rank, written to Parquet, scored from it.

Columns: user_id, rank (int64 from 1, without gaps), item_id, score (float64, as the model gave it; the rank counts).
"""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from models import metrics

COLUMNS = ("user_id", "rank", "item_id", "score")

#: Rows kept per user.
TOP = 20

_MANY = 10_000

METRICS = ("recall@10", "ndcg@10", "hr@10")

Targets = Mapping[str, Collection[str]]


def to_frame(rankings: Iterable[tuple[str, Sequence[str], Sequence[float]]]) -> pd.DataFrame:
    """The table of (user id, item ids best first, their scores); the first `TOP` of each are kept."""
    rows = [
        (user, rank, item, float(score))
        for user, items, scores in rankings
        for rank, (item, score) in enumerate(zip(items[:TOP], scores[:TOP], strict=True), start=1)
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"user_id": object, "rank": np.int64, "item_id": object, "score": np.float64})


def write(predictions: pd.DataFrame, path: str | pathlib.Path) -> None:
    """Writes Parquet, in place only when whole."""
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        predictions.to_parquet(partial, index=False)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def score_predictions(predictions: pd.DataFrame | str | pathlib.Path, targets: Targets) -> dict[str, float]:
    """Mean of each of `METRICS` over the users who have a target.

    A user without predictions scores 0; predictions of users without targets do not count.

    Args:
      predictions: the table, or the Parquet file that holds it.
      targets: user id -> items that are to be found.

    Raises:
      ValueError: as `score_users`.
    """
    values = score_users(predictions, targets)
    return {name: float(values[name].mean()) for name in METRICS}


def score_users(predictions: pd.DataFrame | str | pathlib.Path, targets: Targets) -> pd.DataFrame:
    """Each of `METRICS` of each user who has a target, as columns; indexed by user id.

    Args:
      predictions: the table, or the Parquet file that holds it.
      targets: user id -> items that are to be found.

    Raises:
      ValueError: if a column is missing, an item stands twice in a user's list, or ranks have gaps.
    """
    if not isinstance(predictions, pd.DataFrame):
        predictions = pd.read_parquet(predictions)
    _check(predictions)
    users = [user for user, items in targets.items() if len(items)]
    wanted = [(row, user, item) for row, user in enumerate(users) for item in set(targets[user])]
    hits = pd.DataFrame(wanted, columns=["row", "user_id", "item_id"]).merge(predictions, on=["user_id", "item_id"])
    slots = np.zeros((len(users), TOP), np.int8)
    slots[hits["row"].to_numpy(np.int64), hits["rank"].to_numpy(np.int64) - 1] = 1
    missed = np.array([len(set(targets[user])) for user in users], np.int64) - slots.sum(axis=1)
    # Beyond the list (a short one is filled up with misses) come the targets that it lacks, then padding.
    beyond = np.arange(missed.max(initial=0)) < missed[:, np.newaxis]
    labels = np.concatenate([slots, np.where(beyond, 1, -1)], axis=1)
    scores = np.broadcast_to(-np.arange(labels.shape[1], dtype=np.float64), labels.shape)
    columns = {name: metrics.ranking_metric(name)(labels, scores)[0] for name in METRICS} if users else {}
    return pd.DataFrame(columns, index=pd.Index(users, name="user_id"), columns=list(METRICS), dtype=np.float64)


def graded_ndcg(predictions: pd.DataFrame, relevance: Mapping[str, Mapping[str, int]], cut: int = 10) -> float:
    """Mean NDCG at `cut` over users, of gain 2^grade - 1; a user without predictions scores 0.

    Args:
      predictions: the table.
      relevance: user id -> item id -> grade.
      cut: of the ranking and of the ideal one.

    Reference: Järvelin and Kekäläinen, Cumulated Gain-based Evaluation of IR Techniques (2002).
    """
    discounts = 1 / np.log2(np.arange(cut) + 2)
    reached = dict.fromkeys(relevance, 0.0)
    shown = predictions[predictions["rank"] <= cut]
    for user, rank, item in zip(shown["user_id"], shown["rank"], shown["item_id"], strict=True):
        if user in reached:
            reached[user] += (2 ** relevance[user].get(item, 0) - 1) * discounts[rank - 1]
    for user, grades in relevance.items():
        best = np.sort([2**grade - 1 for grade in grades.values()])[::-1][:cut]
        reached[user] /= float(best @ discounts[: len(best)])
    return float(np.mean(list(reached.values()))) if reached else float("nan")


def confidence(values: np.ndarray, seed: int = 0, resamples: int = 2000) -> list[float]:
    """The 95% percentile bootstrap interval of a mean; past `_MANY` values the normal one, which then is the same.

    Args:
      values: one per user.
      seed, resamples: of the bootstrap.

    Returns:
      [low, high]; [nan, nan] without values.
    """
    if not len(values):
        return [float("nan"), float("nan")]
    if len(values) > _MANY:
        reach = 1.96 * float(np.std(values)) / len(values) ** 0.5
        return [float(np.mean(values)) - reach, float(np.mean(values)) + reach]
    rng = np.random.default_rng(seed)
    # A resample only says how often it holds each user.
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=resamples)
    return [float(edge) for edge in np.percentile(counts @ values / len(values), [2.5, 97.5])]


def _check(predictions: pd.DataFrame) -> None:
    missing = [name for name in COLUMNS if name not in predictions]
    if missing:
        raise ValueError(f"predictions lack the column {missing[0]!r}; expected {', '.join(COLUMNS)}.")
    twice = predictions.duplicated(["user_id", "item_id"])
    if twice.any():
        row = predictions[twice].iloc[0]
        raise ValueError(
            f"predictions name item {row['item_id']!r} twice for user {row['user_id']!r}; expected it once."
        )
    place = predictions.sort_values(["user_id", "rank"]).groupby("user_id").cumcount() + 1
    wrong = (place.reindex(predictions.index) != predictions["rank"]) | (predictions["rank"] > TOP)
    if wrong.any():
        row = predictions[wrong].iloc[0]
        raise ValueError(
            f"predictions have rank {row['rank']} for item {row['item_id']!r} of user {row['user_id']!r}; "
            f"expected ranks from 1 to at most {TOP} without gaps."
        )
