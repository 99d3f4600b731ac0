"""A tiny shop and the pipeline run on it once for all end-to-end tests."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tfx_pipeline import schema
from tfx_pipeline.raw_tables import synthetic

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "include": [str(CONFIGS / "data/synthetic.yaml"), str(CONFIGS / "models/slice_ranker.yaml")],
    "decisions": {"candidates": 40, "negatives": 25},
    "model": {
        "dimension": 16,
        "item_text": "table",
        "slice_length": 4,
        "max_history": 12,
        "code_dimension": 8,
        "text_encoder": {"hidden_size": 16, "layers": 1, "intermediate_size": 16},
    },
    "train": {"epochs": 3, "batch_size": 32, "learning_rate": 0.005, "final": True},
    "evaluate": {"thresholds": {"ndcg@10": 0.15}, "max_drop": {"ndcg@10": 0.2}},
}


@dataclass
class TinyPipeline:
    """The pipeline of a tiny shop in a folder of its own, run by the code of a checkout."""

    folder: pathlib.Path
    environment: dict[str, str] = field(default_factory=dict)
    code: pathlib.Path = CONFIGS.parent

    @property
    def home(self) -> pathlib.Path:
        return self.folder / "runs" / "tiny"

    def write_config(self, **train: Any) -> None:
        content = {**SETTINGS, "train": {**SETTINGS["train"], **train}}
        (self.folder / "tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tfx_pipeline.local_runner"],
            cwd=self.code,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **environment: str) -> str:
        process = self.start(**environment)
        printed, _ = process.communicate(timeout=900)
        assert process.returncode == 0, printed
        return printed

    def last_run(self) -> Mapping[str, Any]:
        return json.loads((self.home / "last_run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> TinyPipeline:
    """A pipeline that has not run yet."""
    folder = tmp_path_factory.mktemp("e2e")
    synthetic.main(["--out", str(folder / "data"), "--users", "300", "--items", "120", "--days", "40"])
    pipeline = TinyPipeline(folder)
    pipeline.environment = {
        **os.environ,
        "PIPELINE_CONFIG": str(folder / "tiny.yaml"),
        "PIPELINE_DATA": str(folder / "data"),
        "PIPELINE_ROOT": str(folder / "runs"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONWARNINGS": "ignore",
    }
    pipeline.write_config()
    assert schema.main(["--config", str(folder / "tiny.yaml")]) == 0
    return pipeline


@pytest.fixture(scope="session")
def tiny(tiny_shop: TinyPipeline) -> TinyPipeline:
    """The pipeline, run once; `first_output.txt` holds what it printed."""
    (tiny_shop.folder / "first_output.txt").write_text(tiny_shop.run(), encoding="utf-8")
    return tiny_shop
