"""`python -m models list`."""

import json

from models import __main__ as command
from models import measured, registry


def test_the_list_names_every_entry_with_what_it_is_for(capsys):
    assert command.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in registry.names():
        entry = registry.entry(name)
        line = next(line for line in lines if line.split()[:1] == [name])
        assert entry.task in line and entry.gate_metric in line
        assert entry.purpose.split()[0] in line


def test_what_was_measured_stands_beside_it(capsys, monkeypatch, tmp_path):
    values = {"ndcg@10": 0.0543, "parameters": 774464, "seconds_to_fit": 61.2}
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"sasrec": {"beauty": values, "games": {"ndcg@10": 0.1}, "shoes": {"hr@10": 0.3}}}))
    monkeypatch.setattr(measured, "FILE", file)
    assert command.main(["list"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "beauty .0543" in said and "774,464" in said and "games .1000" in said and "shoes" not in said
    assert said.count("not measured") == len(registry.names()) - 1
