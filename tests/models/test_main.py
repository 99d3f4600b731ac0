"""`python -m models list`."""

from models import __main__ as command
from models import registry


def test_the_list_names_every_entry_with_what_it_is_for(capsys):
    assert command.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in registry.names():
        entry = registry.entry(name)
        line = next(line for line in lines if line.split()[:1] == [name])
        assert entry.task in line and entry.gate_metric in line
        assert entry.purpose.split()[0] in line
