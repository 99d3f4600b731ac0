"""Adapter `online_retail`: UCI Online Retail, the invoice lines of a UK gift shop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tfx_pipeline.raw_tables import excel, files, values
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

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
_ENDINGS = (".csv", ".csv.gz", ".xlsx")
_EXPECTED = "UCI Online Retail (.csv, .csv.gz or .xlsx)"
_NO_PRODUCTS = ("POST", "D", "M", "DOT", "C2", "BANK CHARGES", "PADS", "CRUK", "AMAZONFEE", "S", "B")
_GIFT_VOUCHERS = "GIFT_0001_"
_AMERICAN = r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d"


class OnlineRetail(Adapter):
    """Reads UCI Online Retail, as CSV (also .gz) or XLSX, with UCI's columns.

    An invoice is a purchase session: InvoiceNo is `session_id`, each line an event "purchase". `directory` is the file
    itself or a folder that holds exactly one.

    Dropped, in this order: lines without CustomerID, cancellations (InvoiceNo starts with C), a quantity or price that
    is not positive, and codes that are no product (postage, fees, vouchers, ...). StockCode is upper-cased. An item's
    title is its most frequent description (ties: the first by alphabet), its price the median, `first_seen` its first
    sale. A user's `country` (the only context column there is) is the most frequent. InvoiceDate has no zone and is
    taken as UTC; it may be ISO 8601 or UCI's own month/day/year.

    Source: Chen, Sain & Guo (2012), "Data mining for the online retail industry"; UCI Machine Learning Repository, 352.
    """

    called_in_files = {"CustomerID": "user_id", "InvoiceNo": "session_id"}

    def __init__(self, settings: Any, directory: str | Path) -> None:
        super().__init__(settings, directory)
        self._kept: tuple[pd.DataFrame, Rejects] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # workers read the file themselves

    def files(self) -> list[Path]:
        return [files.one_file(self.directory, _ENDINGS, _EXPECTED)]

    def event_files(self) -> list[Path]:
        return self.files()

    def read_events(self, file: Path, rejects: Rejects) -> Iterator[pd.DataFrame]:
        lines, counted = self._lines()
        rejects.merge(counted)
        for start in range(0, len(lines), files.CHUNK_ROWS):
            chunk = lines.iloc[start : start + files.CHUNK_ROWS]
            yield chunk.assign(event_type="purchase", query="")[list(EVENT_COLUMNS)].reset_index(drop=True)

    def items(self, rejects: Rejects) -> pd.DataFrame:
        lines, _ = self._lines()
        by_item = lines.groupby("item_id")
        items = pd.DataFrame({"price": by_item["price"].median(), "first_seen": by_item["timestamp"].min()})
        items["title"] = most_frequent(lines, "item_id", "title").reindex(items.index, fill_value="")
        items = items.reset_index().assign(description="", category="", brand="", item_type="product")
        return items.sort_values("item_id", ignore_index=True)[list(ITEM_COLUMNS)]

    def users(self, rejects: Rejects) -> pd.DataFrame:
        for column in self.settings.context:
            if column != "country":
                raise DataError(f"context column {column!r} is not in UCI Online Retail; expected none or country.")
        lines, _ = self._lines()
        users = pd.DataFrame({"user_id": sorted(lines["user_id"].unique()), "free_text": ""})
        for column in self.settings.context:
            users[column] = users["user_id"].map(most_frequent(lines, "user_id", column)).fillna("")
        return users[[*USER_COLUMNS, *self.settings.context]]

    def reviews(self, rejects: Rejects) -> pd.DataFrame:
        return pd.DataFrame(columns=list(REVIEW_COLUMNS))

    def relations(self, rejects: Rejects) -> pd.DataFrame:
        return pd.DataFrame(columns=list(RELATION_COLUMNS))

    def _lines(self) -> tuple[pd.DataFrame, Rejects]:
        """All lines that are kept, in file order, and what was left out; read once, as items and users need all."""
        if self._kept is None:
            rejects = Rejects()
            (file,) = self.files()
            lines = [_clean(chunk, file, rejects) for chunk in _chunks(file, rejects)]
            self._kept = pd.concat(lines, ignore_index=True), rejects
        return self._kept


def most_frequent(frame: pd.DataFrame, key: str, column: str) -> pd.Series:
    """The most frequent non-empty value of `column` for each `key`; of ties the first by alphabet."""
    counts = frame[frame[column] != ""].groupby([key, column], sort=False).size().reset_index(name="count")
    best = counts.sort_values([key, "count", column], ascending=[True, False, True]).drop_duplicates(key)
    return best.set_index(key)[column]


def _chunks(file: Path, rejects: Rejects) -> Iterator[pd.DataFrame]:
    if file.name.lower().endswith(".xlsx"):
        yield from excel.read_chunks(file, COLUMNS, "events", files.CHUNK_ROWS)
    else:
        layout = files.Layout("events", {name: name for name in COLUMNS}, COLUMNS)
        yield from files.read_chunks(file, layout, rejects)


def _clean(chunk: pd.DataFrame, file: Path, rejects: Rejects) -> pd.DataFrame:
    invoice = values.texts(chunk["InvoiceNo"], _whole)
    code = values.texts(chunk["StockCode"], str.upper)
    seconds, untimed, naive = _times(chunk["InvoiceDate"])
    quantity, uncounted = values.numbers(chunk["Quantity"])
    price, unpriced = values.numbers(chunk["UnitPrice"])
    clean = pd.DataFrame(
        {
            "user_id": values.texts(chunk["CustomerID"], _whole),
            "item_id": code,
            "timestamp": seconds,
            "quantity": quantity,
            "price": price,
            "session_id": invoice,
            "title": values.texts(chunk["Description"], lambda text: " ".join(text.split())),
            "country": values.texts(chunk["Country"]),
        }
    )
    reasons = (
        ("dropped", "no CustomerID", clean["user_id"].isin(["", "NAN"])),
        ("dropped", "cancellation", invoice.str.startswith("C")),
        ("rejected", "missing InvoiceNo", invoice == ""),
        ("rejected", "missing StockCode", code == ""),
        ("rejected", "unparsable InvoiceDate", untimed),
        ("rejected", "unparsable Quantity", uncounted | quantity.isna()),
        ("rejected", "unparsable UnitPrice", unpriced | price.isna()),
        ("dropped", "non-positive quantity or price", (quantity <= 0) | (price <= 0)),
        ("dropped", "non-product code", code.isin(_NO_PRODUCTS) | code.str.startswith(_GIFT_VOUCHERS)),
    )
    good = pd.Series(True, index=chunk.index)
    for kind, reason, bad in reasons:
        files.count_rows(rejects, "events", kind, reason, chunk[good & bad], file)
        good &= ~bad
    if naive:
        rejects.count("events", "noted", "times without a zone, taken as UTC", [], naive)
    return clean[good]


def _whole(number: str) -> str:
    """17850.0, as pandas writes a number in a column with gaps, is 17850."""
    return number.upper().removesuffix(".0")


def _times(column: pd.Series) -> tuple[pd.Series, pd.Series, int]:
    """As `values.times`, and 12/1/2010 8:26 is the first of December."""
    if column.dtype == object:
        written = values.texts(column)
        american = written.str.fullmatch(_AMERICAN)
        if american.any():
            moments = pd.to_datetime(written[american], format="%m/%d/%Y %H:%M", errors="coerce")
            column = written.mask(american, moments.dt.strftime("%Y-%m-%d %H:%M").reindex(written.index).fillna(""))
    return values.times(column)
