"""What TensorBoard shows of a finished fit."""

from __future__ import annotations

import json

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from models.candidate_model import CandidateModel
from models.catalogue_model import CatalogueModel
from tfx_pipeline import settings as settings_module
from tfx_pipeline.inputs import Catalogue
from tfx_pipeline.settings import Settings

#: The projector shows at most so many items, those with most events: a browser cannot hold a large catalogue.
PROJECTOR_ITEMS = 10_000


def write_logs(
    log_dir: str,
    settings: Settings,
    model: CandidateModel,
    catalogue: Catalogue,
    held_out: tf.data.Dataset,
    most_items: int = PROJECTOR_ITEMS,
) -> None:
    """Writes the run's configuration and, of a model of the catalogue, vectors of items and of some held-out users.

    Args:
      log_dir: of the run.
      settings: of the pipeline.
      model: fitted.
      catalogue: of the model.
      held_out: batches of (inputs, labels).
      most_items: the items with most events are shown, at most so many.
    """
    with tf.summary.create_file_writer(log_dir).as_default():
        text = json.dumps(settings_module.to_dict(settings), indent=2, ensure_ascii=False)
        tf.summary.text("configuration", f"```\n{text}\n```", step=0)
    if not isinstance(model, CatalogueModel):
        return
    sold = catalogue.sales.sum(0)
    shown = np.argsort(-sold, kind="stable")[:most_items]
    items = [["item_id", "title", "category", "events"]]
    for row in shown:
        items.append(
            [catalogue.item_ids[row], catalogue.titles[row], catalogue.category_names[row], str(int(sold[row]))]
        )
    vectors, users = [], [["history", "newest items"]]
    for batch, _ in held_out.take(4):
        state = model.encode_user(batch)
        vectors.append(state.vector.numpy())
        for positions in state.positions.numpy():
            known = positions[positions >= 0]
            users.append([str(len(known)), " | ".join(catalogue.titles[row] for row in known[-3:])])
    tables: dict[str, tuple[np.ndarray, list[list[str]]]] = {}
    if vectors and vectors[0].shape[1]:
        tables["users"] = (np.concatenate(vectors), users)
    if (item_vectors := model.item_vectors()) is not None:
        tables["items"] = (item_vectors.numpy()[shown], items)
    if tables:
        write_projector(log_dir, tables)


def write_projector(log_dir: str, tables: dict[str, tuple[np.ndarray, list[list[str]]]]) -> None:
    """Writes vectors for TensorBoard's projector.

    Args:
      log_dir: of the run.
      tables: name -> (vectors [n, d], n + 1 rows of metadata, the first being the column names).
    """
    tf.io.gfile.makedirs(log_dir)
    config = projector.ProjectorConfig()
    for name, (vectors, metadata) in tables.items():
        with tf.io.gfile.GFile(f"{log_dir}/{name}_vectors.tsv", "w") as file:
            np.savetxt(file, vectors, delimiter="\t", fmt="%.5f")
        lines = ["\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) for row in metadata]
        with tf.io.gfile.GFile(f"{log_dir}/{name}.tsv", "w") as file:
            file.write("\n".join(lines) + "\n")
        entry = config.embeddings.add()
        entry.tensor_name = name
        entry.tensor_path = f"{name}_vectors.tsv"
        entry.metadata_path = f"{name}.tsv"
    projector.visualize_embeddings(log_dir, config)
