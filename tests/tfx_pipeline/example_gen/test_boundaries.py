import pytest

from tfx_pipeline.example_gen.boundaries import DAY, Boundaries, boundary, iso
from tfx_pipeline.settings import DecisionSettings, SettingsError


def test_a_boundary_is_a_date_or_a_share():
    assert boundary("2011-10-01", 0, 10) == 1_317_427_200
    assert boundary("0.5", 100, 299) == 200
    assert boundary("1.0", 100, 299) == 300
    with pytest.raises(SettingsError, match="'soon'; expected an ISO date or a share"):
        boundary("soon", 0, 1)
    for share in ("2012", "-0.1", "nan", "inf"):
        with pytest.raises(SettingsError, match=f"'{share}'; expected an ISO date or a share from 0 to 1"):
            boundary(share, 0, 1)


def test_dates_and_shares():
    settings = DecisionSettings(train_start="2011-02-01", train_until="2011-10-01", eval_until="2011-11-01T12:00:00")
    found = Boundaries.resolve(settings, 0, 10)
    assert (iso(found.train_start), iso(found.train_until), iso(found.eval_until)) == (
        "2011-02-01 00:00",
        "2011-10-01 00:00",
        "2011-11-01 12:00",
    )
    assert Boundaries.resolve(DecisionSettings(), 1000, 1999) == Boundaries(1000, 1800, 2000)


def test_boundaries_out_of_order_are_named():
    with pytest.raises(SettingsError, match=r"train_until 1970-01-01 00:30 .* expected each later"):
        Boundaries.resolve(DecisionSettings(train_until="0.5", eval_until="0.4"), 0, 3599)


def test_train_cuts_are_counted_back_from_train_until_and_their_windows_end_by_then():
    boundaries = Boundaries(2 * DAY, 30 * DAY, 40 * DAY)
    # 30, 25, 20, ... days; the window of 25 and 30 would end after day 30, and day 0 lies before train_start
    assert (boundaries.cuts("train", 5, 6) / DAY).tolist() == [5, 10, 15, 20]
    assert (boundaries.cuts("train", 5, 6, 1) / DAY).tolist() == [5, 10, 15, 20, 25]


def test_recent_windows_end_between_the_boundaries():
    # cuts at 38, 36, ... with windows of 3 days: those that end in (30, 40]
    cuts = Boundaries(0, 30 * DAY, 40 * DAY).cuts("recent", 2, 3)
    assert (cuts / DAY).tolist() == [28, 30, 32, 34, 36]


def test_eval_has_one_cut():
    assert Boundaries(0, 30 * DAY, 40 * DAY).cuts("eval", 5, 99).tolist() == [30 * DAY]


def test_parts_of_a_day():
    assert (Boundaries(0, 2 * DAY, 3 * DAY).cuts("train", 0.5, 1.0) / DAY).tolist() == [0, 0.5, 1]


def test_what_a_split_knows():
    boundaries = Boundaries(1, 2, 3)
    assert [boundaries.known_until(split) for split in ("train", "eval", "recent")] == [2, 2, 3]
    assert [boundaries.labels_until(split) for split in ("train", "eval", "recent")] == [2, 3, 3]
