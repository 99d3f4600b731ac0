"""The benchmark of tags: its numbers, and that it runs from the command line on a small shop."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import tagging
from models import features
from serving import contract
from tfx_pipeline.raw_tables import synthetic, synthetic_tags


def test_scores_by_hand():
    true = np.array([[1, 0, 0], [1, 1, 0]], bool)
    said = np.array([[1, 0, 1], [0, 1, 0]], bool)
    found = tagging.scores(true, said)
    # First tag: 1 right, 1 missed; second: 1 right; the third is true of no text and counts in micro alone.
    assert found["tag_macro_precision"] == 1 and found["tag_macro_recall"] == 0.75
    assert found["tag_macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["tag_micro_precision"] == found["tag_micro_recall"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_else_has_a_higher_expected_f1(seed):
    probability = np.random.default_rng(seed).random((6, 1)) ** 2
    said = tagging.best_expected(probability)[:, 0]

    def expected(chosen):
        return 2 * probability[chosen, 0].sum() / (sum(chosen) + probability.sum())

    every = [np.array(chosen, bool) for chosen in itertools.product([0, 1], repeat=6) if any(chosen)]
    assert expected(said) == pytest.approx(max(map(expected, every)))


class Reader(tf.Module):
    """A tagger that knows three words."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, features.TEXT)])
    def tag(self, text):
        knows = tf.stack([tf.strings.regex_full_match(text, f".*{word}.*") for word in ("lamp", "tent", "pan")], 1)
        tags = tf.where(knows, tf.constant([["Home", "camping tent", "Kitchen"]]), "")
        return {contract.TAGS: tags, contract.TAG_SCORES: tf.cast(knows, tf.float32)}


def test_the_command(tmp_path, capsys):
    data, model = tmp_path / "shop", tmp_path / "model"
    shop = synthetic.ShopSettings(users=150, items=120, days=30)
    synthetic.write(shop, data)
    module = Reader()
    tf.saved_model.save(module, str(model), signatures={contract.TAG: module.tag})
    (model / "assets.extra").mkdir()
    (model / contract.RUN_FILE).write_text(json.dumps({"final": False, "seed": 5}))
    arguments = ["--config", "configs/demo.yaml", "--data", str(data), "--servable", str(model)]
    assert tagging.main(arguments) == 0
    lines = {line["model"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(lines) == ["profile_tagger", "oracle", "lexicon", "popularity", "chance"]
    assert lines["profile_tagger"]["seed"] == 5 and lines["profile_tagger"]["final"] is False
    assert lines["oracle"]["share_of_oracle"] == 1 and lines["chance"]["share_of_oracle"] == 0
    by_f1 = sorted(lines, key=lambda name: -lines[name]["tag_macro_f1"])
    assert by_f1[:2] == ["oracle", "lexicon"]
    made = synthetic.generate(shop)
    texts = synthetic_tags.query_texts(made.sessions) + synthetic_tags.review_texts(made.reviews, made.catalogue)
    assert 0 < lines["oracle"]["n"] < len(texts)


def test_what_is_no_tagger_is_one_sentence(tmp_path, capsys):
    data = tmp_path / "shop"
    synthetic.write(synthetic.ShopSettings(users=60, items=120, days=20), data)
    arguments = ["--config", "configs/demo.yaml", "--data", str(data), "--servable", str(tmp_path)]
    assert tagging.main(arguments) == 1
    assert "holds no SavedModel and no version of one" in capsys.readouterr().err
