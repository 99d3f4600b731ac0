"""The commands, from files to what is printed."""

import json

import pytest
import yaml
from scipy import stats

from serving.experiment import __main__ as command
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.exposure_log import ExposureLog
from serving.experiment.outcome import Outcome
from serving.experiment.outcome_log import OutcomeLog
from serving.experiment.report import sample_ratio

CONFIG = {
    "name": "e",
    "salt": "s",
    "start": "2024-06-03",
    "control": "old",
    "arms": [
        {"name": "old", "model": "ranker", "share": 0.5, "version": 3},
        {"name": "new", "model": "ranker", "share": 0.5, "version": 4},
    ],
    "holdout": {"share": 0.1},
    "analysis": {"planned_users": 600, "least_users": 100, "least_days": 2},
}
USERS, HOURS = 700, 72


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Logs of 700 users, every second of whom buys in the new arm, every fifth elsewhere; the last line is torn."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "e.yaml").write_text(yaml.safe_dump(CONFIG))
    experiment = Experiment.read(folder / "e.yaml")
    exposures, outcomes = ExposureLog(folder / "exposures"), OutcomeLog(folder / "outcomes")
    policy = []
    for number in range(USERS):
        user, time = f"u{number}", experiment.start_time + number * HOURS * 3600 / USERS
        arm = experiment.arm(user, time=time)
        items = ("x", "y") if number % 4 else ("y", "x")
        chance = 0.75 if number % 4 else 0.25
        exposures.write(Exposure(time, "e", arm.name, user, f"r{number}", items, (chance, chance), ("a", "b")))
        policy.append({"request_id": f"r{number}", "item_ids": ["y", "x"]})
        if number % 3 == 0:
            outcomes.write(Outcome(time + 5, "click", request_id=f"r{number}", item_id="y"))
        if number % 10 < (5 if arm.name == "new" else 2):
            outcomes.write(Outcome(time + 60, "purchase", user, revenue=4.0))
    # Interleaved answers are an experiment of their own; the same lines serve here under another name.
    plain = ExposureLog(folder / "plain")
    for file in sorted((folder / "exposures").iterdir()):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            del record["teams"]
            plain.write(
                Exposure(
                    **{**record, "item_ids": tuple(record["item_ids"]), "propensities": tuple(record["propensities"])}
                )
            )
    last = max((folder / "outcomes").iterdir())
    with last.open("a") as log:
        log.write('{"time":17173')
    (folder / "policy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in policy))
    return folder


def run(capsys, *arguments):
    status = command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def logs(files, exposures="plain"):
    return "--config", files / "e.yaml", "--exposures", files / exposures, "--outcomes", files / "outcomes"


def test_the_report_as_json(files, capsys):
    status, out, err = run(capsys, "report", *logs(files), "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found["experiment"] == "e" and found["days"] == pytest.approx(3, abs=0.01)
    users = {name: arm["ctr"]["users"] for name, arm in found["arms"].items()}
    assert sum(users.values()) == USERS and set(users) == {"old", "new", "holdout"}
    ratio = found["sample_ratio"]
    assert ratio["observed"] == {name: users[name] for name in ("old", "new")}
    assert ratio["p_value"] == pytest.approx(stats.chisquare([users["old"], users["new"]]).pvalue)
    assert found["arms"]["new"]["conversion"]["value"] == pytest.approx(0.5, abs=0.05)
    assert found["differences"]["new"]["conversion"]["sequential_p_value"] < 0.001
    assert found["differences"]["new"]["ctr"]["sequential_p_value"] > 0.05
    (decision,) = found["decisions"]
    assert (decision["arm"], decision["action"]) == ("new", "promote")
    assert [note for note in found["notes"] if "torn" in note] == [
        f"{max((files / 'outcomes').iterdir())}: the last line is torn and passed over."
    ]


def test_the_report_as_text_and_until(files, capsys):
    status, out, _ = run(capsys, "report", *logs(files), "--until", "2024-06-04T06:00:00Z")
    assert status == 0
    assert "Experiment e, 1.2 days" in out and "Sample ratio: as the shares say" in out
    rows = {tuple(line.split()[:2]) for line in out.splitlines()}
    assert {("new", "ctr"), ("new", "conversion"), ("new", "revenue_per_user")} <= rows
    assert "new: wait; conversion of new is good enough" in out and "only 1.2 days are over" in out
    assert "exposures before `start` or not before `until`" in out


def test_the_report_on_interleaved_answers(files, capsys):
    _, out, _ = run(capsys, "report", *logs(files, "exposures"), "--interleaving", "--json")
    found = json.loads(out)
    # Every third user clicks y, which is in the second place, of b, for three out of four.
    assert (found["users"], found["for_a"] + found["for_b"]) == (USERS, 234)
    assert found["for_a"] == len([number for number in range(0, USERS, 3) if number % 4 == 0])
    status, out, _ = run(capsys, "report", *logs(files, "exposures"), "--interleaving")
    assert status == 0 and f"{found['for_b']} for b (treatment)" in out
    _, out, _ = run(capsys, "report", *logs(files, "exposures"), "--json")
    assert json.loads(out)["arms"] == {}
    assert f"Not counted: {USERS} exposures with two rankers interleaved." in json.loads(out)["notes"]


def test_experiments_that_nobody_or_one_user_has_met(tmp_path, capsys):
    arms = [{"name": "[red]old", "model": "ranker", "share": 0.5}, {"name": "new", "model": "ranker", "share": 0.5}]
    config = {**CONFIG, "control": "[red]old", "arms": arms, "holdout": {}}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(config))
    exposures, _ = ExposureLog(tmp_path / "plain"), OutcomeLog(tmp_path / "outcomes")
    status, out, _ = run(capsys, "report", *logs(tmp_path))
    assert status == 0 and "new: wait; [red]old has 0 users; expected at least 100." in out
    assert "Sample ratio: too few users to say." in out and "plain: holds no .jsonl file yet." in out
    status, out, _ = run(capsys, "report", *logs(tmp_path), "--json")
    found = json.loads(out)
    assert (found["arms"], found["differences"], found["days"]) == ({}, {}, 0)
    status, out, _ = run(capsys, "report", *logs(tmp_path), "--interleaving")
    assert status == 0 and "0 answers to 0 users" in out and "(no variance)" in out
    (tmp_path / "policy.jsonl").write_text('{"request_id": "r", "item_ids": ["x"]}\n')
    off_policy = ("off_policy", *logs(tmp_path), "--policy", tmp_path / "policy.jsonl")
    status, out, err = run(capsys, *off_policy)
    assert (status, out) == (1, "") and err.startswith("error: no exposure of e has propensities")
    exposures.write(Exposure(1717372800.0, "e", "[red]old", "u", "r", ("x",), (0.5,)))
    status, out, _ = run(capsys, "report", *logs(tmp_path))
    assert status == 0 and "0 (no variance)" in out and "[red]old has 1 user; expected at least 100." in out
    status, out, _ = run(capsys, *off_policy)
    assert status == 0 and "(no variance)" in out and "nan" not in out


def test_off_policy(files, capsys):
    arguments = (*logs(files), "--policy", files / "policy.jsonl")
    _, out, _ = run(capsys, "off_policy", *arguments, "--json")
    found = json.loads(out)
    # Of 175 answers that show y first, with propensity .25, every third is clicked.
    assert found["answers"] == USERS and found["mean_weight"] == [1.0]
    assert found["ips"]["value"] == pytest.approx(59 * 4 / USERS)
    assert found["effective_sample_size"] == [175]
    status, out, _ = run(capsys, "off_policy", *arguments, "--positions", 2, "--clip", 3)
    assert status == 0 and "clipped 25.00%" in out and "doubly robust" not in out


def test_power_and_simulate(capsys):
    _, out, _ = run(capsys, "power", "--baseline", 0.05, "--lift", 0.1, "--power", 0.8, "--json")
    assert json.loads(out)["control"] == 31218
    _, out, _ = run(capsys, "power", "--baseline", 0.05, "--lift", 0.1)
    assert "31,218 users of control, 31,218 of the treatment" in out
    _, out, _ = run(capsys, "simulate", "--runs", 20, "--days", 4, "--lift", 0.6)
    found = json.loads(out)
    assert (found["runs"], found["days"], found["computed_power"]) == (20, 4, 0.8)
    assert found["effect"]["conversion"]["fixed"] >= 10 > found["no_effect"]["conversion"]["sequential"]
    assert found["effect_longer"]["users"] > 1.8 * found["effect"]["users"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--config": "none.yaml"}, "none.yaml: cannot be read"),
        ({"--exposures": "none"}, "none: is not there"),
        ({"--until": "soon"}, "--until: 'soon' is no time"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(files, capsys, change, message):
    given = dict(zip(logs(files)[::2], logs(files)[1::2], strict=True))
    status, out, err = run(capsys, "report", *(part for pair in {**given, **change}.items() for part in pair))
    assert (status, out) == (1, "") and err.startswith("error: ") and message in err and err.count("\n") == 1


def test_simulate_needs_runs_and_users(capsys):
    assert run(capsys, "simulate", "--runs", 0) == (1, "", "error: --runs is 0; expected at least 1.\n")
    assert run(capsys, "simulate", "--seed", -1) == (1, "", "error: --seed is -1; expected at least 0.\n")
    status, _, err = run(capsys, "simulate", "--lift", 2.0)
    assert status == 1 and "each arm of the simulation has 22 users; expected at least 100" in err


def test_the_sample_ratio_is_scipys_chi_square():
    found = sample_ratio({"a": 0.8, "b": 0.2, "gone": 0.0}, {"a": 8000, "b": 2150, "gone": 7})
    assert found.expected == pytest.approx({"a": 8120, "b": 2030})
    assert found.p_value == pytest.approx(stats.chisquare([8000, 2150], [8120, 2030]).pvalue)
    assert not found.alarm
    assert sample_ratio({"a": 0.5, "b": 0.5}, {"a": 1000, "b": 1200}).alarm
    assert sample_ratio({"a": 0.99, "b": 0.01}, {"a": 300, "b": 20}).p_value is None
