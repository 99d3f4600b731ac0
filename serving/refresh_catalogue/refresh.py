"""A new version of a pushed one: other items, prices and stock, and the same model."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

import numpy as np

from serving.refresh_catalogue import version_folders
from serving.refresh_catalogue.items_table import ItemsTable
from serving.refresh_catalogue.plan import Plan
from serving.refresh_catalogue.record import CatalogueRecord, Fingerprints, listed
from serving.refresh_catalogue.saved_version import SavedVersion


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
      source, version: the version that it was made of, and the new one; None where nothing is new.
      added: items that were unknown and are in the tables now.
      changed: items whose texts or attributes changed as far as the model reads them, embedded anew.
      left_out: unknown items that are out of stock or forbidden, which were not taken in.
      removed: items of the tables that the shop no longer has, and which are no longer answered.
      answered: items that `recommend` and `search` may answer.
      forbidden: ids on the list that these, and `rank`, hold.
      spare: rows left for new items.
    """

    source: int
    version: int | None
    added: int
    changed: int
    left_out: int
    removed: int
    answered: int
    forbidden: int
    spare: int


def refresh(model: pathlib.Path, table: ItemsTable | None = None, forbidden: frozenset[str] | None = None) -> Refreshed:
    """Writes a version beside the newest one, or beside the one that is named.

    All that is not about a changed item stays to the last bit, but for the repeat mixture of a `slice_ranker`: its
    scores are log-probabilities of the catalogue, so that a changed item moves those of the others by as much as its
    own share changes. New items are outside of what was calibrated, as unknown candidates of `rank` are, and move none.

    Args:
      model: a folder of versions, of which the newest is taken, or a version's.
      table: all items that the shop has; None leaves items and stock as they are.
      forbidden: all ids that may never be answered; None leaves the list as it is.

    Raises:
      RefreshError: if the version was exported without spare rows, or with too few.
    """
    base = version_folders.find(model).parent
    with version_folders.only_one(base):
        before = SavedVersion(version_folders.find(model))
        record = before.record
        stopped = before.forbidden if forbidden is None else forbidden
        plan, fingerprints, changed = _as_it_is(before), record.fingerprints, 0
        if table is not None:
            known = (before.item_ids, record.fitted, before.capacity)
            plan = Plan.of(*known, table.item_ids, table.in_stock, stopped)
            if fingerprints is not None:
                fingerprints, changed = _embed(before, table, plan, fingerprints)
        fitted = np.append(record.fitted, np.ones(plan.added.sum(), bool))
        source = int(before.folder.name)
        after = CatalogueRecord(record.trained, record.spare, fitted, plan.offered, fingerprints, source)
        version = None
        same = plan.item_ids == before.item_ids and np.array_equal(plan.offered, record.offered)
        if not same or changed or stopped != before.forbidden:
            version = version_folders.place(base, lambda folder: before.write(folder, after, plan.item_ids, stopped))
    there = int((plan.rows >= 0).sum())
    added = int(plan.added.sum())
    return Refreshed(
        source=source,
        version=version,
        added=added,
        changed=changed,
        left_out=len(plan.rows) - there,
        removed=int(record.fitted.sum()) - (there - added),
        answered=int(listed(after, plan.item_ids, stopped).sum()),
        forbidden=len(stopped),
        spare=before.capacity - len(plan.item_ids),
    )


def _as_it_is(version: SavedVersion) -> Plan:
    """The plan of a version whose table of items is not looked at."""
    record = version.record
    rows = np.flatnonzero(record.fitted)
    return Plan(version.item_ids, rows, np.zeros(len(rows), bool), record.offered)


def _embed(version: SavedVersion, table: ItemsTable, plan: Plan, known: Fingerprints) -> tuple[Fingerprints, int]:
    """Writes new and changed items into the tables in memory; returns the fingerprints by row, and how many changed."""
    places = np.flatnonzero(plan.rows >= 0)
    if not len(places):
        return known, 0
    rows, added = plan.rows[places], plan.added[places]
    described = version.read(table, places)
    _settle_prices(described, rows, added, known)
    found = Fingerprints.of(**described)
    text, attributes = added.copy(), np.zeros(len(places), bool)
    text[~added], attributes[~added] = found.at(~added).differ(known.at(rows[~added]))
    for part, texts in ((text, True), (attributes & ~text, False)):
        version.write_rows(rows[part], {name: values[part] for name, values in described.items()}, texts)
    anew = text | attributes
    return known.put(rows[anew], found.at(anew), len(plan.item_ids)), int((anew & ~added).sum())


def _settle_prices(described: dict[str, np.ndarray], rows: np.ndarray, added: np.ndarray, known: Fingerprints) -> None:
    """Gives items whose price is the same what they have of it.

    A logarithm differs in its last bit from one batch to another, and a price that is itself the border between two
    buckets then lies in the other one.
    """
    same = ~added
    same[same] = np.isclose(described["prices"][same], known.prices[rows[same]], rtol=0, atol=1e-5)
    for name in ("prices", "price_buckets"):
        described[name][same] = getattr(known, name)[rows[same]]
