"""Every ranking entry of the zoo on the tiny shop: fitted, exported, asked; as a long test, through the pipeline."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokeniser's ops)
import yaml

from models import features, registry
from serving import contract
from serving.client import Client, build_inputs
from serving.requests import Request
from serving.server.process import ServerProcess
from serving.signatures import CatalogueServable
from tfx_pipeline import schema, trainer
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.export import export
from tfx_pipeline.export_settings import WEIGHT_KINDS, ExportSettings

CONTEXT = ("country", "gender", "age_band")
OTHERS = [name for name in registry.names() if name != "slice_ranker"]  # which the tiny pipeline itself runs with
ENTRIES = [name for name in OTHERS if registry.entry(name).task == "ranking"]
#: Of those whose model is of the same class as another's; what is their own is tested in tests/models.
ALIKE = {"gru4rec", "bert4rec", "popularity", "personal_frequency"}
CLICKS = [name for name in OTHERS if registry.entry(name).task == "click"]
SMALL_BERT = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16}
SHORT = {"epochs": 1, "batch_size": 64, "validation_decisions": 50}
MOMENT = 1_711_000_000


def _settings(tiny, name):
    own = settings_lib.load(tiny.folder / "tiny.yaml")
    other = settings_lib.load(tiny.folder / "tiny.yaml", name)
    model = other.model
    if hasattr(model, "text_encoder"):
        model = dataclasses.replace(model, text_encoder=dataclasses.replace(model.text_encoder, **SMALL_BERT))
    return dataclasses.replace(own, model=model, train=dataclasses.replace(other.train, **SHORT))


@pytest.fixture
def only_rank(monkeypatch):
    """Exports have `rank` and Evaluator's signature alone, since tracing the others is most of what an export takes."""
    signatures = CatalogueServable.signatures
    monkeypatch.setattr(CatalogueServable, "signatures", lambda self, names: signatures(self, [contract.RANK]))


def _request(item_ids):
    history = [(item, "click", MOMENT - 1000 * (9 - place)) for place, item in enumerate(item_ids[:3])]
    return Request(
        user_id="u",
        request_time=MOMENT,
        history=[*history, ("no such item", "click", MOMENT - 5)],
        candidates=["not known", *item_ids[:4]],
        candidate_text=["waterproof boots", "", "", "", ""],
        exclude=item_ids[3:6],
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in ALIKE else []) for name in ENTRIES]
)
def test_an_entry_is_fitted_exported_and_asked(tiny, name, tmp_path):
    run = tiny.last_run()
    splits = [f"{run['transformed_examples']}/Split-{split}/*" for split in ("train", "eval", "catalogue")]
    data = trainer.split_files(splits[:1], splits[1:], run["transform_graph"])
    model = str(tmp_path / "model")
    folders = {"log_dir": str(tmp_path / "logs"), "checkpoints": str(tmp_path / "checkpoints")}
    fitted = trainer.fit_and_export(_settings(tiny, name), data, export_dir=model, **folders)
    assert 0 < fitted["metrics"]["ndcg@10"] <= 1
    loaded = tf.saved_model.load(model)
    assert set(loaded.signatures) == {contract.SERVING_DEFAULT, *registry.entry(name).signatures}
    item_ids = [entry.decode() for entry in data.transform.vocabulary_by_name(features.ITEM_VOCABULARY)]
    request = _request(item_ids)

    def ask(signature):
        arrays = build_inputs(signature, [request, Request()], CONTEXT)
        return loaded.signatures[signature](**{key: tf.constant(value) for key, value in arrays.items()})

    best = ask(contract.RECOMMEND)
    found = best[contract.ITEM_IDS].numpy()[0]
    answered = [item.decode() for item in found if item]
    assert len(set(answered)) == len(answered) > 50
    assert not set(answered) & set(request.exclude)
    by_score = dict(zip(answered, best[contract.SCORES].numpy()[0], strict=False))
    assert (np.diff(list(by_score.values())) <= 0).all()
    ranked = ask(contract.RANK)[contract.SCORES].numpy()[0]
    for item, score in zip(request.candidates, ranked, strict=True):
        assert np.isfinite(score)
        if item in by_score:
            assert score == pytest.approx(by_score[item], abs=1e-4)


@pytest.mark.usefixtures("only_rank")
def test_one_fit_is_exported_in_fewer_bits(tiny, tmp_path):
    run = tiny.last_run()
    splits = [f"{run['transformed_examples']}/Split-{split}/*" for split in ("train", "eval", "catalogue")]
    data = trainer.split_files(splits[:1], splits[1:], run["transform_graph"])
    settings = _settings(tiny, "sasrec")
    fitted = trainer.fit(settings, data, log_dir=str(tmp_path / "logs"), checkpoints=str(tmp_path / "checkpoints"))
    weights = [weight.numpy() for weight in fitted.model.weights]
    item_ids = [entry.decode() for entry in data.transform.vocabulary_by_name(features.ITEM_VOCABULARY)]
    arrays = build_inputs(
        contract.RANK, [dataclasses.replace(_request(item_ids), candidates=item_ids, candidate_text=())], CONTEXT
    )
    scores, sizes = {}, {}
    for kind in WEIGHT_KINDS:
        own = dataclasses.replace(settings, export=ExportSettings(weights=kind))
        export(fitted.model, own, data.transform, fitted.catalogue, str(tmp_path / kind))
        loaded = tf.saved_model.load(str(tmp_path / kind))
        found = loaded.signatures[contract.RANK](**{key: tf.constant(value) for key, value in arrays.items()})
        scores[kind] = found[contract.SCORES].numpy()
        sizes[kind] = sum(file.stat().st_size for file in (tmp_path / kind / "variables").iterdir())
    for kind, most in (("bfloat16", 0.02), ("float16", 0.003), ("int8", 0.05)):
        error = np.abs(scores[kind] - scores["float32"]).max() / np.abs(scores["float32"]).max()
        assert 0 < error < most, kind
        assert sizes[kind] < (0.5 if kind == "int8" else 0.7) * sizes["float32"]
    for weight, before in zip(fitted.model.weights, weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), before)  # what was fitted is as it was


@pytest.mark.parametrize("name", CLICKS)
def test_an_entry_that_tells_clicks_is_fitted_exported_and_asked(tiny, name, tmp_path):
    run = tiny.last_run()
    splits = [f"{run['transformed_examples']}/Split-{split}/*" for split in ("train", "eval", "catalogue")]
    data = trainer.split_files(splits[:1], splits[1:], run["transform_graph"])
    settings = _settings(tiny, name)
    enough = dataclasses.replace(settings.train, epochs=5, batch_size=32, validation_decisions=300)
    settings = dataclasses.replace(settings, train=enough)
    fitted = trainer.fit(settings, data, log_dir=str(tmp_path / "logs"), checkpoints=str(tmp_path / "checkpoints"))
    assert 0.55 < fitted.run["metrics"]["pooled_auc"] < 1 and 0 < fitted.run["metrics"]["log_loss"] < 1
    assert set(fitted.run["calibration"]) == {"log_temperature", "offset"}
    item_ids = [entry.decode() for entry in data.transform.vocabulary_by_name(features.ITEM_VOCABULARY)]
    known = _request(item_ids)
    others = [Request(candidates=["not known", item_ids[0]], candidate_text=[text, ""]) for text in ("boots", "tea")]
    arrays = build_inputs(contract.RANK, [known, *others], CONTEXT)
    answers = {}
    for kind in ("float32", "int8"):
        own = dataclasses.replace(settings, export=ExportSettings(weights=kind))
        export(fitted.model, own, data.transform, fitted.catalogue, str(tmp_path / kind))
        loaded = tf.saved_model.load(str(tmp_path / kind))
        assert set(loaded.signatures) == {contract.SERVING_DEFAULT, *registry.entry(name).signatures}
        answer = loaded.signatures[contract.RANK](**{key: tf.constant(value) for key, value in arrays.items()})
        answers[kind] = answer[contract.SCORES].numpy()
    scores = answers["float32"]
    assert np.isfinite(scores[0]).all() and len(set(scores[0])) == len(known.candidates)
    assert (scores[1:, 2:] == -np.inf).all()  # padding
    assert scores[1, 0] != scores[2, 0] and scores[1, 1] == pytest.approx(scores[2, 1], abs=1e-5)
    asked = np.isfinite(scores)
    error = np.abs(answers["int8"][asked] - scores[asked]).max()
    assert 0 < error < 0.1  # of a logit


@pytest.mark.long
@pytest.mark.parametrize("name", CLICKS)
def test_an_entry_that_tells_clicks_goes_through_the_pipeline_and_answers(tiny_shop, name):
    own = yaml.safe_load((tiny_shop.folder / "tiny.yaml").read_text(encoding="utf-8"))
    evaluate = {"metrics": ["pooled_auc", "log_loss", "ece", "gauc", "ndcg@10"], "max_drop": {"log_loss": 0.1}}
    decisions = {"negatives": 0, "keep_unlabelled": True}
    evaluate |= {"thresholds": {"pooled_auc": 0.52, "log_loss": 0.6, "ndcg@10": 0.1}}
    own["models"] = {name: {"train": {"epochs": 2}, "evaluate": evaluate, "decisions": decisions}}
    config = tiny_shop.folder / "clicks.yaml"
    config.write_text(yaml.safe_dump(own), encoding="utf-8")
    printed = tiny_shop.run(PIPELINE_CONFIG=str(config), PIPELINE_ENTRY=name)
    serving = tiny_shop.folder / "runs" / f"tiny_{name}" / "serving" / "ranker"
    assert list(serving.glob("[0-9]*/saved_model.pb")), printed
    with ServerProcess(pathlib.Path(serving), "ranker") as server, Client(server.address, "ranker", CONTEXT) as client:
        request = Request(candidates=["a", "b"], candidate_text=["waterproof boots", "green tea"])
        first, second = client.rank(request).scores
        assert np.isfinite([first, second]).all() and first != second


@pytest.mark.long
def test_a_tagger_goes_through_the_pipeline_and_answers(tiny_shop):
    own = yaml.safe_load((tiny_shop.folder / "tiny.yaml").read_text(encoding="utf-8"))
    # The tiny log is too short for a good tagger: what is asked here is the way, not the quality.
    part = {"train": {"epochs": 6, "batch_size": 32}, "evaluate": {"thresholds": {"tag_macro_f1": 0.05}}}
    own["models"] = {"profile_tagger": part}
    config = tiny_shop.folder / "tagger.yaml"
    config.write_text(yaml.safe_dump(own), encoding="utf-8")
    assert schema.main(["--config", str(config), "--entry", "profile_tagger"]) == 0
    printed = tiny_shop.run(PIPELINE_CONFIG=str(config), PIPELINE_ENTRY="profile_tagger")
    serving = tiny_shop.folder / "runs" / "tiny_profile_tagger" / "serving" / "tagger"
    assert list(serving.glob("[0-9]*/saved_model.pb")), printed
    with ServerProcess(pathlib.Path(serving), "tagger") as server, Client(server.address, "tagger", CONTEXT) as client:
        first, second = client.tag(["large frying pan", "平底锅"])
        assert first.words == ["large", "frying", "pan"] and len(second.word_labels) == 3
        assert "frying pan" in first.tags and "Kitchen" in second.tags
        assert first.names == [("large", "attribute"), ("frying pan", "product")]
        profile = client.profile(Request(profile_text="large frying pan", context={"country": "US"}))
        assert profile.tags == first.tags and profile.vector.shape == (128,)


@pytest.mark.long
@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_goes_through_the_pipeline_and_answers(tiny_shop, name):
    own = yaml.safe_load((tiny_shop.folder / "tiny.yaml").read_text(encoding="utf-8"))
    short = {key: value for key, value in SHORT.items() if key != "batch_size"}
    own["models"] = {name: {"train": short, "evaluate": {"thresholds": {"ndcg@10": 0.01}}}}
    config = tiny_shop.folder / "entry.yaml"
    config.write_text(yaml.safe_dump(own), encoding="utf-8")
    printed = tiny_shop.run(PIPELINE_CONFIG=str(config), PIPELINE_ENTRY=name)
    serving = tiny_shop.folder / "runs" / f"tiny_{name}" / "serving" / "ranker"
    assert list(serving.glob("[0-9]*/saved_model.pb")), printed
    with ServerProcess(pathlib.Path(serving), "ranker") as server, Client(server.address, "ranker", CONTEXT) as client:
        assert len(client.recommend(Request(user_id="nobody")).item_ids) > 50
