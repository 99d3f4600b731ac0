"""A/B experiments over served models, from their logs.

    python -m serving.experiment report --config FILE --exposures PATH --outcomes PATH [--until TIME] [--json]
        [--interleaving [--credit click|purchase]]
    python -m serving.experiment power --baseline 0.05 --lift 0.1 --power 0.8
    python -m serving.experiment off_policy --config FILE --exposures PATH --outcomes PATH --policy PATH
        [--reward click|purchase|revenue] [--positions K] [--clip W] [--until TIME] [--json]
    python -m serving.experiment simulate [--runs 1000] [--days 14] [--baseline 0.2] [--lift 0.4] [--seed 1]

A log is a folder of .jsonl files (`ExposureLog`, `OutcomeLog`), one such file, or a table. Exits with 0, or with 1 and
one sentence.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

from serving.experiment import off_policy, output, times
from serving.experiment import report as report_lib
from serving.experiment.decision import judge
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.log_reader import LogReader
from serving.experiment.metrics import CLICK, PURCHASE
from serving.experiment.outcome import Outcome
from serving.experiment.policy_answer import PolicyAnswer
from serving.experiment.power import users_needed
from serving.experiment.preference import preference
from serving.experiment.simulation import simulate
from serving.experiment.traffic import Traffic


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ExperimentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _report(options: argparse.Namespace) -> None:
    experiment, exposures, outcomes, until = _logs(options)
    if options.interleaving:
        found = preference(experiment, exposures, outcomes, until, options.credit)
        _show(options, _noted(found, exposures, outcomes), output.print_preference)
        return
    report = report_lib.report(experiment, exposures, outcomes, until)
    decisions = [judge(experiment, report, arm.name) for arm in experiment.treatments if arm.share > 0]
    report = _noted(report, exposures, outcomes)
    if options.json:
        print(output.to_json({**vars(report), "decisions": decisions}))
    else:
        output.print_report(report, decisions)


def _off_policy(options: argparse.Namespace) -> None:
    experiment, exposures, outcomes, until = _logs(options)
    policy = LogReader(options.policy, PolicyAnswer)
    found = off_policy.evaluate(
        experiment, exposures, outcomes, policy, until, options.reward, options.positions, options.clip
    )
    _show(options, _noted(found, exposures, outcomes, policy), output.print_off_policy)


def _power(options: argparse.Namespace) -> None:
    found = users_needed(options.baseline, options.lift, options.power, options.alpha, options.share, options.deviation)
    if options.json:
        print(output.to_json(found))
        return
    print(f"looked at once:      {found.control:,} users of control, {found.treatment:,} of the treatment")
    print(
        f"looked at every day: at most {found.sequential_control:,} users of control, {found.sequential_treatment:,} "
        f"of the treatment (analysis.planned_users: {found.sequential_planned_users})"
    )


def _simulate(options: argparse.Namespace) -> None:
    for name, least in (("runs", 1), ("days", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise ExperimentError(f"--{name} is {getattr(options, name)}; expected at least {least}.")
    needed = users_needed(options.baseline, options.lift, options.power, options.alpha)
    runs: dict[str, Any] = {}
    for name, users, lift in (
        ("no_effect", needed.control, 0.0),
        ("effect", needed.control, options.lift),
        ("effect_longer", needed.sequential_control, options.lift),
    ):
        traffic = Traffic(users, options.days, conversion=options.baseline, lift=lift)
        seed = options.seed + len(runs)
        runs[name] = {"users": 2 * users, "lift": lift, **simulate(traffic, options.runs, seed, options.alpha)}
    print(
        output.to_json(
            {
                **{name: getattr(options, name) for name in ("runs", "days", "alpha", "seed")},
                "computed_power": options.power,
                **runs,
            }
        )
    )


def _logs(
    options: argparse.Namespace,
) -> tuple[Experiment, LogReader[Exposure], LogReader[Outcome], float | None]:
    experiment = Experiment.read(options.config)
    try:
        until = None if options.until is None else times.seconds(options.until)
    except ValueError as error:
        raise ExperimentError(f"--until: {error}") from None
    return experiment, LogReader(options.exposures, Exposure), LogReader(options.outcomes, Outcome), until


def _noted(found: Any, *readers: LogReader[Any]) -> Any:
    """What was found, with what the readers passed over."""
    return dataclasses.replace(found, notes=(*found.notes, *(note for reader in readers for note in reader.notes)))


def _show(options: argparse.Namespace, found: Any, show: Any) -> None:
    if options.json:
        print(output.to_json(found))
    else:
        show(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.experiment", description=str(__doc__).splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(run=run)
        return made

    report = command("report", _report, "what an experiment has shown so far, and what to do")
    report.add_argument("--interleaving", action="store_true", help="of answers in which two rankers are interleaved")
    report.add_argument("--credit", choices=(CLICK, PURCHASE), default=CLICK, help="what counts in them")
    policy = command("off_policy", _off_policy, "what another policy would have earned on the logged requests")
    policy.add_argument("--policy", required=True, help="its answers: JSON lines of `PolicyAnswer`")
    policy.add_argument("--reward", choices=off_policy.REWARDS, default=CLICK)
    policy.add_argument("--positions", type=int, default=1, help="how many of the first items count")
    policy.add_argument("--clip", type=float, default=math.inf, help="largest weight of an answer")
    for one in (report, policy):
        one.add_argument("--config", required=True, help="the experiment (YAML)")
        one.add_argument("--exposures", required=True, help="log of exposures: folder, .jsonl file or table")
        one.add_argument("--outcomes", required=True, help="log of outcomes: folder, .jsonl file or table")
        one.add_argument("--until", help="ISO time; what is later does not count")
        one.add_argument("--json", action="store_true", help="one line of JSON")
    power = command("power", _power, "how many users an experiment needs")
    power.add_argument("--baseline", type=float, required=True, help="control's conversion, or mean with --deviation")
    power.add_argument("--lift", type=float, required=True, help="the effect, as a share of the baseline")
    power.add_argument("--power", type=float, default=0.8, help="probability of seeing it")
    power.add_argument("--alpha", type=float, default=0.05, help="probability of seeing one that is not there")
    power.add_argument("--share", type=float, default=0.5, help="the treatment's, of both arms' users")
    power.add_argument("--deviation", type=float, help="standard deviation of users' values, of any other metric")
    power.add_argument("--json", action="store_true", help="one line of JSON")
    simulated = command("simulate", _simulate, "how often experiments looked at every day are wrong and right, as JSON")
    simulated.add_argument("--runs", type=int, default=1000, help="experiments of each kind")
    simulated.add_argument("--days", type=int, default=14, help="looks at each")
    simulated.add_argument("--baseline", type=float, default=0.2, help="control's conversion")
    simulated.add_argument("--lift", type=float, default=0.4, help="the planted effect, as a share of the baseline")
    simulated.add_argument("--power", type=float, default=0.8, help="that the number of users is computed for")
    simulated.add_argument("--alpha", type=float, default=0.05)
    simulated.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    sys.exit(main())
