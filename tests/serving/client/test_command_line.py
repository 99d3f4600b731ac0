"""`python -m serving.client`."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from models import features
from serving import contract
from serving.client import Client, shell_input
from serving.client.__main__ import main
from serving.client.tensors import read_tensor
from serving.requests import Event

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def ask(server, capsys):
    """Asks the fake server; returns (exit code, stdout, stderr)."""

    def run(command, *arguments):
        code = main([command, "--address", server.address, "--model", "toy", *arguments])
        return (code, *capsys.readouterr())

    return run


def inputs(server):
    (request,) = [request for method, request, _, _ in server.calls if method == "Predict"]
    return {name: read_tensor(tensor).tolist() for name, tensor in request.inputs.items()}


def document(answer):
    code, out, err = answer
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    return json.loads(out)


def test_everything_that_is_given_is_sent(server, ask, tmp_path):
    file = tmp_path / "events.csv"
    file.write_text("user_id,timestamp,item_id,event_type\nann,1711800000,i1,view\nann,2024-03-30T12:05:00Z,i2,cart\n")
    document(
        ask(
            *("recommend", "--json", "--user", "ann", "--query", "防水 boots", "--profile-text", "likes hiking"),
            *("--history-file", str(file), "--history", "a:b:purchase:1711800600", "i4:view:2024-03-30T14:10:00+02:00"),
            *("--time", "2024-04-01", "--context", "country=DE", "--exclude", "i1", "i2", "--exclude", "i3"),
            *("--allow", "i7"),
        )
    )
    sent = inputs(server)
    assert sent[features.USER_ID] == [b"ann"]
    assert sent[features.QUERY] == ["防水 boots".encode()]
    assert sent[features.PROFILE_TEXT] == [b"likes hiking"]
    assert sent[features.REQUEST_TIME] == [1711929600]
    assert sent[features.HISTORY_ITEM_IDS] == [[b"i1", b"i2", b"a:b", b"i4"]]
    assert sent[features.HISTORY_EVENT_TYPES] == [[b"view", b"cart", b"purchase", b"view"]]
    assert sent[features.HISTORY_TIMESTAMPS] == [[1711800000, 1711800300, 1711800600, 1711800600]]
    assert sent["country"] == [b"DE"]
    assert sent[contract.EXCLUDE_ITEM_IDS] == [[b"i1", b"i2", b"i3"]]
    assert sent[contract.ALLOW_ITEM_IDS] == [[b"i7"]]


def test_items_as_a_document_and_as_a_table(ask, tmp_path):
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\nua,“Tea”, 茶\nother,\n".replace("“Tea”, 茶", '"Tea, 茶"'), encoding="utf-8")
    found = document(ask("recommend", "--user", "u", "--json", "--items", str(items)))
    assert found == {
        "model": "toy",
        "version": 7,
        "of": 2,
        "items": [
            {"item_id": "ua", "title": "Tea, 茶", "score": 2.0},
            {"item_id": "ub", "title": "", "score": 1.0},
        ],
    }
    code, out, _ = ask("search", "--user", "u", "--query", "", "--items", str(items), "--top", "1")
    assert code == 0
    assert out.startswith("search, version 7, the first 1 of 2\n")
    assert "Tea, 茶" in out and "2.0000" in out and "ub" not in out


def test_who_says_nothing_asks_a_server_that_was_told_nothing(server, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "serving.client.__main__.Client",
        lambda address, model, **options: asked.append((address, model)) or Client(server.address, model, **options),
    )
    assert main(["recommend", "--user", "ann", "--top", "20"]) == 0
    assert asked == [("localhost:8500", "default")]  # --port and --model_name of a server by default
    assert "anna" in capsys.readouterr().out


def test_candidates_come_best_first(server, ask):
    found = document(ask("rank", "--candidate", "a", "ccc", "--candidate", "bb", "--json"))
    assert [(item["item_id"], item["score"]) for item in found["items"]] == [("ccc", 3.0), ("bb", 2.0), ("a", 1.0)]
    assert "title" not in found["items"][0]
    assert inputs(server)[features.CANDIDATE_ITEM_IDS] == [[b"a", b"ccc", b"bb"]]


def test_a_profile_has_a_vector_for_programs_only(server, ask):
    found = document(ask("profile", "--user", "ann", "--json"))
    assert (found["tags"], found["vector"]) == ([{"tag": "ann-tag", "score": 0.75}], [3.0, 0.5])
    assert "ann-tag" in ask("profile", "--user", "ann")[1]
    assert list(server.calls[-1][1].output_filter) == ["tags", "tag_scores"]


def test_suggestions_and_tags(ask):
    found = document(ask("suggest", "--query", "red", "--json"))
    assert found["suggestions"] == [{"text": "red shoes", "kind": "query", "score": 3.0}]
    assert "red shoes" in ask("suggest", "--query", "red")[1]
    found = document(ask("tag", "--text", "green tea", "--json"))
    assert (found["sentiment"], found["tags"]) == (0.25, [{"tag": "tea", "score": 0.5}])
    assert found["names"] == [{"phrase": "green", "kind": "product"}, {"phrase": "tea", "kind": "product"}]
    assert found["key_words"] == [{"phrase": "green", "score": 0.5}, {"phrase": "tea", "score": 0.5}]
    assert "key word" in ask("tag", "--text", "green tea")[1]


def test_status_and_description(server, ask):
    found = document(ask("status", "--json"))
    assert found["versions"] == [
        {"version": 7, "state": "AVAILABLE", "error_code": 0, "error_message": ""},
        {"version": 6, "state": "END", "error_code": 13, "error_message": "no memory"},
    ]
    assert "13: no memory" in ask("status")[1]
    found = document(ask("describe", "--json", "--label", "stable"))
    assert server.calls[-2][1].model_spec.version_label == "stable"
    assert (found["version"], found["context_columns"]) == (7, ["country"])
    assert found["signatures"]["rank"]["inputs"][features.HISTORY_ITEM_IDS] == {
        "dtype": "string",
        "shape": [None, None],
    }
    assert found["signatures"]["rank"]["outputs"]["scores"] == {"dtype": "float", "shape": None}
    _, out, _ = ask("describe")
    assert "context columns: country" in out and "candidate_item_ids" in out and "[?, ?]" in out


def test_a_token_comes_from_a_file_or_from_the_environment(server, ask, monkeypatch, tmp_path):
    monkeypatch.setenv("SERVING_TOKEN", "of the environment\n")
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    ask("status", "--header", "x-tenant=shop=1")
    ask("status", "--token-file", str(file))
    sent = [metadata for _, _, metadata, _ in server.calls]
    assert [metadata["authorization"] for metadata in sent] == ["Bearer of the environment", "Bearer of-the-file"]
    assert sent[0]["x-tenant"] == "shop=1"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("rank", "--candidate", "a", "--version", "3", "--model", "nobody"), "failed with NOT_FOUND"),
        (("rank", "--candidate", "a", "--context", "city=Rome"), "`city` is not declared; declared columns: country."),
        (("recommend", "--context", "country"), "'country' cannot be read; expected name=value, such as country=DE."),
        (("recommend", "--context", "a=1", "a=2"), "`a` is given twice; expected it once."),
        (("recommend", "--history", "i1:view"), "The event 'i1:view' cannot be read; expected item:type:time"),
        (("recommend", "--history", "a:view:9", "b:view:8"), "`history[1]` is of 8, and the event before it of 9"),
        (("recommend", "--time", "1711800000000"), "the time '1711800000000' cannot be read; expected seconds"),
        (("recommend", "--history-file", "nowhere.csv"), "nowhere.csv: cannot be read (No such file or directory)."),
        (("recommend", "--items", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("recommend", "--top", "0"), "--top is 0; expected 1 or more."),
        (("status", "--address", "here"), "The address 'here' cannot be read; expected host:port"),
        (("status", "--client-key", "k.pem"), "only one of them is given"),
        (("protoset", "--out", "/nowhere/file"), "/nowhere/file: cannot be written (No such file or directory)."),
    ],
)
def test_a_fault_is_one_line(server, capsys, arguments, error):
    command, *rest = arguments
    where = [] if command == "protoset" else ["--address", server.address, "--model", "toy"]
    assert main([command, *where, *rest]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and error in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "events"),
    [
        ("e.jsonl", '{"item_id": "a", "event_type": "view", "timestamp": 5}\n\n', [Event("a", "view", 5)]),
        ("e.csv", "\ufefftimestamp,event_type,item_id\n5,view,a\n", [Event("a", "view", 5)]),
        ("e.csv", 'item_id,event_type,timestamp\n"a\nb",view,5\n', [Event("a\nb", "view", 5)]),
        ("e.csv", "item_id,event_type,timestamp\n", []),
        ("e.csv", "item_id,event_type,timestamp\na\u2028b,view,5\n", [Event("a\u2028b", "view", 5)]),
        ("e.jsonl", '{"item_id": "a\x85b", "event_type": "view", "timestamp": 5}', [Event("a\x85b", "view", 5)]),
    ],
)
def test_events_of_files(tmp_path, name, text, events):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert shell_input.read_events(str(file)) == events


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("e.jsonl", '{"item_id": "a", "event_type": "view"}', "e.jsonl:1: `timestamp` is missing"),
        ("e.jsonl", '{"item_id": "a"\n', "e.jsonl:1: no JSON"),
        ("e.jsonl", '\n\n{"item_id": "a"\n', "e.jsonl:3: no JSON"),
        ("e.jsonl", "[1]\n", "e.jsonl:1: `item_id` is missing"),
        ("e.csv", "item_id,timestamp\na,5\n", "e.csv:2: `event_type` is missing"),
        ("e.csv", "item_id,event_type,timestamp\na,view\n", "e.csv:2: `timestamp` is missing"),
        (
            "e.csv",
            "item_id,event_type,timestamp\n" + "a" * 200_000 + ",view,5\n",
            "e.csv: no CSV after line 1 (field larger",
        ),
        ("e.csv", "item_id,event_type,timestamp\na,view,soon\n", "e.csv:2: the time 'soon' cannot be read"),
    ],
)
def test_events_that_cannot_be_read(tmp_path, name, text, error):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        shell_input.read_events(str(file))
    assert error in str(caught.value)


def test_the_protoset_is_whole(tmp_path, capsys):
    file = tmp_path / "serving.protoset"
    assert main(["protoset", "--out", str(file)]) == 0
    pool = descriptor_pool.DescriptorPool()
    for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes()).file:
        pool.AddSerializedFile(proto.SerializeToString())  # refuses what is not there yet
    predict = pool.FindServiceByName("tensorflow.serving.PredictionService").FindMethodByName("Predict")
    assert predict.input_type.full_name == "tensorflow.serving.PredictRequest"
    assert predict.output_type.fields_by_name["outputs"].message_type.GetOptions().map_entry
    reload = pool.FindServiceByName("tensorflow.serving.ModelService").FindMethodByName("HandleReloadConfigRequest")
    assert reload.input_type.fields_by_name["config"].message_type.full_name == "tensorflow.serving.ModelServerConfig"


def test_from_a_shell(server):
    command = [sys.executable, "-m", "serving.client", "status", "--address", server.address, "--model", "toy"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "AVAILABLE" in done.stdout
