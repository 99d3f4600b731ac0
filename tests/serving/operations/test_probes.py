"""What tells whether the model server is there: the commands and requests of the files, against real servers."""

import contextlib
import dataclasses
import http.server
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import metric_names
import pytest
import tensorflow as tf
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.embedded import Server


@pytest.fixture(scope="module")
def check(configs):
    """Runs the health check of the stack against a REST port and a path; returns whether it is content."""
    service = yaml.safe_load((configs / "stack.yaml").read_text(encoding="utf-8"))["services"]["serving"]
    how, *command = service["healthcheck"]["test"]
    assert how == "CMD" and command[:2] == ["bash", "-c"]

    def run(port, model="ranker"):
        script = command[2].replace("$$", "$").replace("/8501", f"/{port}").replace("/ranker/", f"/{model}/")
        assert f"/127.0.0.1/{port} " in script and f"/v1/models/{model}/metadata " in script
        found = subprocess.run(["bash", "-c", script], capture_output=True, timeout=30, check=False)
        return found.returncode == 0

    return run


@contextlib.contextmanager
def answering(status):
    """A server that answers everything with a status; its port, and the request lines it got."""
    lines = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            lines.append((self.requestline, self.headers["Host"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], lines
        finally:
            server.shutdown()
            thread.join()


def test_the_health_check_of_the_stack(check):
    with answering(200) as (port, lines):
        assert check(port)
        assert lines == [("GET /v1/models/ranker/metadata HTTP/1.1", "serving")]
    for status in (404, 503):
        with answering(status) as (port, _):
            assert not check(port)
    assert not check(port), "nobody listens there any more"


def export(folder):
    """A SavedModel that gives back what it is given."""
    same = tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))
    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": same})


def test_probes_and_metrics_of_the_embedded_server(check, configs, toy_flags, tmp_path):
    """Of a model that is there, and then is not."""
    documents = yaml.safe_load_all((configs / "kubernetes/serving.yaml").read_text(encoding="utf-8"))
    (container,) = next(documents)["spec"]["template"]["spec"]["containers"]
    path = container["readinessProbe"]["httpGet"]["path"].replace("/ranker/", "/toy/")
    export(tmp_path / "toy" / "1")
    flags = dataclasses.replace(
        toy_flags,
        model_base_path=str(tmp_path / "toy"),
        enable_grpc_healthcheck_service=True,
        monitoring_config_file=str(configs / "monitoring.config"),
    )
    with Server(flags) as server:
        assert grpc_health(server.port) == health_pb2.HealthCheckResponse.SERVING
        assert status(server.rest_port, path) == 200
        assert check(server.rest_port, "toy")
        check_metrics(server, configs)
        shutil.rmtree(tmp_path / "toy" / "1")
        deadline = time.monotonic() + 60
        while status(server.rest_port, path) == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert status(server.rest_port, path) == 404
        assert not check(server.rest_port, "toy")
        # The process is well, so it is not killed.
        assert grpc_health(server.port) == health_pb2.HealthCheckResponse.SERVING


def check_metrics(server, configs):
    """The page is where Prometheus looks, and what rules ask of it is on it, by its names and values."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        request = predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto([1.0])})
        request.model_spec.name = "toy"
        predict(request, timeout=30)
        with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
            predict(predict_pb2.PredictRequest(model_spec=request.model_spec), timeout=30)
    jobs = yaml.safe_load((configs / "prometheus/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    (path,) = [job["metrics_path"] for job in jobs if job["job_name"] == "serving"]
    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}{path}", timeout=10) as answer:
        page = answer.read().decode()
    stock = metric_names.of_the_model_server()
    assert {name: labels for name, labels in metric_names.on_page(page).items() if stock[name] != labels} == {}
    for status in ("OK", "INVALID_ARGUMENT"):
        assert re.search(f':tensorflow:serving:request_count{{model_name="toy",status="{status}"}} [1-9]', page)
    timed = ':tensorflow:serving:request_latency_count{model_name="toy",API="Predict",entrypoint="GRPC"} 1'
    assert timed in page.splitlines()


def grpc_health(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
