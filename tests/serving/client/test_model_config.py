"""The configuration of a server's models, as a file and as a message."""

import pathlib

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from serving.client import ModelConfig, read_model_config, write_model_config
from serving.client.model_config import server_config

ROOT = pathlib.Path(__file__).parents[3]
MODELS = [
    ModelConfig("ranker", "/models/ranker", versions=(3, 5), labels={"stable": 3, "canary": 5}),
    ModelConfig("tagger", "gs://bucket/tagger", latest=2),
    ModelConfig("模型", "/models/模型"),
]


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "models.config"
    file.write_text("of before")
    write_model_config(file, MODELS)
    assert read_model_config(file) == MODELS
    assert "模型" in file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file]
    write_model_config(file, [])
    assert read_model_config(file) == []


def configs():
    name = st.text(min_size=1, max_size=6)
    fixed = st.lists(st.integers(0, 2**63 - 1), unique=True, min_size=1, max_size=3).flatmap(
        lambda versions: st.builds(
            ModelConfig,
            name,
            name.map(lambda path: f"/{path}"),
            versions=st.just(versions),
            labels=st.dictionaries(name, st.sampled_from(versions), max_size=2),
        )
    )
    newest = st.builds(ModelConfig, name, st.just("/m"), latest=st.integers(1, 2**32 - 1))
    return st.lists(fixed | newest, unique_by=lambda model: model.name, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_any_models_come_back(tmp_path_factory, models):
    file = tmp_path_factory.mktemp("any") / "models.config"
    write_model_config(file, models)
    assert read_model_config(file) == models


def test_the_shipped_file_is_read():
    assert read_model_config(ROOT / "configs/serving/models.config") == [ModelConfig("ranker", "/models/ranker")]


def test_the_message():
    ranker, tagger, _ = server_config(MODELS).model_config_list.config
    assert list(ranker.model_version_policy.specific.versions) == [3, 5]
    assert not ranker.model_version_policy.HasField("latest")
    assert tagger.model_version_policy.latest.num_versions == 2
    assert {config.model_platform for config in (ranker, tagger)} == {"tensorflow"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": ""}, "A model has no name"),
        ({"base_path": "models/m"}, "`m` has base_path 'models/m'; expected an absolute path"),
        ({"latest": 0}, "`m` has latest 0; expected 1 or more"),
        ({"versions": (1,), "latest": 2}, "`m` names both versions and latest"),
        ({"versions": (1, 1)}, r"`m` has versions \[1, 1\]; expected different ones"),
        ({"versions": (-1,)}, r"`m` has versions \[-1\]"),
        ({"versions": (1,), "labels": {"stable": 2}}, "`m` gives the label 'stable' to version 2"),
        ({"labels": {"stable": -1}}, "`m` gives the label 'stable' to version -1"),
        ({"labels": {"": 2}}, "`m` gives the label '' to version 2"),
    ],
)
def test_models_that_no_server_takes(options, error):
    with pytest.raises(ValueError, match=error):
        ModelConfig(**{"name": "m", "base_path": "/models/m", **options})


def test_a_name_is_there_once():
    with pytest.raises(ValueError, match="`m` is there 2 times"):
        server_config([ModelConfig("m", "/a"), ModelConfig("m", "/b")])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("model_config_list { config { nmae: 'm' } }", 'no field named "nmae"'),
        ("model_config_list { config { name: 'm' logging_config {} } }", 'no field named "logging_config"'),
        ("model_config_list { config { name: 'm' base_path: '/m' model_platform: 'jax' } }", "platform 'jax'"),
        (
            "model_config_list { config { name: 'm' base_path: '/m' model_version_policy { all {} } } }",
            "`m` serves `all` versions",
        ),
        (
            "model_config_list { config { name: 'm' base_path: '/m' model_version_policy { specific {} } } }",
            "`m` serves `specific` versions and names none",
        ),
        ("model_config_list { config { name: 'm' base_path: 'm' } }", "expected an absolute path"),
    ],
)
def test_files_that_say_something_else(tmp_path, text, error):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ValueError, match=error) as caught:
        read_model_config(file)
    assert str(caught.value).startswith(str(file))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none: cannot be read \(No such file"):
        read_model_config(tmp_path / "none")
