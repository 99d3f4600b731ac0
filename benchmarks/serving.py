"""How quick the embedded server is, as ratios within one run: JSON lines on the standard output.

    python -m benchmarks.serving --model runs/online_retail/serving/ranker [--case NAME …] [--rounds 5] [--plot OUT.svg]
    python -m benchmarks.serving --case recommend

The model is asked to `rank` 100 candidates for users with 50 events, by clients in a process of their own. What is
compared is measured by turns, `--rounds` times; a number is the median over the rounds of a round's median (latency) or
rate (throughput). Cases:

* `latency`: one client, through gRPC, beside the floor (the quickest of a Session with TensorFlow's own number of
  threads, one whose ops share none, and `saved_model.load().signatures`, called in a process without a server) and a
  gRPC server that only answers as many bytes. `ratio` is gRPC's latency over the floor's; `above_echo_ms` what it has
  above the floor, less the echo's.
* `throughput`: 16 clients, with batching (configs/serving/batching.config) and without, beside the best rate of calls
  in a process over batch sizes.
* `application`: 16 clients, beside FastAPI and `model.predict` on the same signature.
* `recommend`: one client, over catalogues of `two_tower` (`benchmarks.serving_catalogues`; no `--model`), through gRPC
  and a Session in a process, beside NumPy's product, argpartition and sort of the same sizes. `ratio` is gRPC's latency
  over NumPy's.
* `soak`: resident memory of the server after so many requests and hot swaps, over what it was after the first tenth.

All but `recommend` start the server with --tensorflow_intra_op_parallelism=1 and --grpc_max_threads=64, as the stack of
configs/serving does. The last line of a case has what it is to reach and whether it does. Exits with 0, or with 1 and
one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import serving_catalogues
from benchmarks.servable import ServableError, newest_version
from benchmarks.serving_children import Child, write_requests
from serving import contract, protos
from serving.client import Client, build_inputs
from serving.client.tensors import fill_tensor
from serving.requests import Request
from serving.server.process import ServerProcess

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCHING = ROOT / "configs" / "serving" / "batching.config"
#: As in the stack of configs/serving: the ops of `rank` are too small to be shared out between threads, and each client
#: needs one of its own to wait for a batch in.
FLAGS = ("--tensorflow_intra_op_parallelism=1", "--grpc_max_threads=64")
NAME = "model"
CANDIDATES, EVENTS, USERS, CLIENTS = 100, 50, 64, 16
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CATALOGUES = (10_000, 100_000, 1_000_000)
DAY = 86400
_ACROSS = 4  # parts of a plot next to each other

Line = dict[str, Any]


class Setting:
    """What the cases share.

    Args:
      version: folder of the SavedModel; None for cases that make their own.
      work: a folder for what is written.
      rounds: of each comparison.
      scale: share of the calls and seconds that are spent; below 1 for a quick look.
    """

    def __init__(self, version: pathlib.Path | None, work: pathlib.Path, rounds: int, scale: float) -> None:
        self.rounds, self.scale, self.work = rounds, scale, work
        #: A base folder with the SavedModel as version 1, and the file of requests.
        self.base, self.requests = work / "served", work / "requests.bin"
        self.version = self.base / "1"
        if version is not None:
            shutil.copytree(version, self.version)
            write_requests(self.requests, _requests(self.base))

    def calls(self, number: int) -> int:
        return max(3, round(number * self.scale))

    def server(self, *flags: str) -> ServerProcess:
        """A server of the model with further flags, without REST."""
        return ServerProcess(self.base, NAME, rest=False, flags=(*FLAGS, *flags))

    def swap(self, version: int, client: Client) -> None:
        """Puts a further version there, waits until it serves, and takes the one before away."""
        hidden = self.work / "coming"
        shutil.copytree(self.base / str(version - 1), hidden)
        hidden.rename(self.base / str(version))
        wait_until(lambda: any(one.version == version and one.state == "AVAILABLE" for one in client.status()))
        shutil.rmtree(self.base / str(version - 1))

    @staticmethod
    def resident_mb(pid: int) -> float:
        """Memory of a process that is not swapped out."""
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _requests(base: pathlib.Path) -> list[Any]:
    """`rank` requests of items that the model knows, all of the same widths."""
    with ServerProcess(base, NAME, rest=False) as server, Client(server.address, NAME) as client:
        known = list(client.recommend(Request()).item_ids)
        context = client.metadata().context_columns(contract.RANK)
    if not known:
        raise ServableError(f"{base}: recommends nothing to a visitor; expected items to rank.")
    rng, found = np.random.default_rng(7), []
    for user in range(USERS):
        history = [(str(item), "purchase", DAY * (place + 1)) for place, item in enumerate(rng.choice(known, EVENTS))]
        candidates = [str(item) for item in np.resize(rng.permutation(known), CANDIDATES)]
        one = Request(user_id=f"u{user}", history=history, candidates=candidates, profile_text="a present for a friend")
        message = protos.PredictRequest()
        message.model_spec.name, message.model_spec.signature_name = NAME, contract.RANK
        for name, array in build_inputs(contract.RANK, [one], context).items():
            fill_tensor(message.inputs[name], array)
        found.append(message)
    return found


def latency(setting: Setting) -> Iterator[Line]:
    """One client."""
    calls = setting.calls(200)
    ways = ("session", "session_alone", "function")
    parts: dict[str, list[float]] = {name: [] for name in (*ways, "grpc", "echo")}
    with (
        setting.server() as server,
        Child("floor", str(setting.version), str(setting.requests)) as floor,
        Child("load", str(setting.requests)) as load,
        Child("echo", str(4 * CANDIDATES + 60)) as echo,
    ):
        there = {"grpc": server.address, "echo": f"127.0.0.1:{echo.ready['port']}"}
        for turn in range(setting.rounds + 1):
            for name, values in parts.items():
                if name in there:
                    said = load.ask(address=there[name], clients=1, calls=calls)
                    _none_failed(said)
                else:
                    said = floor.ask(way=name, batch=1, calls=calls)
                if turn:  # the first round warms up
                    values.append(1000 * statistics.median(said["seconds"]))
    ms = {name: round(statistics.median(values), 3) for name, values in parts.items()}
    lowest = min(ms[way] for way in ways)
    ratio, above = ms["grpc"] / lowest, ms["grpc"] - lowest - ms["echo"]
    yield {"case": "latency", "ms": ms, "rounds": parts}
    yield _judged("latency", ratio=(ratio, "at most", 1.5), above_echo_ms=(above, "at most", 0.5))


def throughput(setting: Setting) -> Iterator[Line]:
    """Sixteen clients."""
    rates: dict[str, list[float]] = {"plain": [], "batched": []}
    flags = {"plain": (), "batched": ("--enable_batching", f"--batching_parameters_file={BATCHING}")}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(setting.server(*flags[name])) for name in rates}
        load = stack.enter_context(Child("load", str(setting.requests)))
        for turn in range(setting.rounds + 1):
            for name, values in rates.items():
                said = load.ask(address=servers[name].address, clients=CLIENTS, seconds=4 * setting.scale)
                _none_failed(said)
                if turn:
                    values.append(len(said["seconds"]) / said["took"])
    by_batch: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    with Child("floor", str(setting.version), str(setting.requests)) as floor:
        for turn in range(setting.rounds + 1):
            for batch, values in by_batch.items():
                said = floor.ask(way="session", batch=batch, calls=setting.calls(max(4, 200 // batch)))
                if turn:
                    values.append(batch / statistics.median(said["seconds"]))
    found = {name: statistics.median(values) for name, values in rates.items()}
    inside = {batch: round(statistics.median(values), 1) for batch, values in by_batch.items()}
    yield {"case": "throughput", "rate": found, "in_process": inside, "rounds": rates}
    yield _judged(
        "throughput",
        batched_over_plain=(found["batched"] / found["plain"], "at least", 1.5),
        batched_over_in_process=(found["batched"] / max(inside.values()), "at least", 0.8),
    )


def application(setting: Setting) -> Iterator[Line]:
    """Sixteen clients, beside what one writes without a model server."""
    rates: dict[str, list[float]] = {"server": [], "application": []}
    with (
        setting.server("--enable_batching", f"--batching_parameters_file={BATCHING}") as server,
        Child("keras", str(setting.version)) as app,
        Child("load", str(setting.requests)) as load,
    ):
        asked = {
            "server": {"address": server.address},
            "application": {"address": f"127.0.0.1:{app.ready['port']}", "path": "/rank"},
        }
        for turn in range(setting.rounds + 1):
            for name, values in rates.items():
                said = load.ask(**asked[name], clients=CLIENTS, seconds=4 * setting.scale)
                _none_failed(said)
                if turn:
                    values.append(len(said["seconds"]) / said["took"])
    found = {name: statistics.median(values) for name, values in rates.items()}
    yield {"case": "application", "rate": found, "rounds": rates}
    yield _judged("application", server_over_application=(found["server"] / found["application"], "at least", 4.0))


def recommend(setting: Setting) -> Iterator[Line]:
    """One client, over catalogues of several sizes."""
    for items in CATALOGUES:
        base, asked = setting.work / f"of{items}", setting.work / f"of{items}.bin"
        version, calls = str(base / "1"), setting.calls(min(200, max(20, 10_000_000 // items)))
        write_requests(asked, serving_catalogues.requests(items, EVENTS, USERS, NAME))
        with Child("catalogue", version, str(items)):
            pass  # it is ready when it is written
        parts: dict[str, list[float]] = {"session": [], "grpc": [], "numpy": []}
        with (
            ServerProcess(base, NAME, rest=False) as server,
            Child("floor", version, str(asked)) as floor,
            Child("load", str(asked)) as load,
            Child("numpy", str(items)) as numpy,
        ):
            measured: dict[str, tuple[Child, dict[str, Any]]] = {
                "session": (floor, {"way": "session", "batch": 1}),
                "grpc": (load, {"address": server.address, "clients": 1}),
                "numpy": (numpy, {}),
            }
            for turn in range(setting.rounds + 1):
                for name, values in parts.items():
                    child, arguments = measured[name]
                    said = child.ask(**arguments, calls=calls)
                    _none_failed(said)
                    if turn:
                        values.append(1000 * statistics.median(said["seconds"]))
        shutil.rmtree(base)
        ms = {name: round(statistics.median(values), 3) for name, values in parts.items()}
        yield {"case": "recommend", "items": items, "ms": ms, "rounds": parts}
        judged = _judged("recommend", ratio=(ms["grpc"] / ms["numpy"], "at most", 1.5))
        yield {**judged, "items": items, "in_process": round(ms["session"] / ms["numpy"], 3)}


def soak(setting: Setting, requests: int = 100_000, swaps: int = 50) -> Iterator[Line]:
    """Memory after many requests and hot swaps."""
    each = setting.calls(requests // (swaps * CLIENTS))
    memory: list[float] = []
    failures: dict[str, int] = {}
    with (
        setting.server("--file_system_poll_wait_seconds=1") as server,
        Child("load", str(setting.requests)) as load,
        Client(server.address, NAME) as client,
    ):
        for swap in range(2, swaps + 2):
            swapped = threading.Thread(target=setting.swap, args=(swap, client))
            swapped.start()
            said = load.ask(address=server.address, clients=CLIENTS, calls=each)
            for kind, number in said["failures"].items():
                failures[kind] = failures.get(kind, 0) + number
            swapped.join()
            memory.append(setting.resident_mb(server.pid))
    early = statistics.median(memory[: max(1, swaps // 10)])
    late = statistics.median(memory[-max(1, swaps // 10) :])
    done = swaps * each * CLIENTS
    yield {"case": "soak", "requests": done, "swaps": swaps, "failures": failures, "memory_mb": memory}
    yield _judged("soak", failed=(sum(failures.values()), "at most", 0), memory=(late / early, "at most", 1.05))


CASES: dict[str, Callable[[Setting], Iterator[Line]]] = {
    "latency": latency,
    "throughput": throughput,
    "application": application,
    "recommend": recommend,
    "soak": soak,
}


def wait_until(happened: Callable[[], bool], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > until:
            raise RuntimeError(f"a version is not served after {seconds:g} s")
        time.sleep(0.1)


def _none_failed(said: dict[str, Any]) -> None:
    if said.get("failures"):
        raise ServableError(f"{said['failures']} of {len(said['seconds'])} requests failed; expected none to.")


def _judged(case: str, **found: tuple[float, str, float]) -> Line:
    """A line with numbers, what they are to reach, and whether they do."""
    reached = {
        name: (value <= goal if word == "at most" else value >= goal) for name, (value, word, goal) in found.items()
    }
    return {
        "case": case,
        **{name: round(value, 3) for name, (value, _, _) in found.items()},
        "goals": {name: f"{word} {goal}" for name, (_, word, goal) in found.items()},
        "reached": reached,
    }


def plot(lines: Sequence[Line], out: str) -> None:
    """Draws latencies, rates, and memory over hot swaps."""
    import matplotlib
    from matplotlib.figure import Figure

    bars: list[tuple[str, dict[str, float]]] = []
    memory: list[float] = []
    for line in lines:
        if "ms" in line:
            of = f"recommend, {line['items']:,} items" if "items" in line else "rank"
            bars.append((f"{of}: ms, 1 client", line["ms"]))
        if "rate" in line:
            best = {"in process": max(line["in_process"].values())} if "in_process" in line else {}
            bars.append((f"rank: a second, {CLIENTS} clients", {**line["rate"], **best}))
        memory = line.get("memory_mb", memory)
    parts = len(bars) + bool(memory)
    rows = -(-parts // _ACROSS)
    figure = Figure(figsize=(3.2 * min(parts, _ACROSS), 2.8 * rows), layout="constrained")
    for place, (title, values) in enumerate(bars, 1):
        axes = figure.add_subplot(rows, min(parts, _ACROSS), place)
        axes.bar_label(axes.bar(list(values), list(values.values())), fmt="{:.3g}", fontsize="small")
        axes.margins(y=0.15)
        axes.set_title(title, fontsize="medium")
    if memory:
        axes = figure.add_subplot(rows, min(parts, _ACROSS), parts)
        axes.plot(range(1, len(memory) + 1), memory)
        axes.set_ylim(bottom=0)
        axes.set_title("memory in MB over hot swaps", fontsize="medium")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description="Speed of the embedded server.")
    parser.add_argument("--model", help="a SavedModel, or a folder of versions; not needed for `recommend`")
    parser.add_argument("--case", action="append", choices=list(CASES), default=[], help="all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of calls and seconds; below 1 for a quick look")
    parser.add_argument("--plot", metavar="OUT.svg", help="draw latencies and rates")
    options = parser.parse_args(arguments)
    lines = []
    try:
        cases = options.case or list(CASES)
        if not options.model and set(cases) != {"recommend"}:
            raise ServableError("--model is missing; expected the SavedModel that is asked to rank.")
        with tempfile.TemporaryDirectory() as work:
            version = newest_version(options.model) if options.model else None
            setting = Setting(version, pathlib.Path(work), options.rounds, options.scale)
            for case in cases:
                for line in CASES[case](setting):
                    print(json.dumps(line), flush=True)
                    lines.append(line)
    except (ServableError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.plot:
        plot(lines, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
