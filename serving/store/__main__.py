"""`python -m serving.store load --url URL --events FILE` fills a store, `... forget --url URL --user ID` erases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from serving.privacy.errors import PrivacyError
from serving.privacy.privacy import Privacy
from serving.privacy.pseudonyms import KEY_FILE_VARIABLE
from serving.privacy.settings import PrivacySettings
from serving.store import loading, open_store
from serving.store.errors import StoreError
from serving.store.online_store import OnlineStore
from serving.store.options import StoreOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    defaults = StoreOptions()
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--url", required=True, help="memory://, sqlite:///PATH, redis://... or rediss://...")
    shared.add_argument("--key-prefix", default=defaults.key_prefix, help="of all keys in Redis (%(default)s)")
    shared.add_argument("--privacy", action="store_true", help="pseudonyms in place of user ids, and redacted texts")
    shared.add_argument("--key-file", default="", help=f"of pseudonyms; by default what {KEY_FILE_VARIABLE} names")
    parser = argparse.ArgumentParser(prog="python -m serving.store", description="The store of shoppers.")
    commands = parser.add_subparsers(required=True, dest="command")
    load = commands.add_parser("load", parents=[shared], help="add the events and users of raw tables")
    load.add_argument(
        "--events", action="append", default=[], help="CSV or Parquet, as the pipeline reads it; repeatable"
    )
    load.add_argument(
        "--users", action="append", default=[], help="CSV or Parquet with free_text and context; repeatable"
    )
    load.add_argument("--context", default="", help="declared context columns of the users, such as country,gender")
    load.add_argument("--max-events", type=int, default=defaults.max_events, help="kept of a user (%(default)s)")
    load.add_argument("--ttl-days", type=float, default=defaults.ttl_days, help="after the last write (%(default)s)")
    load.add_argument(
        "--impressions", default=",".join(defaults.impression_event_types), help="event types (%(default)s)"
    )
    forget = commands.add_parser("forget", parents=[shared], help="erase everything of a user")
    forget.add_argument("--user", required=True, help="the user's id, or the pseudonym")
    options = parser.parse_args(arguments)
    try:
        privacy = Privacy(PrivacySettings(enabled=options.privacy, key_file=options.key_file))
        return (_load if options.command == "load" else _forget)(options, privacy)
    except (PrivacyError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _load(options: argparse.Namespace, privacy: Privacy) -> int:
    if not options.events and not options.users:
        raise StoreError("nothing to load; expected --events FILE or --users FILE.")
    if options.max_events < 1 or options.ttl_days <= 0:
        raise StoreError(
            f"--max-events is {options.max_events} and --ttl-days {options.ttl_days}; expected more than 0."
        )
    kept = StoreOptions(
        max_events=options.max_events,
        ttl_days=options.ttl_days,
        impression_event_types=tuple(filter(None, options.impressions.split(","))),
        key_prefix=options.key_prefix,
    )
    context = tuple(filter(None, options.context.split(",")))
    store = open_store(options.url, kept)
    store.health()
    for file in options.events:
        _say(file, loading.load_events(store, file, privacy, kept), "events")
    for file in options.users:
        _say(file, loading.load_users(store, file, context, privacy), "profiles")
    store.close()
    return 0


def _say(file: str, loaded: loading.Loaded, what: str) -> None:
    print(f"{file}: {loaded.rows:,} {what}")
    for reason, number in sorted(loaded.left_out.items()):
        print(f"  left out: {number:,} rows ({reason})")


def _forget(options: argparse.Namespace, privacy: Privacy) -> int:
    store: OnlineStore = open_store(options.url, StoreOptions(key_prefix=options.key_prefix))
    user_id = privacy.protect_event({"user_id": options.user})["user_id"]
    known = store.forget(user_id)
    store.close()
    hint = "" if options.privacy else "; a user who was loaded with --privacy is found with it and the same --key-file"
    print(f"{user_id}: {'everything is erased' if known else f'nothing was there{hint}'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
