"""Adapter `amazon_sequences`: a user and item ids a line, as S3-Rec publishes Amazon's reviews."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from models import features
from tfx_pipeline.raw_tables import files
from tfx_pipeline.raw_tables.adapter import (
    EVENT_COLUMNS,
    ITEM_COLUMNS,
    RELATION_COLUMNS,
    REVIEW_COLUMNS,
    USER_COLUMNS,
    Adapter,
)
from tfx_pipeline.raw_tables.paths import Path
from tfx_pipeline.raw_tables.rejects import DataError, Rejects

EVENT_TYPE = "interaction"
_ENDINGS = (".txt", ".txt.gz")
_EXPECTED = "sequences of item ids (NAME.txt or NAME.txt.gz)"
_ATTRIBUTES = "_item2attributes.json"
_FORM = 'an object such as {"17": [3, 5]}: attribute ids for each item id'


class AmazonSequences(Adapter):
    """Reads `NAME.txt` (also .gz), each line a user and item ids in the order of time, and the items' attributes.

    `directory` is that file or a folder that holds exactly one. `NAME_item2attributes.json` beside it, if it is there,
    holds attribute ids for each item id; an item's title is its attributes as words ("a17 a3"), which is all the text
    there is. Ids of users and items are names only: they are numbered in an order that gives the future away, so no
    number of theirs becomes a word.

    There are no times: a user's events lie a day apart, the first on 1970-01-01. What is counted in days (gaps, decayed
    counts, windows of popularity, sales per day) then counts events, each event has those of the same user strictly
    before it, and a day's sales can be told from those of the day before; a second apart, everything would be of one
    day. Days of two users have nothing to do with each other, so only `split: leave_one_out` makes sense.

    A line without an item, or of a user who was there already, is rejected; attributes of items that are in no sequence
    are dropped. Each event is an "interaction" without session, quantity or price.

    Source: Zhou et al., S3-Rec (2020), github.com/RUCAIBox/CIKM2020-S3Rec, folder data.
    """

    def files(self) -> list[Path]:
        attributes = self._attribute_file()
        return sorted([self._sequences(), *([attributes] if attributes else [])])

    def event_files(self) -> list[Path]:
        return [self._sequences()]

    def read_events(self, file: Path, rejects: Rejects) -> Iterator[pd.DataFrame]:
        users: list[str] = []
        items: list[str] = []
        days: list[int] = []
        for user, sequence in _read(file, rejects):
            users += [user] * len(sequence)
            items += sequence
            days += range(len(sequence))
            if len(items) >= files.CHUNK_ROWS:
                yield _events(users, items, days)
                users, items, days = [], [], []
        if items:
            yield _events(users, items, days)

    def items(self, rejects: Rejects) -> pd.DataFrame:
        uncounted = Rejects(keep_rows=0)  # `read_events` counts them
        known = {item for _, sequence in _read(self._sequences(), uncounted) for item in sequence}
        attributes = self._attributes()
        if foreign := sorted(set(attributes) - known):
            rows = [{"item_id": item} for item in foreign[: rejects.keep_rows]]
            rejects.count("items", "dropped", "in no sequence", rows, len(foreign))
        ids = sorted(known)
        titles = [" ".join(f"a{attribute}" for attribute in attributes.get(item, ())) for item in ids]
        if without := titles.count(""):
            rejects.count("items", "noted", "without attributes, so without text", [], without)
        frame = pd.DataFrame({"item_id": ids, "title": titles}, dtype=object)
        frame = frame.assign(description="", category="", brand="", price=float("nan"), first_seen=0)
        return frame.assign(item_type="product")[list(ITEM_COLUMNS)]

    def users(self, rejects: Rejects) -> pd.DataFrame:
        for column in self.settings.context:
            raise DataError(f"context column {column!r} is not in {_EXPECTED}; expected data.context to be empty.")
        return pd.DataFrame(columns=list(USER_COLUMNS))

    def reviews(self, rejects: Rejects) -> pd.DataFrame:
        return pd.DataFrame(columns=list(REVIEW_COLUMNS))

    def relations(self, rejects: Rejects) -> pd.DataFrame:
        return pd.DataFrame(columns=list(RELATION_COLUMNS))

    def _sequences(self) -> Path:
        return files.one_file(self.directory, _ENDINGS, _EXPECTED)

    def _attribute_file(self) -> Path | None:
        sequences = self._sequences()
        file = sequences.with_name(sequences.name[: sequences.name.lower().rindex(".txt")] + _ATTRIBUTES)
        with files.reachable(file, _FORM):
            return file if file.is_file() else None

    def _attributes(self) -> dict[str, list[int | str]]:
        file = self._attribute_file()
        if file is None:
            return {}
        text = "\n".join(line for _, line in files.read_lines(file, "a JSON file"))
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{file}: line {error.lineno} is not JSON; expected {_FORM}.") from None
        if not isinstance(content, dict):
            raise DataError(f"{file}: holds no object; expected {_FORM}.")
        for item, attributes in content.items():
            if not isinstance(attributes, list) or not all(isinstance(each, (int, str)) for each in attributes):
                raise DataError(f"{file}: item {item!r} has no list of ids; expected {_FORM}.")
        return content


def _read(file: Path, rejects: Rejects) -> Iterator[tuple[str, list[str]]]:
    """(user, item ids) of each good line."""
    seen: set[str] = set()
    for number, line in files.read_lines(file, "sequences of item ids"):
        user, *items = line.split() or [""]
        row = {"file": file.name, "line": number, "user_id": user}
        if user and not items:
            rejects.reject("events", "no item after the user", row)
        elif user in seen:
            rejects.count("events", "rejected", "user_id was there already", [row], len(items))
        elif user:
            seen.add(user)
            yield user, items
    if not seen and not rejects.rejected("events"):
        raise DataError(f"{file}: has no line; expected {_EXPECTED}.")


def _events(users: list[str], items: list[str], days: list[int]) -> pd.DataFrame:
    seconds = pd.Series(days, dtype="int64") * features.SECONDS_PER_DAY
    frame = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": seconds})
    frame = frame.assign(event_type=EVENT_TYPE, quantity=float("nan"), price=float("nan"), query="", session_id="")
    return frame[list(EVENT_COLUMNS)]
