"""The end of a run: one screen for a person, one JSON object for machines."""

from __future__ import annotations

import collections
import json
import math
import pathlib
import resource
from typing import Any, TextIO

from rich.console import Console
from tfx.utils import path_utils

from serving import contract
from tfx_pipeline import evaluation, progress
from tfx_pipeline.components.pusher import PUSHED_ANEW, versions
from tfx_pipeline.example_gen.report import COUNTS_FILE, REJECTS_FILE
from tfx_pipeline.progress_runner import NodeResult


def collect(results: dict[str, NodeResult], serving: pathlib.Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What came of a run, as JSON-able values.

    Args:
      results: of the components.
      serving: the served folder.
      facts: what the runner knows; taken over.

    Returns:
      `facts` and: update (what Trainer says of its warm start, or null); blessed; failures (a sentence per missed
      threshold); metrics (null for NaN); pushed ({version, path, anew} or null); serving; served_version (the newest
      standing, or null); model, tensorboard (folders); what `of_examples` says; components; peak_bytes of this process
      and of its largest child.
    """
    report = _evaluation(results)
    pushed = None
    if (pusher := results.get("Pusher")) and pusher.outputs:
        properties = pusher.outputs["pushed_model"][0].properties
        if properties.get("pushed"):
            pushed = {
                "version": int(properties["pushed_version"]),
                "path": properties["pushed_destination"],
                "anew": bool(properties[PUSHED_ANEW]),
            }
    trainer = results.get("FinalTrainer")
    trainer = trainer if trainer and trainer.outputs else results["Trainer"]
    usage = {"self": resource.RUSAGE_SELF, "largest_child": resource.RUSAGE_CHILDREN}
    return {
        **facts,
        "update": _update(results["Trainer"]),
        "blessed": report.blessed,
        "failures": list(report.failures),
        "metrics": {name: value if math.isfinite(value) else None for name, value in report.overall.metrics.items()},
        "pushed": pushed,
        "serving": str(serving),
        "served_version": max(versions(serving), default=None),
        "model": trainer.outputs["model"][0].uri,
        # Of the fit that was validated: the final one has no ranking metrics to look at.
        "tensorboard": results["Trainer"].outputs["model_run"][0].uri,
        **of_examples(results),
        "components": [{"name": r.name, "state": r.state, "seconds": round(r.seconds, 1)} for r in results.values()],
        "peak_bytes": {name: resource.getrusage(who).ru_maxrss * 1024 for name, who in usage.items()},
    }


def of_examples(results: dict[str, NodeResult]) -> dict[str, Any]:
    """What came of ExampleGen and Transform, in this run or before.

    Args:
      results: of the components.

    Returns:
      transformed_examples, transform_graph: folders; rows_left_out: their number by kind, `rejected` or `dropped`;
      rejects: the file that holds them.
    """
    transform = results["Transform"].outputs
    examples = pathlib.Path(results["FileBasedExampleGen"].outputs["examples"][0].uri)
    rows = json.loads((examples / COUNTS_FILE).read_text(encoding="utf-8"))["rows"]
    left_out: collections.Counter[str] = collections.Counter()
    for _, kind, _, number in rows:
        if kind in ("dropped", "rejected"):
            left_out[kind] += number
    return {
        **{name: transform[name][0].uri for name in ("transformed_examples", "transform_graph")},
        "rows_left_out": dict(sorted(left_out.items())),
        "rejects": str(examples / REJECTS_FILE),
    }


def show(report: dict[str, Any], results: dict[str, NodeResult], screen: TextIO) -> None:
    """Prints the last screen.

    Args:
      report: of `collect`.
      results: of the components.
      screen: where to.
    """
    console = Console(file=screen, highlight=False, soft_wrap=True, width=None if screen.isatty() else 140)
    console.print()
    evaluation.print_report(_evaluation(results), console)
    served, pushed = report["served_version"], report["pushed"]
    if pushed and pushed["anew"]:
        push = f"version {pushed['version']}, new"
    elif pushed:
        push = f"version {pushed['version']} already is this very model; not pushed anew"
    elif served:
        push = f"nothing; version {served} keeps serving"
    else:
        push = "nothing, and there is no earlier version"
    cached = sum(component["state"] == "from the cache" for component in report["components"])
    gigabytes = {name: value / 1e9 for name, value in report["peak_bytes"].items()}
    left_out = ", ".join(f"{number:,} {kind}" for kind, number in report["rows_left_out"].items())
    if report["update"]:
        console.print(f"{'Updated with':<14} {_update_text(report['update'])}", markup=False)
    for label, text in (
        ("Rows left out", f"{left_out}; see {report['rejects']}" if left_out else "none"),
        ("Pushed", push),
        ("Served folder", report["serving"]),
        ("Model", report["model"]),
        ("TensorBoard", report["tensorboard"]),
        ("Log", report["log"]),
        ("Time", f"{progress.duration(report['seconds'])}; {cached} components from the cache"),
        ("Peak memory", f"{gigabytes['self']:.1f} GB, and {gigabytes['largest_child']:.1f} GB in the largest child"),
    ):
        console.print(f"{label:<14} {text}", markup=False)


def _update(trainer: NodeResult) -> dict[str, Any] | None:
    file = pathlib.Path(path_utils.serving_model_path(trainer.outputs["model"][0].uri), contract.RUN_FILE)
    if not file.is_file():
        return None
    # A model that ranks no catalogue is never updated, and says nothing of it.
    found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")).get("warm_start")
    return found


def _update_text(update: dict[str, Any]) -> str:
    before, after = update["before"], update["after"]
    tests = [f"{name}'s test {before[name]:.4f} → {after[name]:.4f}" for name in before]
    return (
        f"{update['new']:,} new and {update['replayed']:,} older decisions in {update['seconds']} s; "
        f"NDCG@10 on {', '.join(tests)}"
    )


def _evaluation(results: dict[str, NodeResult]) -> evaluation.EvaluationReport:
    outputs = results["Evaluator"].outputs
    return evaluation.read_report(outputs["evaluation"][0].uri, outputs["blessing"][0].uri)
