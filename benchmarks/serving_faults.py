"""What the embedded server and the gateway stand: JSON lines on the standard output, each with what happened and
whether it may.

    python -m benchmarks.serving_faults --model runs/online_retail/serving/ranker [--case NAME …] [--scale 1]

Cases:

* `swaps`: 50 hot swaps under 16 clients; none of at least 20,000 requests may fail.
* `replicas`: two servers behind one client of 16 threads, one of them killed; no request may fail.
* `versions`: newer versions that are corrupt, half copied or empty; the old one must go on serving, and the status must
  say why. Then one that serves and is deleted; the old one must serve again. (One with other signatures is refused by
  `serving.release stage`; the server itself takes it, as TensorFlow Serving does.)
* `mutations`: 20,000 requests over gRPC and REST to every method that takes what a user sends, with bytes changed at
  random, or what they say of model and tensors; the server must stay, answer each in time, never as its own failure,
  and with no path of its files or code.
* `overload`: ten times what the server takes and more, in requests of 16 rows, with a queue of two batches; what is too
  much must be refused sooner than the rest is answered, and all must be well afterwards.
* `refusals`: plain text on a TLS port, no client certificate, one of another authority, paths for model names, bodies
  past the limit, slow clients: none gets what it asks for, and the server stays.
* `gateway`: the model server killed five times, and stopped once, under a gateway and 16 clients; each request must be
  answered, by the fallback meanwhile, and by the model within 10 s after its server is ready again.

Exits with 0 if all may be so, with 1 if something may not, or with one sentence.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

from benchmarks.servable import ServableError, newest_version
from benchmarks.serving import CLIENTS, NAME, Line, Setting, wait_until
from benchmarks.serving_children import PREDICT, Child, read_requests, stacked
from benchmarks.serving_faults_gateway import gateway
from serving import protos
from serving.client import CallError, Client
from serving.client.tensors import fill_tensor
from serving.requests import Request
from serving.server.process import ServerProcess

#: gRPC's codes for what a caller did wrong, and for what it may try again.
_OF_CALLERS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED"}
_TOO_MUCH = {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
_SEED = 7
#: Methods of PredictionService.
_METHODS = ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata")


def swaps(setting: Setting, number: int = 50, requests: int = 20_000) -> Line:
    """Versions come and go while clients ask."""
    stop = threading.Event()
    failures: collections.Counter[str] = collections.Counter()
    asked = 0
    swaps_done = setting.calls(number)
    with (
        setting.server("--file_system_poll_wait_seconds=1") as server,
        Child("load", str(setting.requests)) as load,
        Client(server.address, NAME) as client,
    ):

        def swap() -> None:
            for version in range(2, swaps_done + 2):
                setting.swap(version, client)
            stop.set()

        swapping = threading.Thread(target=swap)
        swapping.start()
        while not stop.is_set() or asked < requests * setting.scale:
            said = load.ask(address=server.address, clients=CLIENTS, seconds=5)
            failures.update(said["failures"])
            asked += len(said["seconds"])
        swapping.join()
    return _line("swaps", not failures, requests=asked, swaps=swaps_done, failed=dict(failures))


def replicas(setting: Setting, seconds: float = 20.0) -> Line:
    """One of two servers is killed."""
    failed: collections.Counter[str] = collections.Counter()
    latencies: list[float] = []
    request = Request(user_id="u1")
    with setting.server() as first, setting.server() as second:
        until = time.monotonic() + max(6.0, seconds * setting.scale)
        with Client(f"{first.address},{second.address}", NAME, timeout=20) as client:
            client.recommend(request)

            def work(_: int) -> None:
                while time.monotonic() < until:
                    began = time.perf_counter()
                    try:
                        client.recommend(request)
                    except CallError as error:
                        failed[str(error.code)] += 1
                    latencies.append(time.perf_counter() - began)

            with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                working = [pool.submit(work, place) for place in range(CLIENTS)]
                time.sleep(3)
                os.kill(first.pid, signal.SIGKILL)
                for one in working:
                    one.result()
    return _line(
        "replicas", not failed, requests=len(latencies), failed=dict(failed), slowest_s=round(max(latencies), 3)
    )


def versions(setting: Setting) -> Line:
    """Newer versions that are no good."""
    found: dict[str, Any] = {}
    good = setting.version

    def cut(folder: pathlib.Path) -> None:
        graph = folder / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])

    def half(folder: pathlib.Path) -> None:
        shutil.rmtree(folder / "variables")

    def empty(folder: pathlib.Path) -> None:
        (folder / "saved_model.pb").unlink()

    # By default each is tried six times, a minute apart, before the status has its end.
    flags = ("--file_system_poll_wait_seconds=1", "--max_num_load_retries=1", "--load_retry_interval_micros=1000000")
    with setting.server(*flags) as server, Client(server.address, NAME) as client:
        before = client.recommend(Request(user_id="u1"))
        for number, (name, spoil) in enumerate({"corrupt": cut, "half copied": half, "empty": empty}.items(), 2):
            hidden = setting.work / "coming"
            shutil.copytree(good, hidden)
            spoil(hidden)
            hidden.rename(setting.base / str(number))
            wait_until(lambda number=number: _status(client, number)[0] == "END", 60)  # type: ignore[misc]
            _, code, message = _status(client, number)
            answer = client.recommend(Request(user_id="u1"))
            found[name] = {"serves": answer.version, "code": code, "said": bool(message)}
            found[name]["same"] = answer.item_ids == before.item_ids
            shutil.rmtree(setting.base / str(number))
        shutil.copytree(good, setting.work / "coming")
        (setting.work / "coming").rename(setting.base / "9")
        wait_until(lambda: _status(client, 9)[0] == "AVAILABLE")
        shutil.rmtree(setting.base / "9")
        wait_until(lambda: _status(client, 9)[0] == "END")
        answer = client.recommend(Request(user_id="u1"))
        found["deleted"] = {"serves": answer.version, "same": answer.item_ids == before.item_ids}
    well = all(one["serves"] == 1 and one["same"] for one in found.values())
    well &= all(one["code"] and one["said"] for name, one in found.items() if name != "deleted")
    return _line("versions", well, **found)


def mutations(setting: Setting, number: int = 20_000) -> Line:
    """Requests with something changed."""
    rng = random.Random(_SEED)
    requests = read_requests(setting.requests)
    codes: collections.Counter[str] = collections.Counter()
    reached: collections.Counter[str] = collections.Counter()
    bad: list[str] = []
    slowest = 0.0
    each = setting.calls(number // 2)
    secrets = (str(setting.base), str(pathlib.Path(__file__).parents[1]), "site-packages", ".py", "Traceback")

    def judge(code: str, text: str, fine: bool, took: float) -> None:
        nonlocal slowest
        slowest = max(slowest, took)
        codes[code] += 1
        if not fine or any(part in text for part in secrets):
            bad.append(f"{code}: {text[:200]}")

    with ServerProcess(setting.base, NAME) as server:
        with grpc.insecure_channel(server.address) as channel:
            calls = {method: channel.unary_unary(PREDICT.replace("/Predict", f"/{method}")) for method in _METHODS}
            others = _other_requests()
            for _ in range(each):
                method = rng.choice((*_METHODS, *["Predict"] * 4))
                content = others.get(method) or rng.choice(requests)
                if method == "Predict" and rng.random() < 0.7:
                    content = _misstated(rng, content)
                else:
                    content = _changed(rng, content)
                began = time.perf_counter()
                try:
                    calls[method](content, timeout=30)
                    code, text = "OK", ""
                except grpc.RpcError as error:
                    code, text = error.code().name, error.details() or ""
                # What is no such message at all is gRPC's to refuse, as INTERNAL: its server never saw it.
                unread = code == "INTERNAL" and "deserializing" in text
                reached[method] += not unread
                fine = code in {"OK", *_OF_CALLERS} or unread
                judge(f"grpc {code}", text, fine, time.perf_counter() - began)
        address = server.rest_url.removeprefix("http://")
        examples = b'{"examples": [{"user_id": "anna", "history_timestamps": [1]}]}'
        bodies = {
            "predict": [_body(request) for request in requests[:8]],
            "classify": [examples],
            "regress": [examples],
        }
        for _ in range(each):
            began = time.perf_counter()
            method = rng.choice((*bodies, "predict"))
            status, text = _post(address, f"/v1/models/{NAME}:{method}", _changed(rng, rng.choice(bodies[method])))
            judge(f"http {status}", text, status in (200, 400, 404, 412, 501), time.perf_counter() - began)
        with Client(server.address, NAME) as client:
            alive = bool(client.recommend(Request()).item_ids)
    well = alive and not bad and slowest < 30 and min(reached[method] for method in _METHODS) >= each / 100
    return _line(
        "mutations",
        well,
        requests=2 * each,
        codes=dict(codes),
        read_by_the_server=dict(reached),
        slowest_s=round(slowest, 3),
        bad=bad[:5],
    )


def overload(setting: Setting, seconds: float = 15.0) -> Line:
    """Ten times what the server takes."""
    parameters = setting.work / "small.config"
    parameters.write_text(
        "max_batch_size { value: 16 } batch_timeout_micros { value: 1000 } max_enqueued_batches { value: 2 } "
        "num_batch_threads { value: 1 } pad_variable_length_inputs: true"
    )
    callers = 100
    flags = ("--enable_batching", f"--batching_parameters_file={parameters}", f"--grpc_max_threads={callers + 16}")
    every = read_requests(setting.requests)
    signature, inputs = stacked(every[:16])
    heavy = protos.PredictRequest()
    heavy.model_spec.name, heavy.model_spec.signature_name = NAME, signature
    for name, array in inputs.items():
        fill_tensor(heavy.inputs[name], array)
    request = heavy.SerializeToString()
    with setting.server(*flags) as server, Child("load", str(setting.requests)) as load:
        load.ask(address=server.address, clients=4, seconds=2 * setting.scale)
        calm = load.ask(address=server.address, clients=4, seconds=3 * setting.scale)
        before = statistics.median(calm["seconds"])
        codes: list[str] = []
        refused: list[float] = []
        served: list[float] = []
        until = time.monotonic() + max(5.0, seconds * setting.scale)

        def work(_: int) -> None:
            with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                call = channel.unary_unary(PREDICT)
                while time.monotonic() < until:
                    began = time.perf_counter()
                    try:
                        call(request, timeout=60)
                        codes.append("OK")
                        served.append(time.perf_counter() - began)
                    except grpc.RpcError as error:
                        codes.append(error.code().name)
                        refused.append(time.perf_counter() - began)
                        time.sleep(0.05)

        with concurrent.futures.ThreadPoolExecutor(callers) as pool:
            list(pool.map(work, range(callers)))
        after = load.ask(address=server.address, clients=4, seconds=3 * setting.scale)
        memory = setting.resident_mb(server.pid)
    again = statistics.median(after["seconds"])
    found = collections.Counter(codes)
    others = set(found) - {"OK"} - _TOO_MUCH
    asked = len(codes) / max(1, found["OK"])
    quick = bool(refused and served) and statistics.median(refused) < statistics.median(served)
    well = asked >= 10 and quick and not others and not after["failures"] and again < 2 * before
    return _line(
        "overload",
        well,
        answers=dict(found),
        asked_over_answered=round(asked, 1),
        answered_median_s=round(statistics.median(served), 3) if served else None,
        refused_median_s=round(statistics.median(refused), 3) if refused else None,
        latency_after_over_before=round(again / before, 2),
        memory_mb=round(memory),
    )


def refusals(setting: Setting) -> Line:
    """Callers who must get nothing."""
    from benchmarks.serving_certificates import Authority

    ours, others = Authority(setting.work / "ours"), Authority(setting.work / "others")
    config = setting.work / "ssl.config"
    config.write_text(ours.server_config("localhost"))
    found: dict[str, str] = {}

    def asks(name: str, **settings: Any) -> None:
        try:
            with Client(settings.pop("address"), NAME, timeout=5, retries=0, **settings) as client:
                client.recommend(Request())
            found[name] = "answered"
        except CallError as error:
            found[name] = str(error.code)

    with setting.server(f"--ssl_config_file={config}") as server:
        address = server.address.replace("127.0.0.1", "localhost")
        asks("the right certificate", address=address, tls=ours.client("somebody"))
        asks("plain text", address=address)
        asks("no certificate", address=address, tls=ours.anybody())
        asks("another authority's certificate", address=address, tls=others.client("somebody", trusts=ours))
    with ServerProcess(setting.base, NAME) as server:
        host = server.rest_url.removeprefix("http://")
        for model in ("..%2f..%2fetc%2fpasswd", "../../etc", "%00", "a" * 5000):
            found[f"model {model[:20]}"] = str(_post(host, f"/v1/models/{model}:predict", b"{}")[0])
        found["body of 80 MB"] = str(_post(host, f"/v1/models/{NAME}:predict", b" " * 80_000_000)[0])
        slow = [socket.create_connection((host.split(":")[0], int(host.split(":")[1]))) for _ in range(100)]
        for one in slow:
            one.sendall(f"POST /v1/models/{NAME}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        status, _ = _post(host, f"/v1/models/{NAME}:predict", _body(read_requests(setting.requests)[0]))
        found["beside 100 slow clients"] = str(status)
        for one in slow:
            one.close()
    served = {"the right certificate": "answered", "beside 100 slow clients": "200"}
    well = all(found[name] == value for name, value in served.items())
    well &= all(value not in ("answered", "200", "500") for name, value in found.items() if name not in served)
    return _line("refusals", well, **found)


CASES: dict[str, Callable[[Setting], Line]] = {
    "swaps": swaps,
    "replicas": replicas,
    "versions": versions,
    "mutations": mutations,
    "overload": overload,
    "refusals": refusals,
    "gateway": gateway,
}


def _line(case: str, well: bool, **found: Any) -> Line:
    return {"case": case, "well": well, **found}


def _status(client: Client, version: int) -> tuple[str, int, str]:
    for one in client.status():
        if one.version == version:
            return one.state, one.error_code, one.error_message
    return "", 0, ""


def _changed(rng: random.Random, content: bytes) -> bytes:
    """Some bytes changed, left out, put in, said twice or cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(changed)) if changed else 0
        kind = rng.randrange(5)
        if kind == 0 and changed:
            changed[place] = rng.randrange(256)
        elif kind == 1:
            del changed[place : place + rng.choice((1, 4, 40))]
        elif kind == 2:
            changed[place:place] = rng.randbytes(rng.choice((1, 4, 40)))
        elif kind == 3:
            changed[place:place] = changed[place : place + 20]
        else:
            del changed[place:]
    return bytes(changed)


def _misstated(rng: random.Random, request: bytes) -> bytes:
    """A PredictRequest in which something is said wrongly of the model or of an input."""
    message = protos.PredictRequest.FromString(request)
    name = rng.choice(sorted(message.inputs))
    tensor = message.inputs[name]
    kind = rng.randrange(9)
    if kind == 0:
        tensor.dtype = rng.randrange(30)
    elif kind == 1:
        tensor.tensor_shape.dim.add(size=rng.choice((-1, 0, 1, 2, 1 << 40)))
    elif kind == 2 and tensor.tensor_shape.dim:
        rng.choice(tensor.tensor_shape.dim).size = rng.choice((-7, 0, 1, 3, 1 << 31, 1 << 62))
    elif kind == 3:
        tensor.tensor_content = rng.randbytes(rng.choice((0, 1, 8, 4000)))
    elif kind == 4:
        tensor.string_val.append(rng.randbytes(rng.choice((0, 5, 100_000))))
    elif kind == 5:
        del message.inputs[name]
    elif kind == 6:
        message.inputs[rng.choice(("", "examples", name + "x", "\0"))].CopyFrom(tensor)
    elif kind == 7:
        message.model_spec.signature_name = rng.choice(("", "rank", "search", "profile", "é" * 2000, "/etc/passwd"))
    else:
        message.output_filter.append(rng.choice(("", "scores", name, "../..")))
    return bytes(message.SerializeToString())


def _other_requests() -> dict[str, bytes]:
    """A request of each other method that takes what a user sends."""
    feature = example_pb2.Example()
    feature.features.feature["user_id"].bytes_list.value.append(b"anna")
    feature.features.feature["history_timestamps"].int64_list.value.append(1_700_000_000)
    given = input_pb2.Input(example_list=input_pb2.ExampleList(examples=[feature] * 2))
    spec = model_pb2.ModelSpec(name=NAME)
    task = inference_pb2.InferenceTask(model_spec=spec, method_name="tensorflow/serving/classify")
    made = {
        "Classify": classification_pb2.ClassificationRequest(model_spec=spec, input=given),
        "Regress": regression_pb2.RegressionRequest(model_spec=spec, input=given),
        "MultiInference": inference_pb2.MultiInferenceRequest(tasks=[task], input=given),
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=["signature_def"]
        ),
    }
    return {method: message.SerializeToString() for method, message in made.items()}


def _body(request: bytes) -> bytes:
    signature, arrays = stacked([request])
    plain = {name: _text(array.tolist()) for name, array in arrays.items()}
    return json.dumps({"signature_name": signature, "inputs": plain}).encode()


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


def _post(address: str, path: str, body: bytes) -> tuple[int, str]:
    """(status, text); 0 where the connection ends without an answer, which is a refusal too."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    except (ConnectionError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_faults", description="What the server stands.")
    parser.add_argument("--model", required=True, help="a SavedModel, or a folder of versions")
    parser.add_argument("--case", action="append", choices=list(CASES), default=[], help="all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of requests and seconds; below 1 for a quick look")
    options = parser.parse_args(arguments)
    well = True
    try:
        for case in options.case or CASES:
            with tempfile.TemporaryDirectory() as work:
                setting = Setting(newest_version(options.model), pathlib.Path(work), 1, options.scale)
                line = CASES[case](setting)
            print(json.dumps(line), flush=True)
            well &= line["well"]
    except (ServableError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
