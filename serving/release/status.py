"""What serves, on the disk and on each server."""

from __future__ import annotations

import dataclasses
from typing import Any

from serving.release.fleet import Fleet
from serving.release.journal import STAGE
from serving.release.placement import versions
from serving.release.release import Release
from serving.release.state import CANARY, STABLE

Document = dict[str, Any]


def document(release: Release, last: int) -> Document:
    """What serves, as JSON-able values.

    Args:
      release: of the model.
      last: so many entries of the journal.

    Returns:
      model; state (stable, canary, share); servers: address -> {labels, versions: number -> state} or {error};
      staged (numbers of the versions in the folder); loaded (those that servers are told to serve); unfinished (an
      entry or null); history (entries, newest first).

    Raises:
      ReleaseError: if a file cannot be read.
    """
    settings, entry = release.settings, release.steps.config.entry()
    entries = [one for one in release.journal.read() if one.action == STAGE or not one.is_open]
    left = release.unfinished()
    with release.steps.fleet() as fleet:
        servers = _servers(fleet)
    return {
        "model": settings.model,
        "state": dataclasses.asdict(release.steps.state()),
        "staged": list(versions(release.folder)),
        "loaded": sorted(entry.versions) if entry else [],
        "servers": servers,
        "unfinished": None if left is None else dataclasses.asdict(left),
        "history": [dataclasses.asdict(one) for one in reversed(entries[-last:])] if last else [],
    }


def problems(document: Document) -> list[str]:
    """What is not as the configuration says, a sentence each."""
    found = []
    state = document["state"]
    again = "canary" if state["canary"] != state["stable"] else f"promote --version {state['stable']}"
    for address, server in document["servers"].items():
        if "error" in server:
            found.append(server["error"])
            continue
        for label in (STABLE, CANARY):
            if server["labels"][label] != (state[label] or None):
                found.append(
                    f"{address} answers {label} with {server['labels'][label] or 'nothing'}; expected "
                    f"{state[label] or 'nothing'}, which `{again}` sees to."
                )
    if document["unfinished"]:
        left = document["unfinished"]
        found.append(
            f"{left['action']} by {left['by']} at {left['time']} is under way, or was killed: then `{left['action']}` "
            "again finishes it, and `rollback` undoes it."
        )
    return found


def _servers(fleet: Fleet) -> dict[str, Document]:
    found: dict[str, Document] = {}
    labels = fleet.labels((STABLE, CANARY))
    for address, statuses in fleet.statuses().items():
        names = labels[address]
        if isinstance(statuses, list) and isinstance(names, dict):
            found[address] = {"labels": names, "versions": {str(one.version): one.state for one in statuses}}
        else:
            found[address] = {"error": str(names if isinstance(statuses, list) else statuses)}
    return found
