import json
import subprocess
import sys

import pytest
import tensorflow as tf

from tfx_pipeline.check import main

CONFIG = """
name: shop
data:
  events: {path: events.csv}
  items: {path: items.csv}
  users: {path: users.csv}
  context: [country]
decisions:
  label_event_types: [buy]
  candidates: 5
  negatives: 2
"""
DAY = 86_400
EVENTS = [
    ("u", "k", "view", 0, "1", ""),
    ("u", "l", "buy", 1 * DAY, "2", ""),
    ("u", "[bold]", "view", 2 * DAY, "3", ""),
    ("u", "", "search", 9 * DAY, "4", "copper kettle"),
    ("u", "k", "buy", 9 * DAY + 5, "4", ""),
    ("v", "l", "buy", 3 * DAY, "5", ""),
    ("v", "l", "buy", 3 * DAY, "5", ""),
    ("v", "k", "buy", 10 * DAY, "6", ""),
    ("v", "k", "view", "soon", "6", ""),
]


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.yaml").write_text(CONFIG)
    lines = ["user_id,item_id,event_type,timestamp,session_id,query", *(",".join(map(str, row)) for row in EVENTS)]
    (tmp_path / "events.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "items.csv").write_text("item_id,title\nk,Copper kettle\nl,Desk lamp\n[bold],A [red] rug\n")
    (tmp_path / "users.csv").write_text("user_id,free_text,country\nu,likes tea,Ghana\n")
    return tmp_path


def run(folder, *more) -> int:
    return main(["--config", str(folder / "shop.yaml"), "--data", str(folder), *more])


def test_a_person_sees_what_was_read_and_one_decision(shop, capsys):
    (shop / "shop.yaml").write_text(CONFIG.replace("context: [country]", "context: [country]\n  max_reject_share: 0.2"))
    assert run(shop, "--rejects", str(shop / "rejects.jsonl")) == 0
    out = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in out.splitlines() if "│" in line]
    assert ["events", "7", "1970-01-01 00:00 to 1970-01-11 00:00 UTC"] in cells
    assert ["buy", "4", ""] in cells
    assert ["events", "rejected", "unparsable timestamp", "1"] in cells
    assert ["events", "merged", "identical events", "1"] in cells
    assert ["train", "2", "2"] in [row[:3] for row in cells] and ["eval", "2", "2"] in [row[:3] for row in cells]
    assert "One decision of eval: user u, 1970-01-10 00:00 UTC" in out
    assert "searched for: copper kettle" in out and "country: Ghana" in out
    assert "profile: likes tea; Desk lamp" in out
    assert ["1970-01-03 00:00", "view", "A [red] rug"] in cells
    assert ["yes", "Copper kettle"] in cells and ["no", "Desk lamp"] in cells
    (row,) = map(json.loads, (shop / "rejects.jsonl").read_text().splitlines())
    assert row["reason"] == "unparsable timestamp" and row["timestamp"] == "soon"


def test_positives_are_those_that_will_be_ranked(shop, capsys):
    content = CONFIG.replace("context: [country]", "context: [country]\n  max_reject_share: 0.2")
    (shop / "shop.yaml").write_text(content + "  max_positives: 1\n")
    with (shop / "events.csv").open("a") as file:
        file.write(f"u,l,buy,{9 * DAY + 6},4,\n")
    assert run(shop) == 0
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in capsys.readouterr().out.splitlines()]
    assert ["eval", "2", "2"] in [row[:3] for row in cells]
    assert ["eval: positives beyond max_positives", "1"] in cells


def test_tables_and_rejects_on_a_file_system_of_tensorflow(shop, capsys):
    (shop / "shop.yaml").write_text(CONFIG.replace("context: [country]", "context: [country]\n  max_reject_share: 0.2"))
    assert run(shop) == 0
    local = capsys.readouterr().out
    tf.io.gfile.makedirs("ram://check")
    for file in shop.glob("*.csv"):
        tf.io.gfile.copy(str(file), f"ram://check/{file.name}")
    command = ["--config", str(shop / "shop.yaml"), "--data"]
    assert main([*command, "ram://check", "--rejects", "ram://check/out/r.jsonl"]) == 0
    out = capsys.readouterr().out
    assert out.replace("The rows are in ram://check/out/r.jsonl.\n\n", "") == local
    with tf.io.gfile.GFile("ram://check/out/r.jsonl") as file:
        assert json.loads(file.read())["timestamp"] == "soon"
    assert main([*command, "nosuch://shop"]) == 1
    assert capsys.readouterr().err.startswith("error: nosuch://shop: cannot be read (File system scheme 'nosuch' ")


def broken_config(shop):
    (shop / "shop.yaml").write_text(CONFIG + "  candidate: 5\n")


def missing_column(shop):
    (shop / "events.csv").write_text("user_id,item_id,timestamp\nu,k,1\n")


def missing_file(shop):
    (shop / "items.csv").unlink()


def not_utf8(shop):
    (shop / "items.csv").write_bytes("item_id,title\nk,Théière\n".encode("latin-1"))


def too_many_rejects(shop):
    pass


def no_labels(shop):
    (shop / "shop.yaml").write_text(CONFIG.replace("[buy]", "[rent]"))
    (shop / "events.csv").write_text("user_id,item_id,event_type,timestamp\nu,k,view,1\nu,k,view,9\nu,k,view,99\n")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (broken_config, "unknown key `decisions.candidate`"),
        (missing_column, "event_type"),
        (missing_file, "items.csv"),
        (not_utf8, "UTF-8"),
        (too_many_rejects, "max_reject_share"),
        (no_labels, "no user has an event of type rent"),
    ],
)
def test_bad_input_ends_in_one_sentence(shop, capsys, damage, expected):
    damage(shop)
    assert run(shop) == 1
    error = capsys.readouterr().err
    assert expected in error and error.startswith("error: ")
    assert error.count("\n") == 1 and error.endswith(".\n")


def test_as_a_command(shop):
    command = [
        sys.executable,
        "-m",
        "tfx_pipeline.check",
        "--config",
        str(shop / "shop.yaml"),
        "--data",
        str(shop / "no"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and str(shop / "no") in done.stderr


def test_an_unwritable_rejects_file_is_said(shop, capsys):
    (shop / "shop.yaml").write_text(CONFIG.replace("context: [country]", "context: [country]\n  max_reject_share: 0.2"))
    assert run(shop, "--rejects", str(shop / "events.csv" / "r.jsonl")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_leave_one_out_says_what_its_times_are(shop, capsys):
    content = CONFIG.replace("context: [country]", "context: [country]\n  max_reject_share: 0.2")
    (shop / "shop.yaml").write_text(content + "  split: leave_one_out\n")
    with (shop / "events.csv").open("a") as file:
        file.write(f"u,l,buy,{20 * DAY},5,\n")
    assert run(shop) == 0
    out = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in out.splitlines() if "│" in line]
    # u: a view, then l | k | l; v: l | k without anything before its eval decision
    assert [row[1] for row in cells if row[0] in ("train", "eval", "recent")] == ["1", "1", "1"]
    assert ["eval: label events with nothing before them", "1"] in cells
    assert "on the clock of leave_one_out" in out and "One decision of eval: user u, 2024-10-03 00:00 UTC" in out
