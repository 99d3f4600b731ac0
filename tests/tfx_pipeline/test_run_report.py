"""The end of a run: what machines find in `last_run.json`, and the last screen."""

import io
import json

import pytest

from tfx_pipeline import run_report
from tfx_pipeline.evaluation import report as evaluation_report
from tfx_pipeline.progress_runner import NodeResult, Output

FACTS = {"model_name": "ranker", "log": "run.log", "seconds": 61.0}


def node(name, **outputs):
    return NodeResult(name, "done", 1.0, {key: [Output(str(uri), {})] for key, uri in outputs.items()})


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Of a run that blessed nothing; the examples' folder is there."""
    overall = evaluation_report.SliceReport("overall", 5, {"ndcg@10": 0}, {"ndcg@10": 0.25}, {})
    found = evaluation_report.EvaluationReport(False, overall, (), ("ndcg@10 is 0.25; expected 0.3.",))
    monkeypatch.setattr(run_report, "_evaluation", lambda results: found)
    nodes = (
        node("FileBasedExampleGen", examples=tmp_path / "examples"),
        node("Transform", transformed_examples=tmp_path / "transformed", transform_graph=tmp_path / "graph"),
        node("Trainer", model=tmp_path / "model", model_run=tmp_path / "logs"),
    )
    return {result.name: result for result in nodes}


def last_screen(results, tmp_path):
    report = run_report.collect(results, tmp_path / "serving", FACTS)
    screen = io.StringIO()
    run_report.show(json.loads(json.dumps(report)), results, screen)
    return report, screen.getvalue().splitlines()


def test_machines_find_the_examples_that_the_model_was_fitted_on(results, tmp_path):
    report, _ = last_screen(results, tmp_path)
    assert report["transformed_examples"] == str(tmp_path / "transformed")
    assert report["transform_graph"] == str(tmp_path / "graph")
    assert report["model"] == str(tmp_path / "model") and report["pushed"] is None
