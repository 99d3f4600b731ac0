"""Which outcomes count for whom, by hand."""

import pytest

from serving.experiment.observations import observe
from serving.experiment.outcome import Outcome


@pytest.fixture
def done(experiment):
    def make(hours, kind, user_id="", request_id="", **more):
        return Outcome(experiment.start_time + hours * 3600, kind, user_id, request_id, **more)

    return make


def rows(observations):
    table = observations.users
    return {user: tuple(row) for user, row in zip(table.index, table.itertuples(index=False, name=None), strict=True)}


def test_outcomes_follow_from_the_named_answer_or_from_the_latest_before(experiment, shown, done):
    exposures = [
        shown(5, "v", "r3", "canary"),
        shown(30, "u", "r2"),
        shown(1, "u", "r1"),
        shown(2, "w", "r4"),
    ]
    outcomes = [
        done(2, "click", request_id="r1", item_id="a"),
        done(3, "click", request_id="r1", item_id="b"),  # the same answer again
        done(31, "purchase", "u", revenue=10.0),  # of r2
        done(32, "purchase", "u", revenue=2.5),
        done(31, "click", request_id="r1"),  # 30 h after r1: too late, though r2 was shown meanwhile
        done(4.9, "purchase", "v", revenue=99.0),  # before the first answer
        done(29.0, "purchase", "v", revenue=7.0),  # 24 h after: just in time
        done(29.1, "purchase", "v", revenue=99.0),
        done(1.5, "click", request_id="r4"),  # before that answer
        done(9, "click", "nobody"),
        done(9, "click", "u", "r9"),  # of an answer elsewhere, whoever it was
    ]
    found = observe(experiment, exposures, outcomes)
    assert rows(found) == {
        "u": ("stable", 2, 1, True, 12.5),
        "v": ("canary", 1, 0, True, 7.0),
        "w": ("stable", 1, 0, False, 0.0),
    }
    assert found.days == pytest.approx(29 / 24)
    assert set(found.notes) == {
        "Not counted: 2 outcomes of a user or request without an answer that counts.",
        "Not counted: 2 outcomes before the answer or the user's first one.",
        "Not counted: 2 outcomes more than 24 h after the answer.",
    }


def test_events_have_whole_seconds(experiment, shown, done):
    second = 1 / 3600
    exposures = [shown(1 + 0.7 * second, "u", "r1"), shown(1 + 0.7 * second, "v", "r2")]
    outcomes = [done(1, "click", "u", "r1"), done(1, "click", "v"), done(1 - second, "purchase", "u", "r1")]
    found = observe(experiment, exposures, outcomes)
    assert {user: row[:4] for user, row in rows(found).items()} == {
        "u": ("stable", 1, 1, False),
        "v": ("stable", 1, 1, False),
    }
    assert found.notes == ("Not counted: 1 outcome before the answer or the user's first one.",)


def test_the_window_is_that_of_the_configuration(judged_by, shown, done):
    outcomes = [done(3, "purchase", "u", revenue=1.0)]
    for hours, bought in ((1.9, False), (2.0, True)):
        found = observe(judged_by(attribution_hours=hours), [shown(1, "u", "r")], outcomes)
        assert rows(found)["u"][3] is bought


def test_what_is_no_part_of_the_comparison_is_left_out_and_said(experiment, shown, done):
    other = [
        shown(1, "x", f"o{number}", "stable").__class__(1.8e9, "other", "a", "x", f"o{number}") for number in (1, 2)
    ]
    exposures = [
        *other,
        shown(-1, "early", "r1"),
        shown(50, "late", "r2"),
        shown(1, "", "r3"),
        shown(1, "twice", "r4"),
        shown(2, "twice", "r5", "canary"),
        shown(1, "u", "r6"),
        shown(2, "u", "r6", "canary"),  # the same request id
        shown(1, "old", "r7", "gone"),
        shown(1, "held", "r8", "holdout"),
        shown(1, "mixed", "r9", item_ids=("a",), teams=("b",)),
    ]
    repeated = done(3, "purchase", "u", revenue=3.0)
    outcomes = [repeated, repeated, done(49, "click", "u"), done(3, "purchase", "twice", revenue=1.0)]
    found = observe(experiment, exposures, outcomes, until=experiment.start_time + 48 * 3600)
    assert rows(found) == {"u": ("stable", 1, 0, True, 3.0), "held": ("holdout", 1, 0, False, 0.0)}
    assert found.days == pytest.approx(1 / 24)
    assert set(found.notes) == {
        "Not counted: 2 exposures of other experiments.",
        "Not counted: 2 exposures before `start` or not before `until`.",
        "Not counted: 1 exposure without a user id.",
        "Not counted: 1 exposure with two rankers interleaved.",
        "Not counted: 1 exposure with the request id of an earlier one.",
        "Not counted: 1 outcome not before `until`.",
        "Not counted: 1 outcome logged twice, word for word.",
        "Not counted: 1 user met in two arms; expected none while shares stay as they are (a change of shares needs a "
        "new `start`).",
        "Not counted: 1 user of arms without a share (gone).",
    }


def test_nothing_at_all(experiment, shown, done):
    assert rows(observe(experiment, [], [])) == {}
    assert rows(observe(experiment, [], [done(1, "click", "u"), done(1, "click", "", "r")])) == {}
    assert rows(observe(experiment, [shown(1, "u", "r")], [])) == {"u": ("stable", 1, 0, False, 0.0)}
