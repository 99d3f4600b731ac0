"""A shop with a model server of its own: gateways for it, asked in this process or over a port.

`python -m pytest --confcutdir=tests/serving/gateway tests/serving/gateway` loads no TensorFlow.
"""

import asyncio
import contextlib
import dataclasses
import pathlib
import runpy
import threading

import httpx
import numpy as np
import pytest

from models import features
from serving import contract
from serving.gateway.app import create_app
from serving.gateway.gateway import Gateway
from serving.gateway.server import GatewayServer
from serving.gateway.settings import GatewaySettings, ListenSettings, ModelSettings, StoreSettings

FAKE_SERVER = pathlib.Path(__file__).parents[1] / "client" / "fake_server.py"
ITEMS = [f"i{number}" for number in range(10)]
#: What the fake model answers for somebody without history: 10, 9, … 1.
CLICKED = 100.0


class ShopModel(runpy.run_path(str(FAKE_SERVER))["FakeServer"]):
    """A model that likes what was in the history: the items' scores are 10, 9, … 1, and 100 more for each event.

    Attributes:
      scores: answered in place of these, where a test sets them.
    """

    scores = None

    def _recommend(self, inputs):
        rows, values = [], []
        for row in range(len(inputs[features.USER_ID])):
            history = inputs[features.HISTORY_ITEM_IDS][row][: inputs[contract.HISTORY_LENGTH][row]].tolist()
            excluded = inputs[contract.EXCLUDE_ITEM_IDS][row][: inputs[contract.EXCLUDE_COUNT][row]].tolist()
            scored = {
                item: len(ITEMS) - place + CLICKED * history.count(item.encode()) for place, item in enumerate(ITEMS)
            }
            best = sorted((item for item in scored if item.encode() not in excluded), key=lambda item: -scored[item])
            rows.append([item.encode() for item in best] + [b""] * (len(ITEMS) - len(best)))
            values.append([scored[item] for item in best] + [-np.inf] * (len(ITEMS) - len(best)))
        if self.scores is not None:
            values = [self.scores] * len(rows)
        return {contract.ITEM_IDS: np.array(rows, object), contract.SCORES: np.array(values, np.float32)}

    _search = _recommend

    def asked(self):
        """Inputs of the last request but the gateway's own about nobody, by name, as Python values of the first row."""
        from serving.client.tensors import read_tensor

        for name, request, *_ in reversed(self.calls):
            if name == "Predict":
                inputs = {key: read_tensor(tensor)[0] for key, tensor in request.inputs.items()}
                return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in inputs.items()}
        raise AssertionError("nothing was asked")


class Shop:
    """A gateway, asked without a network.

    Attributes:
      gateway: itself.
      headers: sent with every request.
    """

    def __init__(self, gateway, loop):
        self.gateway = gateway
        self.headers = {}
        self._loop = loop
        transport = httpx.ASGITransport(create_app(gateway))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://shop")

    def run(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    def post(self, path, body=None, **options):
        headers = {**self.headers, **options.pop("headers", {})}
        options = {"json": body, **options} if body is not None else options
        return self.run(self._client.post(path, headers=headers, **options))

    def get(self, path):
        return self.run(self._client.get(path))

    def recommend(self, **body):
        response = self.post("/v1/recommend", body)
        assert response.status_code == 200, response.text
        return response.json()

    def ids(self, **body):
        return [item["item_id"] for item in self.recommend(**body)["items"]]

    def value(self, series, **labels):
        return self.gateway.metrics.value(series, **labels)

    def close(self):
        self.run(self._client.aclose())
        self.run(self.gateway.stop())


@pytest.fixture
def make_model():
    """Makes model servers; they are closed in the end."""
    servers = []

    def make(number=7, **options):
        servers.append(ShopModel(number, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def settings(model):
    """Of a gateway that asks `model`, and looks at it only when a test says so."""
    return GatewaySettings(
        listen=ListenSettings(port=0),
        # Long, since a busy machine is slow; tests of the limit set another one.
        model=ModelSettings(address=model.address, name="toy", timeout_ms=20_000, retries=0, poll_seconds=3600),
        store=StoreSettings(timeout_ms=20_000, write_timeout_ms=20_000),
        refresh_seconds=3600,
    )


@pytest.fixture
def loop():
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        yield loop


@pytest.fixture
def make_shop(settings, loop):
    """Makes gateways with other settings than `settings`, by section or name; they are closed in the end.

    `online` is a store to use, and without `look` nothing is looked at before the first request.
    """
    shops = []

    def make(online=None, look=True, **changes):
        shops.append(Shop(Gateway(changed(settings, **changes), online), loop))
        if look:
            shops[-1].run(shops[-1].gateway.look())
        return shops[-1]

    yield make
    for shop in shops:
        shop.close()


@pytest.fixture
def shop(make_shop):
    return make_shop()


def changed(settings, **changes):
    """Settings with other values; of a section a dict of those that change."""
    for name, value in changes.items():
        if isinstance(value, dict):
            changes[name] = dataclasses.replace(getattr(settings, name), **value)
    return dataclasses.replace(settings, **changes)


@pytest.fixture
def change():
    return changed


@pytest.fixture
def serve(settings):
    """Serves gateways on free ports of this machine, in threads; they are stopped in the end."""
    running = []

    def start(**changes):
        server = GatewayServer(Gateway(changed(settings, **changes)))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            assert client.get(f"{server.url}/healthz", timeout=30).json() == {"status": "ok"}
        return server

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()
