"""The synthetic shop: raw tables with a known truth, to hold a model's score against the best reachable one.

    python -m tfx_pipeline.raw_tables.synthetic --out DIR [--users 1500 --items 500 --days 90 --seed 1]

writes `events`, `items`, `users`, `reviews` and `relations` as Parquet, as the data contract has them, `oracle.parquet`
(the true click and purchase probability of every impression) and `oracle.json` (arguments, sizes, difficulty).

Shoppers have tastes (from demographics, their own, drifting), liked attributes, a price level, a language, and some
buy the same consumable again and again. A session wants a category; two in three begin with a query for it, in the
shopper's language. A slate of at most 8 items is shown by a policy that mixes what was asked for, the category,
popular items and anything; each is clicked with probability sigmoid(utility - position bias), then viewed, put into the
cart and bought with known probabilities. Users join and items appear throughout.

Difficulty, frozen: changing a constant or a word of the generator means raising `GENERATOR` and measuring anew.

* click AUC: over all impressions, score = true click probability, label = clicked;
* NDCG@10 in the last 20 % of the time range (at most 2,000 decisions, 4 million pairs): one decision per
  session with a click, clicked items are relevant, binary gains. `session` ranks the slate and 99 items drawn by
  popularity without replacement, `catalogue` all items that are there. `oracle` ranks by the true click probability at
  the top position (it knows the category meant and the shopper's taste), `popularity` by clicks before the boundary,
  `words` by the query's words in titles (inverse frequency, then popularity), `chance` at random;
* a query word (before typos) is unseen when it is in no title, ambiguous when in titles of two or more categories.

Measured (o oracle, p popularity, w words, c chance; shares of query words unseen and ambiguous, of queries in Chinese):

    users items days seed  events   AUC  session  o     p     w     c  catalogue o  p     w     c   unseen amb. Chinese
     1500   500   90    1   74011  .815        .617  .112  .420  .054       .502  .106  .372  .013     .13  .36     .46
     1500   500   90    2   72547  .810        .615  .071  .389  .048       .502  .059  .340  .010     .14  .37     .47
     1500   500   90    3   72865  .815        .611  .092  .403  .049       .503  .082  .361  .011     .12  .36     .47
      400   200   60    1   12994  .833        .666  .163  .498  .082       .637  .163  .496  .051     .12  .37     .42
      400   200   60    2   12553  .827        .607  .070  .344  .059       .582  .070  .334  .040     .14  .35     .44
      400   200   60    3   13120  .825        .670  .149  .477  .028       .643  .148  .472  .015     .13  .40     .48
     2000  5000   90    1  103781  .808        .585  .067  .351  .048       .250  .031  .121  .001     .14  .37     .45
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.raw_tables import adapter, synthetic_oracle
from tfx_pipeline.raw_tables.rejects import DataError
from tfx_pipeline.raw_tables.synthetic_chunk import Chunk, make_chunk
from tfx_pipeline.raw_tables.synthetic_sessions import Sessions, joined, make_pools, utility
from tfx_pipeline.raw_tables.synthetic_world import Array, Items, ShopSettings, make_items, make_users
from tfx_pipeline.settings import SettingsError

GENERATOR = 1
USERS_PER_CHUNK = 2000  # part of what the seed means
MEASURED_SESSIONS = 20_000  # a larger shop is measured on its first chunks up to so many
CONTEXT_COLUMNS = ("country", "gender", "age_band")
ORACLE_FILE = "oracle.json"

_TEXT = pa.string()
_TIME = pa.timestamp("ms", tz="UTC")
_SPECIAL = {
    "timestamp": _TIME,
    "first_seen": _TIME,
    "quantity": pa.float64(),
    "price": pa.float64(),
    "rating": pa.float64(),
    "position": pa.int64(),
    "click_probability": pa.float64(),
    "purchase_probability": pa.float64(),
    "image_embedding": pa.list_(pa.float32()),
}
#: table -> its columns
TABLES = {
    "events": adapter.EVENT_COLUMNS,
    "items": (*adapter.ITEM_COLUMNS, "image_embedding"),
    "users": (*adapter.USER_COLUMNS, *CONTEXT_COLUMNS),
    "reviews": adapter.REVIEW_COLUMNS,
    "relations": adapter.RELATION_COLUMNS,
    "oracle": ("session_id", "item_id", "position", "click_probability", "purchase_probability"),
}


@dataclass(frozen=True)
class Shop:
    """A whole shop in memory: what its owner sees, and the truth.

    Attributes:
      settings: what was asked for.
      events, items, users, reviews, relations: the raw tables.
      catalogue: the items' truth; row i belongs to row i of `items`.
      sessions: every session, with what was wanted.
      impressions: session (row of `sessions`), item (row of `items`), position, click_probability,
        purchase_probability, click, purchase.
      difficulty: the measured figures.
    """

    settings: ShopSettings
    events: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame
    reviews: pd.DataFrame
    relations: pd.DataFrame
    catalogue: Items
    sessions: Sessions
    impressions: pd.DataFrame
    difficulty: synthetic_oracle.Difficulty


def generate(settings: ShopSettings) -> Shop:
    """Makes a shop in memory; the same settings give the same shop."""
    catalogue = make_items(settings)
    chunks = list(_chunks(settings, catalogue))
    sessions, impressions = _joined(chunks)
    return Shop(
        settings=settings,
        events=pd.concat([c.events for c in chunks], ignore_index=True),
        items=catalogue.table,
        users=pd.concat([c.users.table for c in chunks], ignore_index=True),
        reviews=pd.concat([c.reviews for c in chunks], ignore_index=True),
        relations=catalogue.relations,
        catalogue=catalogue,
        sessions=sessions,
        impressions=impressions,
        difficulty=synthetic_oracle.measure(settings, catalogue, *_joined(_measured(chunks))),
    )


def oracle_scores(shop: Shop, sessions: Array, items: Array) -> Array:
    """The best reachable scores: the logit of a click at the top position, for any session and item.

    Args:
      shop: of `generate`; `generate(read_settings(DIR))` for a shop on disk.
      sessions: [n] rows of `shop.sessions` (its `ids` are the session ids, ascending).
      items: [n] or [n, m] rows of `shop.items`, shown or not.

    Returns:
      Scores of the shape of `items`.
    """
    return utility(shop.catalogue, shop.sessions, sessions, items)


def write(settings: ShopSettings, directory: str | pathlib.Path) -> bool:
    """Writes a shop, chunk by chunk of users, in place only when whole.

    Args:
      settings: what is asked for; memory grows with the items, not with the users.
      directory: made when missing; a synthetic shop of other settings in it is replaced.

    Returns:
      False when the directory holds this very shop already and nothing was done.

    Raises:
      DataError: if the directory holds something else.
    """
    directory = pathlib.Path(directory).absolute()
    if directory.exists():
        if not directory.is_dir():
            raise DataError(f"{directory}: is a file; expected a folder to write the synthetic shop into.")
        written = _written(directory)
        if written == _arguments(settings):
            return False
        if not written and any(directory.iterdir()):
            raise DataError(f"{directory}: holds other files; expected an empty folder or an earlier synthetic shop.")
    partial, old = (directory.with_name(f".{directory.name}.{kind}") for kind in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _write_tables(settings, partial)
        if directory.exists():
            directory.rename(old)
        partial.rename(directory)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DataError(f"{directory}: cannot be written ({error.strerror}).") from None
    shutil.rmtree(old, ignore_errors=True)
    return True


def read_settings(directory: str | pathlib.Path) -> ShopSettings:
    """The settings that a shop on disk was made with.

    Raises:
      DataError: if there is no shop, or one of another version of the generator.
    """
    written = _written(pathlib.Path(directory))
    if written.pop("generator", None) != GENERATOR:
        raise DataError(f"{directory}: holds no synthetic shop of this version; expected its {ORACLE_FILE}.")
    return ShopSettings(**written)


def _arguments(settings: ShopSettings) -> dict[str, int]:
    return {"generator": GENERATOR, **dataclasses.asdict(settings)}


def _written(directory: pathlib.Path) -> dict[str, int]:
    try:
        arguments = json.loads((directory / ORACLE_FILE).read_text(encoding="utf-8"))["arguments"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    whole = all((directory / f"{table}.parquet").exists() for table in TABLES)
    return dict(arguments) if whole else {"generator": 0}


def _chunks(settings: ShopSettings, catalogue: Items) -> Iterator[Chunk]:
    pools = make_pools(catalogue)
    sessions = 0
    for number, first in enumerate(range(0, settings.users, USERS_PER_CHUNK)):
        rng = np.random.default_rng([settings.seed, 2, number])
        users = make_users(settings, catalogue, first, min(USERS_PER_CHUNK, settings.users - first), rng)
        chunk = make_chunk(settings, catalogue, pools, users, sessions, rng)
        sessions += len(chunk.sessions.ids)
        yield chunk


def _measured(chunks: list[Chunk]) -> list[Chunk]:
    before = np.cumsum([0, *(len(c.sessions.ids) for c in chunks)])[:-1]
    return [chunk for chunk, earlier in zip(chunks, before, strict=True) if earlier < MEASURED_SESSIONS]


def _joined(chunks: list[Chunk]) -> tuple[Sessions, pd.DataFrame]:
    before = np.cumsum([0, *(len(c.sessions.ids) for c in chunks)])[:-1]
    shifted = [c.impressions.assign(session=c.impressions["session"] + n) for c, n in zip(chunks, before, strict=True)]
    return joined([c.sessions for c in chunks]), pd.concat(shifted, ignore_index=True)


def _schema(table: str) -> pa.Schema:
    return pa.schema([(column, _SPECIAL.get(column, _TEXT)) for column in TABLES[table]])


def _write_tables(settings: ShopSettings, folder: pathlib.Path) -> None:
    catalogue = make_items(settings)
    rows = dict.fromkeys(TABLES, 0)
    writers = {table: pq.ParquetWriter(folder / f"{table}.parquet", _schema(table)) for table in TABLES}

    def append(table: str, frame: pd.DataFrame) -> None:
        writers[table].write_table(
            pa.Table.from_pandas(frame[list(TABLES[table])], _schema(table), preserve_index=False)
        )
        rows[table] += len(frame)

    kept: list[Chunk] = []
    sessions = 0
    try:
        append("items", catalogue.table)
        append("relations", catalogue.relations)
        for number, chunk in enumerate(_chunks(settings, catalogue), start=1):
            append("events", chunk.events)
            append("users", chunk.users.table)
            append("reviews", chunk.reviews)
            shown = chunk.impressions
            names = {"session_id": chunk.sessions.ids[shown["session"]], "item_id": catalogue.ids[shown["item"]]}
            append("oracle", shown.assign(**names))
            if sessions < MEASURED_SESSIONS:
                kept.append(chunk)
            sessions += len(chunk.sessions.ids)
            if number % 50 == 0:
                print(
                    f"{number * USERS_PER_CHUNK:,} of {settings.users:,} users, {rows['events']:,} events", flush=True
                )
    finally:
        for writer in writers.values():
            writer.close()
    difficulty = synthetic_oracle.measure(settings, catalogue, *_joined(kept))
    content: dict[str, Any] = {
        "arguments": _arguments(settings),
        "rows": rows,
        "sessions": sessions,
        "difficulty": dataclasses.asdict(difficulty),
    }
    (folder / ORACLE_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Writes a synthetic shop as raw tables.")
    parser.add_argument("--out", required=True, help="folder to write")
    for field in dataclasses.fields(ShopSettings):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help="default %(default)s")
    values = vars(parser.parse_args(arguments))
    out = values.pop("out")
    try:
        new = write(ShopSettings(**values), out)
    except (DataError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    content = json.loads((pathlib.Path(out) / ORACLE_FILE).read_text(encoding="utf-8"))
    rows = ", ".join(f"{count:,} {table}" for table, count in content["rows"].items() if table != "oracle")
    print(f"{out}: {'wrote' if new else 'nothing to do, already holds'} {rows}.")
    figures = content["difficulty"]
    print(
        f"Best reachable: click AUC {figures['click_auc']:.3f}, NDCG@10 {figures['session_oracle']:.3f} "
        f"(popularity {figures['session_popularity']:.3f}, chance {figures['session_chance']:.3f})."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
