"""Ranking metrics against by-hand values, brute force over the orders of ties, and scikit-learn where it is there."""

import importlib.util
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.metrics import RankingMetrics, ranking_metric

NAMES = ["ndcg@1", "ndcg@3", "ndcg@10", "recall@2", "recall@10", "hr@1", "hr@3", "mrr", "map", "auc"]


def plain_value(name, ranked):
    """The metric of labels in ranked order, by its textbook definition, without ties or padding."""
    kind, _, cut = name.partition("@")
    k, positives = int(cut or 0), sum(ranked)
    ranks = [rank for rank, label in enumerate(ranked, start=1) if label]
    if kind == "ndcg":
        ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(k, positives) + 1))
        return sum(1 / math.log2(1 + rank) for rank in ranks if rank <= k) / ideal
    if kind == "recall":
        return sum(rank <= k for rank in ranks) / min(k, positives)
    if kind == "hr":
        return float(ranks[0] <= k)
    if kind == "mrr":
        return 1 / ranks[0]
    if kind == "map":
        return sum(sum(ranked[:rank]) / rank for rank in ranks) / positives
    below = [sum(1 for label in ranked[rank:] if not label) for rank in ranks]
    return sum(below) / (positives * (len(ranked) - positives))


def brute_force(name, labels, scores):
    """Mean of the plain value over every order of the candidates that agrees with the scores."""
    real = [(label, score) for label, score in zip(labels, scores, strict=True) if label >= 0]
    values = [
        plain_value(name, [label for label, _ in order])
        for order in itertools.permutations(real)
        if all(a[1] >= b[1] for a, b in itertools.pairwise(order))
    ]
    return sum(values) / len(values)


def value(name, labels, scores):
    values, counted = ranking_metric(name)(np.array([labels]), np.array([scores], dtype=float))
    assert counted.tolist() == [True]
    return values[0]


lists = st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 2)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(lists, min_size=1, max_size=4))
def test_equals_the_mean_over_every_order_of_ties(rows):
    width = max(map(len, rows))
    labels = np.full((len(rows), width), -1)
    scores = np.full((len(rows), width), 9.0)  # padding with the best score must change nothing
    for i, row in enumerate(rows):
        labels[i, : len(row)], scores[i, : len(row)] = zip(*row, strict=True)
    for name in NAMES:
        values, counted = ranking_metric(name)(labels, scores)
        for row_labels, row_scores, got, has_value in zip(labels, scores, values, counted, strict=True):
            assert has_value == (1 in row_labels and (name != "auc" or 0 in row_labels))
            expected = brute_force(name, row_labels, row_scores) if has_value else 0.0
            assert got == pytest.approx(expected, abs=1e-12), name


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 10**6),
    st.floats(0.1, 10),
    st.floats(-5, 5),
    st.integers(0, 5),
)
def test_order_scale_and_padding_of_the_list_change_nothing(seed, factor, shift, extra):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, size=(3, 20))
    scores = random.integers(0, 6, size=(3, 20)).astype(float)
    order = random.permutation(20 + extra)
    padded = np.pad(labels, ((0, 0), (0, extra)), constant_values=-1)[:, order]
    moved = np.pad(scores * factor + shift, ((0, 0), (0, extra)), constant_values=np.nan)[:, order]
    for name in NAMES:
        np.testing.assert_allclose(ranking_metric(name)(padded, moved)[0], ranking_metric(name)(labels, scores)[0])


def test_by_hand():
    labels, scores = [0, 1, 0, 1], [4.0, 3.0, 2.0, 1.0]  # positives at ranks 2 and 4
    assert value("ndcg@10", labels, scores) == pytest.approx((0.63092975 + 0.43067656) / 1.63092975)
    assert value("ndcg@3", labels, scores) == pytest.approx(0.63092975 / 1.63092975)
    assert value("recall@3", labels, scores) == 0.5
    assert value("recall@1", labels, scores) == 0.0
    assert value("hr@1", labels, scores) == 0.0
    assert value("hr@2", labels, scores) == 1.0
    assert value("mrr", labels, scores) == 0.5
    assert value("map", labels, scores) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert value("auc", labels, scores) == 0.25
    # One tie of a positive and a negative for ranks 1 and 2.
    assert value("mrr", [1, 0], [5.0, 5.0]) == pytest.approx((1 + 1 / 2) / 2)
    assert value("hr@1", [1, 0], [5.0, 5.0]) == pytest.approx(0.5)
    # recall@K is over min(K, positives): two of three positives fill a top 2.
    assert value("recall@2", [1, 1, 1, 0], [4.0, 3.0, 2.0, 1.0]) == 1.0


def test_a_constant_model_gets_chance_level():
    labels = np.zeros((1, 100), dtype=int)
    labels[0, :4] = 1
    scores = np.full((1, 100), 0.3)
    assert value("auc", labels[0], scores[0]) == pytest.approx(0.5)
    assert value("recall@10", labels[0], scores[0]) == pytest.approx(10 * 0.04 / 4)
    none_of_four = math.comb(96, 10) / math.comb(100, 10)
    assert value("hr@10", labels[0], scores[0]) == pytest.approx(1 - none_of_four)
    random = np.random.default_rng(5)
    many = RankingMetrics(NAMES)
    many.update(np.repeat(labels, 20000, axis=0), random.random((20000, 100)))
    for name, mean in many.result().items():
        assert value(name, labels[0], scores[0]) == pytest.approx(mean, abs=0.01), name


def test_infinite_scores_are_ranked_and_nan_poisons():
    assert value("mrr", [0, 1, 0], [-np.inf, -np.inf, 2.0]) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert value("hr@1", [0, 1], [1.0, np.inf]) == 1.0
    metrics = RankingMetrics(["ndcg@10"])
    metrics.update([[1, 0], [0, 1]], [[2.0, 1.0], [np.nan, 3.0]])
    assert math.isnan(metrics.result()["ndcg@10"])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 1000]), st.sampled_from([0.0, 0.5, 0.97, 1.0]))
def test_long_lists_are_cut_to_what_counts(seed, levels, padding):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, [6, 90]).astype(float)
    labels = np.where(rng.random([6, 90]) < padding, -1, rng.random([6, 90]) < 0.2)
    scores[0, rng.integers(90)] = np.nan
    scores[1, rng.integers(90, size=50)] = -np.inf
    names = ["ndcg@1", "ndcg@10", "recall@5", "hr@10"]
    together = RankingMetrics(names)
    together.update(labels, scores)
    for name in names:
        values, counted = ranking_metric(name)(labels, scores)
        expected = values.sum() / counted.sum() if counted.any() else np.nan
        np.testing.assert_allclose(together.result()[name], expected, rtol=1e-12)
        assert together.left_out()[name] == 6 - counted.sum()


def test_the_mean_leaves_out_and_counts_lists_without_a_value():
    metrics = RankingMetrics(["hr@1", "auc"])
    metrics.update([[1, 0], [0, 0]], [[2.0, 1.0], [2.0, 1.0]])
    metrics.update([[1, 1], [-1, -1], [1, 0]], [[2.0, 1.0], [2.0, 1.0], [1.0, 2.0]])
    assert metrics.result() == {"hr@1": pytest.approx(2 / 3), "auc": pytest.approx(0.5)}
    assert metrics.left_out() == {"hr@1": 2, "auc": 3}
    other = RankingMetrics(["hr@1", "auc"])
    other.update([0, 1], [1.0, 2.0])  # one list
    metrics.merge(other)
    assert metrics.result() == {"hr@1": pytest.approx(3 / 4), "auc": pytest.approx(2 / 3)}
    metrics.reset()
    assert math.isnan(metrics.result()["auc"]) and metrics.left_out() == {"hr@1": 0, "auc": 0}


@pytest.mark.parametrize("name", ["ndgc@10", "ndcg", "ndcg@0", "hr@-1", "auc@10", "recall@1.5", ""])
def test_an_unknown_name_is_one_clear_error(name):
    with pytest.raises(ValueError, match=r"unknown ranking metric .* expected ndcg@K, recall@K or hr@K .* mrr, map"):
        ranking_metric(name)
    with pytest.raises(ValueError, match="unknown ranking metric"):
        RankingMetrics([name])


def test_wrong_shapes_and_labels_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\) and scores \(1, 3\)"):
        ranking_metric("mrr")(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"labels hold 2.0; expected 1"):
        ranking_metric("mrr")(np.array([[0.0, 2.0]]), np.zeros((1, 2)))


@pytest.mark.skipif(not importlib.util.find_spec("sklearn"), reason="scikit-learn is not installed")
def test_auc_equals_scikit_learn():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(3)
    labels, scores = random.integers(0, 2, size=50), random.integers(0, 8, size=50)
    assert value("auc", labels, scores) == pytest.approx(roc_auc_score(labels, scores))
