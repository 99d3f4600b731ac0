"""Settings: strict reading, one sentence that names the key."""

import dataclasses
import pathlib
import typing

import pytest
import yaml

from models import options, registry
from tfx_pipeline import settings

CLICKS = {"monitor": "log_loss"}
CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"modell": {}}, r"unknown key `modell`; expected one of beam, data"),
        ({"train": {"epoch": 3}}, r"unknown key `train\.epoch`"),
        ({"train": {"epochs": "many"}}, r"`train\.epochs` is 'many'; expected a whole number"),
        ({"train": {"epochs": 0}}, r"`train\.epochs` is 0; expected a number from 1"),
        ({"train": {"batch_size": 1.5}}, r"`train\.batch_size` is 1\.5; expected a whole number"),
        ({"train": {"epochs": float("inf")}}, r"`train\.epochs` is inf; expected a whole number"),
        ({"evaluate": {"thresholds": {"mrr": float("nan")}}}, r"`evaluate\.thresholds\.mrr` is nan; expected a number"),
        ({"train": {"losses": {"binary": -1}}}, r"`train\.losses\.binary` is -1; expected a number from 0"),
        ({"train": {"final": 1}}, r"`train\.final` is 1; expected true or false"),
        ({"train": {"monitor": "nonsense"}}, r"`train\.monitor` is 'nonsense'; expected one of ndcg@10"),
        ({"model": {"merge": "sum"}}, r"`model\.merge` is 'sum'; expected one of weighted"),
        ({"model": {"entry": "bogus"}}, r"`model\.entry` is 'bogus'"),
        ({"model": {"dropout": 7}}, r"`model\.dropout` is 7; expected a number from 0 to 0\.99"),
        ({"model": {"text_encoder": []}}, r"`model\.text_encoder` is \[\]; expected a mapping"),
        (
            {"decisions": {"profile_text": {"sources": ["titles", "query"]}}},
            r"`decisions\.profile_text\.sources` is 'query'; expected one of free_text, queries, reviews, titles",
        ),
        ({"data": {"context": "country"}}, r"`data\.context` is 'country'; expected a list"),
        ({"data": {"privacy": {"key": "abc"}}}, r"unknown key `data\.privacy\.key`; expected one of enabled, key_file"),
        (
            {"data": {"privacy": {"redact": ["title"]}}},
            r"`data\.privacy\.redact` is 'title'; expected one of query, free_text, text, profile_text",
        ),
        (
            {"model": {"max_history": 40, "slice_length": 16}},
            r"settings: `model\.max_history` is 40 and `model\.slice_length` 16; expected .* a `max_history` of 48\.$",
        ),
        (
            {"decisions": {"horizon_days": 7, "min_horizon_days": 8}},
            r"min_horizon_days` is 8\.0 and `decisions\.horizon_days` 7\.0; expected at most the horizon\.$",
        ),
        (
            {"decisions": {"keep_unlabelled": True, "kind": "window"}},
            r"`decisions\.keep_unlabelled` is true; expected the kind `session` and a split by time",
        ),
        (
            {"model": {"entry": "click_classifier"}},
            r"`train\.monitor` is 'ndcg@10', which ranks a catalogue; expected pooled_auc, gauc or log_loss",
        ),
        (
            {"model": {"entry": "click_classifier", "use_text": False, "use_evidence": False}, "train": CLICKS},
            r"`model\.use_text` and `model\.use_evidence` are false; expected one of them",
        ),
        ({"train": {"xla": True}}, r"`train\.xla` needs a frozen text encoder, `item_text: table`, the full softmax"),
        (
            {"model": {"text_encoder": {"trainable": "frozen"}}, "train": {"xla": True, "losses": {"listwise": 1.0}}},
            r"neither the listwise nor the binary loss",
        ),
        ({"model": {"max_history": 8}}, r"`max_history` of 16"),
        ({"model": {"slice_heads": 0}}, r"`model\.slice_heads` is 0; expected a number from 1"),
        (
            {"model": {"slice_heads": 3}},
            r"`model\.dimension` is 64 and `model\.slice_heads` 3; expected a dimension that",
        ),
        ({"model": {"decay_days": [7, 0]}}, r"`model\.decay_days` is 0; expected a number from 0\.001"),
        ({"model": {"text_encoder": {"heads": 5}}}, r"hidden_size` is 64 and `model\.text_encoder\.heads` 5; expected"),
        (
            {"model": {"text_encoder": {"trainable": "top_n", "top_n": 3}}},
            r"`model\.text_encoder\.top_n` is 3 and `model\.text_encoder\.layers` 2; expected no more than there are",
        ),
        (
            {"model": {"entry": "click_classifier", "text_encoder": {"trainable": "lora"}}, "train": CLICKS},
            r"`model\.text_encoder\.trainable` is 'lora'; expected one of frozen, top_n, full",
        ),
        ({"train": {"losses": {"catalogue": 0}}}, r"`train\.losses` has no weight for catalogue, listwise or binary"),
        ({"decisions": {"profile_text": {"max_items": -1}}}, r"max_items` is -1; expected a number from 0"),
        ({"train": {"losses": {"sampled_items": 9, "label_smoothing": 0.1}}}, r"to be 0 with `sampled_items`"),
    ],
)
def test_what_cannot_be_used_is_named(content, message):
    with pytest.raises(settings.SettingsError, match=message):
        settings.from_dict(content)


def _numbers(kind):
    """(name, field) of every number, or tuple of numbers, of a dataclass and of those in it."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from _numbers(hint)
        elif {hint, *typing.get_args(hint)} & {int, float} and typing.get_origin(hint) is not dict:
            yield f"{kind.__name__}.{field.name}", field


def test_every_number_says_what_it_may_be():
    kinds = [settings.Settings, *(registry.entry(name).options for name in registry.names())]
    found = dict(pair for kind in kinds for pair in _numbers(kind))
    assert len(found) > 50
    assert {name for name, field in found.items() if options.RANGE not in field.metadata} == set()


@pytest.mark.parametrize("column", ["", "query", "label", "item_price", "history_length", "exclude_count", "category"])
def test_a_context_column_that_would_replace_something_else_is_refused(column):
    with pytest.raises(settings.SettingsError, match=f"`data.context` names '{column}'"):
        settings.from_dict({"data": {"context": ["country", column]}})


def test_a_context_column_is_named_once():
    with pytest.raises(settings.SettingsError, match=r"`data\.context` names 'country'; expected each column once"):
        settings.from_dict({"data": {"context": ["country", "age", "country"]}})


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
        ("name: x\ninclude:", r"c\.yaml: `include` is None; expected a list"),
        ("name: x\ninclude: a.yaml", r"c\.yaml: `include` is 'a\.yaml'; expected a list"),
        ("name: x\ninclude: [a.yaml]", r"a\.yaml: unknown key `train\.epoks`"),
    ],
)
def test_unusable_files_are_one_sentence(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text("train: {epoks: 1}", encoding="utf-8")
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(settings.SettingsError, match=message):
        settings.load(tmp_path / "c.yaml")


@pytest.mark.parametrize("entry", registry.names())
def test_every_entry_runs_on_every_data_set(entry):
    for path in sorted(CONFIGS.glob("*.yaml")):
        own = settings.load(path)
        other = settings.load(path, entry)
        if entry == own.model.entry:
            assert other == own
            continue
        assert (other.model.entry, other.name) == (entry, f"{own.name}_{entry}")
        assert (other.data, other.train.final) == (own.data, own.train.final)
        said = yaml.safe_load(path.read_text(encoding="utf-8")).get("models", {}).get(entry, {})
        assert other.decisions == dataclasses.replace(own.decisions, **said.get("decisions", {}))


def test_another_entry_has_its_own_settings_and_what_the_file_says_of_it(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/a.yaml").write_text("model: {dropout: 0.7}\n", encoding="utf-8")
    (tmp_path / "models/sasrec.yaml").write_text("model: {entry: sasrec, layers: 3}\n", encoding="utf-8")
    text = "name: c\ninclude: [models/a.yaml]\nmodel: {use_copy: false}\ntrain: {epochs: 99}\n"
    text += "evaluate: {slices: [slice_user], slice_thresholds: {slice_user: {ndcg@10: 0.2}}}\n"
    text += "models: {sasrec: {model: {heads: 1}, train: {seed: 3}}}\n"
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    own, other = settings.load(tmp_path / "c.yaml"), settings.load(tmp_path / "c.yaml", "sasrec")
    assert (own.model.dropout, own.model.use_copy, own.train.epochs) == (0.7, False, 99)
    assert (other.model.layers, other.model.heads, other.model.dropout) == (3, 1, 0.5)
    assert (other.train.epochs, other.train.seed) == (10, 3)
    assert (own.evaluate.slices, own.evaluate.slice_thresholds) == (("slice_user",), {"slice_user": {"ndcg@10": 0.2}})
    assert (other.evaluate.slices, other.evaluate.slice_thresholds) == (("slice_user",), {})
    assert settings.load(tmp_path / "c.yaml", "slice_ranker") == own
    with pytest.raises(settings.SettingsError, match=r"no entry 'bogus'; expected one of .*sasrec"):
        settings.load(tmp_path / "c.yaml", "bogus")


@pytest.mark.parametrize(
    "text, said",
    [
        ("models: [sasrec]", r"`models` is \['sasrec'\]; expected a mapping"),
        ("models: {slice_ranker: {train: {seed: 3}}}", r"`models.slice_ranker` names .* own entry; expected .* itself"),
        ("models: {bogus: {}}", r"`models.bogus` is no entry; expected some of .*sasrec"),
        ("models: {sasrec: {}}\nmodel: 3", r"`model` is 3; expected a mapping"),
    ],
)
def test_what_is_said_of_other_entries_is_not_passed_over(tmp_path, text, said):
    (tmp_path / "c.yaml").write_text(f"name: c\n{text}\n", encoding="utf-8")
    with pytest.raises(settings.SettingsError, match=said):
        settings.load(tmp_path / "c.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_survive_a_round_trip(path):
    read = settings.load(path)
    assert settings.from_dict(settings.to_dict(read)) == read


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_what_a_model_hands_on_configures_the_next_one(path, tmp_path):
    read = settings.load(path)
    (tmp_path / "winner.yaml").write_text(yaml.safe_dump(settings.handed_on(read)))
    examples = {part: settings.to_dict(getattr(read, part)) for part in ("data", "decisions")}
    (tmp_path / "next.yaml").write_text(yaml.safe_dump({"name": "next", "include": ["winner.yaml"], **examples}))
    found = settings.load(tmp_path / "next.yaml")
    assert settings.handed_on(found) == settings.handed_on(read)
