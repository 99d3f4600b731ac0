"""Variants of a configuration, fitted on the examples of its last pipeline run: ablations and tuning.

A variant is `NAME=KEY=VALUE[,KEY=VALUE…]`, such as `no_profile=model.use_profile=false`. It is fitted exactly as the
pipeline's Trainer (and FinalTrainer) does, from what Transform left in the last run that went through, and exported; a
fit that is already there for the same code, examples and settings (the seed is one) is not done again, so a long
comparison goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from models import features
from serving import contract
from tfx_pipeline import local_runner, source_hash
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.settings import Settings, SettingsError

#: Name of the configuration as it is, fitted by the same way as what it is compared with.
ALL_PARTS = "all_parts"

#: The entry that has the parts of `ABLATIONS`.
ABLATED = "slice_ranker"

#: The parts of the flagship switched off, one at a time (the repeat mixture with the copies that it mixes in), and the
#: paths of repeats, popularity and query words together.
ABLATIONS = (
    "no_profile_encoder=model.use_profile=false",
    "no_slice_autoencoder=model.use_autoencoder=false",
    "no_merge=model.use_merge=false",
    "no_cooccurrence=model.use_cooccurrence=false",
    "no_linear=model.linear_regularisation=0",
    "no_affinity=model.use_affinity=false",
    "no_evidence=model.neighbours=0,model.content_neighbours=0",
    "no_item_text=model.item_text=none,model.use_words=false",
    "no_copy=model.use_copy=false,model.use_mixture=false",
    "no_explicit_paths=model.use_copy=false,model.use_mixture=false,model.use_popularity=false,model.use_lexical=false",
)

#: Between changes; one inside of [...] belongs to a list.
_COMMA = re.compile(r",(?![^\[]*\])")


@dataclass(frozen=True)
class Variant:
    """A named change of settings.

    Attributes:
      name: for the result's line.
      settings: of the whole pipeline, changed.
    """

    name: str
    settings: Settings


@dataclass(frozen=True)
class Fit:
    """A fitted variant.

    Attributes:
      path: the SavedModel's folder.
      seconds: that it took, the validation fit before a final one included, whenever it was done.
    """

    path: pathlib.Path
    seconds: float


def parse(text: str, settings: Settings, origin: str) -> Variant:
    """Reads `NAME=KEY=VALUE[,KEY=VALUE…]`; values are YAML.

    Raises:
      SettingsError: if the text or a key cannot be read.
    """
    name, separator, changes = text.partition("=")
    if not name or not separator:
        raise SettingsError(f"variant {text!r} cannot be read; expected NAME=KEY=VALUE[,KEY=VALUE…].")
    content = settings_lib.to_dict(settings)
    for change in filter(None, _COMMA.split(changes)):
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
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"variant {name}: {change!r} has no value that YAML reads; expected one.") from None
    return Variant(name, settings_lib.from_dict(content, f"{origin}, variant {name}"))


def ablations(settings: Settings, origin: str) -> list[Variant]:
    """The variants of `ABLATIONS` that differ from the configuration: a part that is off in it cannot be left out.

    Raises:
      SettingsError: if the configuration's entry has no such parts.
    """
    if settings.model.entry != ABLATED:
        raise SettingsError(
            f"{origin}: the entry is {settings.model.entry}; expected {ABLATED}, whose parts ablations leave out."
        )
    found = [parse(text, settings, origin) for text in ABLATIONS]
    return [variant for variant in found if variant.settings != settings]


def entry(name: str, place: local_runner.Place) -> Variant:
    """Another entry of the zoo on the same examples.

    Raises:
      SettingsError: if there is none, or it has no configuration.
    """
    found = settings_lib.load(place.config, name)
    return Variant(name, dataclasses.replace(place.settings, model=found.model, train=found.train))


def with_fit(variant: Variant, *, seed: int | None = None, final: bool | None = None) -> Variant:
    """A variant with another seed, or another word on whether a final fit follows; None leaves what it says."""
    changes: dict[str, Any] = {"seed": seed, "final": final}
    train = dataclasses.replace(
        variant.settings.train, **{name: value for name, value in changes.items() if value is not None}
    )
    return Variant(variant.name, dataclasses.replace(variant.settings, train=train))


def fits(
    chosen: Sequence[Variant], seeds: Sequence[int] = (), ways: Sequence[bool | None] = (None,)
) -> Iterator[Variant]:
    """Each variant with each seed, in several ways: with a final fit, without one, or (None) as its settings say."""
    for variant in chosen:
        for seed in seeds or (None,):
            for final in ways:
                yield with_fit(variant, seed=seed, final=final)


def fit(variant: Variant, place: local_runner.Place, *, validation: bool = False) -> Fit:
    """Fits and exports a variant, or finds it.

    Args:
      variant: what to fit.
      place: of the pipeline on whose examples it is fitted.
      validation: leave it at the fit that does not know the validation events, also with `train.final`.

    Raises:
      SettingsError: if the pipeline has not run on these tables and settings, or made no split for the final fit.
    """
    transformed, graph = examples(place)
    from tfx_pipeline import pipeline, trainer

    settings = variant.settings
    parts = {name: settings_lib.to_dict(getattr(settings, name)) for name in pipeline.TRAINER_SETTINGS}
    final = parts["train"].pop("final") and not validation
    code = source_hash.component_hashes(settings, ["Trainer"])
    content = json.dumps([parts, transformed, graph, code], sort_keys=True)
    home = place.folder / "variants" / hashlib.sha256(content.encode()).hexdigest()[:16]

    def fitted(kind: str, splits: list[str], before: dict[str, Any] | None = None) -> Fit:
        """The folder of the model has this name once it is whole."""
        took = home / f"{kind}_seconds"
        if not (home / kind).is_dir():
            started = time.monotonic()
            held_out = [f"{transformed}/Split-{name}/*" for name in (features.EVAL_SPLIT, features.CATALOGUE_SPLIT)]
            partial, checkpoints = home / f"{kind}.partial", home / f"checkpoints_{kind}"
            trainer.fit_and_export(
                settings,
                trainer.split_files([f"{transformed}/Split-{name}/*" for name in splits], held_out, graph),
                export_dir=str(partial),
                log_dir=str(home / f"logs_{kind}"),
                checkpoints=str(checkpoints),
                final=before,
            )
            shutil.rmtree(checkpoints, ignore_errors=True)
            took.write_text(str(time.monotonic() - started), encoding="utf-8")
            partial.rename(home / kind)
        return Fit(home / kind, float(took.read_text(encoding="utf-8")))

    model = fitted(pipeline.VALIDATION_FIT, [features.TRAIN_SPLIT])
    if final:
        run = json.loads((model.path / contract.RUN_FILE).read_text(encoding="utf-8"))
        refitted = fitted(pipeline.FINAL_FIT, [features.TRAIN_SPLIT, features.RECENT_SPLIT], run)
        model = Fit(refitted.path, model.seconds + refitted.seconds)
    return model


def examples(place: local_runner.Place) -> tuple[str, str]:
    """Folders of the transformed examples and of the graph that the last run of the pipeline went through with."""
    expected = "expected a run of the pipeline on them, on whose examples the variants are fitted."
    try:
        last = json.loads(place.last_run.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{place.folder}: no pipeline has run there; {expected}") from None
    if last.get("examples_fingerprint") != local_runner.examples_fingerprint_of(place):
        raise SettingsError(
            f"{place.last_run}: the tables, the schema, the settings of data, decisions or transform, or the code that "
            f"reads them, have changed since that run; {expected}"
        )
    return last["transformed_examples"], last["transform_graph"]
