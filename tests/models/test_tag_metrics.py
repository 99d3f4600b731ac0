"""Counts of decisions, against their definitions written out class by class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.tag_metrics import AVERAGES, MEASURES, ClassCounts, parse
from models.tag_thresholds import best_thresholds

NAMES = ["a", "b", "c", "d"]
_sets = st.sets(st.sampled_from(NAMES))


def by_definition(pairs, names, average):
    """(precision, recall, F1) of the texts' pairs of true and decided sets: fractions of lists of (text, class)."""
    groups = [[name] for name in names] if average == "macro" else [names]
    values = []
    for group in groups:
        true = [(text, name) for text, (given, _) in enumerate(pairs) for name in group if name in given]
        decided = [(text, name) for text, (_, said) in enumerate(pairs) for name in group if name in said]
        right = [cell for cell in decided if cell in true]
        precision = len(right) / len(decided) if decided else 0.0
        recall = len(right) / len(true) if true else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        values.append((precision, recall, f1))
    return np.mean(values, axis=0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_sets, _sets), min_size=1, max_size=12))
def test_sets_are_counted_by_definition(pairs):
    counts = ClassCounts()
    for true, decided in pairs:
        counts.add(true, decided)
    seen = sorted({name for pair in pairs for part in pair for name in part})
    for average in AVERAGES:
        values = [counts.value(average, measure) for measure in MEASURES]
        if seen:
            assert values == pytest.approx(by_definition(pairs, seen, average))
        else:
            assert np.isnan(values).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["O", *NAMES]), st.sampled_from(["O", *NAMES])), min_size=1, max_size=20))
def test_words_are_counted_by_definition(pairs):
    counts = ClassCounts()
    counts.add_pairs(*zip(*pairs, strict=True), "O")
    labels = sorted({name for pair in pairs for name in pair} - {"O"})
    sets = [({true} - {"O"}, {decided} - {"O"}) for true, decided in pairs]
    if labels:
        for average in AVERAGES:
            values = [counts.value(average, measure) for measure in MEASURES]
            assert values == pytest.approx(by_definition(sets, labels, average))


def test_a_case_by_hand():
    counts = ClassCounts()
    counts.add({"a", "b"}, {"a"})
    counts.add({"a"}, {"a", "b"})
    counts.add(set(), {"a"})
    assert counts.counts == {"a": [2, 1, 0], "b": [0, 1, 1]}
    assert counts.value("macro", "f1") == pytest.approx(0.4)  # (4/5 + 0) / 2
    assert counts.value("micro", "f1") == pytest.approx(4 / 7)


@given(st.lists(st.tuples(_sets, _sets), max_size=10), st.integers(0, 10))
def test_parts_are_merged_to_the_whole(pairs, cut):
    whole, first, second = ClassCounts(), ClassCounts(), ClassCounts()
    for place, pair in enumerate(pairs):
        whole.add(*pair)
        (first if place < cut else second).add(*pair)
    first.merge(second)
    assert first.counts == whole.counts


def test_names_of_metrics():
    assert parse("word_micro_recall") == ("word", "micro", "recall")
    with pytest.raises(ValueError, match=r"unknown metric 'ndcg@10'; expected HEAD_AVERAGE_MEASURE"):
        parse("ndcg@10")


def f1(said, true):
    return 2 * (said & true).sum() / max(1, said.sum() + true.sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_no_other_threshold_is_better(seed):
    rng = np.random.default_rng(seed)
    probability = rng.integers(0, 8, (40, 3)) / 8  # many ties
    true = rng.random((40, 3)) < probability
    true[:12] = True
    found = best_thresholds(probability, true, least=10)
    for tag in range(3):
        reached = f1(probability[:, tag] >= found[tag], true[:, tag])
        others = [f1(probability[:, tag] >= cut, true[:, tag]) for cut in np.linspace(0, 1, 41)]
        assert reached == pytest.approx(max(others))


def test_a_rare_tag_shares_the_threshold_of_all():
    probability = np.array([[0.9, 0.2], [0.8, 0.7], [0.4, 0.1], [0.1, 0.1]])
    true = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], bool)
    own = best_thresholds(probability, true, least=2)
    assert own[0] == pytest.approx(0.6)
    assert own[1] == best_thresholds(probability, true, least=9)[0] == best_thresholds(probability, true, least=9)[1]
