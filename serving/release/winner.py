"""What the stable version was made with, for the next training."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import yaml

from serving import contract
from serving.release import files
from serving.release.errors import ReleaseError
from serving.release.journal import Entry

_HEAD = """\
# What the stable version was made with. A pipeline's configuration names this file in its `include`, in place of one of
# models/, and trains the next version so; what that configuration says of `model`, `transform` and `train` itself wins.
"""


def write(path: pathlib.Path, version: pathlib.Path, entry: Entry) -> bool:
    """Writes what Trainer says of a version (`settings` of `contract.RUN_FILE`) as a part of a configuration.

    Args:
      path: of the YAML file.
      version: folder of the version.
      entry: of the journal, by which it became the stable one.

    Returns:
      Whether the version says it; else the file holds comments alone, and no other version's settings.

    Raises:
      ReleaseError: if a file of the version cannot be read, or the YAML not be written.
    """
    run = _read(version / contract.RUN_FILE)
    said = {
        "version": f"{entry.after.stable} of {entry.model}, stable since {entry.time} by {entry.by} ({entry.action})",
        "reason": entry.reason,
        "best_epoch": run.get("best_epoch"),
        "metrics": run.get("metrics"),
    }
    # As JSON, so that each stays on its line.
    notes = [f"# {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in said.items() if value]
    settings = run.get("settings")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, _HEAD + "".join(notes) + text)
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be written ({error.strerror}).") from None
    return bool(settings)


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
