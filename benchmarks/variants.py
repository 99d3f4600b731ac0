"""Variants of a configuration, fitted on the examples of its last pipeline run: ablations and tuning.

A variant is `NAME=KEY=VALUE[,KEY=VALUE…]`, such as `no_profile=model.use_profile=false`. It is fitted exactly as the
pipeline's Trainer (and FinalTrainer) does, from Transform's newest output, and exported; a variant that is already
there for the same code, examples and settings is not fitted again, so a long comparison goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
from dataclasses import dataclass
from typing import Any

import yaml
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from models import features
from tfx_pipeline import settings as settings_lib
from tfx_pipeline import source_hash
from tfx_pipeline.settings import Settings, SettingsError

#: The parts of the flagship switched off, one at a time, and the paths of repeats, popularity and words together.
ABLATIONS = (
    "all_parts=",
    "no_profile_encoder=model.use_profile=false",
    "no_slice_autoencoder=model.use_autoencoder=false",
    "no_merge=model.use_merge=false",
    "no_cooccurrence=model.use_cooccurrence=false",
    "no_explicit_paths=model.use_copy=false,model.use_mixture=false,model.use_popularity=false,model.use_lexical=false",
)


@dataclass(frozen=True)
class Variant:
    """A named change of settings.

    Attributes:
      name: for the result's line.
      settings: of the whole pipeline, changed.
    """

    name: str
    settings: Settings


def parse(text: str, settings: Settings, origin: str) -> Variant:
    """Reads `NAME=KEY=VALUE[,KEY=VALUE…]`; values are YAML.

    Raises:
      SettingsError: if the text or a key cannot be read.
    """
    name, separator, changes = text.partition("=")
    if not name or not separator:
        raise SettingsError(f"variant {text!r} cannot be read; expected NAME=KEY=VALUE[,KEY=VALUE…].")
    content = settings_lib.to_dict(settings)
    for change in filter(None, changes.split(",")):
        key, separator, value = change.partition("=")
        *parents, last = key.split(".")
        place: Any = content
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if (
            not separator
            or not isinstance(place, dict)
            or last not in place
            or parents[:1] not in (["model"], ["train"])
        ):
            raise SettingsError(
                f"variant {name}: {change!r} is no setting; expected one such as model.use_profile=false."
            )
        place[last] = yaml.safe_load(value)
    return Variant(name, settings_lib.from_dict(content, f"{origin}, variant {name}"))


def fit(variant: Variant, folder: pathlib.Path) -> pathlib.Path:
    """Fits and exports a variant, or finds it.

    Args:
      variant: what to fit.
      folder: of the pipeline whose examples it is fitted on.

    Returns:
      The SavedModel's folder.

    Raises:
      SettingsError: if the pipeline has not run yet.
    """
    from tfx_pipeline import trainer

    examples, graph = _newest(folder, "Examples", "transformed_examples"), _newest(folder, "TransformGraph", "")
    parts = {
        name: settings_lib.to_dict(getattr(variant.settings, name)) for name in ("data", "transform", "model", "train")
    }
    content = [
        parts,
        examples,
        graph,
        source_hash.component_hash("Trainer", source_hash.named_contents(variant.settings)),
    ]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    home = folder / "variants" / key
    done = home / "model"
    if (done / "saved_model.pb").is_file():
        return done

    def data(*splits: str) -> trainer.Data:
        held_out = [f"{examples}/Split-{name}/*" for name in (features.EVAL_SPLIT, features.CATALOGUE_SPLIT)]
        return trainer.split_files([f"{examples}/Split-{name}/*" for name in splits], held_out, graph)

    run = trainer.fit_and_export(
        variant.settings,
        data(features.TRAIN_SPLIT),
        export_dir=str(home / "validation"),
        log_dir=str(home / "logs"),
        checkpoints=str(home / "checkpoints"),
    )
    source = home / "validation"
    if variant.settings.train.final:
        source = home / "final"
        trainer.fit_and_export(
            variant.settings,
            data(features.TRAIN_SPLIT, features.RECENT_SPLIT),
            export_dir=str(source),
            log_dir=str(home / "logs_final"),
            checkpoints=str(home / "checkpoints_final"),
            final=run,
        )
    for name in ("checkpoints", "checkpoints_final"):
        shutil.rmtree(home / name, ignore_errors=True)
    source.rename(done)
    return done


def _newest(folder: pathlib.Path, kind: str, holding: str) -> str:
    """URI of the newest live artifact of a type, from the pipeline's ML Metadata."""
    database = folder / "metadata.db"
    if not database.is_file():
        raise SettingsError(
            f"{folder}: no pipeline has run there; expected one whose examples the variants are fitted on."
        )
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(database)
    store = metadata_store.MetadataStore(config)
    found = [
        artifact
        for artifact in store.get_artifacts_by_type(kind)
        if artifact.state == metadata_store_pb2.Artifact.LIVE and holding in artifact.uri
    ]
    if not found:
        raise SettingsError(f"{folder}: its pipeline has no {kind}; expected a run that went through Transform.")
    return max(found, key=lambda artifact: artifact.id).uri
