"""`make demo`: the whole way on a synthetic shop, from raw tables to answers of the served model.

    python -m tfx_pipeline.demo [--root runs]

Makes the shop's data, creates (or updates) and runs the pipeline with the `tfx` command line, serves what Pusher pushed
with the embedded server, and asks it over gRPC. Exits with 0 when the answers hold (see `demo_questions`) and come from
the version that was pushed, with 130 after Ctrl-C, else with 1 and a sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

import configs
from serving.client import Client
from serving.results import CallError, UserProfile
from serving.server.process import ServerProcess
from tfx_pipeline import demo_questions, demo_screen, local_runner, progress
from tfx_pipeline.example_gen.in_memory import Prepared, prepare
from tfx_pipeline.raw_tables import read as raw_tables
from tfx_pipeline.raw_tables import synthetic
from tfx_pipeline.raw_tables.rejects import DataError
from tfx_pipeline.raw_tables.synthetic_world import ShopSettings
from tfx_pipeline.settings import SettingsError

CONFIG = pathlib.Path(str(configs.__file__)).resolve().parent / "demo.yaml"
RUNNER = pathlib.Path(local_runner.__file__).resolve()
SHOP = ShopSettings()
STEPS = 4
#: Seconds that commands get to end by themselves after Ctrl-C.
GRACE_SECONDS = 20.0


class DemoError(RuntimeError):
    """Why the demo cannot go on; the message is one sentence for a person."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.demo", description="The whole way, on a synthetic shop."
    )
    parser.add_argument("--root", default="runs", help="folder of all that is written; default %(default)s")
    root = pathlib.Path(parser.parse_args(arguments).root).resolve()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return run(root, demo_screen.make_console())
    except KeyboardInterrupt:
        print("\nInterrupted; started again, the demo goes on where it was.", file=sys.stderr)
        return 130
    except (DemoError, DataError, SettingsError, CallError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(root: pathlib.Path, console: Console) -> int:
    """Runs the demo below a folder.

    Args:
      root: PIPELINE_ROOT; the demo's things lie in its subfolder of the pipeline's name.
      console: where to.

    Returns:
      0 when the answers hold, else 1.

    Raises:
      DemoError, DataError, SettingsError, CallError: when a step cannot be done.
    """
    started = time.monotonic()
    data = root / "demo" / "data"
    environment = {
        "PIPELINE_CONFIG": str(CONFIG),
        "PIPELINE_DATA": str(data),
        "PIPELINE_ROOT": str(root),
        # Where `tfx` remembers pipelines: here, not in the home folder, so that checkouts do not meet.
        "LOCAL_HOME": str(root / ".tfx"),
    }
    place = local_runner.Place.from_environment(environment)
    logs = place.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)

    with _step(console, 1, "The data of a synthetic shop"):
        new = synthetic.write(SHOP, data)
        prepared = prepare(raw_tables.read(place.settings.data, place.data), place.settings)
        tables = prepared.tables
        console.print(
            f"{'Wrote' if new else 'Already there:'} {len(tables.events):,} events of {len(tables.users):,} users and "
            f"{len(tables.items):,} items, in {place.data}",
            soft_wrap=True,
        )
    with _step(console, 2, "The pipeline, with the tfx command line"):
        run_pipeline(console, place.settings.name, environment, logs / "tfx_cli.log")
        report = _read_report(place.last_run)

    answers: list[demo_questions.Answer] = []
    server_log = logs / "server.log"
    if report["pushed"]:
        with _step(console, 3, "The server, on what was pushed"):
            server = start_server(place, server_log)
        with server, _step(console, 4, "Questions, over gRPC"):
            answers, profiles = _converse(console, prepared, server.address, place)
        found = demo_questions.complaints(answers, profiles, report["pushed"]["version"])
    else:
        found = ["no model was pushed, so there was nothing to serve."]
    usage = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    shown_log = str(server_log) if report["pushed"] else ""
    demo_screen.show_end(console, report, answers, found, shown_log, time.monotonic() - started, max(usage))
    return 1 if found else 0


def run_pipeline(console: Console, name: str, environment: Mapping[str, str], log: pathlib.Path) -> None:
    """Creates or updates the pipeline and runs it, as a person would with `tfx`.

    Args:
      console: shows the commands; what the run says of its progress goes to the standard output.
      name: of the pipeline.
      environment: the runner's variables and LOCAL_HOME.
      log: takes everything else the commands say.

    Raises:
      DemoError: if a command fails.
    """
    verb = "update" if pathlib.Path(environment["LOCAL_HOME"], name).exists() else "create"
    commands = (
        ("pipeline", verb, "--engine", "local", "--pipeline_path", str(RUNNER)),
        ("run", "create", "--engine", "local", "--pipeline_name", name),
    )
    log.write_bytes(b"")
    for command in commands:
        console.print(Text(f"$ tfx {' '.join(command)}", style="dim"), soft_wrap=True)
        sys.stdout.flush()
        status = run_command(tfx_command() + command, environment, log, show=command[0] == "run")
        if status:
            said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            causes = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
            if command[0] == "run":  # a component that failed has said so on the screen
                cause = causes[-1] if causes else "see above"
            else:
                cause = (causes or said or ["it said nothing"])[-1]
            raise DemoError(f"`tfx {command[0]} {command[1]}` ended with status {status} ({cause}); its log is {log}.")


def tfx_command() -> tuple[str, ...]:
    """The `tfx` command of this environment."""
    command = pathlib.Path(sys.executable).parent / "tfx"
    if not command.exists():
        raise DemoError(f"{command}: is missing; expected the command of the package tfx (`make install`).")
    return (str(command),)


def run_command(command: Sequence[str], environment: Mapping[str, str], log: pathlib.Path, show: bool) -> int:
    """Runs a command to its end; on an interrupt, ends it and everything it started first.

    Args:
      command: and its arguments.
      environment: added to this process's.
      log: the standard error is appended to it.
      show: the standard output is the person's; else it goes to the log too.

    Returns:
      The exit status.
    """
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if show else file,
            stderr=file,
            env={**os.environ, **environment},
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
        try:
            return process.wait()
        except BaseException:
            _end_group(process)
            raise


def start_server(place: local_runner.Place, log: pathlib.Path) -> ServerProcess:
    """The embedded server on the pipeline's served folder, ready.

    Raises:
      DemoError: if it cannot serve.
    """
    try:
        return ServerProcess(
            place.serving,
            place.settings.serve.model_name,
            rest=False,
            flags=("--max_num_load_retries=0",),
            log_file=log,
        )
    except RuntimeError as error:
        raise DemoError(f"{error}; its log is {log}.") from None


def _converse(
    console: Console, prepared: Prepared, address: str, place: local_runner.Place
) -> tuple[list[demo_questions.Answer], list[UserProfile]]:
    answers: list[demo_questions.Answer] = []
    profiles: list[UserProfile] = []
    context = place.settings.data.context
    with Client(address, place.settings.serve.model_name, context, timeout=60.0) as client:
        for shopper in demo_questions.find_shoppers(prepared):
            demo_screen.show_shopper(console, prepared, shopper)
            profiles.append(client.profile(shopper.request))
            demo_screen.show_profile(console, profiles[-1])
            for answer in demo_questions.ask(client, prepared, shopper):
                demo_screen.show_answer(console, answer)
                answers.append(answer)
    return answers, profiles


def _read_report(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DemoError(f"{path}: cannot be read ({error}); expected what the pipeline's run left.") from None


@contextlib.contextmanager
def _step(console: Console, number: int, title: str) -> Iterator[None]:
    started = time.monotonic()
    console.print()
    console.rule(Text(f"{number} of {STEPS}: {title}", style="bold cyan"), align="left")
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        console.print(Text(f"{title}: {outcome}, {progress.duration(time.monotonic() - started)}", style="cyan"))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGINT for all of the group; SIGKILL for what is left after the grace, or after a second interrupt."""
    until = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        with contextlib.suppress(KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGINT)
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
