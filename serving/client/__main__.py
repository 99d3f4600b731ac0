"""`python -m serving.client recommend --address localhost:8500 --model ranker --user 17850`: asks from a shell.

Prints tables for people, or with `--json` one document for programs.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from serving import protos
from serving.client import documents, screen, shell_input
from serving.client.client import Client
from serving.client.documents import Document
from serving.client.tls import Tls
from serving.requests import Request
from serving.results import CallError

#: Environment variable with a token, where --token-file is not given.
TOKEN_VARIABLE = "SERVING_TOKEN"

_COMMANDS = {
    "recommend": "the best items of the catalogue for a user",
    "search": "the best items of the catalogue for a query",
    "rank": "candidates, best first",
    "profile": "the tags nearest to a user",
    "suggest": "what a query may be completed to",
    "tag": "tags, names, key words and sentiment of a text",
    "status": "the versions that the server has, and their states",
    "describe": "versions, context columns, and what each signature takes and gives",
    "protoset": "writes the descriptors of the services, for grpcurl and protoc",
}
_ABOUT_USERS = ("recommend", "search", "rank", "profile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "protoset":
            _write_protoset(options.out)
            return 0
        document = _answer(options)
    except (CallError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        screen.show(options.command, document)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.client",
        description="Asks TensorFlow Serving, or the embedded server, from a shell.",
        epilog=f"A token is read from --token-file, else from the environment variable {TOKEN_VARIABLE}.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in _COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        if name == "protoset":
            command.add_argument("--out", required=True, metavar="FILE", help="to write")
            continue
        _add_connection(command)
        if name in _ABOUT_USERS:
            _add_user(command)
        if name == "suggest":
            command.add_argument("--query", default="", help="as far as it is typed")
        if name == "tag":
            command.add_argument("--text", required=True, help="to read")
        if name == "rank":
            command.add_argument(
                "--candidate", nargs="+", action="extend", required=True, metavar="ITEM", help="items to rank"
            )
        if name in ("recommend", "search"):
            command.add_argument(
                "--exclude", nargs="+", action="extend", default=[], metavar="ITEM", help="items not to return"
            )
            command.add_argument(
                "--allow", nargs="+", action="extend", default=[], metavar="ITEM", help="the only items to return"
            )
        if name in ("recommend", "search", "rank"):
            command.add_argument(
                "--items", metavar="FILE", help="CSV or JSON lines with item_id and title, to show titles"
            )
        if name not in ("status", "describe"):
            command.add_argument("--top", type=int, default=20, help="at most so many are shown; default %(default)s")
    return parser


def _add_connection(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("server")
    group.add_argument(
        "--address",
        default="localhost:8500",
        help="host:port of gRPC, of several replicas host:port,host:port; default %(default)s, a server's own",
    )
    group.add_argument(
        "--model", default="default", help="the model's name on the server; default %(default)s, as a server calls it"
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="ask this version in place of the newest")
    which.add_argument("--label", help="ask the version with this label")
    group.add_argument("--timeout", type=float, default=10.0, help="seconds in all; default %(default)s")
    group.add_argument("--retries", type=int, default=4, help="where replicas are unavailable; default %(default)s")
    group.add_argument("--tls", action="store_true", help="encrypt; so does each of the next four")
    group.add_argument("--root-certificates", metavar="FILE", help="PEM of who vouches for the server")
    group.add_argument("--client-certificate", metavar="FILE", help="PEM of the client's own, for mutual TLS")
    group.add_argument("--client-key", metavar="FILE", help="PEM of its private key")
    group.add_argument("--server-name", default="", metavar="NAME", help="that the server's certificate must bear")
    group.add_argument("--token-file", metavar="FILE", help="holds the token to send as `authorization: Bearer …`")
    group.add_argument(
        "--header", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="further metadata of the call"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")


def _add_user(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("user; what is left out is unknown")
    group.add_argument("--user", default="", metavar="ID", help="of the shop")
    group.add_argument("--query", default="", help="words that the user searches for")
    group.add_argument("--profile-text", default="", metavar="TEXT", help="free text about the user")
    group.add_argument("--time", default="0", help="of the request: seconds since 1970 or ISO 8601")
    group.add_argument(
        "--history", nargs="+", action="extend", default=[], metavar="ITEM:TYPE:TIME", help="events, oldest first"
    )
    group.add_argument(
        "--history-file", metavar="FILE", help="CSV or JSON lines with item_id, event_type, timestamp; oldest first"
    )
    group.add_argument(
        "--context", nargs="+", action="extend", default=[], metavar="COLUMN=VALUE", help="such as country=DE"
    )


def _answer(options: argparse.Namespace) -> Document:
    """Asks, and makes a document of the answer.

    Raises:
      CallError: when the call fails.
      ValueError: for options that cannot be right.
    """
    question = _question(options)
    titles = shell_input.read_titles(options.items) if getattr(options, "items", None) else None
    asked = {"version": options.version, "label": options.label}
    with Client(
        options.address,
        options.model,
        timeout=options.timeout,
        retries=options.retries,
        tls=_tls(options),
        token=_token(options),
        headers=shell_input.parse_pairs(options.header),
    ) as client:
        if options.command == "status":
            answer = documents.of_statuses(client.status(**asked))
        elif options.command == "describe":
            answer = documents.of_metadata(client.metadata(**asked), client.status())
        elif options.command == "profile":
            # People read no vectors.
            profile = client.profile(question, only=None if options.json else "tags", **asked)
            answer = documents.of_profile(profile, options.top)
        elif options.command == "suggest":
            answer = documents.of_suggestions(client.suggest(question, **asked), options.top)
        elif options.command == "tag":
            answer = documents.of_text_tags(client.tag(options.text, **asked), options.top)
        else:
            answer = documents.of_items(getattr(client, options.command)(question, **asked), options.top, titles)
    return {"model": options.model, **answer}


def _question(options: argparse.Namespace) -> Request:
    if getattr(options, "top", 1) < 1:
        raise ValueError(f"--top is {options.top}; expected 1 or more.")
    if options.command not in _ABOUT_USERS:
        return Request(query=getattr(options, "query", ""))
    history: list[Any] = shell_input.read_events(options.history_file) if options.history_file else []
    return Request(
        user_id=options.user,
        profile_text=options.profile_text,
        query=options.query,
        request_time=shell_input.seconds(options.time),
        history=history + [shell_input.parse_event(text) for text in options.history],
        context=shell_input.parse_pairs(options.context),
        candidates=getattr(options, "candidate", ()),
        exclude=getattr(options, "exclude", ()),
        allow=getattr(options, "allow", ()),
    )


def _tls(options: argparse.Namespace) -> Tls | None:
    parts = (options.root_certificates, options.client_certificate, options.client_key, options.server_name)
    return Tls(*parts) if options.tls or any(parts) else None


def _token(options: argparse.Namespace) -> str:
    token = shell_input.read_text(options.token_file) if options.token_file else os.environ.get(TOKEN_VARIABLE, "")
    return token.strip()


def _write_protoset(file: str) -> None:
    try:
        pathlib.Path(file).write_bytes(protos.DESCRIPTORS.SerializeToString())
    except OSError as error:
        raise ValueError(f"{file}: cannot be written ({error.strerror}).") from None


if __name__ == "__main__":
    sys.exit(main())
