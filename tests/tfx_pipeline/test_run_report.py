"""The end of a run: what machines find in `last_run.json`, and the last screen."""

import collections
import io
import json

import pytest

from serving import contract
from tfx_pipeline import run_report
from tfx_pipeline.evaluation import report as evaluation_report
from tfx_pipeline.example_gen import report as example_report
from tfx_pipeline.progress_runner import NodeResult, Output
from tfx_pipeline.raw_tables.rejects import Rejects

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


def write_counts(tmp_path, rejects):
    """As ExampleGen leaves them."""
    content = {"rows": [[*key, number] for key, number in rejects.counts.items()], "left_out": {}}
    example_report.write(content, rejects, str(tmp_path / "examples"))


def test_rows_that_were_left_out_are_counted_and_their_file_is_named(results, tmp_path):
    rejects = Rejects(keep_rows=2)
    for line in range(1200):
        rejects.reject("events", "missing user_id", {"line": line})
    rejects.reject("items", "missing title", {"line": 7})
    rejects.count("events", "dropped", "cancellation", [{"line": 3}])
    rejects.count("events", "merged", "identical events", [], 5)
    rejects.count("events", "noted", "time without a zone", [{"line": 3}])
    write_counts(tmp_path, rejects)
    report, lines = last_screen(results, tmp_path)
    file = tmp_path / "examples" / "rejects.jsonl"
    assert report["rows_left_out"] == {"dropped": 1, "rejected": 1201}
    assert report["rejects"] == str(file)
    assert f"Rows left out  1 dropped, 1,201 rejected; see {file}" in lines
    kept = collections.Counter(json.loads(row)["reason"] for row in file.read_text(encoding="utf-8").splitlines())
    assert kept == {"missing user_id": 2, "missing title": 1, "cancellation": 1, "time without a zone": 1}


def test_a_run_without_such_rows_says_so(results, tmp_path):
    write_counts(tmp_path, Rejects())
    report, lines = last_screen(results, tmp_path)
    assert report["rows_left_out"] == {}
    assert "Rows left out  none" in lines


def test_machines_find_the_examples_that_the_model_was_fitted_on(results, tmp_path):
    write_counts(tmp_path, Rejects())
    report, _ = last_screen(results, tmp_path)
    assert report["transformed_examples"] == str(tmp_path / "transformed")
    assert report["transform_graph"] == str(tmp_path / "graph")
    assert report["model"] == str(tmp_path / "model") and report["pushed"] is None


def test_the_logs_are_those_of_the_fit_that_was_validated(results, tmp_path):
    write_counts(tmp_path, Rejects())
    results["FinalTrainer"] = node("FinalTrainer", model=tmp_path / "final", model_run=tmp_path / "final_logs")
    report, _ = last_screen(results, tmp_path)
    assert (report["model"], report["tensorboard"]) == (str(tmp_path / "final"), str(tmp_path / "logs"))


def test_what_an_update_learned_and_kept_is_on_the_last_screen(results, tmp_path):
    write_counts(tmp_path, Rejects())
    report, lines = last_screen(results, tmp_path)
    assert report["update"] is None and not any(line.startswith("Updated") for line in lines)
    update = {
        "new": 1200, "replayed": 300, "yesterday": 9, "seconds": 4.5, "base": "b", "until_day": 3,
        "before": {"yesterday": 0.41, "today": 0.3}, "after": {"yesterday": 0.4, "today": 0.35},
    }  # fmt: skip
    file = tmp_path / "model" / "Format-Serving" / contract.RUN_FILE
    file.parent.mkdir(parents=True)
    for content in ({"warm_start": None}, {"best_epoch": 3}):
        file.write_text(json.dumps(content))
        assert run_report.collect(results, tmp_path, {})["update"] is None
    file.write_text(json.dumps({"warm_start": update}))
    report, lines = last_screen(results, tmp_path)
    assert report["update"] == update
    expected = "1,200 new and 300 older decisions in 4.5 s; NDCG@10 on yesterday's test 0.4100 → 0.4000, today's test"
    assert f"Updated with   {expected} 0.3000 → 0.3500" in lines
