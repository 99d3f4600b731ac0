"""The commands `check` and `bench`."""

import json
import pathlib
import subprocess
import sys

import pytest

from serving.rules import bench
from serving.rules.__main__ import main
from serving.rules.columns import TextColumn
from serving.rules.kinds import KINDS
from serving.rules.rule_set import RuleSet
from tfx_pipeline.raw_tables import synthetic_words

ROOT = pathlib.Path(__file__).parents[3]
EXAMPLE = str(ROOT / "configs" / "serving" / "rules.yaml")
ITEMS = "item_id,category,brand,item_type\ntea,Food > Tea,Leaf,product\npot,Kitchen,Clay,product\nbook,,,content\n"
RULES = """
rules:
  - {name: food, kind: block, where: {category: [Food, Toys]}}
  - {name: pin, kind: pin, item: tea}
  - {name: lost, kind: pin, item: gone, position: 2}
  - {name: content, kind: boost, where: {item_type: content}, add: 1, when: {shop: uk}}
overlays:
  b: {change: {food: {where: {brand: Clay}}}}
"""


def test_check_says_what_rules_are_about(tmp_path, capsys):
    rules, items = tmp_path / "rules.yaml", tmp_path / "items.csv"
    rules.write_text(RULES)
    items.write_text(ITEMS)
    arguments = ["check", "--rules", str(rules), "--items", str(items), "--column", "item_type", "--context", "shop"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines() if "│" in line]
    rows = [[cell for cell in row if cell != "│"] for row in rows]
    assert rows == [
        ["food", "block", "1"],
        ["pin", "pin", "1"],
        ["lost", "pin", "0"],
        ["content", "boost", "1"],
        ["b", "food", "block", "1"],
    ]
    assert said.err == "note: rule `food`: no item has the category 'Toys'.\n"


@pytest.mark.parametrize(
    ("rules", "items", "says"),
    [
        ("rules: [{name: a, kind: b}]", ITEMS, "line 1: rule `a`: `kind` is 'b'; expected one of "),
        ("{}", "id\n1\n", "column `item_id` is missing; found id."),
        ("forbidden: none.jsonl", ITEMS, "none.jsonl: cannot be read (No such file or directory)"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, capsys, rules, items, says):
    (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "items.csv").write_text(items)
    assert main(["check", "--rules", str(tmp_path / "rules.yaml"), "--items", str(tmp_path / "items.csv")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and says in said.err and said.err.count("\n") == 1 and not said.out


def test_bench_has_every_kind_that_a_known_shopper_meets(capsys):
    arguments = [
        "bench",
        "--rules",
        EXAMPLE,
        "--candidates",
        "200",
        "--catalogue",
        "2000",
        "--width",
        "8",
        "--runs",
        "25",
    ]
    assert main(arguments) == 0
    line = json.loads(capsys.readouterr().out)
    assert set(line["fired"]) == set(KINDS) - {"fallback"}
    assert (line["candidates"], line["items"], line["runs"], line["vector_width"]) == (200, 2000, 25, 8)
    assert 0 < line["least_ms"] <= line["median_ms"] <= line["p99_ms"] and line["median_ms_without_rules"] > 0


def test_the_example_names_what_the_demo_and_the_bench_have():
    rules = RuleSet.load(EXAMPLE)
    demo = {
        "category": TextColumn.of([category.path[0] for category in synthetic_words.CATEGORIES]),
        "brand": TextColumn.of([english for english, _ in synthetic_words.BRANDS]),
    }
    snapshot = bench.synthetic_catalogue(5000, 0, 1, {"i000042"}).snapshot
    some = [*(rule for rules in (rules.rules, *rules.overlays.values()) for rule in rules), *rules.review_if]
    for columns in (demo, snapshot.texts):
        assert not [rule.name for rule in some if hasattr(rule, "where") and rule.where.unknown_values(columns)]
    row = snapshot.index["i000042"]
    assert snapshot.in_stock[row] and not snapshot.numbers["min_age"][row] and not snapshot.texts["regions"].codes[row]


def test_rules_need_no_tensorflow():
    code = (
        "import sys, serving.rules.__main__, serving.review.__main__, serving.rules.forbidden\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'transformers', 'tfx')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
