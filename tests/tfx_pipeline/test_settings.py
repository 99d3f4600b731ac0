"""Settings: strict reading, one sentence that names the key."""

import pathlib

import pytest

from tfx_pipeline import settings

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"modell": {}}, r"unknown key `modell`; expected one of beam, data"),
        ({"train": {"epoch": 3}}, r"unknown key `train\.epoch`"),
        ({"train": {"epochs": "many"}}, r"`train\.epochs` is 'many'; expected a whole number"),
        ({"train": {"epochs": 0}}, r"`train\.epochs` is 0; expected a number from 1"),
        ({"train": {"batch_size": 1.5}}, r"`train\.batch_size` is 1\.5; expected a whole number"),
        ({"train": {"final": 1}}, r"`train\.final` is 1; expected true or false"),
        ({"train": {"monitor": "nonsense"}}, r"`train\.monitor` is 'nonsense'; expected one of ndcg@10"),
        ({"model": {"merge": "sum"}}, r"`model\.merge` is 'sum'; expected one of weighted"),
        ({"model": {"entry": "bogus"}}, r"`model\.entry` is 'bogus'"),
        ({"model": {"dropout": 7}}, r"`model\.dropout` is 7; expected a number from 0 to 0\.99"),
        ({"model": {"text_encoder": []}}, r"`model\.text_encoder` is \[\]; expected a mapping"),
        ({"data": {"context": "country"}}, r"`data\.context` is 'country'; expected a list"),
        (
            {"model": {"max_history": 40, "slice_length": 16}},
            r"settings: `model\.max_history` is 40 and `model\.slice_length` 16; expected .* a `max_history` of 48\.$",
        ),
        ({"model": {"max_history": 8}}, r"`max_history` of 16"),
    ],
)
def test_what_cannot_be_used_is_named(content, message):
    with pytest.raises(settings.SettingsError, match=message):
        settings.from_dict(content)


def test_files_are_merged_key_by_key_and_the_file_itself_wins(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {epochs: 3, seed: 5}\nmodel: {dimension: 8}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("train: {epochs: 4}\n", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("name: c\ninclude: [a.yaml, b.yaml]\nmodel: {dropout: 0.5}\n", encoding="utf-8")
    read = settings.load(tmp_path / "c.yaml")
    assert (read.train.epochs, read.train.seed, read.model.dimension, read.model.dropout) == (4, 5, 8, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [", "is not valid YAML in line"),
        ("- a", "expected a mapping"),
        ("train: {epochs: 1}", "`name` is missing"),
        ("name: x\nmodel: {max_history: 50}", r"c\.yaml: `model\.max_history` is 50"),
        ("name: x\ninclude: [no.yaml]", r"no\.yaml: cannot be read"),
    ],
)
def test_unusable_files_are_one_sentence(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(settings.SettingsError, match=message):
        settings.load(tmp_path / "c.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_survive_a_round_trip(path):
    read = settings.load(path)
    assert settings.from_dict(settings.to_dict(read)) == read
