"""Examples of the task `ranking`: decisions, and the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam

from models import features
from tfx_pipeline.example_gen import examples, stages
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decisions import SPLITS
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.shop import Shop, Splits


def build(shop: Shop) -> Splits:
    """Decisions of all users by split, and a row for each item."""
    data, decisions = shop.settings.data, shop.settings.decisions
    built = shop.shards | "BuildExamples" >> beam.ParDo(
        stages.BuildExamples(decisions, data.context), shop.table, shop.boundaries, shop.stats
    ).with_outputs(*SPLITS, stages.COUNTS)
    catalogue = (
        shop.pipeline
        | "OneCatalogue" >> beam.Create([None])
        | "Catalogue" >> beam.FlatMap(_catalogue, shop.table, shop.stats, shop.boundaries)
    )
    found = {**{split: built[split] for split in SPLITS}, features.CATALOGUE_SPLIT: catalogue}
    return Splits(found, built[stages.COUNTS])


def _catalogue(_: None, table: ItemTable, stats: ItemStats, boundaries: Boundaries) -> Iterable[bytes]:
    return map(examples.serialize, examples.catalogue(table, stats, boundaries))
