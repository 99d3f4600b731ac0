"""What the pipeline does for each task of the zoo: who builds examples, prepares features, trains and evaluates.

A task is a value of `models.registry.Entry.task`. Functions are dotted names: TFX takes some of them so, and the others
are imported only where they are run, since settings are read without TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models import registry

RANKING, CLICK, TAGGING = "ranking", "click", "tagging"


@dataclass(frozen=True)
class Task:
    """The parts of the pipeline that depend on the task.

    Attributes:
      name: as `models.registry.Entry.task` has it; of several tasks that share these parts, the first.
      build_examples: `example_gen.shop.Shop` -> `example_gen.shop.Splits`.
      schema: declared context columns, declared features (`features.DECLARED_FEATURES`) -> the schema of raw examples.
      preprocessing_fn, run_fn: of Transform and Trainer, as TFX calls them.
      eval_config: settings -> `tfma.EvalConfig`.
      example_settings: the parts of the settings that ExampleGen and Transform read.
      code: component -> where its code starts beside what `source_hash.ROOTS` says.
    """

    name: str
    build_examples: str
    schema: str
    preprocessing_fn: str
    run_fn: str
    eval_config: str
    example_settings: tuple[str, ...]
    code: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


TASKS = {
    task.name: task
    for task in (
        Task(
            name=RANKING,
            build_examples="tfx_pipeline.example_gen.rankings.build",
            schema="tfx_pipeline.schema.build",
            preprocessing_fn="tfx_pipeline.preprocessing.preprocessing_fn",
            run_fn="tfx_pipeline.trainer.run_fn",
            eval_config="tfx_pipeline.evaluation.config.eval_config",
            example_settings=("data", "decisions", "transform"),
        ),
        Task(
            name=TAGGING,
            build_examples="tfx_pipeline.tagging.examples.build",
            schema="tfx_pipeline.tagging.schema.tagging_schema",
            preprocessing_fn="tfx_pipeline.tagging.preprocessing.preprocessing_fn",
            run_fn="tfx_pipeline.tagging.trainer.run_fn",
            eval_config="tfx_pipeline.tagging.evaluation.eval_config",
            example_settings=("data", "decisions", "transform", "tagging"),
            code={
                "ExampleGen": ("tfx_pipeline.tagging.examples",),
                "Transform": ("tfx_pipeline.tagging.preprocessing",),
                "Trainer": ("tfx_pipeline.tagging.trainer",),
                "Evaluator": ("tfx_pipeline.tagging.evaluation",),
            },
        ),
    )
}


#: Clicks are decided in the same lists of candidates as rankings.
TASKS[CLICK] = TASKS[RANKING]


def task_of(entry: str) -> Task:
    """What the pipeline does for an entry of the zoo."""
    return TASKS[registry.entry(entry).task]


def function(dotted: str) -> Callable[..., Any]:
    """The function that a dotted name stands for."""
    module, _, name = dotted.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
