"""What a promoted version was made with, for the next training."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import yaml

from serving import contract
from serving.release import files
from serving.release.errors import ReleaseError
from serving.release.journal import Entry


def write(path: pathlib.Path, version: pathlib.Path, entry: Entry) -> None:
    """Writes the settings of a version as a part of a pipeline's configuration, for its `include`.

    It has `model` (of `contract.WARM_START_FILE`, which entries of the zoo that rank a catalogue have) and `train.seed`
    (of `contract.RUN_FILE`); what else Trainer said of the fit stands in comments.

    Args:
      path: of the YAML file.
      version: folder of the promoted version.
      entry: of the journal.

    Raises:
      ReleaseError: if a file of the version cannot be read, or the YAML not be written.
    """
    run, start = _read(version / contract.RUN_FILE), _read(version / contract.WARM_START_FILE)
    content: dict[str, Any] = {}
    if "model" in start:
        content["model"] = start["model"]
    if "seed" in run:
        content["train"] = {"seed": run["seed"]}
    said = {
        "promoted": f"version {entry.after.stable} of {entry.model}, {entry.time}, by {entry.by}",
        "reason": entry.reason,
        "best_epoch": run.get("best_epoch"),
        "metrics": run.get("metrics"),
    }
    # As JSON, so that each stays on its line.
    notes = [f"# {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in said.items() if value]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True) if content else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, "\n".join(notes) + "\n" + text)
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be written ({error.strerror}).") from None


def _read(file: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one without the file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise ReleaseError(f"{file}: cannot be read; expected JSON.") from None
    if not isinstance(content, dict):
        raise ReleaseError(f"{file}: holds {type(content).__name__}; expected a JSON object.")
    return content
