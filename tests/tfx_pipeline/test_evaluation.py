"""The gate, through TFX's own Evaluator executor on toy SavedModels."""

import io
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from rich.console import Console
from tfx.components.evaluator import executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from models import features
from models.click_metrics import CLICK_METRICS, ClickMetrics
from models.metrics import RankingMetrics
from serving import contract
from tfx_pipeline import evaluation
from tfx_pipeline.evaluation.metric import _MeanCombiner
from tfx_pipeline.settings import SettingsError, from_dict

N = 8
COUNTRY = "country"
METRICS = ("ndcg@3", "mrr", "auc")


class Toy(tf.Module):
    """Scores a candidate by the number its id spells, times `weight`, plus `noise` times a hash of the id."""

    def __init__(self, weight, noise):
        self.weight = tf.Variable(weight)
        self.noise = tf.Variable(noise)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=contract.EXAMPLES)])
    def serve(self, examples):
        spec = {features.CANDIDATE_ITEM_IDS: tf.io.FixedLenFeature([N], tf.string)}
        ids = tf.io.parse_example(examples, spec)[features.CANDIDATE_ITEM_IDS]
        number = tf.strings.to_number(tf.where(ids == "", "nan", ids))  # the score of padding must not matter
        noise = tf.cast(tf.strings.to_hash_bucket_fast(ids, 1000), tf.float32) / 1000.0
        return {contract.SCORES: self.weight * number + self.noise * noise}


MODELS = {
    "good": Toy(1.0, 0.0),
    "slightly_worse": Toy(1.0, 1.5),
    "worse": Toy(1.0, 3.0),
    "untrained": Toy(0.0, 1.0),
    "constant": Toy(0.0, 0.0),
}


def rows():
    """Labels, ids and slice values of 60 decisions; only some have a country, and in `ZZ` the numbers mislead."""
    random = np.random.default_rng(11)
    for i in range(60):
        labels = np.full(N, -1.0)
        real = random.integers(4, N + 1)
        labels[:real] = 0
        if i != 5:  # one decision without a positive
            labels[random.permutation(real)[: random.integers(1, 3)]] = 1
        country = "ZZ" if i % 10 == 0 else "FR" if i % 2 else None
        numbers = (-1 if country == "ZZ" else 1) * labels + random.normal(scale=0.25, size=N)
        ids = [f"{number:.2f}" if label >= 0 else "" for number, label in zip(numbers, labels, strict=True)]
        yield labels, ids, {features.SLICE_USER: "new" if i % 3 else "known", COUNTRY: country}


def user_of(ids):
    """One of five shoppers, for a list."""
    return f"u{len(ids[0] + ids[1]) % 5}".encode()


def example(labels, ids, slices):
    feature = {
        features.USER_ID: tf.train.Feature(bytes_list=tf.train.BytesList(value=[user_of(ids)])),
        features.LABEL: tf.train.Feature(float_list=tf.train.FloatList(value=labels)),
        features.CANDIDATE_ITEM_IDS: tf.train.Feature(bytes_list=tf.train.BytesList(value=[i.encode() for i in ids])),
    }
    for name, value in slices.items():
        if value is not None:
            feature[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder with the examples and one SavedModel per toy, laid out as TFX artifacts are."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name, model in MODELS.items():
        signatures = {contract.SERVING_DEFAULT: model.serve}
        tf.saved_model.save(model, str(folder / name / "Format-Serving"), signatures=signatures)
    nan_row = (np.eye(N)[0], ["nan"] + ["0"] * (N - 1), {COUNTRY: "NN"})
    for name, more in (("examples", []), ("examples_with_nan", [nan_row])):
        split = folder / name / f"Split-{features.EVAL_SPLIT}"
        split.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(split / "data.gz"), "GZIP") as writer:
            for row in (*rows(), *more):
                writer.write(example(*row))
    # Lengths left open, as a curated schema does for lists.
    schema = "".join(
        f'feature {{ name: "{name}" type: {kind} }}\n'
        for name, kind in (
            (features.LABEL, "FLOAT"),
            (features.CANDIDATE_ITEM_IDS, "BYTES"),
            (features.USER_ID, "BYTES"),
            (features.SLICE_USER, "BYTES"),
            (COUNTRY, "BYTES"),
        )
    )
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(schema)
    return folder


def configuration(**evaluate):
    slices = [features.SLICE_USER, features.SLICE_ITEMS, COUNTRY]
    return from_dict(
        {
            "name": "toy",
            "data": {"context": [COUNTRY]},
            "evaluate": {"metrics": METRICS, "slices": slices, "thresholds": {"ndcg@3": 0.7}, **evaluate},
        }
    )


runs = itertools.count()


@pytest.fixture
def evaluate(store):
    """Runs Evaluator's executor as the pipeline does and reads its report."""

    def artifact(kind, uri):
        result = kind()
        result.uri = str(store / uri)
        return result

    def run(model, baseline=None, schema=False, data="examples", **settings):
        number = next(runs)
        examples = artifact(standard_artifacts.Examples, data)
        examples.split_names = artifact_utils.encode_split_names([features.EVAL_SPLIT])
        inputs = {"examples": [examples], "model": [artifact(standard_artifacts.Model, model)]}
        if baseline:
            inputs["baseline_model"] = [artifact(standard_artifacts.Model, baseline)]
        if schema:
            inputs["schema"] = [artifact(standard_artifacts.Schema, "schema")]
        outputs = {
            "evaluation": [artifact(standard_artifacts.ModelEvaluation, f"evaluation_{number}")],
            "blessing": [artifact(standard_artifacts.ModelBlessing, f"blessing_{number}")],
        }
        config = evaluation.eval_config(configuration(**settings))
        properties = {
            "eval_config": json_format.MessageToJson(config, preserving_proto_field_name=True),
            "example_splits": "null",
            "fairness_indicator_thresholds": "null",
            "module_path": evaluation.__name__,
        }
        arguments = ["--runner=DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1"]
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=arguments, tmp_dir=str(store / f"tmp_{number}"), unique_id=str(number)
        )
        executor.Executor(context).Do(inputs, outputs, properties)
        return evaluation.read_report(outputs["evaluation"][0].uri, outputs["blessing"][0].uri)

    return run


def expected(model, keep=lambda slices: True):
    """Metrics and rows of a toy computed outside TFMA."""
    metrics = RankingMetrics(METRICS)
    kept = [row for row in rows() if keep(row[2])]
    scores = MODELS[model].serve(tf.constant([example(*row) for row in kept]))[contract.SCORES]
    metrics.update(np.stack([labels for labels, _, _ in kept]), scores)
    return metrics.result(), metrics.left_out(), len(kept)


def test_a_good_model_is_blessed_and_every_number_is_that_of_models_metrics(evaluate):
    report = evaluate("good", schema=True, slice_thresholds={features.SLICE_USER: {"auc": 0.6}})
    assert report.blessed and report.failures == ()
    keeps = {"overall": lambda slices: True}
    for name, value in ((features.SLICE_USER, "known"), (features.SLICE_USER, "new"), (COUNTRY, "FR"), (COUNTRY, "ZZ")):
        keeps[f"{name} = {value}"] = lambda slices, name=name, value=value: slices[name] == value
    found = {part.name: part for part in (report.overall, *report.slices)}
    assert set(found) == set(keeps)  # nothing for SLICE_ITEMS, which no row has
    for name, keep in keeps.items():
        metrics, left_out, count = expected("good", keep)
        assert found[name].metrics == pytest.approx(metrics, abs=1e-12), name
        assert (found[name].left_out, found[name].rows, found[name].change) == (left_out, count, {}), name
    assert found["overall"].left_out["mrr"] == 1
    # The overall threshold holds overall only: one slice is far below it.
    assert found[f"{COUNTRY} = ZZ"].metrics["ndcg@3"] < 0.7


@pytest.mark.parametrize("model", ["untrained", "constant"])
def test_untrained_and_constant_models_are_refused_by_name_of_the_threshold(evaluate, model):
    report = evaluate(model, thresholds={"ndcg@3": 0.7, "auc": 0.2})
    value = expected(model)[0]["ndcg@3"]
    assert not report.blessed
    assert report.failures == (f"ndcg@3 overall is {value:.4f}; at least 0.7000 is needed.",)
    if model == "constant":
        assert report.overall.metrics["auc"] == pytest.approx(0.5)


def test_slices_refuse_when_low_when_nan_and_when_no_row_has_the_feature(evaluate):
    low = {"mrr": 0.6}
    slice_thresholds = {COUNTRY: low, features.SLICE_ITEMS: low}
    report = evaluate("good", data="examples_with_nan", thresholds={"auc": 0.0}, slice_thresholds=slice_thresholds)
    value = expected("good", lambda slices: slices[COUNTRY] == "ZZ")[0]["mrr"]
    none = "has no value (no example counts, or a score is NaN)"
    assert not report.blessed and math.isnan(report.overall.metrics["auc"])
    assert set(report.failures) == {
        f"auc overall {none}; at least 0.0000 is needed.",
        f"mrr where {COUNTRY} = NN {none}; at least 0.6000 is needed.",
        f"mrr where {COUNTRY} = ZZ is {value:.4f}; at least 0.6000 is needed.",
        f"no example has {features.SLICE_ITEMS}; its threshold needs at least one.",
    }


def test_a_better_model_replaces_a_worse_one(evaluate):
    report = evaluate("good", baseline="worse", max_drop={"ndcg@3": 0.0})
    assert report.blessed and report.failures == ()
    new, old = expected("good")[0], expected("worse")[0]
    assert report.overall.metrics == pytest.approx(new)
    assert report.overall.change == pytest.approx({name: new[name] - old[name] for name in METRICS})
    assert report.overall.change["ndcg@3"] > 0


def test_a_worse_model_replaces_a_better_one_only_within_epsilon(evaluate):
    new, old = expected("slightly_worse")[0], expected("good")[0]
    drop = {name: old[name] - new[name] for name in METRICS}
    assert min(drop.values()) > 0
    allowed = {"ndcg@3": drop["ndcg@3"] * 0.9, "mrr": drop["mrr"] * 1.01}
    report = evaluate("slightly_worse", baseline="good", max_drop=allowed, thresholds={"auc": 0.0})
    assert not report.blessed
    assert report.failures == (
        f"ndcg@3 overall is {drop['ndcg@3']:.4f} less than the last blessed model's; "
        f"at most {allowed['ndcg@3']:.4f} less is allowed.",
    )
    printed = io.StringIO()
    evaluation.print_report(report, Console(file=printed, width=120))
    assert "Not blessed" in printed.getvalue() and report.failures[0] in printed.getvalue()
    assert f"{report.overall.metrics['mrr']:.4f} ({report.overall.change['mrr']:+.4f})" in printed.getvalue()
    assert f"{COUNTRY} = ZZ" in printed.getvalue()


def clicks(model, keep=lambda slices: True):
    """Click metrics of a toy computed outside TFMA."""
    metrics = ClickMetrics()
    kept = [row for row in rows() if keep(row[2])]
    scores = MODELS[model].serve(tf.constant([example(*row) for row in kept]))[contract.SCORES]
    metrics.update(np.stack([row[0] for row in kept]), scores, [user_of(row[1]) for row in kept])
    return metrics.result()


def test_of_log_loss_and_calibration_error_less_is_better(evaluate):
    new, old = clicks("slightly_worse"), clicks("good")
    worse = {name: new[name] - old[name] for name in ("log_loss", "ece")}
    assert min(worse.values()) > 0
    chosen = {"metrics": [*CLICK_METRICS, "ndcg@3"], "thresholds": {"log_loss": new["log_loss"] + 0.01}}
    report = evaluate(
        "slightly_worse", baseline="good", schema=True, max_drop={"log_loss": worse["log_loss"] * 1.01}, **chosen
    )
    assert report.blessed and report.failures == ()
    parts = {part.name: part.metrics for part in (report.overall, *report.slices)}
    for name, keep in (("overall", lambda slices: True), (f"{COUNTRY} = FR", lambda s: s[COUNTRY] == "FR")):
        expected_here = clicks("slightly_worse", keep)
        assert {metric: parts[name][metric] for metric in CLICK_METRICS} == pytest.approx(expected_here, abs=1e-9)
    assert report.overall.change["log_loss"] == pytest.approx(worse["log_loss"])
    allowed = {"log_loss": worse["log_loss"] * 0.9, "ece": 1.0}
    low, high = (
        clicks("slightly_worse", lambda slices, country=country: slices[COUNTRY] == country)["log_loss"]
        for country in ("FR", "ZZ")
    )
    between = (low + high) / 2
    assert low < between < high
    report = evaluate(
        "slightly_worse", baseline="good", max_drop=allowed, slice_thresholds={COUNTRY: {"log_loss": between}}, **chosen
    )
    assert not report.blessed
    assert set(report.failures) == {
        f"log_loss overall is {worse['log_loss']:.4f} more than the last blessed model's; "
        f"at most {allowed['log_loss']:.4f} more is allowed.",
        f"log_loss where {COUNTRY} = ZZ is {high:.4f}; at most {between:.4f} is allowed.",
    }


def test_a_baseline_of_exactly_zero_can_be_replaced():
    combiner = _MeanCombiner(tfma.metrics.MetricKey("m"), tfma.metrics.MetricKey("n"))
    state = combiner.merge_accumulators([combiner.add_input((0.0, 0, 0), (0.0, True)), (0.0, 0, 2)])
    mean, left_out = combiner.extract_output(state).values()
    assert 0 < mean < 1e-300 and left_out == 2.0


@pytest.mark.parametrize(
    ("evaluate_settings", "message"),
    [
        ({"thresholds": {}}, "`evaluate.thresholds` is empty"),
        ({"thresholds": {"map": 0.1}}, "`evaluate.thresholds` names 'map'; expected one of ndcg@3, mrr, auc"),
        ({"metrics": ["ndgc@10"]}, "`evaluate.metrics`: unknown ranking metric 'ndgc@10'"),
        ({"slices": ["shoe_size"]}, "`evaluate.slices` names 'shoe_size'; expected one of slice_user"),
        ({"max_drop": {"mrr": -0.1}}, "`evaluate.max_drop.mrr` is -0.1; expected a number from 0"),
        ({"slice_thresholds": {"slice_history": {"mrr": 0.1}}}, "`evaluate.slice_thresholds` names 'slice_history'"),
        ({"slice_thresholds": {"slice_user": {"map": 0.1}}}, "`evaluate.slice_thresholds.slice_user` names 'map'"),
    ],
)
def test_unusable_settings_are_one_clear_error(evaluate_settings, message):
    with pytest.raises(SettingsError) as error:
        evaluation.eval_config(configuration(**evaluate_settings))
    assert message in str(error.value)


def test_a_missing_evaluation_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds neither BLESSED nor NOT_BLESSED"):
        evaluation.read_report(str(tmp_path), str(tmp_path))
    (tmp_path / "BLESSED").touch()
    with pytest.raises(FileNotFoundError, match="holds no metrics"):
        evaluation.read_report(str(tmp_path), str(tmp_path))
