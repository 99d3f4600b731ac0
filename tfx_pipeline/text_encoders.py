"""The BERTs of a fitted model in the form of transformers, with the vocabulary that they read."""

from __future__ import annotations

import pathlib
import tempfile

import tensorflow as tf
import tensorflow_transform as tft

from models import features, wordpiece
from models.profile_encoder import text_encoders
from tfx_pipeline.settings import Settings

#: Folder beside the SavedModel's graph, with one folder for each text encoder, by its name.
FOLDER = "assets.extra/text_encoders"


def vocabulary(settings: Settings, transform: tft.TFTransformOutput) -> list[str]:
    """The WordPieces that the models of a pipeline read, in the order of their ids."""
    if settings.transform.wordpiece != wordpiece.LEARNED:
        return wordpiece.load_vocabulary(settings.transform.wordpiece)
    return [entry.decode() for entry in transform.vocabulary_by_name(features.WORDPIECE_VOCABULARY)]


def write_text_encoders(
    model: tf.keras.Model, settings: Settings, transform: tft.TFTransformOutput, export_dir: str
) -> None:
    """Writes config.json, tf_model.h5 and vocab.txt of each text encoder of a model.

    They are BERT's own weights: what `adapters` and `prefix` add is not among them, what `lora` adds is. A folder can
    be the `model.text_encoder.pretrained` of another model or the teacher of a smaller one, with its vocab.txt as
    `transform.wordpiece`.
    """
    entries = vocabulary(settings, transform)
    for encoder in text_encoders(model):
        with tempfile.TemporaryDirectory() as folder:
            encoder.save_pretrained(folder)
            pathlib.Path(folder, "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
            target = f"{export_dir}/{FOLDER}/{encoder.name}"
            tf.io.gfile.makedirs(target)
            for file in pathlib.Path(folder).iterdir():
                tf.io.gfile.copy(str(file), f"{target}/{file.name}", overwrite=True)
