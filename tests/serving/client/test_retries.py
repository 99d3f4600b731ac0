"""Replicas that are busy, late, dead or come back."""

import asyncio
import collections
import signal
import threading
import time
import types

import grpc
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from serving.client import AsyncClient, Client, Request, connection
from serving.client.client_base import ClientBase
from serving.client.steps import Asked, Pause, backoff
from serving.results import CallError

BUSY = (grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
ASKED = Request(candidates=["ab"])


class Busy(grpc.RpcError):
    """As gRPC raises it of a replica that is busy."""

    def code(self):
        return BUSY[0]

    def details(self):
        return BUSY[1]


@given(st.integers(0, 12))
def test_pauses_double_up_to_a_second_less_up_to_a_half(retries):
    pauses = list(backoff(retries))
    assert len(pauses) == retries
    for number, pause in enumerate(pauses):
        longest = min(0.05 * 2**number, 1.0)
        assert longest / 2 <= pause <= longest


def test_pauses_differ_from_client_to_client():
    assert len({next(backoff(1)) for _ in range(20)}) > 10


def test_a_busy_server_is_asked_again(server, make_client):
    client = make_client(server.address, "toy", ("country",))
    server.failures.extend([BUSY] * 4)
    start = time.monotonic()
    assert client.rank(ASKED).scores.tolist() == [2.0]
    assert server.methods() == ["Predict"] * 5
    assert time.monotonic() - start >= (0.05 + 0.1 + 0.2 + 0.4) / 2


@pytest.mark.parametrize(("retries", "times"), [(0, "once"), (1, "2 times"), (2, "3 times")])
def test_retries_end(server, make_client, retries, times):
    client = make_client(server.address, "toy", ("country",), retries=retries)
    server.failures.extend([BUSY] * 5)
    with pytest.raises(CallError) as caught:
        client.rank(ASKED)
    assert (caught.value.code, caught.value.details) == ("UNAVAILABLE", BUSY[1])
    assert str(caught.value) == (
        f"rank of model `toy` on {server.address} failed with UNAVAILABLE: {BUSY[1]}. Tried {server.address} {times}."
    )
    assert len(server.calls) == 1 + retries


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "NOT_FOUND", "DEADLINE_EXCEEDED"])
def test_nothing_else_is_asked_again(server, make_client, code):
    client = make_client(server.address, "toy", ("country",))
    server.failures.append((grpc.StatusCode[code], "no"))
    with pytest.raises(CallError) as caught:
        client.rank(ASKED)
    assert (caught.value.code, caught.value.details, len(server.calls)) == (code, "no", 1)


def test_a_call_that_a_stopping_server_cancels_is_made_again(server, make_client):
    client = make_client(server.address, "toy", ("country",))
    server.failures.append((grpc.StatusCode.CANCELLED, "CANCELLED"))
    assert client.rank(ASKED).version == 7
    assert server.methods() == ["Predict"] * 2


@settings(deadline=None)
@given(st.floats(0.01, 20.0), st.floats(0.0, 0.5))
def test_retries_stay_within_the_deadline(timeout, seconds):
    """By a clock of our own: attempts take `seconds` each, or what is left where that is less."""
    clock, left = 1000.0, []
    client = ClientBase("localhost:8500", "toy", (), retries=10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.client.steps.time", types.SimpleNamespace(monotonic=lambda: clock))
        steps = client._predict("rank", ASKED, Asked(None, None, timeout))
        step = next(steps)
        with pytest.raises(CallError, match="UNAVAILABLE") as caught:
            while True:
                if isinstance(step, Pause):
                    clock += step.seconds
                    step = next(steps)
                else:
                    assert step.timeout == pytest.approx(1000 + timeout - clock)
                    left.append(step.timeout)
                    clock += min(seconds, step.timeout)
                    step = steps.throw(Busy())
    assert clock <= 1000 + timeout + 1e-6
    assert min(left) > 0
    assert clock > 1000 + timeout - 1.0  # it did not end before the next pause could have been too long
    assert f"Tried localhost:8500 {'once' if len(left) == 1 else f'{len(left)} times'}." in str(caught.value)


def test_the_deadline_is_the_clients_unless_the_call_has_its_own(server, make_client):
    client = make_client(server.address, "toy", timeout=30.0)
    client.status()
    client.status(timeout=5.0)
    assert [20 < seconds <= 30 for *_, seconds in server.calls] == [True, False]
    assert server.calls[1][3] < 6  # on the wire it is rounded up
    server.hold.clear()
    with pytest.raises(CallError) as caught:
        client.rank(ASKED, timeout=0.2)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert str(caught.value).endswith("The limit was 0.2 s (`timeout`).")


@pytest.mark.parametrize("timeout", [0, -1.5])
def test_no_time_left_is_a_deadline_that_passed_and_nothing_is_sent(server, make_client, timeout):
    client = make_client(server.address, "toy")
    client.status()  # connected: what was sent would come
    with pytest.raises(CallError) as caught:
        client.status(timeout=timeout)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert str(caught.value).endswith(f"no time is left to send it. The limit was {timeout:g} s (`timeout`).")
    assert len(server.calls) == 1


def test_after_a_pause_that_took_all_the_time_the_replicas_error_stands():
    clock = 1000.0
    client = ClientBase("localhost:8500", "toy", ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.client.steps.time", types.SimpleNamespace(monotonic=lambda: clock))
        steps = client._predict("rank", ASKED, Asked(None, None, 1.0))
        next(steps)
        assert isinstance(steps.throw(Busy()), Pause)
        clock += 5.0  # as on a machine that has other things to do
        with pytest.raises(CallError, match="UNAVAILABLE: The batch scheduling queue is full"):
            next(steps)


@pytest.mark.parametrize("timeout", [float("inf"), float("nan")])
def test_a_timeout_that_grpc_cannot_take(server, make_client, timeout):
    with pytest.raises(ValueError, match=f"`timeout` is {timeout}; expected at most 31536000 seconds, or None"):
        make_client(server.address, "toy").status(timeout=timeout)


def test_replicas_are_asked_by_turns(make_server, make_client, await_replicas):
    servers = [make_server(number) for number in (1, 2, 3)]
    client = make_client(",".join(server.address for server in servers), "toy", ("country",))
    await_replicas(client, 1, 2, 3)
    versions = collections.Counter(client.rank(ASKED).version for _ in range(30))
    assert versions == {1: 10, 2: 10, 3: 10}


@pytest.mark.parametrize("address", ["dns:///localhost:{0}", "localhost:{0}", "localhost:{0},localhost:{1}"])
def test_names_are_looked_up(make_server, make_client, address):
    ports = [make_server(number).port for number in (1, 2)]
    assert make_client(address.format(*ports), "toy").rank(ASKED).version in (1, 2)


def test_a_connection_that_breaks_in_an_answer_is_no_failed_call(
    server, make_server, make_client, await_replicas, monkeypatch
):
    """A call may have begun to be answered, which gRPC's own retries give up on."""
    other = make_server(8)
    client = make_client([server.address, other.address], "toy", ("country",))
    await_replicas(client, 7, 8)
    server.calls.clear()

    def vanish(request, context):
        context.send_initial_metadata(())
        context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    monkeypatch.setattr(server, "_Predict", vanish)
    assert {client.rank(ASKED).version for _ in range(6)} == {8}
    assert server.calls


def test_replicas_that_die_under_load_fail_no_call(start_replica):
    """8 threads and one client; two of three replicas are killed while they answer."""
    replicas = {number: start_replica(number) for number in (1, 2, 3)}
    errors, answered, changed = [], collections.Counter(), threading.Condition()
    stop = threading.Event()

    def ask(client):
        while not stop.is_set():
            try:
                version = client.rank(Request(candidates=["a"] * 100)).version
            except Exception as error:
                errors.append(error)
                return
            with changed:
                answered[version] += 1
                changed.notify_all()

    def wait_until(condition):
        with changed:
            assert changed.wait_for(lambda: errors or condition(), 120), answered

    with Client(",".join(address for _, address in replicas.values()), "toy", timeout=120) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: all(answered[number] >= 20 for number in replicas))
            for dead in (1, 2):
                replicas[dead][0].kill()
                replicas[dead][0].wait()
                before = answered[3]
                wait_until(lambda before=before: answered[3] >= before + 50)
            in_the_end = answered.copy()
            wait_until(lambda: answered[3] >= in_the_end[3] + 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not errors
    assert (answered[1], answered[2]) == (in_the_end[1], in_the_end[2])


def test_a_replica_that_hangs_is_given_up(start_replica, make_client, await_replicas, monkeypatch):
    quick = {**dict(connection._OPTIONS), "grpc.keepalive_time_ms": 1000, "grpc.http2.ping_timeout_ms": 1000}
    monkeypatch.setattr(connection, "_OPTIONS", tuple(quick.items()))
    (hung, first), (_, second) = start_replica(1), start_replica(2)
    client = make_client([first, second], "toy", ("country",), timeout=60, retries=50)
    await_replicas(client, 1, 2)
    hung.send_signal(signal.SIGSTOP)
    assert {client.rank(ASKED).version for _ in range(4)} == {2}


def test_calls_under_way_at_a_replica_that_stops_go_to_another(server, make_server):
    other = make_server(8)

    async def ask():
        async with AsyncClient([server.address, other.address], "toy", ("country",), timeout=60) as client:
            while not (server.calls and other.calls):  # until both are connected
                await client.rank(ASKED)
            server.calls.clear()
            server.hold.clear()
            calls = [asyncio.create_task(client.rank(ASKED)) for _ in range(8)]
            while not server.calls:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.close)
            return await asyncio.gather(*calls)

    assert [ranking.version for ranking in asyncio.run(ask())] == [8] * 8


def test_a_replica_that_comes_back_is_found_again(make_server, make_client, await_replicas):
    first, second = make_server(1), make_server(2)
    client = make_client([first.address, second.address], "toy", ("country",))
    await_replicas(client, 1, 2)
    first.close()
    assert {client.rank(ASKED).version for _ in range(5)} == {2}
    make_server(3, port=first.port)
    await_replicas(client, 2, 3)


def test_nobody_answers(make_client):
    client = make_client("127.0.0.1:1,127.0.0.1:2", "toy", retries=1)
    with pytest.raises(CallError) as caught:
        client.recommend(ASKED)
    assert caught.value.code == "UNAVAILABLE"
    assert str(caught.value).startswith("recommend of model `toy` on 127.0.0.1:1, 127.0.0.1:2 failed with UNAVAILABLE")
    assert str(caught.value).endswith(
        "Tried 127.0.0.1:1, 127.0.0.1:2 2 times. Does a server listen there for gRPC (not REST), with TLS where the "
        "client has it, and only there?"
    )
    assert len(str(caught.value)) < 900


def test_threads_share_one_connection(server):
    with Client(server.address, "toy") as client:
        threads = [threading.Thread(target=client.rank, args=(ASKED,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.methods().count("Predict") == 8
    assert len(server.peers) == 1
