"""A pipeline that is killed while each component runs, one after the other, and started again each time."""

from __future__ import annotations

import dataclasses
import pathlib
import signal

import pytest

from tfx_pipeline import schema

COMPONENTS = (
    "FileBasedExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "Evaluator",
    "FinalTrainer",
    "ServingCheck",
    "Pusher",
)


@pytest.mark.long
def test_killed_in_every_component_it_finishes_and_does_no_finished_one_again(tiny_shop, tmp_path):
    places = {"PIPELINE_ROOT": str(tmp_path / "runs"), "PIPELINE_CONFIG": str(tmp_path / "tiny.yaml")}
    pipeline = dataclasses.replace(tiny_shop, folder=tmp_path, environment={**tiny_shop.environment, **places})
    pipeline.write_config()
    assert schema.main(["--config", places["PIPELINE_CONFIG"]]) == 0
    finished: list[str] = []
    for victim in COMPONENTS:
        process = pipeline.start()
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line.rstrip().endswith(f"{victim} …"):
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        output = "".join(printed)
        assert f"{victim} …" in output, output
        for name in finished:
            assert f"{name}: from the cache" in output, output
        # The lookup of the schema costs nothing, and TFX does it anew.
        finished = [name for name in COMPONENTS[: COMPONENTS.index(victim)] if name != "ImportSchemaGen"]
        served = pipeline.home / "serving" / "ranker"
        assert all((version / "saved_model.pb").is_file() for version in served.glob("[0-9]*"))
    pipeline.run()
    run = pipeline.last_run()
    states = {component["name"]: component["state"] for component in run["components"]}
    assert run["blessed"] and pathlib.Path(run["pushed"]["path"], "saved_model.pb").is_file()
    assert {name for name, state in states.items() if state == "done"} <= {"ImportSchemaGen", "Pusher"}, states
