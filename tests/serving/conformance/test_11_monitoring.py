"""Section 11: monitoring."""

import re

import pytest

from serving.server import metrics

PAGE = "/monitoring/prometheus/metrics"
NAMES = {
    ":tensorflow:serving:request_count": "counter",
    ":tensorflow:serving:request_latency": "histogram",
    ":tensorflow:serving:runtime_latency": "histogram",
    ":tensorflow:serving:request_example_counts": "histogram",
    ":tensorflow:serving:request_example_count_total": "counter",
    ":tensorflow:serving:request_log_count": "counter",
    ":tensorflow:serving:model_warmup_latency": "histogram",
    ":tensorflow:serving:model_warmup_records_read": "counter",
    ":tensorflow:serving:batching_session:queuing_latency": "histogram",
    ":tensorflow:serving:batching_session:wrapped_run_count": "counter",
    ":tensorflow:serving:batching_session:input_batch_size": "histogram",
    ":tensorflow:serving:batching_session:processed_batch_size": "histogram",
    ":tensorflow:serving:batching_session:padding_size": "histogram",
}
COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"


@pytest.fixture
def caller(serve, shelf, tmp_path):
    """A server of its own: each test counts from zero."""
    shelf.put(tmp_path / "m", 1)
    with serve(model_base_path=tmp_path / "m") as caller:
        yield caller


def test_upstreams_prometheus_endpoint(standard):
    """testPrometheusEndpoint: some `# TYPE`; sec. 11: the names, from the start."""
    status, _, text = standard.http(PAGE)
    assert status == 200
    assert dict(re.findall(r"# TYPE (\S+) (\S+)", text)) == NAMES


def test_requests_are_counted_by_model_and_status(caller):
    caller.half()
    caller.half()
    caller.predict_error({"x": ["a"]})
    caller.predict_error(name="no")
    caller.rest("/v1/models/default:predict", {"instances": [1.0]})
    found = caller.metrics()
    assert found[f'{COUNT}{{model_name="default",status="OK"}}'] == 3
    assert found[f'{COUNT}{{model_name="default",status="INVALID_ARGUMENT"}}'] == 1
    assert found[f'{COUNT}{{model_name="no",status="NOT_FOUND"}}'] == 1


@pytest.mark.embedded
def test_names_that_callers_invent_take_no_room_from_real_ones(caller, monkeypatch):
    monkeypatch.setattr(metrics, "_MOST_INVENTED", 3)
    for number in range(5):
        caller.predict_error(name=f"no{number}")
    caller.half()
    caller.predict_error({"x": ["a"]})
    caller.predict_error(name="no0")
    assert {name: number for name, number in caller.metrics().items() if name.startswith(COUNT)} == {
        f'{COUNT}{{model_name="no0",status="NOT_FOUND"}}': 2,
        f'{COUNT}{{model_name="no1",status="NOT_FOUND"}}': 1,
        f'{COUNT}{{model_name="no2",status="NOT_FOUND"}}': 1,
        f'{COUNT}{{model_name="default",status="OK"}}': 1,
        f'{COUNT}{{model_name="default",status="INVALID_ARGUMENT"}}': 1,
    }


def test_latency_of_successes_by_api_and_entrypoint(caller):
    caller.half()
    caller.predict_error({"x": ["a"]})
    caller.prediction.Classify(caller.classify_request([{"x": 1.0}], signature="classify_x_to_y"))
    caller.prediction.Regress(caller.regress_request([{"x": 1.0}], signature="regress_x_to_y"))
    caller.rest("/v1/models/default:predict", {"instances": [1.0]})
    found = caller.metrics()
    for api, entrypoint in (("Predict", "GRPC"), ("Classify", "GRPC"), ("Regress", "GRPC"), ("predict", "REST")):
        labels = f'model_name="default",API="{api}",entrypoint="{entrypoint}"'
        assert found[f"{LATENCY}_count{{{labels}}}"] == 1
        assert found[f'{LATENCY}_bucket{{{labels},le="+Inf"}}'] == 1
        assert 100 < found[f"{LATENCY}_sum{{{labels}}}"] < 60e6  # microseconds
    for api, runs in (("Predict", 2), ("Classify", 1), ("Regress", 1)):
        assert found[f'{RUNTIME}_count{{model_name="default",API="{api}",runtime="TF1"}}'] == runs


def test_multi_inference_metadata_and_status_over_grpc_are_not_counted(caller):
    request = caller.multi_request([{"x": 1.0}], ("regress_x_to_y", "tensorflow/serving/regress"))
    caller.prediction.MultiInference(request)
    caller.prediction.GetModelMetadata(caller.metadata_request())
    caller.status()
    assert not [name for name in caller.metrics() if name.startswith((COUNT, LATENCY))]


def test_examples_are_counted(caller):
    caller.prediction.Regress(caller.regress_request([{"x": 1.0}] * 3, signature="regress_x_to_y"))
    found = caller.metrics()
    assert found[':tensorflow:serving:request_example_count_total{model="default"}'] == 3
    assert found[':tensorflow:serving:request_example_counts_sum{model="default"}'] == 3


def test_latency_buckets(caller):
    """Sec. 11: 10 * 1.8^i."""
    caller.half()
    text = caller.http(PAGE)[2]
    limits = re.findall(rf'{LATENCY}_bucket{{[^}}]*le="([^"]+)"}}', text)
    assert limits[:6] == ["10", "18", "32.4", "58.32", "104.976", "188.957"]
    assert len(limits) == 34
    assert limits[-1] == "+Inf"


def test_label_values_are_escaped(caller):
    caller.predict_error(name='a"b\\c')
    assert f'{COUNT}{{model_name="a\\"b\\\\c",status="NOT_FOUND"}} 1' in caller.http(PAGE)[2]


@pytest.mark.parametrize(
    ("text", "path", "status"),
    [
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics", 200),
        ('prometheus_config { enable: true path: "/metrics" }', PAGE, 404),
        ("prometheus_config { enable: false }", PAGE, 404),
        ("", PAGE, 404),
    ],
)
def test_path_and_switch(serve, shelf, tmp_path, text, path, status):
    shelf.put(tmp_path / "m", 1)
    (tmp_path / "monitoring.config").write_text(text)
    with serve(model_base_path=tmp_path / "m", monitoring_config_file=tmp_path / "monitoring.config") as caller:
        assert caller.http(path)[0] == status


def test_without_the_file_there_is_no_page(serve, shelf, tmp_path):
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path, monitoring_config_file="") as caller:
        assert caller.http(PAGE)[0] == 404
