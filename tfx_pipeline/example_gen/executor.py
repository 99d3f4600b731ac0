"""The executor of ExampleGen: raw tables in, splits of decisions and the catalogue out."""

from __future__ import annotations

import collections
import json
import re
import time
from typing import Any

import apache_beam as beam
from absl import logging
from google.protobuf import json_format, struct_pb2
from tfx.components.example_gen import base_example_gen_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.v1 import proto

from tfx_pipeline import settings as settings_lib
from tfx_pipeline import tasks
from tfx_pipeline.example_gen import report, stages
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.shop import Shop, Splits
from tfx_pipeline.raw_tables import make_adapter
from tfx_pipeline.raw_tables.rejects import DataError, Rejects

_One = beam.pvalue.AsSingleton


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Builds the splits `train`, `eval`, `recent` and `catalogue` with Beam.

    `exec_properties["custom_config"]` holds task and settings, as `component.example_gen` writes them;
    `input_base` and the input pattern say where the tables lie. Beside the splits, the Examples artifact gets
    `counts.json` (rows, decisions, boundaries, and what was left out, by reason) and `rejects.jsonl`.

    Raises:
      DataError, SettingsError: with one sentence, for tables or boundaries that cannot be used.
    """

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """Not used: the tables are joined in `GenerateExamplesByBeam`."""
        raise NotImplementedError("decisions are built from several tables; see GenerateExamplesByBeam.")

    def Do(self, input_dict: Any, output_dict: Any, exec_properties: dict[str, Any]) -> None:
        """Builds and writes everything, then says in a few lines what it was."""
        started = time.monotonic()
        self._uri = artifact_utils.get_single_uri(output_dict[standard_component_specs.EXAMPLES_KEY])
        try:
            super().Do(input_dict, output_dict, exec_properties)
        except (RuntimeError, ValueError) as error:
            raise _plain(error) from None
        with fileio.open(f"{self._uri}/{report.COUNTS_FILE}") as file:
            counts = json.loads(file.read())
        for line in report.describe(counts):
            logging.info("%s", line)
        logging.info("ExampleGen took %.0f s.", time.monotonic() - started)

    def GenerateExamplesByBeam(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.pvalue.PCollection]:
        """The splits as collections of serialized Examples."""
        settings, path = read_properties(exec_properties)
        data, decisions = settings.data, settings.decisions
        adapter = make_adapter(data, path)
        files = adapter.event_files()
        shards = stages.shard_count(files)

        other = (
            pipeline
            | "OneTask" >> beam.Create([None])
            | "ReadTables"
            >> beam.ParDo(stages.ReadTables(data, path, shards)).with_outputs(
                stages.USERS, stages.REVIEWS, stages.REJECTS, main="items"
            )
        )
        table = _One(other.items)
        events = (
            pipeline
            | "EventFiles" >> beam.Create([(place, str(file)) for place, file in enumerate(files)])
            | "SpreadFiles" >> beam.Reshuffle()
            | "ReadEvents"
            >> beam.ParDo(stages.ReadEvents(data, path, shards), table).with_outputs(stages.REJECTS, main="events")
        )
        grouped = {"events": events.events, "users": other[stages.USERS], "reviews": other[stages.REVIEWS]}
        merged = (
            grouped
            | "GroupByUsers" >> beam.CoGroupByKey()
            | "MergeShard" >> beam.ParDo(stages.MergeShard()).with_outputs(stages.REJECTS, main="shards")
        )
        rejects = (
            (other[stages.REJECTS], events[stages.REJECTS], merged[stages.REJECTS])
            | "AllRejects" >> beam.Flatten()
            | "ListRejects" >> beam.combiners.ToList()
            | "JoinRejects" >> beam.Map(stages.join_rejects, data.max_reject_share)
        )
        times = (
            merged.shards
            | "Times" >> beam.Map(lambda shard: _range(shard[1]["events"]["timestamp"]))
            | "ListTimes" >> beam.combiners.ToList()
            | "TimeRange" >> beam.Map(_time_range, _One(rejects))
        )
        boundaries = times | "Boundaries" >> beam.Map(lambda pair: Boundaries.resolve(decisions, *pair))
        shards_in_time, leave_one_out = merged.shards, decisions.split == settings_lib.LEAVE_ONE_OUT
        if leave_one_out:
            shards_in_time |= "OnTheClock" >> beam.ParDo(stages.OnTheClock(decisions, data.context))
        stats = (
            shards_in_time
            | "PartialStats" >> beam.ParDo(stages.PartialStats(decisions), table, _One(boundaries))
            | "ListStats" >> beam.combiners.ToList()
            | "Stats" >> beam.Map(lambda parts, items: ItemStats.combine(parts, len(items), leave_one_out), table)
        )
        shop = Shop(pipeline, settings, shards_in_time, table, _One(boundaries), _One(stats))
        splits: Splits = tasks.function(tasks.TASKS[_custom_config(exec_properties)["task"]].build_examples)(shop)
        _ = (
            splits.counts
            | "ListCounts" >> beam.combiners.ToList()
            | "WriteReport"
            >> beam.Map(_write_report, self._uri, _One(rejects), table, _One(stats), _One(boundaries), _One(times))
        )
        return splits.examples


def read_properties(exec_properties: dict[str, Any]) -> tuple[settings_lib.Settings, str]:
    """The settings and the path of the data, from the execution properties that the component set."""
    settings = settings_lib.from_dict(_custom_config(exec_properties)["settings"], "ExampleGen's custom_config")
    inputs = json_format.Parse(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], proto.Input())
    base, pattern = exec_properties[standard_component_specs.INPUT_BASE_KEY], inputs.splits[0].pattern
    return settings, base if "*" in pattern else f"{base}/{pattern}"


def _custom_config(exec_properties: dict[str, Any]) -> dict[str, Any]:
    packed = json_format.Parse(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], proto.CustomConfig())
    content = struct_pb2.Struct()
    packed.custom_config.Unpack(content)
    found: dict[str, Any] = json_format.MessageToDict(content)
    return found


def _plain(error: Exception) -> Exception:
    """A DataError or SettingsError as it was raised: Beam adds the step, or hands on a worker's traceback as text."""
    text = f"{type(error).__name__}: {error}"
    found = re.search(r"\b(DataError|SettingsError): (.*?)(?: \[while running|\n|$)", text)
    if not found:
        return error
    kind = DataError if found[1] == "DataError" else settings_lib.SettingsError
    return kind(found[2])


def _range(times: Any) -> tuple[int, int]:
    return int(times.min()), int(times.max())


def _time_range(ranges: list[tuple[int, int]], checked: Rejects) -> tuple[int, int]:
    del checked  # by asking for it, everything after this waits until the share of rejects is known to be acceptable
    if not ranges:
        raise DataError("no event is left; expected at least one event of a known item.")
    return min(first for first, _ in ranges), max(last for _, last in ranges)


def _write_report(
    counters: list[collections.Counter[str]],
    uri: str,
    rejects: Rejects,
    table: ItemTable,
    stats: ItemStats,
    boundaries: Boundaries,
    times: tuple[int, int],
) -> None:
    content = report.report(counters, rejects, table, stats, boundaries, times)
    report.write(content, rejects, uri)
