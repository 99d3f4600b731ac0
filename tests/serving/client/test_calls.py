"""What the two clients send, and what they make of the answers."""

import asyncio
import concurrent.futures
import inspect
import math
import subprocess
import sys

import numpy as np
import pytest

from serving import contract
from serving.client import AsyncClient, Client, ModelConfig, Request
from serving.results import CallError, VersionStatus

ANN = Request(user_id="ann", query="tea", request_time=5, context={"country": "DE"}, candidates=["a", "bbb"])


def test_both_clients_have_the_same_methods():
    def methods(kind):
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)
    assert {"rank", "recommend", "search", "profile", "suggest", "tag", "status", "metadata"} <= set(methods(Client))


def test_each_method_reads_its_answer(server, make_client):
    client = make_client(server.address, "toy")
    ranking = client.rank(ANN)
    assert (ranking.item_ids, ranking.scores.tolist(), ranking.version) == (["a", "bbb"], [6.0, 8.0], 7)
    first, second = client.recommend([ANN, Request(user_id="bo")])
    assert (first.item_ids, first.scores.tolist()) == (["anntea" + end for end in "ab"], [2.0, 1.0])
    assert second.item_ids == ["boa", "bob"]
    assert client.search(ANN).item_ids == first.item_ids
    profile = client.profile(ANN)
    assert (profile.vector.tolist(), profile.tags, profile.tag_scores.tolist()) == ([3.0, 0.5], ["ann-tag"], [0.75])
    suggestions = client.suggest(Request(query="red"))
    assert (suggestions.texts, suggestions.kinds, suggestions.scores.tolist()) == (["red shoes"], ["query"], [3.0])
    tags = client.tag(["green tea", "cup"])
    assert [(found.tags, found.words, found.sentiment) for found in tags] == [
        (["tea"], ["green", "tea"], 0.25),
        (["tea"], ["cup"], 0.25),
    ]
    assert client.tag("cup").words == ["cup"]
    assert client.status() == [VersionStatus(7, "AVAILABLE", 0, ""), VersionStatus(6, "END", 13, "no memory")]
    assert set(client.metadata().signatures) == set(contract.OUTPUTS) - {contract.SERVING_DEFAULT}


def test_an_empty_list_needs_no_call(server, make_client):
    client = make_client(server.address, "toy")
    assert client.rank([]) == client.tag([]) == []
    assert server.calls == []


def test_only_what_is_read_is_asked_for(server, make_client):
    client = make_client(server.address, "toy", ("country",))
    client.rank(ANN)
    vector = client.profile(ANN, only="vector")
    tags = client.profile(ANN, only="tags")
    sentiment = client.tag("cup", only="sentiment")
    words = client.tag("cup", only="words")
    filters = [list(request.output_filter) for _, request, _, _ in server.calls]
    assert filters == [
        ["scores"],
        ["vector"],
        ["tags", "tag_scores"],
        ["sentiment"],
        ["words", "word_labels", "word_scores"],
    ]
    assert (vector.vector.tolist(), vector.tags, vector.tag_scores.tolist()) == ([3.0, 0.5], [], [])
    assert (tags.vector.tolist(), tags.tags) == ([], ["ann-tag"])
    assert (sentiment.sentiment, sentiment.words, sentiment.names) == (0.25, [], [])
    assert math.isnan(words.sentiment) and words.names == [("cup", "product")]
    with pytest.raises(ValueError, match="`only` is 'scores'; expected one of vector, tags for profile"):
        client.profile(ANN, only="scores")


def test_a_version_or_a_label_may_be_asked_for(server, make_client):
    client = make_client(server.address, "toy", ())
    server.columns = ()
    assert client.rank(Request(), version=3).version == 3
    client.status(label="stable")
    client.metadata()
    asked = [request.model_spec for _, request, _, _ in server.calls]
    assert [spec.WhichOneof("choice") for spec in asked] == ["version", "version_label", None]
    assert (asked[0].version.value, asked[1].version_label) == (3, "stable")
    with pytest.raises(ValueError, match="Version 3 and label 'stable' are asked for at once; expected one of them"):
        client.rank(ANN, version=3, label="stable")


def test_context_columns_are_read_once_where_they_are_left_out(make_server, make_client):
    server = make_server(7, columns=("country", "gender"))
    client = make_client(server.address, "toy")
    client.suggest(Request(query="a"))
    client.tag("a")
    assert server.methods() == ["Predict", "Predict"]  # neither takes any
    for _ in range(2):
        client.rank(ANN)
        client.recommend(ANN)
    assert server.methods()[2:] == ["GetModelMetadata"] + ["Predict"] * 4
    sent = server.calls[-1][1].inputs
    assert (sent["country"].string_val[0], sent["gender"].string_val[0]) == (b"DE", b"")
    with pytest.raises(ValueError, match="`city` is not declared; declared columns: country, gender"):
        client.rank(Request(context={"city": "Rome"}))


def test_each_version_has_context_columns_of_its_own(make_server, make_client):
    server = make_server(7)
    client = make_client(server.address, "toy")
    client.rank(ANN)
    server.columns = ("country", "gender")
    client.rank(ANN, version=8)
    server.columns = ("country",)
    client.rank(ANN)
    assert server.methods() == ["GetModelMetadata", "Predict"] * 2 + ["Predict"]


def test_explicit_context_columns_win(make_server, make_client):
    server = make_server(7, columns=("country", "gender"))
    client = make_client(server.address, "toy", ("country", "gender"))
    assert client.rank(ANN).scores.tolist() == [6.0, 8.0]
    assert server.methods() == ["Predict"]


def test_a_new_version_with_other_context_columns_needs_no_new_client(make_server, make_client):
    server = make_server(7)
    client = make_client(server.address, "toy")
    client.rank(ANN)
    server.columns = ("country", "gender")
    assert client.rank(ANN).scores.tolist() == [6.0, 8.0]
    client.rank(ANN)
    assert server.methods()[2:] == ["Predict", "Predict", "GetModelMetadata", "Predict", "Predict"]


def test_replicas_of_versions_with_other_context_columns_fail_no_call(make_server, make_client, await_replicas):
    """As while a version comes to one after the other; messages go to them by turns."""
    old, new = make_server(1), make_server(2)
    client = make_client([old.address, new.address], "toy")
    await_replicas(client, 1, 2)
    new.columns = ("country", "gender")
    assert {client.rank(ANN).version for _ in range(20)} <= {1, 2}
    old.columns = new.columns
    await_replicas(client, 1, 2)


def test_a_column_that_a_new_version_declares_is_found(make_server, make_client):
    server = make_server(7)
    client = make_client(server.address, "toy")
    client.rank(ANN)
    server.columns = ("country", "gender")
    assert client.rank(Request(context={"gender": "f"})).version == 7
    assert server.calls[-1][1].inputs["gender"].string_val[0] == b"f"
    assert server.methods() == ["GetModelMetadata", "Predict"] * 2


@pytest.mark.parametrize("columns", [None, (), ("gender",)])
def test_suggest_passes_over_the_context(server, make_client, columns):
    client = make_client(server.address, "toy", columns)
    assert client.suggest(ANN).texts == ["tea shoes"]
    assert server.methods() == ["Predict"]


def test_headers_and_token_go_with_every_call(server, make_client):
    tokens = iter(["one", "two", "three"])
    client = make_client(server.address, "toy", token=lambda: next(tokens), headers={"X-Tenant": "shop 1"})
    client.rank(ANN)
    client.status()
    sent = [(metadata["authorization"], metadata["x-tenant"]) for _, _, metadata, _ in server.calls]
    assert sent == [(f"Bearer {token}", "shop 1") for token in ("one", "two", "three")]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"token": "secret\n"}, "value of the header `authorization` cannot be sent; expected printable ASCII"),
        ({"token": "secret", "headers": {"Authorization": "Basic x"}}, "Both `token` and the header `authorization`"),
        ({"headers": {"a b": "secret"}}, "header `a b` cannot be sent; expected letters, digits"),
        (
            {"headers": {"key-bin": "secret"}},
            "header `key-bin` cannot be sent; .*without `grpc-` before or `-bin` after",
        ),
        ({"headers": {"key": " secret"}}, "value of the header `key` cannot be sent; .* without blanks around it"),
        ({"headers": {"key": ""}}, "value of the header `key` cannot be sent"),
        ({"retries": -1}, "`retries` is -1; expected 0 or more"),
        ({"timeout": 0}, "`timeout` is 0; expected seconds above 0, at most 31536000, or None for no limit"),
        ({"timeout": float("inf")}, "`timeout` is inf"),
        ({"timeout": float("nan")}, "`timeout` is nan"),
        ({"context_columns": "country"}, "`context_columns` is one string; expected a list"),
    ],
)
def test_settings_that_cannot_be_right(make_client, options, what):
    with pytest.raises(ValueError, match=what) as caught:
        make_client("localhost:8500", "toy", **options)
    assert "secret" not in str(caught.value)


def test_reload_brings_the_models(server, make_client):
    client = make_client(server.address, "toy")
    client.reload([ModelConfig("toy", "/models/toy", versions=(3, 4), labels={"stable": 3})])
    (config,) = server.reloaded.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("toy", "/models/toy", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [3, 4]
    assert dict(config.version_labels) == {"stable": 3}
    with pytest.raises(CallError, match=r"reload of model `toy` on .* failed with INVALID_ARGUMENT: an empty list"):
        client.reload([])
    with pytest.raises(ValueError, match="`reload` reaches one server, and this client has 2 addresses"):
        make_client([server.address, "localhost:1"], "toy").reload([])


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ({"other": np.zeros([1, 2], np.float32)}, "the answer lacks the output `scores`"),
        ({"scores": np.zeros([2, 2], np.float32)}, "output `scores` is not of 1 rows"),
        ({"scores": np.zeros([1], np.float32)}, r"output `scores` is of shape \[1\]"),
        ({"scores": np.full([1, 2], b"1", object)}, "output `scores` is not of numbers"),
        ({"scores": np.zeros([1, 1], np.float32)}, "output `scores` has not one for each candidate"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_an_error(server, make_client, monkeypatch, outputs, error):
    monkeypatch.setattr(server, "_rank", lambda inputs: outputs)
    with pytest.raises(CallError, match=f"rank of model `toy` on .* failed with INTERNAL: .*{error}"):
        make_client(server.address, "toy").rank(ANN)


def test_message_limits_are_kept(server, make_client):
    long = Request(candidates=["x" * 100_000])
    assert make_client(server.address, "toy").rank(long).scores.tolist() == [100_000.0]
    with pytest.raises(CallError, match=r"RESOURCE_EXHAUSTED: .*`max_message_bytes` here"):
        make_client(server.address, "toy", max_message_bytes=50_000).rank(long)


def test_many_calls_at_once_with_asyncio(server):
    async def ask():
        async with AsyncClient(server.address, "toy", timeout=120) as client:
            requests = [Request(candidates=["x" * size]) for size in range(1, 101)]
            return await asyncio.gather(*map(client.rank, requests))

    assert [ranking.scores.tolist() for ranking in asyncio.run(ask())] == [[float(size)] for size in range(1, 101)]


def test_a_cancelled_call_ends_on_the_server(server):
    server.hold.clear()

    async def ask():
        async with AsyncClient(server.address, "toy", ("country",), timeout=None) as client:
            call = asyncio.create_task(client.rank(ANN))
            assert await asyncio.to_thread(server.held.wait, 30)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(server.given_up.wait, 30)  # while the client is open

    asyncio.run(ask())
    assert server.methods() == ["Predict"]


def test_a_closed_client_makes_no_call(server, make_client):
    client = make_client(server.address, "toy", ("country",))
    client.rank(ANN)
    client.close()
    with pytest.raises(ValueError, match="The client is closed; expected no call after that"):
        client.rank(ANN)
    assert server.methods() == ["Predict"]


def test_closing_ends_the_calls_of_other_threads(server):
    server.hold.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with Client(server.address, "toy", ("country",), timeout=60) as client:
            call = pool.submit(client.rank, ANN)
            assert server.held.wait(30)
        with pytest.raises(CallError) as caught:
            call.result(30)
    assert caught.value.code == "CANCELLED"
    assert server.methods() == ["Predict"]  # it was not made again


def test_closing_cancels_the_tasks_of_calls_under_way(server):
    server.hold.clear()

    async def ask():
        async with AsyncClient(server.address, "toy", ("country",), timeout=60) as client:
            call = asyncio.create_task(client.rank(ANN))
            assert await asyncio.to_thread(server.held.wait, 30)
        (answer,) = await asyncio.gather(call, return_exceptions=True)
        return answer

    assert isinstance(asyncio.run(ask()), asyncio.CancelledError)
    assert server.methods() == ["Predict"]


def test_importing_and_asking_need_no_tensorflow(server):
    code = f"""
import sys
from serving.client import Client, Request
import serving.client.__main__
with Client("{server.address}", "toy") as client:
    print(client.rank(Request(candidates=["ab", "abc"])).scores.tolist(), client.status()[0].state)
heavy = ("tensorflow", "tensorflow_serving", "pandas", "transformers")
assert not [name for name in sys.modules if name.partition(".")[0] in heavy]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[2.0, 3.0] AVAILABLE\n"
