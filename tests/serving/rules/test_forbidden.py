"""The list of forbidden items: its two forms, its errors, and that it counts at once."""

import csv
import json
import logging

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serving.rules.forbidden import ForbiddenError, read_forbidden
from serving.rules.reader import RulesError

LINE = {"item_id": "tea", "reason": "recalled", "by": "anna", "time": "2024-11-29T08:00:00Z"}


def test_both_forms(tmp_path):
    lines, table = tmp_path / "forbidden.jsonl", tmp_path / "forbidden.csv"
    lines.write_text(json.dumps(LINE) + "\n\n" + json.dumps({"item_id": " 0123 "}) + "\n", encoding="utf-8")
    table.write_text('\ufeffreason,item_id\r\n"a, b\nc",tea\r\n\r\n,0123\r\n', encoding="utf-8")
    assert read_forbidden(lines) == read_forbidden(str(table)) == {"tea", "0123"}
    lines.write_text("")
    table.write_text("item_id\n")
    assert read_forbidden(lines) == read_forbidden(table) == frozenset()


def test_a_journal_is_read_in_order(tmp_path):
    path = tmp_path / "journal.jsonl"
    actions = [
        "flag tea",
        "ban tea",
        "ban pot",
        "flag mug",
        "approve mug",
        "unban tea",
        "ban wine",
        "unban book",
        "ban tea",
    ]
    entries = [dict(zip(("action", "item_id"), action.split(), strict=True)) for action in actions]
    path.write_text("".join(json.dumps({**LINE, **entry}) + "\n" for entry in entries))
    assert read_forbidden(path) == {"tea", "pot", "wine"}


texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(texts, texts), max_size=5))
def test_whatever_is_written_is_read(tmp_path_factory, entries):
    folder = tmp_path_factory.mktemp("forbidden", numbered=True)
    expected = {item_id.strip() for item_id, _ in entries}
    with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("item_id", "reason"), *entries])
    lines = [
        json.dumps({"item_id": item_id, "reason": reason}, ensure_ascii=False) + "\n" for item_id, reason in entries
    ]
    (folder / "a.jsonl").write_text("".join(lines), encoding="utf-8", newline="")
    assert read_forbidden(folder / "a.csv") == read_forbidden(folder / "a.jsonl") == expected


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"item_id": "a"}\n{"item_id": "b"', "line 2 is not JSON; expected one object a line."),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON; expected one object a line."),
        ("a.jsonl", '["a"]', "line 1 holds list; expected one object a line."),
        ("a.jsonl", '{"reason": "x"}', "line 1 has no `item_id`; expected the id of an item."),
        ("a.jsonl", '{"item_id": " "}', "line 1 has no `item_id`; expected the id of an item."),
        ("a.jsonl", '{"item_id": 85123}', "line 1 has 85123 as `item_id`; expected a text."),
        (
            "a.jsonl",
            '{"item_id": "a", "who": "anna"}',
            "line 1 has the unknown key `who`; expected item_id, reason, by, time, action.",
        ),
        (
            "a.jsonl",
            '{"item_id": "a", "action": "hide"}',
            "line 1: `action` is 'hide'; expected one of flag, approve, ban, unban.",
        ),
        ("a.csv", "", "line 1 is ''; expected a header with `item_id`, each name once."),
        ("a.csv", "item,reason\na,b\n", "line 1 is 'item,reason'; expected a header with `item_id`, each name once."),
        ("a.csv", "item_id,reason\na\n", "line 2 has 1 fields; expected 2."),
        (
            "a.csv",
            "item_id,who\na,anna\n",
            "line 2 has the unknown key `who`; expected item_id, reason, by, time, action.",
        ),
        ("a.csv", 'item_id,reason\na,"b\n', "line 2 is broken CSV (unexpected end of data); expected whole lines."),
        ("a.txt", "a", "cannot tell its form by its ending; expected .jsonl or .csv."),
    ],
)
def test_half_a_list_is_none(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ForbiddenError) as error:
        read_forbidden(path)
    assert str(error.value).replace(f"{path}: ", "") == says


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ForbiddenError, match=r"none\.csv: cannot be read \(No such file or directory\)"):
        read_forbidden(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("item_id\né\n".encode("latin-1"))
    with pytest.raises(ForbiddenError, match=r"latin\.csv: is not UTF-8"):
        read_forbidden(tmp_path / "latin.csv")


# --- in the engine ----------------------------------------------------------------------------------------------------

RULES = """
forbidden: [bad.jsonl, bad.csv]
check_every_ms: 0
lists: {popular: [tea, pot, wine]}
rules:
  - {name: pin, kind: pin, item: tea}
  - {name: down, kind: fallback, on: model_down, list: popular}
  - {name: fill, kind: fallback, on: too_few, list: popular, least: 3}
"""


def replace(path, text):
    """As an editor does: whole, by rename."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def test_the_list_wins_and_counts_at_once(engine, ranking, shopper, tmp_path):
    lines, table = tmp_path / "bad.jsonl", tmp_path / "bad.csv"
    lines.write_text("")
    table.write_text("item_id\n")
    made = engine(RULES)

    def answers():
        return [made.apply(asked, shopper()).item_ids for asked in (ranking("book pot"), None)]

    assert answers() == [["tea", "book", "pot"], ["tea", "pot", "wine"]]
    replace(lines, json.dumps(LINE) + "\n")
    assert answers() == [["book", "pot", "wine"], ["pot", "wine"]]
    replace(table, "item_id\npot\n")
    assert answers() == [["book", "wine"], ["wine"]]
    assert [(rule.name, rule.kind, rule.items) for rule in made.apply(ranking("book pot"), shopper()).fired] == [
        ("forbidden", "forbidden", ("pot", "tea")),
        ("fill", "fallback", ("wine",)),
    ]
    replace(lines, "")
    assert answers() == [["tea", "book", "wine"], ["tea", "wine"]]


def test_what_cannot_be_read_any_more_goes_on_to_hold(engine, ranking, shopper, tmp_path, caplog):
    lines = tmp_path / "bad.jsonl"
    lines.write_text(json.dumps(LINE) + "\n")
    (tmp_path / "bad.csv").write_text("item_id\n")
    made = engine(RULES)
    with caplog.at_level(logging.ERROR):
        for broken in ("{", None):
            replace(lines, broken) if broken else lines.unlink()
            for _ in range(3):
                assert "tea" not in made.apply(ranking("tea pot"), shopper()).item_ids
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "is not JSON" in said[0] and "it is gone" in said[1]
    lines.write_text(json.dumps({"item_id": "pot"}) + "\n")
    assert made.apply(ranking("tea pot"), shopper()).item_ids == ["tea", "wine"]


@pytest.mark.parametrize("name", ["bad.jsonl", "rules.yaml/bad.jsonl"])
def test_a_list_must_be_there_at_the_start(engine, name):
    why = "Not a directory" if "/" in name else "No such file or directory"
    with pytest.raises(RulesError, match=rf"bad\.jsonl: cannot be read \({why}\); expected the list of forbidden"):
        engine(RULES.replace("bad.jsonl", name))
