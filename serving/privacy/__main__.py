"""`python -m serving.privacy key FILE` writes a new key; `... ids < IDS` says what user ids are called under a key."""

from __future__ import annotations

import argparse
import csv
import os
import secrets
import sys
from collections.abc import Sequence

from serving.privacy.errors import PrivacyError
from serving.privacy.pseudonyms import KEY_FILE_VARIABLE, Pseudonyms


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving.privacy", description="Keys and pseudonyms.")
    commands = parser.add_subparsers(required=True)
    key = commands.add_parser("key", help="write a new key that only its owner can read")
    key.add_argument("file", help="that is not there yet")
    key.set_defaults(run=lambda options: _write_key(options.file))
    ids = commands.add_parser("ids", help="print user_id,pseudonym for each line of standard input, as CSV")
    ids.add_argument("--key-file", default="", help=f"the key; by default the one that {KEY_FILE_VARIABLE} names")
    ids.add_argument("--new-key-file", help="the key after a rotation: a third column, new_pseudonym")
    ids.set_defaults(run=lambda options: _print_ids(options.key_file, options.new_key_file))
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except PrivacyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _write_key(file: str) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise PrivacyError(f"{file}: cannot be written ({error.strerror}); expected the name of a new file.") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(f"{secrets.token_urlsafe(48)}\n")
    print(f"{file}: key {Pseudonyms.from_file(file).key_id}")


def _print_ids(key_file: str, new_key_file: str | None) -> None:
    keys = {"pseudonym": Pseudonyms.from_file(key_file)}
    if new_key_file:
        keys["new_pseudonym"] = Pseudonyms.from_file(new_key_file)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["user_id", *keys])
    for line in sys.stdin:
        if user_id := line.strip():
            writer.writerow([user_id, *(pseudonyms.of(user_id) for pseudonyms in keys.values())])


if __name__ == "__main__":
    sys.exit(main())
