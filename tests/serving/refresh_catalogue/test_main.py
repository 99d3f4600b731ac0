"""The command: what it prints, and one sentence for what cannot be done."""

import json

from serving.refresh_catalogue.__main__ import main


def test_it_prints_what_it_did(shop, tools, tmp_path, capsys):
    base = shop.export("popularity", tmp_path / "served")
    items = str(tools.table(tmp_path, {"item_id": "new", "title": "New tea"}, without=["late", "tent"], pan=0))
    (tmp_path / "journal.jsonl").write_text('{"action": "ban", "item_id": "pot", "by": "anna"}\n', encoding="utf-8")
    (tmp_path / "list.csv").write_text("item_id\nnever seen\n", encoding="utf-8")
    lists = ["--forbidden", str(tmp_path / "list.csv"), "--forbidden", str(tmp_path / "journal.jsonl")]
    assert main(["--model", str(base), "--items", items, *lists]) == 0
    said = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert said[0] == ["version", "1 -> 2"]
    numbers = {what: int(number) for number, what in said[1:]}
    assert numbers == {
        "new items": 1,
        "items that changed, embedded anew": 0,
        "items no longer in the shop": 1,
        "unknown items left out (no stock, or forbidden)": 0,
        "items that may be answered": 8,
        "forbidden ids": 2,
        "spare rows left": 5,
    }
    assert main(["--model", str(base), "--items", items]) == 0
    assert capsys.readouterr().out == "Nothing is new: version 2 stays.\n"
    assert main(["--model", str(base / "1"), *lists, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["source"], found["version"], found["forbidden"], found["added"]) == (1, 3, 2, 0)
    assert found["answered"] == 9


def test_what_cannot_be_done_is_one_sentence(shop, tools, tmp_path, capsys):
    base = shop.export("popularity", tmp_path / "served")
    items = str(tools.table(tmp_path))
    (tmp_path / "list.csv").write_text("item\na\n", encoding="utf-8")
    for arguments, expected in (
        ([], "nothing to refresh; expected --items FILE or --forbidden FILE"),
        (["--items", str(tmp_path / "none.csv")], "none.csv: cannot be read"),
        (["--items", items, "--column", "item_id"], "--column 'item_id' cannot be read; expected NAME=COLUMN"),
        (["--items", items, "--column", "price=cost"], "column `cost` is missing"),
        (["--forbidden", str(tmp_path / "list.csv")], "list.csv: line 1 is 'item'; expected a header with `item_id`"),
        (["--items", items, "--model", str(tmp_path)], "holds no version"),
    ):
        assert main(["--model", str(base), *arguments]) == 1
        said = capsys.readouterr()
        assert said.err.startswith("error: ") and expected in said.err and said.err.count("\n") == 1
        assert not said.out
    assert sorted(path.name for path in base.iterdir() if path.is_dir()) == ["1"]
