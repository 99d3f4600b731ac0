"""Cleaning of single columns: texts, numbers and times, from CSV texts or typed Parquet columns alike."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd

_MISSING = ("", "nan", "null", "none")
_ISO = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?)?"
_ZONED = r":\d\d(?:\.\d+)? ?(?:Z|[+-]\d\d(?::?\d\d)?)$"
# Numbers up to here are seconds (until the year 2286), those in the range of milliseconds are milliseconds
# (1973 to 2286); whatever lies between or beyond could be several things and is refused.
_SECONDS_BELOW = 1e10
_MILLISECONDS = (1e11, 1e13)
_COMPACT_DATES = (19_000_101, 21_001_231)  # 20111209 is a date, not August 1970


def texts(column: pd.Series, tidy: Callable[[str], str] | None = None) -> pd.Series:
    """A column as `str` without surrounding white space; missing is "". Whole numbers have no decimals.

    Args:
      column: texts, numbers or anything else.
      tidy: applied to each text; called once per distinct value.
    """
    codes, distinct = _distinct(column)
    if tidy is not None:
        distinct = _objects([tidy(text) for text in distinct])
    return pd.Series(distinct[codes], index=column.index)


def numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """A column as float64, missing NaN.

    Returns:
      (numbers, unparsable): the second is True where there was something that is no finite number.
    """
    if column.dtype.kind in "iufb":
        parsed = column.astype("float64")
        return parsed, ~np.isfinite(parsed) & parsed.notna()
    codes, distinct = _distinct(column)
    written = pd.Series(distinct)
    parsed = pd.to_numeric(written, errors="coerce").astype("float64")
    parsed = parsed.where(np.isfinite(parsed))
    unparsable = parsed.isna() & ~written.str.lower().isin(_MISSING)
    return _spread(parsed, codes, column), _spread(unparsable, codes, column)


def vectors(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """A column of lists of numbers as float32 [n] arrays, missing (or of no number) None.

    Accepts lists, and texts of numbers between white space, commas or semicolons, with or without brackets.

    Returns:
      (vectors, unparsable): the second is True where there was something else, or a number that is not finite.
    """
    parsed = [_vector(value) for value in column]
    bad = np.array([vector is not None and not np.isfinite(vector).all() for vector in parsed], bool)
    found = pd.Series(parsed, index=column.index, dtype=object).where(~bad, None)
    return found, pd.Series(bad, index=column.index)


def _vector(value: object) -> np.ndarray | None:
    """float32 [n], or None for nothing; one that is not finite for what is no list of numbers."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _MISSING:
            return None
        value = re.split(r"\s*[,;]\s*|\s+", re.sub(r"^[\[(]\s*|\s*[\])]$", "", text))
        value = [] if value == [""] else value
    if not isinstance(value, (list, tuple, np.ndarray)):
        missing = value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
        return None if missing else np.array([np.nan], np.float32)
    try:
        with np.errstate(over="ignore"):
            found = np.asarray(value, np.float64).astype(np.float32)
    except (TypeError, ValueError):
        return np.array([np.nan], np.float32)
    return found if found.size else None


def times(column: pd.Series) -> tuple[pd.Series, pd.Series, int]:
    """A column as int64 seconds since 1970-01-01 UTC.

    Accepts typed times, ISO 8601 texts, epoch seconds, and epoch milliseconds (told apart by their size). A time
    without a zone is taken as UTC. Parts of a second are cut off.

    Returns:
      (seconds, unparsable, naive): seconds are 0 where unparsable (missing, not a time, or before 1970); `naive` is the
      number of good times that had no zone.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        zoned = getattr(column.dtype, "tz", None) is not None
        moments = column.dt.tz_convert("UTC") if zoned else column.dt.tz_localize("UTC")
        seconds, bad = _seconds(moments)
        return seconds, bad, 0 if zoned else int((~bad).sum())
    codes, distinct = _distinct(column)
    written = pd.Series(distinct)
    iso = written.str.fullmatch(_ISO)
    seconds, bad = _seconds(pd.to_datetime(written.where(iso), utc=True, errors="coerce"))
    epoch = pd.to_numeric(written.where(~iso), errors="coerce").astype("float64")
    is_seconds = (epoch >= 0) & (epoch < _SECONDS_BELOW) & ~epoch.between(*_COMPACT_DATES)
    is_milliseconds = (epoch >= _MILLISECONDS[0]) & (epoch < _MILLISECONDS[1])
    number = epoch.where(is_seconds, epoch / 1000).where(is_seconds | is_milliseconds, 0)
    seconds = seconds.where(iso, np.floor(number).astype("int64"))
    bad = bad.where(iso, ~(is_seconds | is_milliseconds)).astype(bool)
    naive = iso & ~bad & ~written.str.contains(_ZONED)
    return _spread(seconds, codes, column), _spread(bad, codes, column), int(_spread(naive, codes, column).sum())


def _seconds(moments: pd.Series) -> tuple[pd.Series, pd.Series]:
    missing = moments.isna()
    nanoseconds = moments.fillna(pd.Timestamp(0, tz="UTC")).dt.tz_localize(None).astype("int64")
    seconds = nanoseconds // 1_000_000_000
    bad = missing | (seconds < 0)
    return seconds.where(~bad, 0), bad


def _distinct(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(codes, distinct texts): text i of the column is distinct[codes[i]]; the last one is "", for missing values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    codes, distinct = pd.factorize(column.to_numpy())
    return codes, _objects([*(text_of(value) for value in distinct), ""])


def _objects(texts: list[str]) -> np.ndarray:
    return np.array(texts, dtype=object)


def _spread(of_distinct: pd.Series, codes: np.ndarray, column: pd.Series) -> pd.Series:
    return pd.Series(of_distinct.to_numpy()[codes], index=column.index)


def text_of(value: object) -> str:
    """A value that is not missing as `texts` has it."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return f"{value:.0f}"
    return str(value).strip()
