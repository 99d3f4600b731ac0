"""Section 14: transport."""

import datetime
import ipaddress
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.errors import ServingError

HALF = {"x": np.array([2.0], np.float32)}


@pytest.fixture(scope="module")
def base(shelf, tmp_path_factory):
    base = tmp_path_factory.mktemp("half")
    shelf.put(base, 1)
    return base


def test_large_messages_both_ways(standard):
    """Sec. 14: the server has no limit; clients default to 4 MiB received."""
    request = standard.predict_request({"x": np.ones(3_000_000, np.float32)})
    code, details = standard.error(standard.prediction.Predict, request)
    assert code == "RESOURCE_EXHAUSTED"
    assert "Received message larger than max" in details
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(standard.address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=60).outputs["y"]
    assert len(answer.float_val) == 3_000_000
    assert tf.make_ndarray(answer).max() == 2.5


def test_the_deadline_stops_the_run(standard, wait_for):
    """Sec. 14: the caller's own clock says so too; that the run ended, and how, the server counts."""
    outcome = 'request_count{model_name="kinds",status="DEADLINE_EXCEEDED"}'
    before = standard.metric(outcome)
    request = standard.predict_request({"n": np.array([2**60])}, name="kinds", signature="slow")
    assert standard.error(standard.prediction.Predict, request, timeout=0.3)[0] == "DEADLINE_EXCEEDED"
    wait_for(lambda: standard.metric(outcome) == before + 1)


# --- TLS -------------------------------------------------------------------------------------------------------------


def certify(name, issuer=None):
    """(key, certificate) as PEM text and objects; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
    )
    return key, builder.sign(issuer[0] if issuer else key, hashes.SHA256())


def pem(pair):
    key, certificate = pair
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
    )


@pytest.fixture(scope="module")
def authority():
    return certify("test authority")


@pytest.fixture(scope="module")
def ssl_config(authority, tmp_path_factory):
    """Writes an SSLConfig with the PEM contents in it."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = (text.replace("\n", "\\n") for text in pem(certify("server", authority)))
    ca = pem(authority)[1].replace("\n", "\\n")

    def write(verify):
        file = folder / f"ssl_{verify}.config"
        file.write_text(
            f'server_key: "{key}" server_cert: "{certificate}" custom_ca: "{ca}" client_verify: {str(verify).lower()}'
        )
        return file

    return write


def ask(address, credentials=None):
    open_channel = grpc.insecure_channel if credentials is None else grpc.secure_channel
    with open_channel(address, *filter(None, [credentials])) as channel:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "default"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(HALF["x"]))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return list(stub.Predict(request, timeout=5).outputs["y"].float_val)


def test_tls(serve, base, ssl_config, authority):
    """Sec. 14: the port takes TLS only; REST stays plain."""
    with serve(model_base_path=base, ssl_config_file=ssl_config(False)) as caller:
        root = pem(authority)[1].encode()
        assert ask(caller.address, grpc.ssl_channel_credentials(root)) == [3.0]
        with pytest.raises(grpc.RpcError) as caught:
            ask(caller.address)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert caller.rest("/v1/models/default:predict", {"instances": [2.0]}) == (200, {"predictions": [3.0]})


def test_mutual_tls(serve, base, ssl_config, authority):
    with serve(model_base_path=base, ssl_config_file=ssl_config(True)) as caller:
        root = pem(authority)[1].encode()
        key, certificate = (text.encode() for text in pem(certify("client", authority)))
        assert ask(caller.address, grpc.ssl_channel_credentials(root, key, certificate)) == [3.0]
        strange_key, strange = (text.encode() for text in pem(certify("stranger")))
        for credentials in (
            grpc.ssl_channel_credentials(root),
            grpc.ssl_channel_credentials(root, strange_key, strange),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                ask(caller.address, credentials)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


REFUSED_CONFIGS = [
    ('server_key: "x" no_such_field: 1', "Invalid protobuf file"),
    ("server_key", "Invalid protobuf file"),
    ('server_key: "x"', "no server_cert"),
    ('server_key: "x" server_cert: "y" client_verify: true', "no custom_ca"),
    ('server_key: "x" server_cert: "y"', "no PEM text"),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("text", "message"), REFUSED_CONFIGS)
def test_an_ssl_config_that_is_refused(serve, base, tmp_path, text, message):
    (tmp_path / "ssl.config").write_text(text)
    with (
        pytest.raises(ServingError, match=message),
        serve(model_base_path=base, ssl_config_file=tmp_path / "ssl.config"),
    ):
        pass


# --- health, socket, arguments ---------------------------------------------------------------------------------------


def health(caller, service):
    stub = health_pb2_grpc.HealthStub(caller.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def test_health_is_off_by_default(standard):
    with pytest.raises(grpc.RpcError) as caught:
        health(standard, "")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_health_and_socket_and_channel_arguments(serve, base, tmp_path):
    """Sec. 14: SERVING under the short names; upstream's testGoodGrpcChannelArgs and testPredictUDS."""
    socket = tmp_path / "tf-serving.sock"
    with serve(
        model_base_path=base,
        enable_grpc_healthcheck_service=True,
        grpc_socket_path=socket,
        grpc_channel_arguments="grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    ) as caller:
        for service in ("", "ModelService", "PredictionService"):
            assert health(caller, service) == health_pb2.HealthCheckResponse.SERVING
        for service in ("tensorflow.serving.PredictionService", "other"):
            with pytest.raises(grpc.RpcError) as caught:
                health(caller, service)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert ask(f"unix:{socket}") == [3.0]
        assert caller.half() == (3.0, 1)


@pytest.mark.embedded
def test_channel_arguments_that_are_refused(serve, base):
    with (
        pytest.raises(ServingError, match="holds `nonsense`"),
        serve(model_base_path=base, grpc_channel_arguments="nonsense"),
    ):
        pass


@pytest.mark.embedded
def test_more_callers_than_threads_are_answered_in_turn(serve, base):
    """Where the real server refuses those that find no thread."""
    with serve(model_base_path=base, grpc_max_threads=1) as caller:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(caller.half())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert answers == [(3.0, 1)] * 8


@pytest.mark.parametrize(("threads", "code", "patience"), [(1, "DEADLINE_EXCEEDED", 0.5), (2, "OK", 2)])
def test_grpc_max_threads_is_the_limit(serve, shelf, tmp_path, wait_for, threads, code, patience):
    """Sec. 14: a request that takes long leaves the others only the other threads."""
    shelf.put(tmp_path, 1, "kinds")
    with serve(model_base_path=tmp_path, grpc_max_threads=threads, enable_batching=True) as caller:
        endless = caller.predict_request({"n": np.array([2**60])}, signature="slow")
        running = caller.prediction.Predict.future(endless, timeout=3)
        wait_for(lambda: caller.batches() == 1)
        status = caller.model.GetModelStatus.future(caller.status_request(), timeout=patience)
        assert status.code().name == code
        running.cancel()
