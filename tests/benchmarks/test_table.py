"""README's tables: means over seeds by hand, and the committed ones are what the committed results say."""

import json

import pytest

from benchmarks import table
from models import registry

FITTED = {"servable": "runs/x", "final": False}
SASREC = {**FITTED, "model": "sasrec", "variant": "sasrec", "parameters": 1200}
LINES = [
    {**SASREC, "seed": 1, "ndcg@10": 0.02},
    {**FITTED, "model": "slice_ranker", "seed": 7, "ndcg@10": 0.0512, "seconds_to_fit": 61.4, "parameters": 5},
    {**SASREC, "seed": 2, "ndcg@10": 0.04},
    {"model": "popularity", "ndcg@10": 0.001, "final": False},
]


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "README.md").write_text(
        "Before\n<!-- results: toys -->\nold\n<!-- end -->\nAfter\n<!-- zoo -->\n<!-- end -->\n"
    )
    (tmp_path / "models").mkdir()
    (tmp_path / table.RESULTS).mkdir(parents=True)
    (tmp_path / table.RESULTS / "toys.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return tmp_path


def test_a_table_by_hand(tree):
    assert table.main(["--check"], tree) == 1
    assert table.main([], tree) == 0
    before, zoo = (tree / "README.md").read_text().split("<!-- zoo -->\n\n")
    assert before.splitlines() == [
        "Before",
        "<!-- results: toys -->",
        "",
        "| model | NDCG@10 | seeds | parameters | fit, s |",
        "|---|---|---|---|---|",
        "| `slice_ranker` | .0512 | 7 | 5 | 61 |",
        "| `sasrec` | .0300 ± .0141 | 1, 2 | 1,200 | – |",
        "| `popularity (baseline)` | .0010 | – | – | – |",
        "",
        "<!-- end -->",
        "After",
    ]
    rows = zoo.splitlines()
    assert len(rows) == 2 + len(registry.names()) + 2 and rows[-1] == "<!-- end -->"
    purpose = registry.entry("sasrec").purpose
    assert f"| `sasrec` | {purpose} | `ndcg@10` | toys .0300 (1,200 parameters) |" in rows
    assert sum(row.endswith("| not measured |") for row in rows) == len(registry.names()) - 2
    assert table.main(["--check"], tree) == 0
    found = json.loads((tree / table.MEASURED).read_text())
    assert found["sasrec"] == {"toys": {"ndcg@10": 0.03, "parameters": 1200}}
    assert set(found) == {"sasrec", "slice_ranker"}  # the baseline is not the entry


def test_clicks_and_tags_have_their_own_columns_and_order():
    low, high = (
        {"model": name, "pooled_auc": auc, "ndcg@10": 0.1, "ece": 0.02} for name, auc in (("a", 0.6), ("b", 0.7))
    )
    rows = table.markdown([low, high]).splitlines()
    assert rows[0] == "| model | AUC | ECE | NDCG@10 | seeds |" and rows[2] == "| `b` | .7000 | .0200 | .1000 | – |"


def test_differences_to_the_whole_model_are_signed():
    whole = {**FITTED, "model": "slice_ranker", "variant": "all_parts", "seed": 7, "ndcg@10": 0.5, "ndcg@10_more": 0.0}
    less = {**whole, "variant": "no_merge", "ndcg@10": 0.4, "ndcg@10_more": -0.1, "ndcg@10_more_95": [-0.2, 0.03125]}
    heads, _, *rows = table.markdown([whole, less, {**less, "variant": "b", "ndcg@10_more": 0.02}]).splitlines()
    assert heads == "| model | NDCG@10 | NDCG@10 more (95%) | seeds |"
    assert rows[:2] == [
        "| `slice_ranker` | .5000 | – | 7 |",
        "| `no_merge` | .4000 | −.1000 (−.2000 to +.0312) | 7 |",
    ]
    both = table.markdown([whole, less, {**less, "seed": 8, "ndcg@10_more": 0.02}]).splitlines()[-1]
    assert both == "| `no_merge` | .4000 ± .0000 | −.0400 | 7, 8 |"


def test_held_out_and_trained_on_validation_events_are_told_apart():
    lines = [
        {**FITTED, "model": "ease", "ndcg@10": value, "final": final, "seed": 7}
        for value, final in ((0.1, False), (0.2, True))
    ]
    first, second, third = table.markdown([*lines, {"model": "oracle", "ndcg@10": 0.05}]).splitlines()[2:]
    assert first.startswith("| `ease` | trained on | .2000") and second.startswith("| `ease` | held out | .1000")
    assert third.startswith("| `oracle` | – | .0500")


def test_what_was_pushed_and_its_configuration_fitted_again_with_the_same_seed_count_once():
    pushed, again = {**LINES[1]}, {**LINES[1], "variant": "all_parts", "ndcg@10": 0.06}
    (row,) = table.rows([pushed, again, {**again, "seed": 8, "ndcg@10": 0.1}])
    assert row.values("seed") == [7, 8] and row.values("ndcg@10") == [0.06, 0.1]


def test_an_entry_is_shown_by_what_has_not_seen_the_validation_events():
    held, trained = ({**LINES[0], "final": final, "ndcg@10": value} for final, value in ((False, 0.1), (True, 0.3)))
    assert table.measured({"shop": [trained, held]})[held["model"]]["shop"]["ndcg@10"] == 0.1


def test_the_configuration_fitted_again_is_the_same_model():
    again = {**LINES[1], "variant": "all_parts", "seed": 8, "ndcg@10": 0.0514}
    (row,) = table.rows([LINES[1], again])
    assert (row.name, row.values("seed")) == ("slice_ranker", [7, 8])


def test_variants_are_not_taken_for_the_entry():
    lines = [
        {**FITTED, "model": "slice_ranker", "variant": "no_merge", "ndcg@10": 0.9},
        {**FITTED, "model": "slice_ranker", "variant": "all_parts", "ndcg@10": 0.5},
    ]
    assert table.measured({"toys": lines}) == {"slice_ranker": {"toys": {"ndcg@10": 0.5}}}
    assert table.measured({"toys_ablations": lines}) == {}


def test_what_cannot_be_read_is_named(tree, capsys):
    (tree / table.RESULTS / "toys.jsonl").write_text("{}\nno\n")
    assert table.main([], tree) == 1
    assert "toys.jsonl, line 2: is no JSON object; expected" in capsys.readouterr().err
    (tree / table.RESULTS / "toys.jsonl").write_text(json.dumps(LINES[0]))
    readme = (tree / "README.md").read_text()
    (tree / "README.md").write_text(readme.replace("<!-- zoo -->", "<!-- zoos -->"))
    assert table.main([], tree) == 1
    assert "README.md has 0 tables of the zoo; expected one" in capsys.readouterr().err
    (tree / "README.md").write_text(readme)
    (tree / table.RESULTS / "toys.jsonl").unlink()
    assert table.main([], tree) == 1
    assert "README.md has a table of 'toys'; expected benchmarks/results/toys.jsonl" in capsys.readouterr().err


def test_the_committed_tables_are_what_the_committed_results_say():
    assert table.main(["--check"]) == 0
    assert set(json.loads((table.ROOT / table.MEASURED).read_text())) <= set(registry.names())
