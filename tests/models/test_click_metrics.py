"""Click metrics against sums written out, and what holds for any lists."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.click_metrics import BINS, CLICK_METRICS, LOWER_IS_BETTER, ClickMetrics

lists = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.tuples(st.sampled_from([1, 0, -1]), st.integers(-4, 4)), min_size=1)),
    min_size=1,
    max_size=8,
)


def auc(pairs):
    """The definition, pair by pair; None without a pair."""
    found = [(a > b) + 0.5 * (a == b) for label, a in pairs if label == 1 for other, b in pairs if other == 0]
    return sum(found) / len(found) if found else None


def by_hand(rows):
    """The table of `models.click_metrics`, in plain Python."""
    real = [(label, score) for _, row in rows for label, score in row if label >= 0]
    expected = dict.fromkeys(CLICK_METRICS, float("nan"))
    if not real:
        return expected
    probability = [1 / (1 + math.exp(-score)) for _, score in real]
    losses = [-math.log(p if label else 1 - p) for p, (label, _) in zip(probability, real, strict=True)]
    expected["log_loss"] = sum(losses) / len(real)
    bins: dict[int, list[float]] = {}
    for p, (label, _) in zip(probability, real, strict=True):
        bins.setdefault(int(p * BINS), []).append(p - label)
    expected["ece"] = sum(abs(sum(gaps)) for gaps in bins.values()) / len(real)
    if (value := auc(real)) is not None:
        expected["pooled_auc"] = value
    users = [[pair for user, row in rows if user == wanted for pair in row if pair[0] >= 0] for wanted in range(4)]
    counted = [(auc(pairs), len(pairs)) for pairs in users if auc(pairs) is not None]
    if counted:
        expected["gauc"] = sum(value * n for value, n in counted) / sum(n for _, n in counted)
    return expected


def measured(rows, names=CLICK_METRICS):
    metrics = ClickMetrics(names)
    for user, row in rows:
        labels, scores = np.array(row, float).T
        metrics.update(labels, scores, [user])
    return metrics


@given(lists)
def test_values_are_those_of_the_definitions(rows):
    found = measured(rows).result()
    for name, expected in by_hand(rows).items():
        assert found[name] == pytest.approx(expected, abs=1e-9, nan_ok=True), name


@given(lists, st.integers(0, 8))
def test_parts_merged_in_any_cut_are_the_whole(rows, cut):
    together = measured(rows[:cut])
    together.merge(measured(rows[cut:]))
    assert together.result() == pytest.approx(measured(rows).result(), nan_ok=True)
    for name in CLICK_METRICS:
        assert measured(rows, [name]).result()[name] == pytest.approx(together.result()[name], nan_ok=True)


def test_a_batch_is_its_rows():
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(-1, 2, (20, 6)), rng.normal(size=(20, 6))
    users = [f"u{n % 5}".encode() for n in range(20)]
    batch, rows = ClickMetrics(), ClickMetrics()
    batch.update(labels, scores, users)
    for row in range(20):
        rows.update(labels[row], scores[row], users[row : row + 1])
    assert batch.result() == pytest.approx(rows.result())
    assert batch.candidates == (labels >= 0).sum()


def test_a_calibrated_model_has_no_calibration_error_and_an_overconfident_one_has():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.5, 1.0, (1, 200_000))
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
    right, wrong = ClickMetrics(["ece", "log_loss", "pooled_auc"]), ClickMetrics(["ece", "log_loss", "pooled_auc"])
    right.update(labels, logits)
    wrong.update(labels, 3 * logits)
    assert right.result()["ece"] < 0.005 < 0.1 < wrong.result()["ece"]
    assert right.result()["log_loss"] < wrong.result()["log_loss"]
    assert right.result()["pooled_auc"] == pytest.approx(wrong.result()["pooled_auc"], abs=1e-12)
    curve = right.reliability()
    assert sum(point.count for point in curve) == 200_000
    for point in curve:
        assert point.low <= point.predicted <= point.high
        assert abs(point.predicted - point.clicked) < 5 * math.sqrt(0.25 / point.count)


def test_the_same_score_for_all_is_chance():
    metrics = ClickMetrics()
    metrics.update([[1, 0, 0], [0, 1, -1]], np.zeros([2, 3]), ["a", "b"])
    assert metrics.result() == pytest.approx({"pooled_auc": 0.5, "gauc": 0.5, "log_loss": math.log(2), "ece": 0.1})


def test_nan_is_not_hidden_and_far_logits_are_finite():
    metrics = ClickMetrics()
    metrics.update([1, 0], [np.nan, 0.0], ["u"])
    assert all(math.isnan(value) for value in metrics.result().values())
    metrics = ClickMetrics()
    metrics.update([1, 0, 0], [900.0, -900.0, 1.0], ["u"])
    assert metrics.result()["log_loss"] == pytest.approx(math.log(1 + math.e) / 3)
    metrics = ClickMetrics()
    metrics.update([1, 0, -1], [0.5, 0.0, np.nan], ["u"])
    assert metrics.result()["pooled_auc"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 0]], [[1.0]], ["u"]), r"shape \(1, 2\) and scores \(1, 1\); expected the same"),
        (([2.0, 0], [1.0, 2.0], ["u"]), r"labels hold 2\.0; expected 1 \(clicked\)"),
        (([1, 0], [1.0, 2.0]), r"gauc is given 1 lists and of users none; expected one a list"),
        (([1, 0], [1.0, 2.0], ["u", "v"]), r"gauc is given 1 lists and of users 2; expected one a list"),
    ],
)
def test_what_cannot_be_measured_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClickMetrics().update(*arguments)


def test_an_unknown_metric_is_named():
    with pytest.raises(ValueError, match=r"unknown click metric 'auc'; expected one of pooled_auc, gauc"):
        ClickMetrics(["auc"])
    assert set(LOWER_IS_BETTER) < set(CLICK_METRICS)
