"""A gateway on a port: slow clients, broken ones, several at once, TLS, the model server killed under it."""

import itertools
import socket
import ssl
import threading
import time

import httpx
import numpy as np
import pytest

from serving.gateway import freshness

LIMITS = {"head_seconds": 0.3, "body_seconds": 0.3, "idle_seconds": 0.3, "write_seconds": 0.3}
HEAD = b"POST /v1/recommend HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n"


@pytest.fixture
def connect():
    """Connects to a server; the connections are closed in the end."""
    opened = []

    def connect(server):
        opened.append(socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=30))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def read_all(connection):
    """What comes until the other end closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def status(answer):
    return int(answer.split(b" ", 2)[1])


def test_it_answers(serve):
    server = serve()
    with httpx.Client(base_url=server.url) as client:
        answer = client.post("/v1/recommend", json={"user_id": "u1", "top": 1})
        assert answer.json()["items"][0]["item_id"] == "i0"
        assert "server" not in answer.headers
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["model"]) == (200, True)


def test_no_answer_waits_for_an_acknowledgement(serve):
    server = serve()
    with httpx.Client(base_url=server.url) as client:
        client.post("/v1/recommend", json={})
        open_now = [protocol.transport.get_extra_info("socket") for protocol in [*server.server_state.connections]]
        assert {one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in open_now if one.fileno() >= 0} == {1}


@pytest.mark.parametrize("sent", [b"", b"POST /v1/recom", HEAD])
def test_a_head_that_does_not_come_is_not_waited_for(serve, connect, sent):
    connection = connect(serve(limits=LIMITS))
    connection.sendall(sent)
    assert read_all(connection) == b""


def test_a_head_that_trickles_is_not_waited_for(serve, connect):
    connection = connect(serve(limits=LIMITS))
    connection.sendall(HEAD)
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < began + 20:
            connection.sendall(b"x: y\r\n")
            time.sleep(0.02)
    assert time.monotonic() < began + 15


def test_a_body_that_does_not_come_is_not_waited_for(serve, connect):
    connection = connect(serve(limits=LIMITS))
    connection.sendall(HEAD + b"content-length: 100\r\n\r\n{")
    answer = read_all(connection)
    assert status(answer) == 408 and b'"too_slow"' in answer


def test_a_chunked_body_ends_where_it_is_too_large(serve, connect):
    connection = connect(serve(limits={"body_bytes": 2000}))
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 3)
    answer = read_all(connection)  # nothing ends the body, and the connection ends all the same
    assert status(answer) == 413 and b"at most 2000 bytes" in answer


def test_a_chunked_body_of_the_right_size_is_read(serve, connect):
    connection = connect(serve(limits={"idle_seconds": 0.3}))
    connection.sendall(HEAD + b'transfer-encoding: chunked\r\n\r\n4\r\n{"to\r\n6\r\np": 1}\r\n0\r\n\r\n')
    assert status(read_all(connection)) == 200


def test_a_refused_body_that_goes_on_ends_the_connection(serve, connect):
    connection = connect(serve())
    connection.sendall(HEAD + b"content-length: 1000000000\r\n\r\n")
    answer = connection.recv(65536)
    assert status(answer) == 413
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() < began + 20:
            connection.sendall(b" " * 65536)
    assert time.monotonic() < began + 15


def test_a_connection_outlives_a_refusal_whose_body_ends(serve, connect):
    connection = connect(serve(limits={"body_bytes": 2000, "idle_seconds": 0.3}))
    connection.sendall(HEAD + b"content-length: 3000\r\n\r\n" + b" " * 3000 + HEAD + b"content-length: 2\r\n\r\n{}")
    answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 413") == 1 and answer.count(b"HTTP/1.1 200") == 1


def test_who_does_not_read_is_cut_off(serve, connect):
    server = serve(limits=LIMITS | {"head_seconds": 60, "idle_seconds": 60})
    connection = connect(server)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    questions = b"GET /openapi.json HTTP/1.1\r\nhost: shop\r\n\r\n" * 100
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        while time.monotonic() < began + 60:
            connection.sendall(questions)
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/recommend HTTP/1.1\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        HEAD + b"x: " + b"a" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00",  # the beginning of TLS
        b"GET http://[ HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(serve, connect, sent):
    server = serve(limits=LIMITS)
    connection = connect(server)
    try:
        connection.sendall(sent)
        answer = read_all(connection)
    except ConnectionError:
        answer = b""
    assert answer == b"" or 400 <= status(answer) < 500
    assert b"/" not in answer.partition(b"\r\n\r\n")[2].replace(b"application/json", b"")
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/healthz").status_code == 200


def test_slow_clients_hold_nobody_up(serve, connect):
    server = serve()
    for _ in range(50):
        connect(server).sendall(HEAD + b"content-length: 100\r\n\r\n{")
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/v1/recommend", json={}).status_code == 200


def test_the_model_server_is_killed_under_load_and_comes_back(serve, make_model, model):
    server = serve(model={"timeout_ms": 2000, "poll_seconds": 0.1})
    stop, answers, failed = threading.Event(), [], []

    def ask(number):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not stop.is_set():
                response = client.post("/v1/recommend", json={"user_id": f"u{number}", "top": 3})
                (answers if response.status_code == 200 else failed).append(response.json())

    def until(condition):
        began = time.monotonic()
        while not condition():
            assert time.monotonic() < began + 60, "it does not come about"
            time.sleep(0.01)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    until(lambda: server.gateway.metrics.value("gateway_popular_items") == 10)
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answers) > 20)
        model.close()
        until(lambda: answers[-1]["fallback"] == "model_unavailable")
        seen = len(answers)
        until(lambda: len(answers) > seen + 20)
        make_model(9, port=model.port)
        until(lambda: answers[-1]["model"] == {"name": "toy", "version": 9})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert all([item["item_id"] for item in answer["items"]] == ["i0", "i1", "i2"] for answer in answers)


def test_events_count_in_the_first_answer_after_them(serve):
    server = serve()
    found = freshness.measure(server.url, "", ["i5", "i6", "i7"], rounds=20)
    assert found["at_once"] == found["rounds"] == 20


def test_an_order_that_changes_by_itself_is_not_taken_for_fresh(serve, model):
    ranked, turns = model._recommend, itertools.count()

    def restless(inputs):
        model.scores = np.roll(np.arange(10.0), next(turns)).tolist()
        return ranked(inputs)

    model._recommend = restless
    with pytest.raises(ValueError, match="changes without an event"):
        freshness.measure(serve().url, "", ["i5"], rounds=1)


def test_the_measure_is_of_the_model(serve, model):
    server = serve(model={"timeout_ms": 1000})
    model.close()
    with pytest.raises(ValueError, match=r"a fallback|answers 503"):
        freshness.measure(server.url, "", ["i5"], rounds=1)
    with pytest.raises(ValueError, match="does not answer"):
        freshness.measure("http://127.0.0.1:1", "", ["i5"], rounds=1)


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) of a server at 127.0.0.1 that vouches for itself."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*private))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_tls_answers_who_speaks_it(settings, change, certificate):
    from serving.gateway.gateway import Gateway
    from serving.gateway.server import GatewayServer

    listen = {"certificate": certificate[0], "key": certificate[1]}
    server = GatewayServer(Gateway(change(settings, listen=listen)))
    assert server.url.startswith("https://127.0.0.1:")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        trusted = ssl.create_default_context(cafile=certificate[0])
        with httpx.Client(base_url=server.url, verify=trusted) as client:
            assert client.post("/v1/recommend", json={"top": 1}).json()["items"][0]["item_id"] == "i0"
        with httpx.Client(base_url=server.url) as client, pytest.raises(httpx.ConnectError):
            client.get("/healthz")
        with httpx.Client(base_url=server.url.replace("https", "http")) as client, pytest.raises(httpx.TransportError):
            client.get("/healthz")
    finally:
        server.should_exit = True
        thread.join()


def test_a_certificate_that_cannot_be_used_ends_the_start(settings, change, certificate, tmp_path):
    from serving.gateway.gateway import Gateway
    from serving.gateway.server import GatewayServer

    (tmp_path / "none.pem").write_text("no certificate", encoding="utf-8")
    for pair in ((str(tmp_path / "none.pem"), certificate[1]), (certificate[0], str(tmp_path / "gone.pem"))):
        with pytest.raises(ValueError, match="certificate or its key cannot be used"):
            GatewayServer(Gateway(change(settings, listen={"certificate": pair[0], "key": pair[1]})))


def test_a_port_that_is_taken_ends_the_start(serve, settings, change):
    from serving.gateway.gateway import Gateway
    from serving.gateway.server import GatewayServer

    port = int(serve().url.rsplit(":", 1)[1])
    with pytest.raises(ValueError, match=f"port {port} of 127.0.0.1 cannot be listened on"):
        GatewayServer(Gateway(change(settings, listen={"port": port})))
