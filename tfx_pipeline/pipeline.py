"""The TFX pipeline: from raw tables to a served model.

    ExampleGen → StatisticsGen → ImportSchemaGen → ExampleValidator → AnomalyGate → Transform → [WarmBase] → Trainer →
    Baseline → Evaluator → [FinalTrainer] → ServingCheck → Pusher

What comes after Evaluator runs only for a blessed model. The same function builds the pipeline for every
orchestrator; what differs is in a `Platform`.
"""

from __future__ import annotations

import hashlib
import pathlib
from dataclasses import dataclass, field
from typing import Any

from tfx import v1 as tfx
from tfx.dsl.components.base import base_component
from tfx.dsl.components.common import resolver
from tfx.types import standard_artifacts

from models import features
from tfx_pipeline import evaluation, source_hash, tasks
from tfx_pipeline.components.anomaly_gate import AnomalyGate
from tfx_pipeline.components.baseline import BlessedBefore
from tfx_pipeline.components.pusher import Pusher
from tfx_pipeline.components.serving_check import ServingCheck
from tfx_pipeline.components.warm_base import BlessedOnOtherExamples
from tfx_pipeline.example_gen.component import example_gen
from tfx_pipeline.settings import Settings, to_dict

BASELINE = "Baseline"
FINAL_TRAINER = "FinalTrainer"
WARM_BASE = "WarmBase"

#: Keys of `custom_config` of Transform and Trainer; the last is also the folder's name below the pipeline's root.
SETTINGS = "settings"
SOURCE_HASH = "source_hash"
FIT = "fit"
CHECKPOINTS = "checkpoints"

#: Values of `FIT`. The final fit finds the validation run's model in `fn_args.base_model`, the other one what it starts
#: from (`train.warm_start`).
VALIDATION_FIT = "validation"
FINAL_FIT = "final"

#: The settings that Trainer reads.
TRAINER_SETTINGS = ("data", "decisions", "transform", "model", "train", "serve", "export")


@dataclass(frozen=True)
class Platform:
    """What differs between orchestrators.

    Attributes:
      trainer: the Trainer component.
      trainer_config: what that component needs in `custom_config`, beside what `run_fn` reads.
      baseline: strategy of the resolver of the last blessed model; `BlessedBefore` where own strategies can run (and
        `BlessedOnOtherExamples` then finds what an update starts from).
      beam_args: of every Beam component.
      metadata: ConnectionConfig of ML Metadata; None where the orchestrator brings its own.
    """

    trainer: type[tfx.components.Trainer] = tfx.components.Trainer
    trainer_config: dict[str, Any] = field(default_factory=dict)
    baseline: type[resolver.ResolverStrategy] = BlessedBefore
    beam_args: tuple[str, ...] = ()
    metadata: Any = None


def create_pipeline(
    settings: Settings,
    *,
    pipeline_root: str,
    data_path: str,
    serving_dir: str,
    schema_file: str,
    schema_hash: str,
    platform: Platform,
) -> tfx.dsl.Pipeline:
    """Builds the pipeline; reads nothing but the source code, and the files that settings name, which it hashes.

    Args:
      settings: of a configuration.
      pipeline_root: folder of artifacts and checkpoints.
      data_path: the raw tables: their folder, or the one file.
      serving_dir: folder that Pusher fills with versions and a server watches.
      schema_file: the curated schema, where the pipeline runs.
      schema_hash: of that file's content, so that the cache sees an edited schema.
      platform: of the orchestrator.
    """
    task = tasks.task_of(settings.model.entry)
    hashes = source_hash.component_hashes(settings)
    final = settings.train.final
    unchecked = [features.CATALOGUE_SPLIT] if final else [features.CATALOGUE_SPLIT, features.RECENT_SPLIT]
    decisions = [features.TRAIN_SPLIT, features.EVAL_SPLIT] + ([features.RECENT_SPLIT] if final else [])

    examples = example_gen(data_path, settings, hashes["ExampleGen"])
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"], exclude_splits=unchecked)
    schema = tfx.components.ImportSchemaGen(schema_file=schema_file)
    _add_hash(schema, schema_hash)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"], exclude_splits=unchecked
    )
    gate = AnomalyGate(anomalies=validator.outputs["anomalies"], source_hash=hashes["AnomalyGate"])
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=task.preprocessing_fn,
        splits_config=tfx.proto.SplitsConfig(
            analyze=[features.TRAIN_SPLIT, features.CATALOGUE_SPLIT],
            transform=[*decisions, features.CATALOGUE_SPLIT],
        ),
        disable_analyzer_cache=True,
        disable_statistics=True,
        custom_config={SETTINGS: _part(settings, task.example_settings), SOURCE_HASH: hashes["Transform"]},
    )
    transform.add_upstream_node(gate)

    def make_trainer(fit: str, splits: list[str], **inputs: Any) -> tfx.components.Trainer:
        return platform.trainer(
            run_fn=task.run_fn,
            examples=transform.outputs["transformed_examples"],
            transform_graph=transform.outputs["transform_graph"],
            schema=schema.outputs["schema"],
            train_args=tfx.proto.TrainArgs(splits=splits),
            eval_args=tfx.proto.EvalArgs(splits=[features.EVAL_SPLIT, features.CATALOGUE_SPLIT]),
            custom_config={
                SETTINGS: _part(settings, TRAINER_SETTINGS),
                SOURCE_HASH: hashes["Trainer"],
                FIT: fit,
                CHECKPOINTS: f"{pipeline_root}/{CHECKPOINTS}",
                **platform.trainer_config,
            },
            **inputs,
        )

    before: list[resolver.Resolver] = []
    if settings.train.warm_start.enabled:
        before.append(_warm_base(platform, transform))
    start = {"base_model": before[0].outputs["model"]} if before else {}
    trainer = make_trainer(VALIDATION_FIT, [features.TRAIN_SPLIT], **start)
    baseline = _baseline(platform, trainer)
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        example_splits=[features.EVAL_SPLIT],
        eval_config=tasks.function(task.eval_config)(settings),
        module_path=evaluation.__name__,
    )
    _add_hash(evaluator, hashes["Evaluator"])
    blessing = evaluator.outputs["blessing"]
    nodes = [examples, statistics, schema, validator, gate, transform, *before, trainer, baseline, evaluator]

    with tfx.dsl.Cond(blessing.future()[0].custom_property("blessed") == 1):
        servable = trainer
        if final:
            servable = make_trainer(
                FINAL_FIT, [features.TRAIN_SPLIT, features.RECENT_SPLIT], base_model=trainer.outputs["model"]
            ).with_id(FINAL_TRAINER)
            servable.add_upstream_node(evaluator)
            nodes.append(servable)
        serving_check = ServingCheck(
            model=servable.outputs["model"],
            model_name=settings.serve.model_name,
            source_hash=hashes["ServingCheck"],
        )
        serving_check.add_upstream_node(evaluator)
        pusher = Pusher(
            model=servable.outputs["model"],
            model_blessing=blessing,
            infra_blessing=serving_check.outputs["blessing"],
            push_destination=tfx.proto.PushDestination(
                filesystem=tfx.proto.PushDestination.Filesystem(base_directory=serving_dir)
            ),
        )

    return tfx.dsl.Pipeline(
        pipeline_name=settings.name,
        pipeline_root=pipeline_root,
        metadata_connection_config=platform.metadata,
        components=[*nodes, serving_check, pusher],
        enable_cache=True,
        beam_pipeline_args=list(platform.beam_args),
    )


def file_hash(path: str | pathlib.Path) -> str:
    """The hash of a file's content, for `schema_hash`."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def _blessed_models() -> dict[str, Any]:
    return {
        "model": tfx.dsl.Channel(type=standard_artifacts.Model),
        "model_blessing": tfx.dsl.Channel(type=standard_artifacts.ModelBlessing),
    }


def _warm_base(platform: Platform, transform: tfx.components.Transform) -> resolver.Resolver:
    channels, strategy = _blessed_models(), platform.baseline
    if strategy is BlessedBefore:
        strategy, channels["examples"] = BlessedOnOtherExamples, transform.outputs["transformed_examples"]
    return tfx.dsl.Resolver(strategy_class=strategy, **channels).with_id(WARM_BASE)


def _baseline(platform: Platform, trainer: tfx.components.Trainer) -> resolver.Resolver:
    channels = _blessed_models()
    if platform.baseline is BlessedBefore:
        channels["candidate"] = trainer.outputs["model"]
    return tfx.dsl.Resolver(strategy_class=platform.baseline, **channels).with_id(BASELINE)


def _part(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    """The settings that a component reads, so that only their change runs it again."""
    return {name: to_dict(getattr(settings, name)) for name in names}


def _add_hash(component: base_component.BaseComponent, value: str) -> None:
    """An execution property that no executor reads, but the cache does."""
    component.spec.exec_properties[SOURCE_HASH] = value
