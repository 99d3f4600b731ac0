"""Replicas without TensorFlow. `python -m pytest --confcutdir=tests/serving/client tests/serving/client` loads none."""

import asyncio
import os
import pathlib
import runpy
import subprocess
import sys
import time

import pytest

from serving.client import AsyncClient, Client, Request

FAKE_SERVER = pathlib.Path(__file__).with_name("fake_server.py")
_FakeServer = runpy.run_path(str(FAKE_SERVER))["FakeServer"]


@pytest.fixture
def make_server():
    """Makes `FakeServer`s with its arguments; they are closed in the end."""
    servers = []

    def make(*arguments, **options):
        servers.append(_FakeServer(*arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server):
    return make_server(7)


@pytest.fixture
def start_replica():
    """Starts a `FakeServer` of a number in a process of its own; (process, address)."""
    processes = []

    def start(number):
        command = [sys.executable, str(FAKE_SERVER), str(number)]
        environment = {**os.environ, "PYTHONPATH": str(FAKE_SERVER.parents[3])}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return processes[-1], f"127.0.0.1:{int(processes[-1].stdout.readline())}"

    yield start
    for process in processes:
        process.kill()
        process.communicate()


class _Waiting:
    """An `AsyncClient` that one waits for, so that both clients pass the same tests."""

    def __init__(self, *arguments, **options):
        self.loop = asyncio.new_event_loop()
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name):
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute
        return lambda *arguments, **options: self.loop.run_until_complete(attribute(*arguments, **options))


@pytest.fixture(params=[Client, _Waiting], ids=["sync", "async"])
def make_client(request):
    """Makes clients of either kind with their arguments; they are closed in the end."""
    clients = []

    def make(*arguments, **options):
        clients.append(request.param(*arguments, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
        if isinstance(client, _Waiting):
            client.loop.close()


@pytest.fixture
def await_replicas():
    """Asks until each of the replicas, by number, has answered: until then the client is not connected to all."""

    def wait(client, *numbers):
        missing, deadline = set(numbers), time.monotonic() + 30
        while missing:
            assert time.monotonic() < deadline, f"no answer of {missing}"
            missing.discard(client.rank(Request(candidates=["a"])).version)

    return wait
