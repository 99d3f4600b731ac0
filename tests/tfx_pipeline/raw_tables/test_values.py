"""Single columns: texts, numbers, times."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfx_pipeline.raw_tables import values


def objects(*content):
    return pd.Series(content, dtype=object)


def test_texts():
    assert list(values.texts(objects(" a ", None, float("nan"), "", 17, 17.0, "17.0"))) == [
        "a", "", "", "", "17", "17", "17.0",
    ]  # fmt: skip
    assert list(values.texts(pd.Series([1.0, np.nan, 2.5]))) == ["1", "", "2.5"]
    assert list(values.texts(pd.Series([3, 4]))) == ["3", "4"]
    assert list(values.texts(pd.Series(["x", None, "x"], dtype="category"))) == ["x", "", "x"]
    assert list(values.texts(objects("a", "b", None), str.upper)) == ["A", "B", ""]


def test_numbers():
    parsed, bad = values.numbers(objects("2.5", " 3 ", "", None, "NaN", "null", "1,5", "x", "inf", "-1e3"))
    np.testing.assert_array_equal(parsed, [2.5, 3, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, -1000])
    assert list(bad) == [False] * 6 + [True, True, True, False]
    parsed, bad = values.numbers(pd.Series([1.5, np.nan, np.inf]))
    assert list(bad) == [False, False, True]
    assert parsed[0] == 1.5


# 2010-12-01 08:26:00 UTC is 1291191960 by `date -u -d`.
@pytest.mark.parametrize(
    ("written", "seconds", "naive"),
    [
        ("2010-12-01 08:26:00", 1291191960, 1),
        ("2010-12-01T08:26", 1291191960, 1),
        ("2010-12-01T08:26:00.999", 1291191960, 1),
        ("2010-12-01T08:26:00Z", 1291191960, 0),
        ("2010-12-01T08:26:00+00:00", 1291191960, 0),
        ("2010-12-01 10:26:00+02:00", 1291191960, 0),
        ("2010-12-01T04:56:00-0330", 1291191960, 0),
        ("2010-12-01", 1291161600, 1),
        ("1291191960", 1291191960, 0),
        (1291191960, 1291191960, 0),
        ("1291191960.7", 1291191960, 0),
        ("1291191960123", 1291191960, 0),
        ("0", 0, 0),
    ],
)
def test_times(written, seconds, naive):
    parsed, bad, without_zone = values.times(objects(written))
    assert (parsed[0], bad[0], without_zone) == (seconds, False, naive)
    assert parsed.dtype == np.int64


@pytest.mark.parametrize(
    "written",
    [
        "", None, "now", "yesterday", "12/1/2010 8:26", "01.12.2010", "2010-13-01", "2010-02-30", "2010-12-01T24:30:00",
        "20101201", 20101201, "-5", "50000000000", "1291191960123456", "1969-12-31", "nan", "inf",
    ],
)  # fmt: skip
def test_what_is_no_clear_time(written):
    parsed, bad, without_zone = values.times(objects("2010-12-01 08:26:00", written))
    assert list(bad) == [False, True]
    assert list(parsed) == [1291191960, 0]
    assert without_zone == 1


def test_typed_times():
    moments = pd.Series(pd.to_datetime(["2010-12-01 08:26:00.9", None]))
    parsed, bad, without_zone = values.times(moments)
    assert (list(parsed), list(bad), without_zone) == ([1291191960, 0], [False, True], 1)
    parsed, bad, without_zone = values.times(moments.dt.tz_localize("Europe/Berlin"))
    assert (list(parsed), list(bad), without_zone) == ([1291191960 - 3600, 0], [False, True], 0)


@given(
    st.lists(
        st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2200, 1, 1)).map(lambda m: m.replace(fold=0)),
        min_size=1,
    ),
    st.integers(-14 * 60, 14 * 60),
)
def test_any_iso_time_is_read_as_python_reads_it(moments, minutes):
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    zoned = [moment.replace(tzinfo=zone) for moment in moments]
    parsed, bad, without_zone = values.times(objects(*(moment.isoformat() for moment in zoned)))
    assert list(parsed) == [int(moment.timestamp() // 1) for moment in zoned]
    assert not bad.any()
    assert without_zone == 0


def test_vectors():
    content = ("[1, 2.5]", " 1 2.5 ", "1;2.5", "(1,2.5)", [1, 2.5], np.array([1, 2.5]), (1, 2.5))
    found, bad = values.vectors(objects(*content))
    for vector in found:
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, [1, 2.5])
    assert not bad.any()
    missing = ("", "[]", " nan", "null", None, float("nan"), [], np.zeros(0), pd.NA)
    found, bad = values.vectors(objects(*missing))
    assert [vector is None for vector in found] == [True] * len(missing) and not bad.any()
    wrong = ("1,,2", "[1 two]", "1 inf", [1, None], np.array([np.nan, 1]), [1e300], 7, ["x"])
    found, bad = values.vectors(objects(*wrong))
    assert [vector is None for vector in found] == [True] * len(wrong) and bad.all()
    found, bad = values.vectors(objects("1 2 3", "[nan]", "4").set_axis([7, 8, 9]))
    assert found[9].tolist() == [4] and bad.to_dict() == {7: False, 8: True, 9: False}
