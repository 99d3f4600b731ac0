"""The real model server, as a process, is killed under a gateway that sixteen clients ask, and comes back."""

import collections
import contextlib
import http.client
import json
import os
import signal
import threading
import time

import pytest

from models import features
from serving import contract
from serving.gateway.models import MODEL_REASONS
from serving.server.process import ServerProcess

CLIENTS = 16
ITEMS = [f"i{number}" for number in range(10)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Folder of a model as small as may be: i0, i1, … in this order, but what was clicked before what was not."""
    import tensorflow as tf

    dtypes = {"string": tf.string, "int64": tf.int64}
    specs = {
        spec.name: tf.TensorSpec([None] * spec.rank, dtypes[spec.dtype], name=spec.name)
        for spec in contract.signature_inputs(contract.RECOMMEND, ("country",))
    }

    def recommend(**inputs):
        history = inputs[features.HISTORY_ITEM_IDS]
        real = tf.sequence_mask(inputs[contract.HISTORY_LENGTH], tf.shape(history)[1])
        clicks = (history[:, :, None] == tf.constant(ITEMS)) & real[:, :, None]
        best = tf.math.top_k(100.0 * tf.reduce_sum(tf.cast(clicks, tf.float32), 1) - tf.range(10.0), 10)
        return {contract.ITEM_IDS: tf.gather(tf.constant(ITEMS), best.indices), contract.SCORES: best.values}

    signatures = {contract.RECOMMEND: tf.function(recommend).get_concrete_function(**specs)}
    folder = tmp_path_factory.mktemp("killed")
    tf.saved_model.save(tf.Module(), str(folder / "7"), signatures=signatures)
    return folder


class Clients:
    """Threads that ask a gateway for recommendations, each for a user of its own, until they are stopped.

    Attributes:
      statuses: how often each status of HTTP was answered.
      sources: of each client's last answer: "model", or why it is a fallback.
      orders: of items, that were answered.
      slowest: seconds that one answer took.
    """

    def __init__(self, address):
        self.statuses, self.orders, self.sources, self.slowest = collections.Counter(), set(), {}, 0.0
        self._address, self._stop, self._lock = address, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._work, args=[number]) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self, sources):
        """Until the next answer of every client is from one of the sources."""
        with self._lock:
            self.sources.clear()
        until = time.monotonic() + 60
        while len(self.sources) < CLIENTS or not set(self.sources.values()) <= sources:
            assert time.monotonic() < until, f"{self.sources}, not {sources}"
            time.sleep(0.02)

    def _work(self, number):
        connection = http.client.HTTPConnection(self._address, timeout=30)
        while not self._stop.wait(0.1):  # the server that starts needs the processor, too
            began = time.monotonic()
            status, answer = post(connection, "/v1/recommend", {"user_id": f"u{number}", "top": 3})
            with self._lock:
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.statuses[status] += 1
                if status == 200:
                    self.sources[number] = answer["fallback"] or "model"
                    self.orders.add(tuple(item["item_id"] for item in answer["items"]))
        connection.close()


def post(connection, path, body):
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def post_once(address, path, body):
    with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        status, answer = post(connection, path, body)
    assert status == 200, answer
    return answer


def test_killed_under_sixteen_clients_it_costs_no_answer_and_comes_back(serve, base):
    with ServerProcess(base, "toy", rest=False) as server:
        model = {"address": server.address, "retries": 2, "timeout_ms": 2000, "poll_seconds": 0.1}
        gateway = serve(model=model, access={"rate": 1e6, "burst": 1_000_000})
        until = time.monotonic() + 60
        while gateway.gateway.metrics.value("gateway_popular_items") != len(ITEMS):
            assert time.monotonic() < until, "nothing to answer with was learned"
            time.sleep(0.02)
        address = gateway.url.removeprefix("http://")
        with Clients(address) as clients:
            clients.wait({"model"})
            os.kill(server.pid, signal.SIGKILL)
            clients.wait(set(MODEL_REASONS))
            event = {"user_id": "somebody", "item_id": "i7", "event_type": "click"}
            assert post_once(address, "/v1/events", event)["stored"] == 1
            port = server.address.rpartition(":")[2]
            with ServerProcess(base, "toy", rest=False, flags=(f"--port={port}",)) as again:
                assert again.address == server.address
                clients.wait({"model"})
                # What came in while there was no model counts, too.
                answer = post_once(address, "/v1/recommend", {"user_id": "somebody", "top": 2})
                assert [item["item_id"] for item in answer["items"]] == ["i7", "i0"]
    assert set(clients.statuses) == {200}, clients.statuses
    assert clients.orders == {("i0", "i1", "i2")}
    assert clients.slowest < 10
