"""Releases versions of a model to TensorFlow Serving, or the embedded server, while it serves.

    python -m serving.release stage --config configs/serving/release.yaml --source FOLDER [--requests FILE]
    python -m serving.release canary --config FILE [--version N] [--share 0.05]
    python -m serving.release verify --config FILE [--requests FILE]
    python -m serving.release promote --config FILE [--version N]
    python -m serving.release rollback --config FILE [--version N]
    python -m serving.release status --config FILE [--json]
    python -m serving.release watch --config FILE
    python -m serving.release image --config FILE --out FOLDER [--version N] [--digest sha256:…]

A command that was killed is finished by the same command again, or undone by `rollback`. Exits with 0, or with 1 and
one sentence.
"""

from __future__ import annotations

import argparse
import getpass
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from serving.release import output, status
from serving.release.errors import ReleaseError
from serving.release.fleet import read_token
from serving.release.image import write_image
from serving.release.recorded import WARMUP_FILE, RecordedRequests
from serving.release.release import Release
from serving.release.saved_model import SavedModel
from serving.release.settings import ReleaseSettings
from serving.release.verify import compare
from serving.release.watch import Watch


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        release = Release(ReleaseSettings.read(options.config), options.by, _say)
        options.run(release, options)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command again goes on, `rollback` undoes it.", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _status(release: Release, options: argparse.Namespace) -> None:
    found = status.document(release, options.last)
    if options.json:
        output.print_json({**found, "problems": status.problems(found)})
    else:
        output.print_status(found)


def _stage(release: Release, options: argparse.Namespace) -> None:
    requests = pathlib.Path(options.requests) if options.requests else None
    staged = release.stage(pathlib.Path(options.source), options.version, requests, options.reason)
    print(f"Version {staged.version} {'is staged' if staged.anew else 'was staged before'}: {staged.path}")


def _canary(release: Release, options: argparse.Namespace) -> None:
    print(f"Now serves: {release.canary(options.version, options.share, options.reason)}.")


def _promote(release: Release, options: argparse.Namespace) -> None:
    print(f"Now serves: {release.promote(options.version, options.reason)}.")


def _rollback(release: Release, options: argparse.Namespace) -> None:
    print(f"Now serves: {release.rollback(options.version, options.reason)}.")


def _verify(release: Release, options: argparse.Namespace) -> None:
    settings, state = release.settings, release.steps.state()
    if not state.has_canary:
        raise ReleaseError("there is no canary to verify; expected `canary` first.")
    model = SavedModel.read(release.folder_of(state.canary))
    recorded = RecordedRequests(pathlib.Path(options.requests) if options.requests else model.path / WARMUP_FILE)
    questions = recorded.questions(SavedModel.read(release.folder_of(state.stable)), settings.model, options.most)
    with release.steps.fleet() as fleet:
        address, tls = next(iter(fleet.servers.items()))
    found = compare(address, questions, tls, read_token(settings.token_file))
    document = output.comparison_document(found)
    if options.json:
        output.print_json(document)
    else:
        output.print_comparison(document)
    worse = [name for name, one in found.items() if one.is_worse]
    if worse:
        raise ReleaseError(f"version {state.canary} fails where version {state.stable} does not: {', '.join(worse)}.")
    limit = options.max_latency_ratio
    slow = [name for name, one in found.items() if limit and one.latency_ratio and one.latency_ratio > limit]
    if slow:
        raise ReleaseError(f"version {state.canary} takes more than {limit:g} times as long: {', '.join(slow)}.")


def _watch(release: Release, options: argparse.Namespace) -> None:
    Watch(release, _say).run()


def _image(release: Release, options: argparse.Namespace) -> None:
    version = options.version or release.steps.state().stable
    if not version:
        raise ReleaseError("no version serves as stable yet; expected --version.")
    out = pathlib.Path(options.out)
    write_image(release.settings.model, version, release.folder_of(version), out, options.digest)
    print(f"Version {version} is ready for `docker build {out}`.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.release", description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Release, Any], None], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(run=run)
        made.add_argument("--config", required=True, help="settings, such as configs/serving/release.yaml")
        made.add_argument("--by", default=_user(), help="who does it; default %(default)s")
        return made

    shown = command("status", _status, "what serves, on the disk and on each server, and since when")
    shown.add_argument("--last", type=int, default=10, help="entries of the journal; default %(default)s")
    staged = command("stage", _stage, "put a version into the served folder; nobody is asked of it yet")
    staged.add_argument("--source", required=True, metavar="FOLDER", help="a SavedModel, or versions: the newest")
    canary = command("canary", _canary, "give a version the label canary, and a share of the users")
    canary.add_argument("--share", type=float, help="of the users, from 0 to below 1")
    promote = command("promote", _promote, "make the canary, or another version, the stable one")
    rollback = command("rollback", _rollback, "take the canary, or the last promotion, back")
    verify = command("verify", _verify, "ask stable and canary the same requests, and compare")
    verify.add_argument("--most", type=int, default=200, help="so many requests; default %(default)s")
    verify.add_argument("--max-latency-ratio", type=float, default=0.0, help="fail where the canary takes longer")
    command("watch", _watch, "promote the canary or roll it back, by errors, latency and the experiment")
    image = command("image", _image, "write a Dockerfile and context of tensorflow/serving with one version")
    image.add_argument("--out", required=True, metavar="FOLDER", help="that is made")
    image.add_argument("--digest", default="", help="of the base image: sha256:…")
    for one in (staged, canary, promote, rollback, image):
        one.add_argument("--version", type=_version, metavar="N", help="number of the version")
    for one in (staged, canary, promote, rollback):
        one.add_argument("--reason", default="", help="for the journal")
    for one in (staged, verify):
        one.add_argument("--requests", metavar="FILE", help="recorded ones: .jsonl of requests, or TFRecord")
    for one in (shown, verify):
        one.add_argument("--json", action="store_true", help="one line of JSON")
    return parser


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no version; expected a number of 1 or more")
    return int(text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, say
        return str(os.getuid())


if __name__ == "__main__":
    sys.exit(main())
