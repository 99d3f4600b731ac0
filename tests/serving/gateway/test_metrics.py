"""The names of the metrics, and the page that Prometheus reads."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.gateway import metrics as lib
from serving.gateway.metrics import METRICS, Metrics


def touched():
    metrics = Metrics((-1.0, 1.0))
    for metric in METRICS:
        labels = tuple(f"a {name}" for name in metric.labels)
        if metric.kind == lib.HISTOGRAM:
            metrics.observe(metric, 0.5, *labels)
        else:
            metrics.add(metric, *labels, amount=2)
    return metrics


def test_the_page_has_every_series_and_label_that_is_listed():
    found = {}
    for family in text_string_to_metric_families(touched().text().decode()):
        for sample in family.samples:
            found[sample.name] = set(sample.labels) - {"le"}
    for metric in METRICS:
        for series in metric.series:
            assert found[series] == set(metric.labels), series
    named = {series for metric in METRICS for series in metric.series}
    others = {name for name in found if not name.endswith("_created")} - named
    assert all(name.startswith("process_") for name in others), others


def test_the_list_has_every_metric_of_the_module():
    assert set(METRICS) == {value for value in vars(lib).values() if isinstance(value, lib.Metric)}
    assert len(METRICS) == len(set(METRICS))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions_of_prometheus(metric):
    assert re.fullmatch(r"gateway_[a-z_]+[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == lib.COUNTER)
    assert not re.search(r"_(ms|milliseconds|minutes|kb|percent)(_|$)", metric.name)
    if "duration" in metric.name or "timestamp" in metric.name:
        assert metric.name.endswith("_seconds")
    assert metric.help.endswith(".")


def test_each_gateway_has_numbers_of_its_own():
    first, second = touched(), Metrics((0.0,))
    assert first.value("gateway_requests_total", route="a route", status="a status") == 2
    assert second.value("gateway_requests_total", route="a route", status="a status") is None


def test_scores_have_the_buckets_of_the_settings():
    metrics = Metrics((-1.5, 0.25))
    for score in (-2.0, 0.0, 0.25, 9.0):
        metrics.observe(lib.SCORE, score, "ranker", "stable")
    counts = {
        limit: metrics.value("gateway_score_bucket", model="ranker", label="stable", le=limit)
        for limit in ("-1.5", "0.25", "+Inf")
    }
    assert counts == {"-1.5": 1, "0.25": 3, "+Inf": 4}
