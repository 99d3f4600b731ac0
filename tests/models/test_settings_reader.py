"""YAML to dataclasses: what fits arrives with its type, and what does not is one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from models import settings_reader
from models.options import RANGE, choice, number
from models.settings_reader import SettingsError


@dataclass(frozen=True)
class Wheel:
    size: float = field(metadata={RANGE: (10, 30)})
    label: str = ""

    def __post_init__(self):
        if self.label == "square":
            raise ValueError("a wheel is 'square'; expected a round one.")


@dataclass(frozen=True)
class Bicycle:
    name: str
    wheels: tuple[Wheel, ...]
    gears: tuple[int, ...] = number((1,), 1, 9)
    prices: dict[str, float] = field(default_factory=dict)
    brake: str = choice("rim", "disc")
    bell: bool = False


def read(folder, text):
    (folder / "b.yaml").write_text(text, encoding="utf-8")
    return settings_reader.read(Bicycle, folder / "b.yaml")


def test_values_arrive_with_their_types(tmp_path):
    text = "name: 2024-06-03\nwheels: [{size: 28, label: 7}, {size: 20.5}]\ngears: [3, 4.0]\nprices: {EU: 9}\n"
    found = read(tmp_path, text + "bell: true\n")
    assert found == Bicycle("2024-06-03", (Wheel(28.0, "7"), Wheel(20.5)), (3, 4), {"EU": 9.0}, "rim", True)
    assert [type(value) for value in (found.wheels[0].size, found.gears[1], found.prices["EU"])] == [float, int, float]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wheels: []", "`name` is missing."),
        ("name: x\nwheels: [{size: 20}, {label: y}]", "`wheels[1].size` is missing."),
        ("name: x\nwheels: [{size: 20}, {size: 40}]", "`wheels[1].size` is 40; expected a number from 10 to 30."),
        ("name: x\nwheels: [{size: 20, spokes: 3}]", "unknown key `wheels[0].spokes`; expected one of label, size."),
        ("name: x\nwheels: [{size: 20, label: square}]", "a wheel is 'square'; expected a round one."),
        ("name: x\nwheels: [7]", "`wheels[0]` is 7; expected a mapping."),
        ("name: x\nwheels: []\ngears: [2, 12]", "`gears` is 12; expected a number from 1 to 9."),
        ("name: x\nwheels: []\nbell: 1", "`bell` is 1; expected true or false."),
        ("name: x\nwheels: []\nbrake: drum", "`brake` is 'drum'; expected one of rim, disc."),
        ("name: x\nwheels: []\nname: y", "`name` is there twice, again in line 3; expected it once."),
        ("name: x\nwheels:\n- size: 20\n  size: 21", "`size` is there twice, again in line 4; expected it once."),
        ("name: [x", "is not valid YAML in line 1."),
        ("- x", "holds list; expected a mapping of settings."),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, text, message):
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'b.yaml'}: {message}"


def test_a_part_that_another_overrides_is_no_key_twice(tmp_path):
    found = read(tmp_path, "name: x\nwheels:\n- &first {size: 20, label: a}\n- {<<: *first, label: b}\n")
    assert found.wheels == (Wheel(20.0, "a"), Wheel(20.0, "b"))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        settings_reader.read(Bicycle, tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: grün".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"latin\.yaml: is not UTF-8"):
        settings_reader.read_yaml(tmp_path / "latin.yaml")
