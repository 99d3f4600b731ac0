"""Counters: what callers invent is dropped before what is real."""

from serving.server.metrics import Counter, Metrics


def test_invented_values_have_room_for_a_thousand():
    counter = Counter("/requests", ["model", "status"])
    for number in range(1500):
        counter.add(f"no{number}", "NOT_FOUND", invented=True)
    counter.add("ranker", "OK")
    counter.add("no7", "NOT_FOUND", invented=True)
    lines = counter.lines()
    assert len(lines) == 1001
    assert ':requests{model="ranker",status="OK"} 1' in lines
    assert ':requests{model="no7",status="NOT_FOUND"} 2' in lines
    assert not [line for line in lines if "no1000" in line]


def test_the_first_series_is_that_of_the_least_labels():
    metrics = Metrics()
    assert metrics.value("/tensorflow/serving/request_count") == 0
    metrics.request_count.add("b", "OK", amount=5)
    metrics.request_count.add("a", "OK", amount=2)
    metrics.request_count.add("a", "NOT_FOUND", amount=3)
    assert metrics.value("/tensorflow/serving/request_count") == 3
