"""What ExampleGen hands to the task that builds examples, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from tfx_pipeline.settings import Settings


@dataclass(frozen=True)
class Shop:
    """A shop's cleaned tables as Beam collections.

    Attributes:
      pipeline: of Beam.
      settings: those that the task's ExampleGen reads.
      shards: (key, frames by the names of `stages`), every user in one shard.
      table, boundaries, stats: side inputs of one `ItemTable`, `Boundaries`, `ItemStats`.
    """

    pipeline: beam.Pipeline
    settings: Settings
    shards: beam.pvalue.PCollection
    table: Any
    boundaries: Any
    stats: Any


@dataclass(frozen=True)
class Splits:
    """The examples of a shop.

    Attributes:
      examples: split -> collection of serialized Examples.
      counts: a collection of counters, as `report.report` takes them.
    """

    examples: dict[str, beam.pvalue.PCollection]
    counts: beam.pvalue.PCollection
