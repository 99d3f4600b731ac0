"""Recorded requests, and what two versions answer to them."""

import datetime
import json

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving import contract
from serving.client.tensors import read_tensor
from serving.release.__main__ import main
from serving.release.comparison import SignatureComparison
from serving.release.errors import ReleaseError
from serving.release.recorded import RecordedRequests
from serving.release.saved_model import SavedModel

LINES = [
    {"user_id": "u1", "history": [["a", "click", 5], ["b", "purchase", 7]], "context": {"country": "DE"}},
    {"user_id": "u2", "candidates": ["a", "b", "c"], "query": "防水"},
]


@pytest.fixture
def requests(tmp_path):
    def write(*lines):
        file = tmp_path / "requests.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
        file.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return file

    return write


def test_questions_for_every_signature(shop, requests):
    model = SavedModel.read(shop.version(3))
    questions = RecordedRequests(requests(*LINES)).questions(model, "ranker")
    assert [(q.model_spec.name, q.model_spec.signature_name) for q in questions] == [
        ("ranker", contract.RECOMMEND),
        ("ranker", contract.RANK),
        ("ranker", contract.RECOMMEND),
    ]
    first = {name: read_tensor(tensor).tolist() for name, tensor in questions[0].inputs.items()}
    assert (first["country"], first["user_id"], first["history_timestamps"]) == ([b"DE"], [b"u1"], [[5, 7]])
    assert set(first) == set(model.signatures[contract.RECOMMEND].inputs)
    many = RecordedRequests(requests(*[{"user_id": f"u{n}"} for n in range(2000)])).questions(model, "ranker", 100)
    assert len(many) == 50 and read_tensor(many[-1].inputs["user_id"]).tolist() == [b"u1999"]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], "requests.jsonl: holds no request"),
        (["{"], "line 1 is no JSON; expected an object on each line"),
        ([LINES[0], "", "[1]"], r"line 3 holds \[1\]; expected an object"),
        ([{"user": "u"}], "line 1 has the unknown key `user`; expected some of user_id, "),
        ([{"candidates": "abc"}], "line 1 is no request: `candidates` is one string"),
        ([{"history": [["a", "click", "5"]]}], "line 1 is no request: `history_timestamps` holds '5'"),
        ([{"history": [["a", "click"]]}], r"line 1 is no request: `history\[0\]` is "),
        ([{"user_id": 5}], "line 1 is no request: `user_id` holds 5; expected a string"),
        ([{"context": 5}], "line 1 is no request: "),
    ],
)
def test_lines_that_are_no_requests(requests, lines, error):
    with pytest.raises(ReleaseError, match=error):
        RecordedRequests(requests(*lines))


def test_requests_that_the_model_does_not_take(shop, requests):
    model = SavedModel.read(shop.version(3))
    recorded = RecordedRequests(requests({"context": {"age": "30"}}))
    with pytest.raises(ReleaseError, match=r"a request does not fit .*: context column `age` is not declared"):
        recorded.questions(model, "ranker")
    with pytest.raises(ReleaseError, match="cannot be read"):
        RecordedRequests(shop.home / "none.jsonl")


def test_two_versions_are_compared(shop, requests, capsys):
    shop.started(3, 5).canary(5)
    server, file = shop.servers[0], requests(*LINES)
    server.answers = {
        3: {contract.SCORES: np.array([[3.0, 2.0, 1.0]], np.float32)},
        5: {contract.SCORES: np.array([[9.0, -1.0, 0.0]], np.float32)},
    }
    command = ["verify", "--config", str(shop.home / "release.yaml"), "--requests", str(file)]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: (one["requests"], one["agreement"], one["faults"]) for name, one in found.items()} == {
        contract.RANK: (1, pytest.approx(0.5), []),
        contract.RECOMMEND: (2, pytest.approx(0.5), []),
    }
    assert all(one["stable_ms"] > 0 and one["canary_ms"] > 0 for one in found.values())
    server.answers[5] = {contract.SCORES: np.array([[np.nan, 1.0, 0.0]], np.float32)}
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "scores holds NaN" in printed.out
    assert printed.err == "error: version 5 fails where version 3 does not: rank, recommend.\n"
    server.answers.clear()
    server.faults[5] = (grpc.StatusCode.INTERNAL, "planted")
    assert main(command) == 1
    assert "0, 2" in capsys.readouterr().out  # errors of recommend
    server.faults.clear()
    server.delays[5] = 0.05
    assert main(command) == 0
    assert main([*command, "--max-latency-ratio", "1.5"]) == 1
    assert "version 5 takes more than 1.5 times as long: rank, recommend." in capsys.readouterr().err
    assert server.asked["stable", 3] == server.asked["canary", 5] > 10


def test_servers_behind_tls_and_a_token(shop, requests, capsys):
    """Mutual TLS: every call of the kit has its certificate and its token."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in (("cert.pem", signed), ("key.pem", private), ("token", b"secret\n")):
        (shop.home / file).write_bytes(content)
    for number in (3, 5):
        shop.version(number)
    server = shop.serve(credentials=grpc.ssl_server_credentials([(private, signed)], signed, True))
    tls = {"enabled": True, "root_certificates": "cert.pem", "certificate": "cert.pem", "key": "key.pem"}
    release = shop.release(servers=[f"localhost:{server.port}"], tls=tls, token_file="token")
    release.promote(3)
    release.canary(5)
    assert main(["verify", "--config", str(shop.home / "release.yaml"), "--requests", str(requests(*LINES))]) == 0
    assert server.labels() == {"stable": 3, "canary": 5} and server.asked["canary", 5] > 0
    assert server.headers == {"Bearer secret"}
    with pytest.raises(ReleaseError, match="UNAVAILABLE"):
        shop.release(servers=[f"localhost:{server.port}"]).promote(3)


def test_agreement_of_names():
    def names(*values):
        return {
            contract.ITEM_IDS: np.array([[value.encode() for value in values]], object),
            contract.SCORES: np.zeros((1, len(values)), np.float32),
        }

    found = SignatureComparison()
    found.add(names("a", "b", "c", ""), names("c", "a", "x", ""))
    found.add(names(*"abcdefghijklm"), names(*"jihgfedcbaxyz"))  # the first ten, in any order
    found.add(names("", ""), names("", ""))
    assert found.agreements == [pytest.approx(2 / 3), 1.0, 1.0] and found.agreement == pytest.approx(8 / 9)
    assert not found.is_worse
    found.add(names("a"), names(""))
    assert found.faults == ["item_ids is empty"] and found.is_worse
    found.add(names("a"), {contract.ITEM_IDS: names("a")[contract.ITEM_IDS]})
    assert found.faults[1:] == ["scores is missing"]
    found.add(names("a"), {**names("a"), contract.SCORES: np.zeros((1, 1), np.int64)})
    assert found.faults[2:] == ["scores is of another kind"]


def test_agreement_of_numbers():
    found = SignatureComparison()
    for ours in ([1.0, 2.0, 3.0, -np.inf], [-1.0, -2.0, -3.0, -np.inf], [5.0, 5.0, 5.0, 5.0], [1.0]):
        found.add({"scores": np.array([[10.0, 20.0, 30.0, -np.inf]])}, {"scores": np.array([ours])})
    assert found.agreements == [pytest.approx(1.0), pytest.approx(-1.0)]
    assert found.latency_ratio is None and not found.is_worse
