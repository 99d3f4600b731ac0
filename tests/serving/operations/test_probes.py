"""What tells whether the model server is there: the commands and requests of the files, against real servers."""

import contextlib
import dataclasses
import http.server
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc


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


def test_probes_of_the_embedded_server(check, configs, toys, toy_flags, tmp_path):
    """Of a model that is there, and then is not."""
    from serving.server.embedded import Server

    documents = yaml.safe_load_all((configs / "kubernetes/serving.yaml").read_text(encoding="utf-8"))
    (container,) = next(documents)["spec"]["template"]["spec"]["containers"]
    path = container["readinessProbe"]["httpGet"]["path"].replace("/ranker/", "/toy/")
    toys.put(tmp_path / "toy", 1)
    flags = dataclasses.replace(toy_flags, model_base_path=str(tmp_path / "toy"), enable_grpc_healthcheck_service=True)
    with Server(flags) as server:
        assert grpc_health(server.port) == health_pb2.HealthCheckResponse.SERVING
        assert status(server.rest_port, path) == 200
        assert check(server.rest_port, "toy")
        shutil.rmtree(tmp_path / "toy" / "1")
        deadline = time.monotonic() + 60
        while status(server.rest_port, path) == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert status(server.rest_port, path) == 404
        assert not check(server.rest_port, "toy")
        # The process is well, so it is not killed.
        assert grpc_health(server.port) == health_pb2.HealthCheckResponse.SERVING


def grpc_health(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
