"""The interface of every adapter: one data set in, the data contract out, in chunks that Beam can spread."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from typing import ClassVar

import pandas as pd

from tfx_pipeline.raw_tables.paths import Path, path_of
from tfx_pipeline.raw_tables.rejects import Rejects
from tfx_pipeline.settings import DataSettings

#: Columns of the cleaned tables, in order; declared context columns (string) follow in `users`.
EVENT_COLUMNS = ("user_id", "item_id", "event_type", "timestamp", "quantity", "price", "query", "session_id")
ITEM_COLUMNS = ("item_id", "title", "description", "category", "brand", "price", "item_type", "first_seen")
#: One more column of items, where the data declares its width: float32 [w], or None where an item has none.
IMAGE_EMBEDDING = "image_embedding"
USER_COLUMNS = ("user_id", "free_text")
REVIEW_COLUMNS = ("user_id", "item_id", "rating", "text", "timestamp")
RELATION_COLUMNS = ("item_id", "relation", "related_item_id")


def since(column: str) -> str:
    """The column of `users` that says from when a context column taken from events was known, int64 seconds."""
    return f"{column} since"


class Adapter(abc.ABC):
    """Brings one data set into the data contract.

    Ids and texts are `str` (missing: ""), times are int64 seconds since 1970-01-01 UTC, quantities and prices are
    float64 (missing: NaN). An event with a query may name no item ("": a search). Rows that break the contract go to
    `rejects`, by reason; unusable files raise `DataError`.

    Args:
      settings: what the configuration says of the data.
      directory: folder that holds the files, or the one file of a data set that is a single file.
    """

    #: Column of the files -> its contract name, of columns with ids or texts that rejected rows have by the former.
    called_in_files: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: DataSettings, directory: str | Path) -> None:
        self.settings = settings
        self.directory = path_of(directory)

    @abc.abstractmethod
    def files(self) -> list[Path]:
        """Every file that is read, sorted; raises `DataError` for one that is not there."""

    @abc.abstractmethod
    def event_files(self) -> list[Path]:
        """The files of events, sorted; each can be read on its own."""

    @abc.abstractmethod
    def read_events(self, file: Path, rejects: Rejects) -> Iterator[pd.DataFrame]:
        """Cleaned events of one file, `EVENT_COLUMNS`, chunk by chunk, in file order, duplicates not merged.

        An unknown item is not looked for here: `items` may come from the events themselves.
        """

    @abc.abstractmethod
    def items(self, rejects: Rejects) -> pd.DataFrame:
        """`ITEM_COLUMNS`, one row an item, sorted by item_id; `first_seen` is 0 where the item was always there.

        `IMAGE_EMBEDDING` follows where the settings declare it.
        """

    @abc.abstractmethod
    def users(self, rejects: Rejects) -> pd.DataFrame:
        """`USER_COLUMNS` and the declared context columns, one row a user; may be empty.

        For each context column that comes from events `since(column)` follows; others hold at any time.
        """

    @abc.abstractmethod
    def reviews(self, rejects: Rejects) -> pd.DataFrame:
        """`REVIEW_COLUMNS`; may be empty."""

    @abc.abstractmethod
    def relations(self, rejects: Rejects) -> pd.DataFrame:
        """`RELATION_COLUMNS`; may be empty."""
