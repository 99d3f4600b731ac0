"""What the gateway stands: the case `gateway` of `benchmarks.serving_faults`."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.serving import CLIENTS, NAME, ROOT, Line, Setting
from serving.gateway import asgi

#: Where an answer came from, beside the gateway's reasons for a fallback; `_EMPTY` has no items, `_NONE` is no 200.
_MODEL, _EVENTS, _EMPTY, _NONE = "model", "events", "empty", "none"
#: Of a client's calls so many tell what was clicked, in place of asking.
_EVERY = 10
#: Seconds until the model must answer again after its server is ready, and until that is given up.
_BACK_WITHIN, _PATIENCE = 10.0, 60.0


class _Answer(NamedTuple):
    """One answer: when it came, how long it took, its status (0 for none), and where it came from."""

    at: float
    seconds: float
    status: int
    source: str


def gateway(setting: Setting, kills: int = 5, seconds: float = 3.0) -> Line:
    """The model server is killed again and again, and once hangs."""
    pause = max(1.0, seconds * setting.scale)
    answers: list[_Answer] = []
    outages: list[tuple[float, float]] = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(setting.server())
        port = server.address.rpartition(":")[2]
        address = stack.enter_context(_running(setting.work, server.address))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(CLIENTS))
        stop = threading.Event()
        stack.callback(stop.set)
        clients = [pool.submit(_ask, address, place, stop, answers) for place in range(CLIENTS)]
        _wait_for_model(answers, 0.0)
        for _ in range(setting.calls(kills)):
            time.sleep(pause)
            gone = time.monotonic()
            os.kill(server.pid, signal.SIGKILL)
            time.sleep(pause)
            server = stack.enter_context(setting.server(f"--port={port}"))
            outages.append((gone, time.monotonic()))
            _wait_for_model(answers, outages[-1][1])
        time.sleep(pause)
        gone = time.monotonic()
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(pause)
        os.kill(server.pid, signal.SIGCONT)
        outages.append((gone, time.monotonic()))
        _wait_for_model(answers, outages[-1][1])
        stop.set()
        for client in clients:
            client.result()
    failed = collections.Counter(answer.status for answer in answers if answer.source in (_EMPTY, _NONE))
    fallbacks = [answer for answer in answers if answer.source not in (_MODEL, _EVENTS, _EMPTY, _NONE)]
    covered = all(any(gone < answer.at < back for answer in fallbacks) for gone, back in outages)
    back = [_first_of_model(answers, moment) - moment for _, moment in outages]
    return {
        "case": "gateway",
        "well": not failed and covered and max(back) < _BACK_WITHIN,
        "requests": len(answers),
        "failed": dict(failed),
        "kills": len(outages) - 1,
        "down_s": round(sum(back - gone for gone, back in outages), 1),
        "sources": dict(collections.Counter(answer.source for answer in answers)),
        "fallback_median_s": round(statistics.median(answer.seconds for answer in fallbacks), 3) if covered else None,
        "back_s": [round(seconds, 2) for seconds in back],
        "slowest_s": round(max(answer.seconds for answer in answers), 3),
    }


@contextlib.contextmanager
def _running(work: pathlib.Path, model: str) -> Iterator[str]:
    """The address of a gateway, in a process of its own, that asks the model server at an address."""
    config, log = work / "gateway.yaml", work / "gateway.log"
    settings = {
        "listen": {"port": 0},
        "access": {"rate": 1e6, "burst": 1_000_000},
        "model": {"address": model, "name": NAME, "timeout_ms": 1000},
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "serving.gateway", "--config", str(config)]
    with log.open("wb") as lines:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=lines, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            said = log.read_text(encoding="utf-8").splitlines() or ["nothing"]
            raise RuntimeError(f"the gateway ended; it last said: {said[-1]}")
        yield line.split()[-1].removeprefix("http://")
    finally:
        process.terminate()
        process.communicate()


def _ask(address: str, place: int, stop: threading.Event, answers: list[_Answer]) -> None:
    """Asks for one user, and tells what the user clicked, until it is told to stop."""
    connection = http.client.HTTPConnection(address, timeout=30)
    who, clicked, calls = f"u{place}", "", 0
    while not stop.is_set():
        calls += 1
        path, body = asgi.RECOMMEND, {"user_id": who, "top": 20}
        if clicked and calls % _EVERY == 0:
            path, body = asgi.EVENTS, {"user_id": who, "item_id": clicked, "event_type": "click"}
        began, status, source = time.monotonic(), 0, _NONE
        try:
            status, content = _post(connection, path, body)
            if status == 200:
                source = _source(path, content)
            if source == _MODEL:
                clicked = content["items"][calls % len(content["items"])]["item_id"]
        except (OSError, http.client.HTTPException):
            connection.close()
        now = time.monotonic()
        answers.append(_Answer(now, now - began, status, source))
    connection.close()


def _source(path: str, content: Any) -> str:
    if path == asgi.EVENTS:
        return _EVENTS
    return (content["fallback"] or _MODEL) if content["items"] else _EMPTY


def _post(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def _first_of_model(answers: list[_Answer], moment: float) -> float:
    """When the first answer of the model came that was asked for after a moment; infinity for none."""
    of_model = (answer.at for answer in answers if answer.source == _MODEL and answer.at - answer.seconds >= moment)
    return next(of_model, float("inf"))


def _wait_for_model(answers: list[_Answer], moment: float) -> None:
    until = time.monotonic() + _PATIENCE
    while _first_of_model(answers, moment) == float("inf"):
        if time.monotonic() > until:
            raise RuntimeError(f"the model answers nobody within {_PATIENCE:g} s")
        time.sleep(0.1)
