"""The gate of taggers, through TFMA on a SavedModel."""

import math

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma

from models import features, text_words
from models.tag_metrics import ClassCounts
from serving import contract
from tfx_pipeline import evaluation
from tfx_pipeline.evaluation.metric import LEFT_OUT
from tfx_pipeline.settings import SettingsError, from_dict
from tfx_pipeline.tagging.evaluation import eval_config
from tfx_pipeline.tagging.texts import to_example
from tfx_pipeline.tagging.weak_labels import GIVEN

METRICS = ("tag_macro_f1", "tag_micro_precision", "word_macro_f1", "word_micro_recall", "sentiment_macro_f1")


def make(**evaluate):
    values = {"metrics": list(METRICS), "slices": ["slice_source"], "thresholds": {"tag_macro_f1": 0.5}, **evaluate}
    return from_dict({"name": "toy", "model": {"entry": "profile_tagger"}, "evaluate": values})


@pytest.fixture(scope="module")
def measured(toy, fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfma")
    data = str(folder / "eval.gz")
    with tf.io.TFRecordWriter(data, "GZIP") as writer:
        for text in toy.texts["eval"]:
            writer.write(to_example(text).SerializeToString())
    # With a baseline, as Evaluator runs after the first blessed model.
    config = tfma.utils.update_eval_config_with_defaults(eval_config(make()), has_baseline=True)
    models = [
        evaluation.custom_eval_shared_model(str(fitted.path), name, config)
        for name in (tfma.CANDIDATE_KEY, tfma.BASELINE_KEY)
    ]
    tfma.run_model_analysis(
        eval_shared_model=models, eval_config=config, data_location=data, output_path=str(folder / "out")
    )
    metrics = {}
    for part in tfma.load_metrics(str(folder / "out")):
        key = tuple((one.column, one.bytes_value.decode()) for one in part.slice_key.single_slice_keys)
        for item in part.metric_keys_and_values:
            if item.key.model_name == tfma.CANDIDATE_KEY and not item.key.is_diff:
                metrics.setdefault(key, {})[item.key.name] = item.value.double_value.value
    return metrics, str(folder / "out")


def expected(toy, fitted, source=None):
    chosen = [text for text in toy.texts["eval"] if source in (None, text.source)]
    answer = fitted.loaded.signatures[contract.TAG](**{features.TEXT: tf.constant([text.text for text in chosen])})
    tags, words, sentiment = ClassCounts(), ClassCounts(), ClassCounts()
    for row, text in enumerate(chosen):
        said = {tag.decode() for tag in answer[contract.TAGS].numpy()[row]} - {""}
        tags.add({tag for tag, weight in text.labels.tags.items() if weight >= GIVEN}, said)
        labels = [label.decode() for label in answer[contract.WORD_LABELS].numpy()[row] if label]
        words.add_pairs(text.labels.word_labels, labels, text_words.OUTSIDE)
        if text.sentiment:
            content = answer[contract.SENTIMENT].numpy()[row] >= 0.5
            sentiment.add({text.sentiment}, {text_words.POSITIVE if content else text_words.NEGATIVE})
    return {
        "tag_macro_f1": tags.value("macro", "f1"),
        "tag_micro_precision": tags.value("micro", "precision"),
        "word_macro_f1": words.value("macro", "f1"),
        "word_micro_recall": words.value("micro", "recall"),
        "sentiment_macro_f1": sentiment.value("macro", "f1"),
    }


def test_evaluator_measures_what_the_signature_answers(toy, fitted, measured):
    metrics, _ = measured
    for name, value in expected(toy, fitted).items():
        assert metrics[()][name] == pytest.approx(value), name
    unknown = sum(not text.sentiment for text in toy.texts["eval"])
    assert metrics[()]["sentiment_macro_f1" + LEFT_OUT] == unknown > 0
    assert metrics[()]["tag_macro_f1" + LEFT_OUT] == 0


def test_slices_are_measured_on_their_own(toy, fitted, measured):
    metrics, _ = measured
    of_queries = metrics[((features.SLICE_SOURCE, "query"),)]
    found = expected(toy, fitted, "query")
    assert of_queries["tag_macro_f1"] == pytest.approx(found["tag_macro_f1"])
    # No query has a rating: no value, which passes no threshold.
    assert math.isnan(of_queries["sentiment_macro_f1"]) and math.isnan(found["sentiment_macro_f1"])


def test_the_report_reads_it(measured, tmp_path):
    (tmp_path / "BLESSED").touch()
    report = evaluation.read_report(measured[1], str(tmp_path))
    assert set(report.overall.metrics) == set(METRICS) and report.overall.rows == 60
    assert not report.failures


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        ({"metrics": ["ndcg@10"], "thresholds": {"ndcg@10": 0.1}}, r"evaluate\.metrics`: unknown metric 'ndcg@10'"),
        ({"slices": ["slice_user"]}, r"`evaluate\.slices` names 'slice_user'; expected one of slice_source"),
        ({"thresholds": {}}, r"`evaluate\.thresholds` is empty"),
    ],
)
def test_what_cannot_be_evaluated_is_named(evaluate, message):
    with pytest.raises(SettingsError, match=message):
        eval_config(make(**evaluate))
