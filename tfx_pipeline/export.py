"""The SavedModel that is served."""

from __future__ import annotations

import math
import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features, registry
from models.candidate_model import CandidateModel
from models.pruning import keep_text_layers, prune_kernels, twin
from models.widening import widen
from serving import contract
from serving.compression import compress
from serving.forbidden_items import FILE as FORBIDDEN_FILE
from serving.forbidden_items import write_forbidden_items
from serving.profile_tags import ProfileTags
from serving.refresh_catalogue.record import CatalogueRecord
from serving.requests import Request
from serving.rules.forbidden import read_forbidden
from serving.signatures import CatalogueServable
from serving.suggestions import SuggestionTable, collect
from serving.tags import catalogue_tags
from serving.warmup import write_warmup
from tfx_pipeline.export_settings import ExportSettings
from tfx_pipeline.inputs import Catalogue
from tfx_pipeline.settings import Settings


def export(
    model: CandidateModel,
    settings: Settings,
    transform: tft.TFTransformOutput,
    catalogue: Catalogue,
    export_dir: str,
    queries: Mapping[str, int] | None = None,
) -> None:
    """Writes the SavedModel with the signatures of its entry, and warm-up requests.

    Args:
      model, settings, transform, catalogue: of the fit.
      export_dir: that is written.
      queries: what was asked, and by how many users, for `suggest`.
    """
    entry = registry.entry(settings.model.entry)
    context = settings.data.context
    model, weights = _to_serve(model, settings.export)
    forbidden = read_forbidden(settings.serve.forbidden) if settings.serve.forbidden else frozenset()
    with tempfile.TemporaryDirectory() as folder:
        forbidden_items = pathlib.Path(folder, FORBIDDEN_FILE)
        write_forbidden_items(forbidden_items, forbidden)
        servable = CatalogueServable(
            model,
            transform.transform_features_layer(),
            transform.raw_feature_spec(),
            transform.vocabulary_file_by_name(features.ITEM_VOCABULARY),
            catalogue.item_ids,
            str(forbidden_items),
            catalogue_tags(catalogue.category_names, catalogue.titles),
            context,
            settings.transform.title_length,
            last_moment=(catalogue.first_day + len(catalogue.sales)) * features.SECONDS_PER_DAY,
            top_k=settings.serve.top_k,
            top_tags=settings.serve.tags,
            weights=weights,
            suggestions=(
                _suggestions(settings, catalogue, queries or {}) if contract.SUGGEST in entry.signatures else None
            ),
            tagger=ProfileTags(newest(settings.serve.tagger)) if settings.serve.tagger else None,
        )
        tf.saved_model.save(servable, export_dir, signatures=servable.signatures(entry.signatures))
    if model.spare_items:
        CatalogueRecord.of(catalogue.table, model.spare_items, model.READS_ITEMS).write(export_dir)
    popular = np.argsort(-catalogue.sales.sum(0), kind="stable")[:5]
    ids = [catalogue.item_ids[row] for row in popular]
    moment = (catalogue.first_day + len(catalogue.sales)) * features.SECONDS_PER_DAY
    history = [
        (item, settings.decisions.label_event_types[0], moment - features.SECONDS_PER_DAY * (3 - i))
        for i, item in enumerate(ids[:3])
    ]
    title = catalogue.titles[popular[0]]
    requests = [
        Request(
            user_id="warm-up", request_time=moment, history=history, query=title, profile_text=title, candidates=ids
        ),
        Request(
            user_id="", request_time=moment, candidates=["not known", *ids], candidate_text=[title, *[""] * len(ids)]
        ),
    ]
    write_warmup(export_dir, settings.serve.model_name, requests, context, entry.signatures)


def _to_serve(model: CandidateModel, export: ExportSettings) -> tuple[CandidateModel, list[tf.Variable] | None]:
    """(the model as it is served, what is saved of it): itself, or a twin, where no longer one that can be trained."""
    spare = math.ceil(export.spare_items * model.items)
    if model.most_items is not None:
        spare = max(0, min(spare, model.most_items - model.items))
    # Of fewer bits, vectors that are kept would be most of what is stored.
    keeps = model.COMPUTES_VECTORS and export.weights == "float32"
    if not spare and not keeps and export == ExportSettings(spare_items=export.spare_items):
        return model, None
    made = widen(model, spare) if spare else twin(model)
    if export.text_layers:
        made = keep_text_layers(made, export.text_layers)
    if export.sparsity:
        prune_kernels(made, export.sparsity)
        made.refresh_item_text()  # vectors of the pruned text encoder, as queries have them
    if keeps:
        made.keep_item_vectors()
    return made, compress(made, export.weights)


def _suggestions(settings: Settings, catalogue: Catalogue, queries: Mapping[str, int]) -> SuggestionTable:
    shown = catalogue.table.servable
    parts = (catalogue.category_names, catalogue.titles, catalogue.sales.sum(0).tolist())
    categories, titles, sales = ([value for value, wanted in zip(part, shown, strict=True) if wanted] for part in parts)
    return SuggestionTable(collect(queries, categories, titles, sales), settings.serve.suggestions)


def newest(folder: str) -> str:
    """The folder itself if it holds a SavedModel, else that of the newest version in it.

    Raises:
      ValueError: if there is neither.
    """
    if tf.io.gfile.exists(f"{folder}/saved_model.pb"):
        return folder
    found = {file.split("/")[-2] for file in tf.io.gfile.glob(f"{folder}/*/saved_model.pb")}
    versions = [int(name) for name in found if name.isdigit()]
    if not versions:
        raise ValueError(f"serve.tagger: {folder} holds no SavedModel and no version of one; expected a pushed tagger.")
    return f"{folder}/{max(versions)}"
