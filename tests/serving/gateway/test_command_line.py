"""`python -m serving.gateway` as a process: from a token to an answer, its logs, and its end."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import httpx
import pytest

from serving.gateway.__main__ import main

ROOT = pathlib.Path(__file__).parents[3]
#: What no log may hold.
SECRETS = ("17850", "anna@example.com", "415-555-2671", "127.0.0.1", "hiking", "s-4711")


@contextlib.contextmanager
def running(config):
    """The process, its address, and the lines of its logs once it has ended."""
    command = [sys.executable, "-m", "serving.gateway", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment, cwd=config.parent, text=True, **pipes)
    logs = []
    try:
        line = process.stdout.readline()
        assert line.startswith("Gateway on http://127.0.0.1:"), process.stderr.read()
        yield process, line.split()[-1], logs
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        logs += err.splitlines()
        assert out == ""


def test_from_a_token_to_an_answer(model, tmp_path, capsys):
    assert main(["token", "shop", "--file", str(tmp_path / "tokens.yaml")]) == 0
    token = capsys.readouterr().out.strip()
    (tmp_path / "key").write_bytes(bytes(range(32)))
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"""
listen: {{port: 0}}
access: {{tokens: tokens.yaml}}
model: {{address: "{model.address}", name: toy, timeout_ms: 20000}}
privacy: {{enabled: true, key_file: key}}
logs: {{exposures: exposures}}
store: {{url: "sqlite:///shoppers.db"}}
""",
        encoding="utf-8",
    )
    with running(config) as (process, url, logs):
        headers = {"authorization": f"Bearer {token}", "x-request-id": "17850"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            event = {"user_id": "17850", "session_id": "s-4711", "item_id": "i7", "event_type": "click"}
            client.post("/v1/events", json={**event, "query": "write anna@example.com or 415-555-2671"})
            answer = client.post("/v1/search", json={"user_id": "17850", "query": "hiking boots", "top": 1}).json()
            client.post("/v1/recommend?user_id=17850", json={"user_id": "17850", "anna@example.com": 1})
            client.get("/17850")
    assert process.returncode == 0
    assert answer["items"][0]["item_id"] == "i7"
    assert len(list((tmp_path / "exposures").iterdir())) == 1  # what was in the queue is written at the end
    lines = [json.loads(line) for line in logs]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in requests] == [
        ("/v1/events", 200), ("/v1/search", 200), ("/v1/recommend", 422), ("other", 404)
    ]  # fmt: skip
    assert requests[1]["request_id"] == answer["request_id"]
    assert (requests[1]["token"], requests[1]["arm"], requests[1]["version"]) == ("shop", "all", 7)
    assert {"time", "level", "ms"} <= requests[0].keys()
    for secret in (*SECRETS, token):
        assert not any(secret in line for line in logs), secret


def test_it_imports_no_tensorflow():
    code = (
        "import sys, serving.gateway.__main__\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'transformers', 'tfx', 'keras')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["modle: {}", "access: {tokens: gone.yaml}", "store: {url: x}", "rules: [", "port: 1"])
def test_what_cannot_be_used_is_one_line(tmp_path, capsys, text):
    config = tmp_path / "gateway.yaml"
    config.write_text(text, encoding="utf-8")
    assert main(["--config", str(config)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "expected --config FILE" in capsys.readouterr().err


def test_the_bench_prints_a_line_of_json(serve, capsys):
    url = serve().url
    capsys.readouterr()
    assert main(["bench-events", "--url", url, "--item", "i3", "--rounds", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rounds"], found["at_once"]) == (3, 3)
    assert 0 < found["median_ms"] <= found["p95_ms"] <= found["most_ms"]
    assert main(["bench-events", "--url", url, "--item", "i3", "--rounds", "0"]) == 1
    assert main(["bench-events", "--url", "nowhere", "--item", "i3"]) == 1
