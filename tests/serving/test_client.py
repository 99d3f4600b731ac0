"""The client against the embedded server, with and without TensorFlow in its process."""

import asyncio
import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from models import features
from serving import contract
from serving.client import AsyncClient, Client, build_inputs
from serving.client.__main__ import main
from serving.requests import Event, Request
from serving.results import CallError, TensorSpec

FRENCH = Request(
    user_id="u1",
    profile_text="茶壶",
    request_time=5,
    history=[Event("a", "view", 10), ("b", "buy", 20)],
    context={"country": "France"},
    candidates=["x", "yy", "zzz"],
    candidate_text=["", "tea", ""],
)
#: by hand: 10+20 timestamps, 5 request time, 10*2 characters, 100*2 letters, 1000 for France
FRENCH_USER = 30 + 5 + 20 + 200 + 1000
NOBODY = Request(candidates=["q"])


@pytest.fixture(scope="module")
def client(toy_server):
    with Client(f"127.0.0.1:{toy_server.port}", "toy", context_columns=("country",)) as client:
        yield client


def test_build_inputs_pads_with_neutral_values():
    inputs = build_inputs(contract.RANK, [FRENCH, NOBODY], ("country",))
    assert set(inputs) == {spec.name for spec in contract.signature_inputs(contract.RANK, ("country",))}
    assert inputs[features.HISTORY_ITEM_IDS].tolist() == [[b"a", b"b"], [b"", b""]]
    assert inputs[features.HISTORY_EVENT_TYPES].tolist() == [[b"view", b"buy"], [b"", b""]]
    assert inputs[features.HISTORY_TIMESTAMPS].tolist() == [[10, 20], [0, 0]]
    assert inputs[contract.HISTORY_LENGTH].tolist() == [2, 0]
    assert inputs[features.CANDIDATE_ITEM_IDS].tolist() == [[b"x", b"yy", b"zzz"], [b"q", b"", b""]]
    assert inputs[features.CANDIDATE_TEXT].tolist() == [[b"", b"tea", b""], [b"", b"", b""]]
    assert inputs[contract.CANDIDATE_COUNT].tolist() == [3, 1]
    assert inputs[features.PROFILE_TEXT].tolist() == ["茶壶".encode(), b""]
    assert inputs["country"].tolist() == [b"France", b""]
    assert inputs[features.REQUEST_TIME].tolist() == [5, 0]
    for spec in contract.signature_inputs(contract.RANK, ("country",)):
        array = inputs[spec.name]
        assert array.ndim == spec.rank
        assert array.dtype == (object if spec.dtype == "string" else np.int64)


def test_build_inputs_are_never_empty_rectangles():
    inputs = build_inputs(contract.RECOMMEND, [Request()])
    for name in (features.HISTORY_ITEM_IDS, contract.EXCLUDE_ITEM_IDS, contract.ALLOW_ITEM_IDS):
        assert inputs[name].tolist() == [[b""]]
    assert [inputs[name].tolist() for name in (contract.HISTORY_LENGTH, contract.EXCLUDE_COUNT)] == [[0], [0]]


def test_rank_one_request(client):
    ranking = client.rank(FRENCH)
    assert ranking.item_ids == ["x", "yy", "zzz"]
    assert ranking.version == 7
    np.testing.assert_allclose(ranking.scores, 2 * (FRENCH_USER + np.array([1, 2 + 2 * 3, 3])))


def test_rank_unequal_requests_in_one_batch_answer_as_alone(client):
    long = Request(user_id="é", history=[("i", "view", t) for t in range(1000)], candidates=["c"] * 50)
    batch = client.rank([FRENCH, NOBODY, long, Request()])
    assert [len(ranking.scores) for ranking in batch] == [3, 1, 50, 0]
    np.testing.assert_allclose(batch[1].scores, [2.0])
    np.testing.assert_allclose(batch[2].scores, 2 * (999 * 500 + 200 + 1))
    for request, ranking in zip([FRENCH, NOBODY, long], batch, strict=False):
        np.testing.assert_array_equal(client.rank(request).scores, ranking.scores)
    assert client.rank([]) == []


def test_recommend_and_search_strip_padding(client):
    requests = [
        Request(query="茶-", allow=["a", "b", "c"], exclude=["z"], request_time=9),
        Request(query="q", allow=["ü"]),
    ]
    for ask in (client.recommend, client.search):
        first, second = ask(requests)
        assert first.item_ids == ["茶-a", "茶-b"]
        np.testing.assert_allclose(first.scores, [9.0, 8.0])
        assert second.item_ids == ["qü"]
        assert second.version == 7


def test_profile(client):
    profile = client.profile(Request(query="tea", request_time=4))
    np.testing.assert_allclose(profile.vector, [4.0, -4.0])
    assert profile.tags == ["tea"]
    np.testing.assert_allclose(profile.tag_scores, [0.5])


def test_status_and_metadata(client):
    assert [(status.version, status.state, status.error_code) for status in client.status()] == [(7, "AVAILABLE", 0)]
    metadata = client.metadata(version=7)
    assert metadata.version == 7
    rank = metadata.signatures[contract.RANK]
    assert rank.inputs[features.HISTORY_TIMESTAMPS] == TensorSpec("int64", (-1, -1))
    assert rank.inputs[features.USER_ID] == TensorSpec("string", (-1,))
    assert rank.outputs[contract.SCORES].dtype == "float"
    assert metadata.signatures["half"].inputs["x"].dtype == "dtype 19"
    assert "__saved_model_init_op" in metadata.signatures


def test_errors_have_code_and_details_and_say_what_to_do(toy_server, client):
    address = f"127.0.0.1:{toy_server.port}"
    with pytest.raises(CallError) as caught:
        client.rank(NOBODY, version=8)
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.details == "Servable not found for request: Specific(toy, 8)"
    assert str(caught.value) == (
        f"rank of model `toy` on {address} failed with NOT_FOUND: Servable not found for request: Specific(toy, 8). "
        "`status` tells which versions of `toy` the server has, or that it does not know the name."
    )
    with Client(address, "nobody") as other, pytest.raises(CallError, match="any versions of model nobody"):
        other.status()
    with Client(address, "toy", ()) as plain, pytest.raises(CallError, match=r"Missing but required: \{country\}") as e:
        plain.rank(NOBODY)
    assert str(e.value).endswith(" The context columns of `toy` are country; the client sent none.")
    with Client("127.0.0.1:1", "toy", timeout=5) as dead, pytest.raises(CallError, match="UNAVAILABLE"):
        dead.status()


def test_context_columns_are_those_of_the_model(toy_server, client):
    with Client(f"127.0.0.1:{toy_server.port}", "toy") as plain:
        np.testing.assert_array_equal(plain.rank(FRENCH).scores, client.rank(FRENCH).scores)
        assert plain.metadata().context_columns(contract.PROFILE) == ("country",)
        with pytest.raises(CallError, match=r"The signatures of `toy` are .*double, half, profile, rank, recommend"):
            plain.suggest(Request(query="a"))


def test_a_part_of_the_outputs(client):
    request = Request(query="tea", request_time=4)
    vector, tags = client.profile(request, only="vector"), client.profile(request, only="tags")
    assert (vector.vector.tolist(), vector.tags) == ([4.0, -4.0], [])
    assert (tags.vector.tolist(), tags.tags, tags.tag_scores.tolist()) == ([], ["tea"], [0.5])


def test_asyncio_answers_alike(toy_server, client):
    async def ask():
        async with AsyncClient(f"127.0.0.1:{toy_server.port}", "toy") as other:
            return await asyncio.gather(other.rank([FRENCH, NOBODY]), other.status(), other.metadata())

    rankings, status, metadata = asyncio.run(ask())
    for ranking, expected in zip(rankings, client.rank([FRENCH, NOBODY]), strict=True):
        np.testing.assert_array_equal(ranking.scores, expected.scores)
    assert (status, metadata) == (client.status(), client.metadata())


def test_from_a_shell(toy_server, capsys):
    where = ("--address", f"127.0.0.1:{toy_server.port}", "--model", "toy", "--json")
    assert main(["rank", *where, "--candidate", "a", "bbb", "--user", "u", "--context", "country=France"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(item["item_id"], item["score"]) for item in found["items"]] == [("bbb", 2206.0), ("a", 2202.0)]
    assert main(["describe", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["context_columns"] == ["country"]
    assert found["versions"] == [{"version": 7, "state": "AVAILABLE", "error_code": 0, "error_message": ""}]
    assert found["signatures"]["rank"]["inputs"]["candidate_count"] == {"dtype": "int64", "shape": [None]}


def test_timeout_is_kept():
    """A server that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, "toy", timeout=0.3) as client, pytest.raises(CallError) as caught:
            client.rank(NOBODY)
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_requests_that_cannot_be_sent():
    with pytest.raises(ValueError, match="`candidates` is one string"):
        Request(candidates="abc")
    with pytest.raises(ValueError, match="1 texts for 2 candidates"):
        Request(candidates=["a", "b"], candidate_text=["a"])
    with pytest.raises(ValueError, match=r"history\[1\]"):
        Request(history=[("a", "view", 1), ("b", "view")])
    with pytest.raises(ValueError, match=r"`history\[2\]` is of 8, and the event before it of 9; expected the oldest"):
        Request(history=[("a", "view", 9), ("b", "view", 9), ("c", "view", 8)])
    with pytest.raises(ValueError, match="`city` is not declared; declared columns: country"):
        build_inputs(contract.RANK, [Request(context={"city": "Paris"})], ("country",))
    with pytest.raises(ValueError, match=f"`{features.USER_ID}` holds 5"):
        build_inputs(contract.RANK, [Request(user_id=5)])
    with pytest.raises(ValueError, match=f"`{features.HISTORY_TIMESTAMPS}` holds None"):
        build_inputs(contract.RANK, [Request(history=[("a", "view", 1), ("b", "view", None)])])
    with pytest.raises(ValueError, match=f"`{features.REQUEST_TIME}` holds 1.5"):
        build_inputs(contract.RANK, [Request(request_time=1.5)])


def test_answers_beyond_grpcs_default_limit(client):
    """4 MiB is what a gRPC client takes by default."""
    items = [letter * 1_000_000 for letter in "abcdef"]
    assert client.recommend(Request(allow=items)).item_ids == items


def test_works_without_tensorflow(toy_server):
    code = f"""
import sys
from serving.client import Client, Request
with Client("127.0.0.1:{toy_server.port}", "toy", ("country",)) as client:
    print(client.rank(Request(candidates=["ab", "abc"])).scores.tolist(), client.status()[0].state)
    print(sorted(client.metadata().signatures)[-1])
assert not [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "tensorflow_serving")]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[4.0, 6.0] AVAILABLE", "uneven"]


def test_same_bytes_as_tensorflow_serving_apis():
    """The client's own messages against the real ones, both ways."""
    from tensorflow_serving.apis import get_model_status_pb2, predict_pb2

    from serving import protos

    real = predict_pb2.PredictRequest(output_filter=["a", "b"])
    real.model_spec.name = "m"
    real.model_spec.signature_name = "rank"
    real.model_spec.version.value = 12
    real.inputs["x"].dtype = 1
    real.inputs["x"].tensor_shape.dim.add(size=-1)
    real.inputs["x"].float_val.extend([1.5, 2.5])
    real.inputs["x"].int64_val.extend([-3])
    real.inputs["x"].string_val.append(b"\xff")
    own = protos.PredictRequest.FromString(real.SerializeToString())
    assert own.model_spec.version.value == 12
    assert list(own.inputs["x"].float_val) == [1.5, 2.5]
    assert predict_pb2.PredictRequest.FromString(own.SerializeToString()) == real
    own.model_spec.version_label = "canary"
    assert not own.model_spec.HasField("version")

    status = get_model_status_pb2.GetModelStatusResponse()
    status.model_version_status.add(version=3, state=50).status.error_message = "no"
    item = protos.GetModelStatusResponse.FromString(status.SerializeToString()).model_version_status[0]
    assert (item.version, protos.STATES[item.state], item.status.error_message) == (3, "END", "no")
