"""TLS with certificates made here."""

import dataclasses
import datetime
import ipaddress

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.client import Request, Tls
from serving.results import CallError

ASKED = Request(candidates=["ab"])
SERVER_NAME = "serving.shop.example"


@dataclasses.dataclass
class Authority:
    """Signs certificates, its own among them, and writes them as PEM files."""

    folder: object
    name: str

    def __post_init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        self.file, _ = self.issue(self.name, ca=True)

    def issue(self, name, alternatives=(), ca=False):
        """Files of a certificate and its key."""
        key = self.key if ca else ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        files = self.folder / f"{self.name}-{name}.pem", self.folder / f"{self.name}-{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("strange"), "strange")


@pytest.fixture
def make_tls_server(make_server, authority):
    def make(*names, number=7, clients=None):
        certificate, key = authority.issue(str(names[0]), [_alternative(name) for name in names])
        pair = [(key.read_bytes(), certificate.read_bytes())]
        roots = clients.file.read_bytes() if clients else None
        return make_server(number, credentials=grpc.ssl_server_credentials(pair, roots, bool(clients)))

    return make


def _alternative(name):
    return x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name)


def test_the_server_is_known_by_its_certificate(make_tls_server, make_client, authority):
    server = make_tls_server("localhost")
    client = make_client(f"localhost:{server.port}", "toy", tls=Tls(authority.file))
    assert client.rank(ASKED).scores.tolist() == [2.0]


def test_the_server_name_may_be_another(make_tls_server, make_client, authority):
    server = make_tls_server(SERVER_NAME)
    tls = Tls(authority.file, server_name=SERVER_NAME)
    assert make_client(server.address, "toy", tls=tls).rank(ASKED).version == 7
    with pytest.raises(CallError) as caught:
        make_client(server.address, "toy", tls=Tls(authority.file), retries=0).rank(ASKED)
    assert caught.value.code == "UNAVAILABLE"


def test_several_replicas_bear_one_name(make_tls_server, make_client, await_replicas, authority):
    servers = [make_tls_server(SERVER_NAME, number=number) for number in (1, 2)]
    tls = Tls(authority.file, server_name=SERVER_NAME)
    client = make_client([server.address for server in servers], "toy", tls=tls)
    await_replicas(client, 1, 2)


def test_without_a_name_the_first_host_counts(make_tls_server, make_client, await_replicas, authority):
    loopback = ipaddress.ip_address("127.0.0.1")
    servers = [make_tls_server(loopback, number=number) for number in (1, 2)]
    client = make_client([server.address for server in servers], "toy", tls=Tls(authority.file))
    await_replicas(client, 1, 2)


def test_a_strange_server_is_not_asked(make_tls_server, make_client, stranger):
    server = make_tls_server("localhost")
    client = make_client(f"localhost:{server.port}", "toy", tls=Tls(stranger.file), retries=1)
    with pytest.raises(CallError) as caught:
        client.rank(ASKED)
    assert caught.value.code == "UNAVAILABLE"
    assert server.calls == []


def test_mutual_tls(make_tls_server, make_client, authority, stranger):
    server = make_tls_server("localhost", clients=authority)
    address = f"localhost:{server.port}"
    assert make_client(address, "toy", tls=Tls(authority.file, *authority.issue("shop"))).rank(ASKED).version == 7
    asked = len(server.calls)
    for tls in (Tls(authority.file), Tls(authority.file, *stranger.issue("thief"))):
        with pytest.raises(CallError) as caught:
            make_client(address, "toy", tls=tls, retries=0).rank(ASKED)
        assert caught.value.code == "UNAVAILABLE"
    assert len(server.calls) == asked


def test_files_that_cannot_be_read(make_client, authority, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.pem: cannot be read \(No such file or directory\)"):
        make_client("localhost:1", tls=Tls(tmp_path / "nowhere.pem"))
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(ValueError, match=r"empty\.pem: holds no PEM"):
        make_client("localhost:1", tls=Tls(empty))
    with pytest.raises(ValueError, match="only one of them is given"):
        Tls(authority.file, certificate=authority.file)
