"""The review commands, and that what they decide is in the next answer of an engine that runs on."""

import ast
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from serving.results import Recommendation
from serving.review.__main__ import main
from serving.review.queue import ReviewQueue
from serving.rules.catalogue import Catalogue
from serving.rules.engine import Engine
from serving.rules.reader import RulesError
from serving.rules.rule_set import RuleSet
from serving.rules.shopper import Shopper

ROOT = pathlib.Path(__file__).parents[3]
ITEMS = """\
item_id,title,category,first_seen
tea,Green tea,Food > Tea,
knife,Chef's knife,Kitchen > Knives,
bag,奢侈品高仿包,Bags,
watch,Replica WATCH,Watches,
rifle,Toy rifle,Toys,2199-01-01
"""
RULES = """
review: {dir: queue, pending: PENDING}
lists: {popular: [knife, tea]}
rules:
  - {name: pin, kind: pin, item: knife}
  - {name: down, kind: fallback, on: model_down, list: popular}
review_if:
  - {name: knives, where: {category: Kitchen}, reason: sharp}
  - {name: new_toys, where: {category: Toys, age_days: {max: 14}}}
  - name: words
    words: {en: [replica], zh: [高仿]}
"""


@pytest.fixture
def shop(tmp_path):
    """Makes an engine over a review queue in tmp_path/queue."""
    (tmp_path / "items.csv").write_text(ITEMS, encoding="utf-8")
    (tmp_path / "queue").mkdir()

    def made(pending):
        path = tmp_path / "rules.yaml"
        path.write_text(RULES.replace("PENDING", pending), encoding="utf-8")
        return Engine(RuleSet.load(path), Catalogue.read(tmp_path / "items.csv"))

    return made


@pytest.fixture
def review(tmp_path, capsys):
    """Runs a command; answers its exit code and what it said."""

    def run(command, *arguments):
        code = main([command, "--dir", str(tmp_path / "queue"), *arguments])
        return code, "".join(capsys.readouterr())

    return run


def answer(engine):
    return engine.apply(Recommendation(["tea", "knife", "bag"], np.array([3.0, 2.0, 1.0]), 1), Shopper())


@pytest.mark.parametrize("pending", ["hide", "show"])
def test_a_decision_is_in_the_next_answer(shop, review, tmp_path, pending):
    engine = shop(pending)
    with_it, without = ["knife", "tea", "bag"], ["tea", "bag"]
    assert answer(engine).item_ids == with_it
    ReviewQueue(tmp_path / "queue").flag("knife", "sharp", "a rule")
    assert answer(engine).item_ids == (without if pending == "hide" else with_it)
    said = {rule.name: rule.items for rule in answer(engine).fired}
    assert said == ({"review": ("knife",)} if pending == "hide" else {"pin": ("knife",)})
    assert review("approve", "--item", "knife", "--by", "anna") == (0, "knife is approved.\n")
    assert answer(engine).item_ids == with_it
    assert review("ban", "--item", "knife", "--reason", "too sharp", "--by", "anna") == (0, "knife is banned.\n")
    assert answer(engine).item_ids == without
    assert {rule.name: rule.items for rule in answer(engine).fired} == {"forbidden": ("knife",)}
    assert engine.apply(None, Shopper()).item_ids == ["tea"]
    assert review("unban", "--item", "knife", "--by", "ben") == (0, "knife is no longer banned.\n")
    assert answer(engine).item_ids == with_it


def test_a_ban_by_another_process(shop, tmp_path):
    engine = shop("show")
    assert "tea" in answer(engine).item_ids
    command = [sys.executable, "-m", "serving.review", "ban", "--dir", str(tmp_path / "queue")]
    command += ["--item", "tea", "--reason", "高仿", "--by", "anna"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = f"tea is banned.\n{tmp_path / 'queue' / 'journal.jsonl'} is new.\n"
    assert (found.returncode, found.stdout, found.stderr) == (0, said, "")
    assert "tea" not in answer(engine).item_ids


def test_a_ban_is_not_seen_before_the_next_look(shop, tmp_path, monkeypatch):
    now = [50.0]
    monkeypatch.setattr("serving.rules.watched.time.monotonic", lambda: now[0])
    shop("hide")
    path = tmp_path / "rules.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "check_every_ms: 500\n", encoding="utf-8")
    engine = Engine(RuleSet.load(path), Catalogue.read(tmp_path / "items.csv"))
    ReviewQueue(tmp_path / "queue").ban("bag", "a copy", by="anna")
    now[0] += 0.49
    assert "bag" in answer(engine).item_ids
    now[0] += 0.02
    assert "bag" not in answer(engine).item_ids


def test_a_journal_that_cannot_be_read_stops_the_start(shop, tmp_path):
    (tmp_path / "queue" / "journal.jsonl").write_text("{\n")
    with pytest.raises(RulesError, match=r"journal\.jsonl: line 1 is not JSON"):
        shop("hide")


def test_a_queue_whose_folder_is_not_there_stops_the_start(shop, tmp_path, caplog):
    shop("hide")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'queue' / 'journal.jsonl'} is not there yet; nothing is stopped by the review queue until it is."
    ]
    (tmp_path / "queue").rmdir()
    with pytest.raises(RulesError, match=r"queue: cannot be used \(No such file or directory\); expected the review"):
        shop("hide")


def test_scan_flags_each_item_once(shop, review, tmp_path):
    engine = shop("hide")
    arguments = ("--rules", str(tmp_path / "rules.yaml"), "--items", str(tmp_path / "items.csv"))
    code, said = review("scan", *arguments)
    assert code == 0
    assert said.split() == [
        "Items",
        "that",
        "are",
        "new",
        "in",
        "the",
        "queue:",
        "4.",
        "knife",
        "rifle",
        "bag",
        "watch",
        str(tmp_path / "queue" / "journal.jsonl"),
        "is",
        "new.",
    ]
    assert answer(engine).item_ids == ["tea"]
    waiting = ReviewQueue(tmp_path / "queue").waiting()
    assert {item_id: [(entry.by, entry.reason) for entry in entries] for item_id, entries in waiting.items()} == {
        "knife": [("knives", "sharp")],
        "rifle": [("new_toys", "new_toys")],
        "bag": [("words", "'高仿' in its title")],
        "watch": [("words", "'replica' in its title")],
    }
    assert review("approve", "--item", "watch", "--by", "anna")[0] == 0
    assert review("scan", *arguments) == (0, "Items that are new in the queue: 0.\n")
    assert set(ReviewQueue(tmp_path / "queue").waiting()) == {"knife", "rifle", "bag"}


def test_list_and_history(tmp_path, capsys):
    queue = ReviewQueue(tmp_path)
    assert main(["list", "--dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"No item waits.\n{queue.path} is not there yet.\n"
    queue.flag("tea", "too green", "support")
    queue.flag("pot", "brittle [red]", "support")
    queue.ban("pot", "broke", by="anna")
    assert main(["list", "--dir", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("1 items wait") and "too green" in listed and "pot" not in listed
    assert main(["history", "--dir", str(tmp_path), "--item", "pot"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "pot" in line]
    assert len(rows) == 2 and "brittle [red]" in rows[0] and "anna" in rows[1] and "ban" in rows[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["approve", "--item", "tea", "--by", "anna"],
            "item 'tea' was never flagged nor banned; expected an item that",
        ),
        (["ban", "--item", "tea", "--reason", "", "--by", "anna"], "no reason is given to ban 'tea'; expected one."),
        (
            ["scan", "--rules", "none.yaml", "--items", "none.csv"],
            "none.yaml: cannot be read (No such file or directory)",
        ),
        (["list", "--dir", "none"], "none: cannot be used (No such file or directory); expected the review queue's"),
        (
            ["ban", "--item", "tea", "--reason", "bad", "--by", "anna", "--dir", "none"],
            "none: cannot be used (No such file or directory); expected the review queue's folder, made beforehand.",
        ),
        (["ban", "--item", "t\udce9", "--reason", "bad", "--by", "anna"], r"`item_id` is 't\udce9'; expected a text"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, capsys, arguments, says):
    assert main([arguments[0], "--dir", str(tmp_path), *arguments[1:]]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {says}") and said.err.count("\n") == 1 and not said.out


def test_scan_needs_something_to_look_for_and_titles_for_words(shop, tmp_path, capsys):
    shop("hide")
    arguments = [
        "scan",
        "--dir",
        str(tmp_path),
        "--rules",
        str(tmp_path / "rules.yaml"),
        "--items",
        str(tmp_path / "i.csv"),
    ]
    (tmp_path / "i.csv").write_text("item_id,category\ntea,Food\n")
    assert main(arguments) == 1
    assert "i.csv: column `title` is missing; found item_id, category." in capsys.readouterr().err
    (tmp_path / "rules.yaml").write_text("rules: []")
    assert main(arguments) == 1
    assert "rules.yaml: has no `review_if`; expected what is to be looked for." in capsys.readouterr().err


def test_the_queue_knows_nothing_of_rules():
    """They know it; what joins the two is the command line."""
    for path in (ROOT / "serving" / "review").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        known = {name for name in modules if name.startswith("serving.rules")}
        assert bool(known) == (path.name == "__main__.py"), f"{path.name} imports {sorted(known)}"


def test_a_command_without_what_it_needs_is_refused_by_its_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ban", "--dir", "x", "--item", "tea", "--by", "anna"])
    assert ended.value.code == 2 and "--reason" in capsys.readouterr().err
