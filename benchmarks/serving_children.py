"""What `benchmarks.serving` measures in processes of their own: JSON commands in, JSON answers out, a line each.

    python -m benchmarks.serving_children floor VERSION_DIR REQUESTS
    python -m benchmarks.serving_children load REQUESTS
    python -m benchmarks.serving_children echo BYTES
    python -m benchmarks.serving_children keras VERSION_DIR
    python -m benchmarks.serving_children catalogue VERSION_DIR ITEMS
    python -m benchmarks.serving_children numpy ITEMS

REQUESTS is a file that `write_requests` wrote. Each first says `{"ready": …}`, with its port where it serves.
"""

from __future__ import annotations

import concurrent.futures
import functools
import http.client
import json
import os
import pathlib
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import serving_catalogues
from serving import protos
from serving.client.tensors import read_tensor

PREDICT = protos.METHODS["Predict"][0]
_ROOT = pathlib.Path(__file__).resolve().parents[1]


class Child:
    """One of the processes; ends with this one.

    Args:
      arguments: of the command line, after the module.

    Raises:
      RuntimeError: if it ends, with the last line it wrote.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-u", "-m", "benchmarks.serving_children", *arguments]
        self.name = arguments[0]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready: Any = self._answer()["ready"]

    def ask(self, **command: Any) -> Any:
        """Sends a command and waits for its answer."""
        assert self._process.stdin is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._reader.join(5)
            said = self._said[-1] if self._said else "nothing"
            raise RuntimeError(f"the process `{self.name}` ended; it last said: {said}")
        return json.loads(line)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said = [*self._said[-20:], line.strip()]


def write_requests(file: pathlib.Path, requests: Iterable[Any]) -> None:
    """Writes PredictRequests, each behind its length (4 bytes, little-endian)."""
    with file.open("wb") as out:
        for request in requests:
            content = request.SerializeToString()
            out.write(struct.pack("<I", len(content)) + content)


def read_requests(file: pathlib.Path) -> list[bytes]:
    """What `write_requests` wrote, serialized."""
    content, found = file.read_bytes(), []
    while content:
        (size,) = struct.unpack_from("<I", content)
        found.append(content[4 : 4 + size])
        content = content[4 + size :]
    return found


def stacked(requests: Sequence[bytes]) -> tuple[str, dict[str, np.ndarray]]:
    """(the signature, its inputs as one batch) of requests of the same widths."""
    parsed = [protos.PredictRequest.FromString(request) for request in requests]
    names = list(parsed[0].inputs)
    arrays = {name: np.concatenate([read_tensor(one.inputs[name]) for one in parsed]) for name in names}
    return parsed[0].model_spec.signature_name, arrays


# --- the floor: the signature called in the process -----------------------------------------------------------------


def floor(folder: str, requests: str) -> Callable[..., Any]:
    """Seconds of `calls` calls of the signature with `batch` of the requests.

    `way` is `session`, `session_alone` (its ops share no threads) or `function`, a loaded one.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its ops are in the graph)

    every = read_requests(pathlib.Path(requests))
    loaded = tf.saved_model.load(folder)

    @functools.cache
    def session_of(way: str) -> tuple[Any, Any]:
        threads = 1 if way == "session_alone" else 0
        graph = tf.Graph()
        with graph.as_default():
            config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads)
            session = tf.compat.v1.Session(graph=graph, config=config)
            return session, tf.compat.v1.saved_model.load(session, ["serve"], folder)

    def prepared(way: str, batch: int) -> Callable[[], Any]:
        signature, arrays = stacked((every * (1 + batch // len(every)))[:batch])
        if way == "function":
            function = loaded.signatures[signature]
            tensors = {name: tf.constant(array) for name, array in arrays.items()}
            return lambda: {name: value.numpy() for name, value in function(**tensors).items()}
        session, meta = session_of(way)
        infos = meta.signature_def[signature]
        names = list(arrays)
        feeds = [session.graph.get_tensor_by_name(infos.inputs[name].name) for name in names]
        fetches = [session.graph.get_tensor_by_name(info.name) for info in infos.outputs.values()]
        call = session.make_callable(fetches, feeds)
        values = [arrays[name] for name in names]
        return lambda: call(*values)

    known: dict[tuple[str, int], Callable[[], Any]] = {}

    def answer(way: str, batch: int, calls: int) -> Any:
        if (way, batch) not in known:
            known[way, batch] = prepared(way, batch)
            known[way, batch]()
        return {"seconds": _timed(known[way, batch], calls)}

    return answer


# --- load ------------------------------------------------------------------------------------------------------------


def load(requests: str) -> Callable[..., Any]:
    """Latencies in seconds, and failures by gRPC's code or HTTP's status, of clients that ask one after the other."""
    every = read_requests(pathlib.Path(requests))

    def answer(address: str, clients: int, seconds: float = 0.0, calls: int = 0, path: str = "") -> Any:
        ask = _http if path else _grpc
        until = time.perf_counter() + seconds
        found: list[list[float]] = [[] for _ in range(clients)]
        failures: dict[str, int] = {}

        def work(place: int) -> None:
            done = 0
            with ask(address, path) as call:
                call(every[place % len(every)])
                while done < calls if calls else time.perf_counter() < until:
                    began = time.perf_counter()
                    failed = call(every[(place + done) % len(every)])
                    found[place].append(time.perf_counter() - began)
                    done += 1
                    if failed:
                        failures[failed] = failures.get(failed, 0) + 1

        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            list(pool.map(work, range(clients)))
        took = time.perf_counter() - began
        latencies = [latency for part in found for latency in part]
        return {"seconds": latencies, "took": took, "failures": failures}

    return answer


class _grpc:
    """A channel of its own; a call sends a serialized request and parses the answer."""

    def __init__(self, address: str, path: str) -> None:
        del path
        import grpc

        self._error = grpc.RpcError
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._call = self._channel.unary_unary(PREDICT, response_deserializer=protos.PredictResponse.FromString)

    def __enter__(self) -> Callable[[bytes], str]:
        return self._ask

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def _ask(self, request: bytes) -> str:
        try:
            self._call(request, timeout=60)
        except self._error as error:
            return str(error.code().name)
        return ""


class _http:
    """A connection of its own; a call posts the inputs of a request as JSON to a path."""

    def __init__(self, address: str, path: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=60)
        self._path = path
        self._bodies: dict[bytes, bytes] = {}

    def __enter__(self) -> Callable[[bytes], str]:
        return self._ask

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _ask(self, request: bytes) -> str:
        if request not in self._bodies:
            _, arrays = stacked([request])
            plain = {name: _decoded(array.tolist()) for name, array in arrays.items()}
            self._bodies[request] = json.dumps(plain).encode()
        self._connection.request("POST", self._path, self._bodies[request], {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        json.loads(response.read())
        return "" if response.status == 200 else str(response.status)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


# --- what it is held against -----------------------------------------------------------------------------------------


def echo(size: str) -> Callable[..., Any]:
    """A gRPC server that answers every request with the same bytes."""
    import grpc

    content = b"\0" * int(size)

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: content)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _keep.append(server)
    _ready["port"] = port
    return lambda: {}


def keras(folder: str) -> Callable[..., Any]:
    """FastAPI and `model.predict`, as one writes it without a model server."""
    import fastapi
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 (its ops are in the graph)
    import uvicorn

    loaded = tf.saved_model.load(folder)

    class Served(tf.keras.Model):
        def call(self, inputs: Any) -> Any:
            return loaded.signatures["rank"](**inputs)["scores"]

    model = Served()
    specs = loaded.signatures["rank"].structured_input_signature[1]
    app = fastapi.FastAPI()

    @app.post("/rank")
    def rank(body: dict[str, Any]) -> dict[str, Any]:
        inputs = {name: tf.constant(body[name], spec.dtype) for name, spec in specs.items()}
        return {"scores": model.predict(inputs, verbose=0).tolist()}

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    _ready["port"] = server.servers[0].sockets[0].getsockname()[1]
    return lambda: {}


_KINDS: dict[str, Callable[..., Callable[..., Any]]] = {
    "floor": floor,
    "load": load,
    "echo": echo,
    "keras": keras,
    "catalogue": serving_catalogues.build,
    "numpy": serving_catalogues.reference,
}
_keep: list[Any] = []
_ready: dict[str, Any] = {}


def _timed(call: Callable[[], Any], calls: int) -> list[float]:
    found = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


def _commands() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main(arguments: Sequence[str]) -> int:
    """Answers commands until the standard input ends."""
    # What libraries print must not stand between the answers.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    answer = _KINDS[arguments[0]](*arguments[1:])
    print(json.dumps({"ready": _ready}), file=out)
    for command in _commands():
        print(json.dumps(answer(**command)), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
