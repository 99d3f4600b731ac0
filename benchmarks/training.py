"""What training costs: one JSON line per measurement on the standard output.

    python -m benchmarks.training sasrec --torch PYTHON [--rounds 3]
    python -m benchmarks.training growth [--plot OUT.svg]

`sasrec`: sequences a second and peak memory of the zoo's SASRec and of one of equal size in plain PyTorch
(`torch_sasrec.py`, run by the Python that has it), trained on the same batches, each time in a process of its own, by
turns; the last line has the ratio of the medians. Both have 2 layers, d = 64, full cross-entropy over 12,101 items at
every event, batches of 128 sequences of Beauty's lengths, and as many threads as there are cores.

`growth`: milliseconds a step and peak memory of `slice_ranker` for histories of 50, 200 and 1,000 events, and for
catalogues of 10,000, 100,000 and 1,000,000 items, with the full softmax and with 4,096 sampled items; each in a process
of its own. A case that would hold more than `MOST_MEMORY` is left out, and its line says so.

Numbers of one run can be compared with each other; the machine's state decides about their size.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.options import SAMPLED_ITEMS

ITEMS, BATCH, LONGEST = 12_101, 128, 50
WARM_UP, STEPS = 5, 40
HISTORIES, CATALOGUES = (50, 200, 1000), (10_000, 100_000, 1_000_000)
#: Bytes; 12 GB are what a training may take.
MOST_MEMORY = 12e9
#: Float32 arrays [decisions, items] that a step of the full softmax holds: most are the 24 hidden units of the head and
#: their gradients.
_ARRAYS = 60


def sequences(batches: int, seed: int = 0) -> np.ndarray:
    """Int32 [batches, BATCH, LONGEST + 1], rows of items from 1, right-aligned, 0 for none; lengths like Beauty's."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(3 + rng.geometric(0.25, [batches, BATCH]), 3, LONGEST + 1)
    popular = 1 + np.minimum(rng.pareto(1.2, [batches, BATCH, LONGEST + 1]) * ITEMS / 50, ITEMS - 1)
    return np.where(np.arange(LONGEST, -1, -1) < lengths[:, :, np.newaxis], popular, 0).astype(np.int32)


def compare_sasrec(torch_python: str, rounds: int) -> list[dict[str, Any]]:
    """The lines of `sasrec`."""
    here = pathlib.Path(__file__)
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/sequences.npy"
        np.save(file, sequences(WARM_UP + STEPS))
        for _ in range(rounds):
            for name, command in (
                ("pytorch", [torch_python, str(here.with_name("torch_sasrec.py")), file]),
                ("sasrec", [sys.executable, "-m", "benchmarks.training_case", "sasrec", file]),
            ):
                lines.append({"benchmark": "sasrec", "model": name, **_run([*command, str(WARM_UP)])})
    speed = {
        name: statistics.median(line["sequences_per_second"] for line in lines if line["model"] == name)
        for name in ("pytorch", "sasrec")
    }
    peak = {name: max(line["peak_mb"] for line in lines if line["model"] == name) for name in speed}
    ratios = {"speed_ratio": speed["sasrec"] / speed["pytorch"], "memory_ratio": peak["sasrec"] / peak["pytorch"]}
    return [
        *lines,
        {"benchmark": "sasrec", "model": "sasrec by pytorch", **{k: round(v, 3) for k, v in ratios.items()}},
    ]


def growth() -> list[dict[str, Any]]:
    """The lines of `growth`."""
    cases = [(history, CATALOGUES[0], 0) for history in HISTORIES]
    cases += [(HISTORIES[0], items, sampled) for items in CATALOGUES for sampled in (0, SAMPLED_ITEMS)]
    lines = []
    for history, items, sampled in dict.fromkeys(cases):
        line: dict[str, Any] = {"benchmark": "growth", "history": history, "items": items, "sampled_items": sampled}
        held = 0 if sampled else _ARRAYS * 4 * BATCH * items
        if held > MOST_MEMORY:
            lines.append({**line, "left_out": f"the softmax alone would hold {held / 1e9:.0f} GB"})
            continue
        case = [
            sys.executable,
            "-m",
            "benchmarks.training_case",
            "slice_ranker",
            str(history),
            str(items),
            str(sampled),
        ]
        lines.append({**line, **_run(case)})
    return lines


def plot(lines: Sequence[dict[str, Any]], out: str) -> None:
    """Draws the lines of `growth`: time and memory by history, and by catalogue with and without sampling."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(9, 6), layout="constrained")
    measured = [line for line in lines if "step_ms" in line]
    for row, (key, label) in enumerate((("step_ms", "milliseconds a step"), ("peak_mb", "peak memory, MB"))):
        by_history, by_items = (figure.add_subplot(2, 2, 2 * row + place) for place in (1, 2))
        points = [line for line in measured if line["items"] == CATALOGUES[0] and not line["sampled_items"]]
        by_history.plot([line["history"] for line in points], [line[key] for line in points], "o-")
        by_history.set(
            xlabel=f"events of the history ({CATALOGUES[0]:,} items)", ylabel=label, xscale="log", ylim=(0, None)
        )
        by_history.set_xticks(HISTORIES, [f"{events:,}" for events in HISTORIES], minor=False)
        for sampled, name in ((0, "full softmax"), (SAMPLED_ITEMS, f"{SAMPLED_ITEMS:,} sampled")):
            points = [line for line in measured if line["history"] == HISTORIES[0] and line["sampled_items"] == sampled]
            by_items.plot([line["items"] for line in points], [line[key] for line in points], "o-", label=name)
        by_items.set(xlabel=f"items ({HISTORIES[0]} events)", ylabel=label, xscale="log", yscale="log")
        by_items.set_xticks(CATALOGUES, [f"{items:,}" for items in CATALOGUES])
        by_items.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        by_items.yaxis.set_major_formatter("{x:,.0f}")
        by_items.yaxis.set_minor_formatter(NullFormatter())
        by_items.legend()
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # letters stay letters
        figure.savefig(out)


def _run(command: list[str]) -> dict[str, Any]:
    """What a process prints as JSON on its last line.

    Raises:
      RuntimeError: if it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(f"{' '.join(command[:3])} ended with exit code {done.returncode}: {said}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description="What training costs.")
    commands = parser.add_subparsers(dest="command", required=True)
    sasrec = commands.add_parser("sasrec", help="SASRec here and in plain PyTorch")
    sasrec.add_argument("--torch", required=True, metavar="PYTHON", help="a Python with torch and numpy")
    sasrec.add_argument("--rounds", type=int, default=3, help="runs of each, by turns")
    growing = commands.add_parser("growth", help="slice_ranker as histories and catalogues grow")
    growing.add_argument("--plot", metavar="OUT.svg", help="draw it too")
    options = parser.parse_args(arguments)
    try:
        lines = compare_sasrec(options.torch, options.rounds) if options.command == "sasrec" else growth()
    except (RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in lines:
        print(json.dumps(line))
    if options.command == "growth" and options.plot:
        plot(lines, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
