"""Examples of the task `tagging`, built with Beam: texts of users, and of the catalogue."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen import examples, report, stages
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decisions import SPLITS
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.example_gen.sampling import generator
from tfx_pipeline.example_gen.shop import Shop, Splits
from tfx_pipeline.tagging import synonyms, texts
from tfx_pipeline.tagging.settings import QUERY
from tfx_pipeline.tagging.typos import mistyped
from tfx_pipeline.tagging.weak_labels import GIVEN, Labeller


def build(shop: Shop) -> Splits:
    """Texts of all users and items by split; `catalogue` holds every title.

    Raises:
      SettingsError: with `leave_one_out`, on whose clock a text has no time.
    """
    settings = shop.settings
    if settings.decisions.split == settings_lib.LEAVE_ONE_OUT:
        raise settings_lib.SettingsError(
            f"decisions.split is {settings_lib.LEAVE_ONE_OUT!r}; expected 'global_time' for an entry whose task is "
            "tagging: texts are split by when they were written."
        )
    catalogue = beam.pvalue.AsSingleton(
        shop.pipeline
        | "OneLexicon" >> beam.Create([None])
        | "LearnLexicon"
        >> beam.Map(
            lambda _, table, stats, boundaries: texts.make_labeller(table, stats, boundaries, settings.tagging),
            shop.table,
            shop.stats,
            shop.boundaries,
        )
    )
    usage = beam.pvalue.AsSingleton(
        shop.shards
        | "UnknownPhrases" >> beam.ParDo(UnknownPhrases(settings), shop.table, shop.boundaries, catalogue)
        | "JoinUnknownPhrases" >> beam.CombineGlobally(synonyms.Usage.merged)
    )
    labeller = beam.pvalue.AsSingleton(
        shop.pipeline
        | "OneLabeller" >> beam.Create([None])
        | "LearnSynonyms"
        >> beam.Map(
            lambda _, known, usage: known.with_terms(
                synonyms.learn(usage, known.lexicon, settings.tagging.synonym_users)
            ),
            catalogue,
            usage,
        )
    )
    of_users = shop.shards | "UserTexts" >> beam.ParDo(
        UserTexts(settings), shop.table, shop.boundaries, labeller
    ).with_outputs(*SPLITS, stages.COUNTS)
    splits = (*SPLITS, features.CATALOGUE_SPLIT)
    of_items = (
        shop.pipeline
        | "OneTableOfItems" >> beam.Create([None])
        | "ItemTexts"
        >> beam.ParDo(ItemTexts(settings), shop.table, shop.stats, shop.boundaries, labeller).with_outputs(
            *splits, stages.COUNTS
        )
    )
    found = {split: (of_users[split], of_items[split]) | f"Join_{split}" >> beam.Flatten() for split in SPLITS} | {
        features.CATALOGUE_SPLIT: of_items[features.CATALOGUE_SPLIT]
    }
    return Splits(found, (of_users[stages.COUNTS], of_items[stages.COUNTS]) | "JoinCounts" >> beam.Flatten())


class UnknownPhrases(beam.DoFn):
    """Counts what the users of a shard chose, before `train_until`, after phrases that the catalogue does not know."""

    def __init__(self, settings: settings_lib.Settings) -> None:
        super().__init__()
        self._settings = settings

    def process(
        self, element: Any, table: ItemTable, boundaries: Boundaries, labeller: Labeller
    ) -> Iterator[synonyms.Usage]:
        events, users, reviews = stages.tables_of(element[1], ())
        labels, until = self._settings.decisions.label_event_types, boundaries.train_until
        written = texts.of_users(events, users, reviews, table, labels, (QUERY,))
        early = (one for one in written if boundaries.train_start <= one.time < until)
        yield synonyms.usage(((one.user_id, one.text, one.chosen_before(until)) for one in early), labeller)


class UserTexts(beam.DoFn):
    """Labels and serializes the texts of a shard: one tagged output per split, and counts."""

    def __init__(self, settings: settings_lib.Settings) -> None:
        super().__init__()
        self._settings = settings

    def process(self, element: Any, table: ItemTable, boundaries: Boundaries, labeller: Labeller) -> Iterator[Any]:
        settings = self._settings
        events, users, reviews = stages.tables_of(element[1], ())
        counts: collections.Counter[str] = collections.Counter()
        labels = settings.decisions.label_event_types
        for written in texts.of_users(events, users, reviews, table, labels, settings.tagging.sources):
            labelled = list(texts.label(written, labeller, boundaries))
            counts["texts of which nothing is known, or outside of the splits"] += not labelled
            yield from _outputs(self._with_copies(labelled), counts)
        counts[report.USERS] += events["user_id"].nunique()
        counts[report.EVENTS] += len(events)
        yield beam.pvalue.TaggedOutput(stages.COUNTS, counts)

    def _with_copies(self, labelled: list[texts.Text]) -> Iterator[texts.Text]:
        """The texts, and copies with typing mistakes of those that are learned from."""
        for text in labelled:
            yield text
            if text.split == features.EVAL_SPLIT:
                continue
            rng = generator(self._settings.decisions.seed, text.split, text.user_id, text.time, text.text)
            copies = (mistyped(text, rng) for _ in range(self._settings.tagging.typo_copies))
            yield from filter(None, copies)


class ItemTexts(beam.DoFn):
    """Labels and serializes the texts of the catalogue: one tagged output per split, and counts."""

    def __init__(self, settings: settings_lib.Settings) -> None:
        super().__init__()
        self._sources = settings.tagging.sources

    def process(
        self, element: None, table: ItemTable, stats: ItemStats, boundaries: Boundaries, labeller: Labeller
    ) -> Iterator[Any]:
        counts: collections.Counter[str] = collections.Counter()
        yield from _outputs(texts.of_items(table, stats, boundaries, labeller, self._sources), counts)
        yield beam.pvalue.TaggedOutput(stages.COUNTS, counts)


def _outputs(found: Iterable[texts.Text], counts: collections.Counter[str]) -> Iterator[Any]:
    for text in found:
        if text.split in SPLITS:
            counts[report.DECISIONS + text.split] += 1
            counts[report.POSITIVES + text.split] += sum(weight >= GIVEN for weight in text.labels.tags.values())
        yield beam.pvalue.TaggedOutput(text.split, examples.serialize(texts.to_example(text)))
