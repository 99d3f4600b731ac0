"""A tagger is fitted, goes on after a kill, is exported, and answers as its contract says."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from models import features, text_words
from serving import contract
from serving.client import build_inputs
from serving.requests import Request
from tfx_pipeline.callbacks import CheckpointKeeper
from tfx_pipeline.components import serving_check
from tfx_pipeline.tagging import trainer

TEXTS = ["Acme warm hiking boots", "顶峰大号台灯", "", "unheard of", "sofa " * 30]


def tag(fitted, texts):
    answer = fitted.loaded.signatures[contract.TAG](**{features.TEXT: tf.constant(texts)})
    return {name: value.numpy() for name, value in answer.items()}


def strings(row):
    return [value.decode() for value in row if value]


def test_it_learns_the_weak_labels(fitted, tag_names):
    run = fitted.run
    assert run["metrics"]["tag_macro_f1"] > 0.9 and run["metrics"]["word_macro_f1"] > 0.9
    assert run["metrics"]["sentiment_macro_f1"] > 0.75
    assert run["best_value"] == max(logs["tag_macro_f1"] for logs in run["history"])
    assert len(run["thresholds"]) == len(tag_names)
    assert json.loads((fitted.path / contract.RUN_FILE).read_text()) == run


def test_the_signatures_are_those_of_the_entry(fitted):
    assert set(fitted.loaded.signatures) == {contract.SERVING_DEFAULT, contract.PROFILE, contract.TAG}
    for name in (contract.PROFILE, contract.TAG):
        signature = fitted.loaded.signatures[name]
        assert set(signature.structured_outputs) == set(contract.OUTPUTS[name])
        inputs = {part.name for part in contract.signature_inputs(name, ("country",))}
        assert set(signature.structured_input_signature[1]) == inputs


def test_what_a_text_says(fitted):
    answer = tag(fitted, TEXTS)
    assert set(strings(answer[contract.TAGS][0])) == {"Acme", "hiking boots", "Sport", "Hiking"}
    assert strings(answer[contract.WORDS][0]) == ["Acme", "warm", "hiking", "boots"]
    assert strings(answer[contract.WORD_LABELS][0]) == ["B-brand", "B-attribute", "B-product", "I-product"]
    assert set(strings(answer[contract.TAGS][1])) >= {"desk lamp", "Home", "Lights"}
    assert strings(answer[contract.WORD_LABELS][1])[-2:] == ["B-product", "I-product"]
    assert strings(answer[contract.TAGS][2]) == [] and strings(answer[contract.WORDS][2]) == []
    # Words beyond what the model reads are answered, as outside.
    assert strings(answer[contract.WORDS][4]) == ["sofa"] * 30
    assert set(strings(answer[contract.WORD_LABELS][4])[12:]) == {text_words.OUTSIDE}
    np.testing.assert_allclose(answer[contract.WORD_SCORES].sum(1)[[0, 1, 3, 4]], 1, atol=1e-5)
    scores = answer[contract.TAG_SCORES]
    assert (np.diff(scores, axis=1) <= 0).all() and ((scores == 0) == (answer[contract.TAGS] == b"")).all()
    feelings = tag(fitted, ["hiking boots great", "hiking boots awful"])[contract.SENTIMENT]
    assert feelings[0] > 0.8 and feelings[1] < 0.2


def test_a_text_answers_alone_as_in_a_batch(fitted):
    together = tag(fitted, TEXTS)
    for row, text in enumerate(TEXTS):
        alone = tag(fitted, [text])
        assert (alone[contract.TAGS][0] == together[contract.TAGS][row]).all()
        np.testing.assert_allclose(alone[contract.TAG_SCORES][0], together[contract.TAG_SCORES][row], atol=1e-5)
        assert strings(alone[contract.WORD_LABELS][0]) == strings(together[contract.WORD_LABELS][row])


def test_profile_reads_profile_text_and_query(fitted):
    requests = [Request(profile_text=TEXTS[0], context={"country": "FR"}), Request(query=TEXTS[0]), Request()]
    requests += [Request(profile_text="sofa", query="台灯"), Request(profile_text="sofa; 台灯")]
    arrays = build_inputs(contract.PROFILE, requests, ("country",))
    answer = fitted.loaded.signatures[contract.PROFILE](**{name: tf.constant(v) for name, v in arrays.items()})
    expected = tag(fitted, [TEXTS[0]])
    tags = answer[contract.TAGS].numpy()
    assert strings(tags[0]) == strings(tags[1]) == strings(expected[contract.TAGS][0])
    assert strings(tags[2]) == [] and strings(tags[3]) == strings(tags[4])
    vectors = answer[contract.VECTOR].numpy()
    assert vectors.shape == (5, 16) and np.abs(vectors[0]).max() > 0.01
    np.testing.assert_allclose(vectors[3], vectors[4], atol=1e-6)


def test_the_default_signature_reads_an_example_with_or_without_labels(fitted, toy):
    from tfx_pipeline.tagging.texts import to_example

    text = toy.texts["eval"][0]
    bare = tf.train.Example()
    bare.features.feature[features.TEXT].bytes_list.value.append(text.text.encode())
    records = [to_example(text).SerializeToString(), bare.SerializeToString(), b""]
    answer = fitted.loaded.signatures[contract.SERVING_DEFAULT](**{contract.EXAMPLES: tf.constant(records)})
    tags = answer[contract.TAGS].numpy()
    assert strings(tags[0]) == strings(tags[1]) == strings(tag(fitted, [text.text])[contract.TAGS][0])
    assert strings(tags[2]) == []


def test_a_server_answers_as_the_model(fitted):
    assert serving_check.check(str(fitted.path), "toy") == sorted(
        [contract.SERVING_DEFAULT, contract.PROFILE, contract.TAG]
    )


def test_a_final_fit_takes_epochs_and_thresholds_over(fitted, toy, tmp_path):
    final = {**fitted.run, "best_epoch": 2}
    folders = {"log_dir": str(tmp_path / "logs"), "checkpoints": str(tmp_path / "checkpoints")}
    run = trainer.fit_and_export(toy.settings, toy.data, export_dir=str(tmp_path / "m"), final=final, **folders)
    assert run["final"] and len(run["history"]) == 2
    assert run["thresholds"] == fitted.run["thresholds"] and run["metrics"] == fitted.run["metrics"]


def test_a_killed_fit_goes_on(toy, tmp_path, monkeypatch):
    settings = dataclasses.replace(toy.settings, train=dataclasses.replace(toy.settings.train, epochs=2))

    def fit(name):
        folders = {"log_dir": str(tmp_path / "logs"), "checkpoints": str(tmp_path / name)}
        return trainer.fit_and_export(settings, toy.data, export_dir=str(tmp_path / f"{name}.model"), **folders)

    whole = fit("whole")
    epoch_end = CheckpointKeeper.on_epoch_end

    def killed(self, epoch, logs=None):
        epoch_end(self, epoch, logs)
        if epoch == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointKeeper, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        fit("parts")
    monkeypatch.setattr(CheckpointKeeper, "on_epoch_end", epoch_end)
    parts = fit("parts")
    # Only dropout draws other numbers; without its weights the second epoch would begin anew.
    losses = [[logs["loss"] for logs in run["history"]] for run in (parts, whole)]
    assert losses[0][0] == losses[1][0] and losses[0][1] == pytest.approx(losses[1][1], rel=0.1)
    assert losses[0][1] < 0.5 * losses[0][0]
