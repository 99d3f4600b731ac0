"""The command line's answers as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.client.documents import Document

#: Signatures of SavedModel itself, which nobody calls.
_INTERNAL = "__saved_model"


def show(command: str, document: Document) -> None:
    """Prints the document of a command on the standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    _SHOW[command](console, command, document)


def _items(console: Console, command: str, document: Document) -> None:
    items = document["items"]
    title = f"{command}, version {document['version']}, the first {len(items)} of {document['of']}"
    titles = any("title" in item for item in items)
    rows = []
    for place, item in enumerate(items, start=1):
        rows.append([str(place), item["item_id"], *([item["title"]] if titles else []), _score(item["score"])])
    _print(console, title, (">rank", "item", *(["title"] if titles else []), ">score"), rows)


def _profile(console: Console, command: str, document: Document) -> None:
    rows = [(tag["tag"], _score(tag["score"])) for tag in document["tags"]]
    _print(console, f"{command}, version {document['version']}, nearest tags", ("tag", ">score"), rows)


def _suggestions(console: Console, command: str, document: Document) -> None:
    rows = [(found["text"], found["kind"], _score(found["score"])) for found in document["suggestions"]]
    _print(console, f"{command}, version {document['version']}", ("text", "kind", ">score"), rows)


def _text_tags(console: Console, command: str, document: Document) -> None:
    rows = [
        *(("tag", tag["tag"], _score(tag["score"])) for tag in document["tags"]),
        *((name["kind"], name["phrase"], "") for name in document["names"]),
        *(("key word", word["phrase"], _score(word["score"])) for word in document["key_words"]),
        ("sentiment", "content", _score(document["sentiment"])),
    ]
    _print(console, f"{command}, version {document['version']}", ("what", "which", ">score"), rows)


def _statuses(console: Console, command: str, document: Document) -> None:
    rows = []
    for status in document["versions"]:
        error = f"{status['error_code']}: {status['error_message']}" if status["error_code"] else ""
        rows.append((str(status["version"]), status["state"], error))
    _print(console, f"versions of {document['model']}", (">version", "state", "error"), rows)


def _describe(console: Console, command: str, document: Document) -> None:
    _statuses(console, command, document)
    console.print(Text(f"context columns: {', '.join(document['context_columns']) or 'none'}"))
    rows = []
    for name, signature in document["signatures"].items():
        if name.startswith(_INTERNAL):
            continue
        heads = [name, ""]
        for kind in ("inputs", "outputs"):
            heads[1] = kind
            for tensor, spec in signature[kind].items():
                rows.append((*heads, tensor, spec["dtype"], _shape(spec["shape"])))
                heads = ["", ""]  # said once
    title = f"signatures of version {document['version']}"
    _print(console, title, ("signature", "", "name", "type", "shape"), rows)


_SHOW = {
    "recommend": _items,
    "search": _items,
    "rank": _items,
    "profile": _profile,
    "suggest": _suggestions,
    "tag": _text_tags,
    "status": _statuses,
    "describe": _describe,
}


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _shape(shape: Sequence[int | None] | None) -> str:
    return "any" if shape is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _print(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; columns that begin with ">" are aligned to the right."""
    console.print(Text(title, style="italic"), soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
