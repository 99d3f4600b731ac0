"""Who takes part in which arm, and what a configuration may say."""

import dataclasses
import hashlib
import importlib.resources
import subprocess
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
import yaml
from hypothesis import given
from scipy import stats

from serving.experiment import assignment
from serving.experiment.arm import Arm
from serving.experiment.errors import ExperimentError
from serving.experiment.experiment import Experiment
from serving.experiment.holdout import HOLDOUT, Holdout
from serving.experiment.power import users_needed

EXAMPLE = importlib.resources.files("configs") / "serving" / "experiment.yaml"
USERS = [f"user-{number}" for number in range(20_000)]


def build(*shares, salt="s", **more):
    """Control with what is left, and treatments t0, t1, ... with these shares."""
    treatments = [Arm(f"t{number}", "ranker", share) for number, share in enumerate(shares)]
    return Experiment("e", salt, "c", (Arm("c", "ranker", 1 - sum(shares)), *treatments), "2024-06-03", **more)


def assigned(experiment, users=USERS):
    return np.array([experiment.arm(user).name for user in users])


def test_a_position_is_the_documented_hash():
    bits = bin(int(hashlib.sha256("salt\0ü1".encode()).hexdigest(), 16))[2:].zfill(256)[:53]
    assert assignment.position("salt", "ü1") == sum(int(bit) / 2 ** (place + 1) for place, bit in enumerate(bits))
    assert assignment.position("salt", "\ud800") == assignment.position("salt", "\ud800")  # half a surrogate pair


def test_positions_are_uniform_and_independent_between_salts():
    positions = np.array([[assignment.position(f"salt-{salt}", user) for user in USERS[:1000]] for salt in range(200)])
    # Of uniform numbers, p-values are uniform too.
    uniform = [stats.kstest(row, "uniform").pvalue for row in positions]
    cells = (positions[:-1] * 5).astype(int) * 5 + (positions[1:] * 5).astype(int)
    independent = [stats.chisquare(np.bincount(row, minlength=25)).pvalue for row in cells]
    for p_values in (uniform, independent):
        assert stats.kstest(p_values, "uniform").pvalue > 0.01
        assert np.mean(np.array(p_values) < 0.05) < 0.1


def test_arms_are_balanced_by_their_shares_and_experiments_independent():
    first, second = build(0.2, 0.1, 0.15), build(0.3, salt="other")
    names = assigned(first)
    observed = [(names == name).sum() for name in ("c", "t0", "t1", "t2")]
    assert stats.chisquare(observed, np.array([0.55, 0.2, 0.1, 0.15]) * len(USERS)).pvalue > 0.01
    table = [[((names == a) & (assigned(second) == b)).sum() for b in ("c", "t0")] for a in ("c", "t0", "t1", "t2")]
    assert stats.chi2_contingency(table).pvalue > 0.01


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_who_is_in_a_treatment_stays_in_it_while_shares_grow(draws):
    number = len(draws)
    small = [min(pair) / number for pair in draws]
    large = [max(pair) / number for pair in draws]
    before, after = (assigned(build(*shares), USERS[:500]) for shares in (small, large))
    treated = before != "c"
    assert (after[treated] == before[treated]).all()
    # One that shrinks gives users to control alone.
    back = assigned(build(*[large[0], *small[1:]]), USERS[:500])
    moved = back != after
    assert set(back[moved]) <= {"c"}


def test_one_treatment_grows_to_all_and_two_to_any_split():
    canary = [set(np.array(USERS)[assigned(build(share)) == "t0"]) for share in (0.05, 0.2, 1.0)]
    assert canary[0] < canary[1] < canary[2] == set(USERS)
    assert (assigned(build(0.9, 0.1)) != "c").all()
    with pytest.raises(ValueError, match=r"shares of 't2', of 3 treatments, sum to 0\.4; expected at most 0\.3333,"):
        build(0.1, 0.1, 0.4)
    with pytest.raises(ValueError, match=r"shares of 't0' and 't1', of 3 .* sum to 0\.7; expected at most 0\.6667,"):
        build(0.3, 0.4, 0.1)


def test_a_second_treatment_moves_nobody_and_a_third_does():
    one, two, three = (assigned(build(*shares)) for shares in ((0.3,), (0.3, 0.2), (0.3, 0.2, 0.1)))
    assert (two[one == "t0"] == "t0").all() and (three[two == "t0"] == "t0").all()
    assert (three[two == "t1"] != "t1").any()


def test_visitors_are_known_by_their_session_or_get_control():
    experiment = build(1.0)
    assert experiment.arm("", "session").name == experiment.arm("session").name == "t0"
    assert experiment.arm("user", "another").name == experiment.arm("user", "session").name
    assert experiment.arm("").name == experiment.arm("", "").name == "c"


def test_before_the_start_everybody_has_control():
    experiment = build(1.0)
    assert experiment.arm("u", time=experiment.start_time - 1) is experiment.control_arm
    assert experiment.arm("u", time=experiment.start_time).name == "t0"


def test_the_holdout_is_asked_as_control_and_moves_nobody_else():
    plain, held = build(0.3), build(0.3, holdout=Holdout(0.1))
    before, after = assigned(plain), assigned(held)
    out = after == HOLDOUT
    assert stats.binomtest(int(out.sum()), len(USERS), 0.1).pvalue > 0.01
    assert (before[~out] == after[~out]).all()
    table = [[(one & (before == name)).sum() for name in ("c", "t0")] for one in (out, ~out)]
    assert stats.chi2_contingency(table).pvalue > 0.01
    arm = next(held.arm(user) for user in USERS if held.arm(user).name == HOLDOUT)
    assert dataclasses.replace(arm, name="c", share=0.7) == held.control_arm
    shared = [assigned(build(0.3, salt=salt, holdout=Holdout(0.1, "shop"))) == HOLDOUT for salt in ("x", "y")]
    assert (shared[0] == shared[1]).all()


def test_the_example_is_whole_and_holds_what_it_says():
    experiment = Experiment.read(EXAMPLE)
    assert [(arm.name, arm.label) for arm in experiment.arms] == [("stable", "stable"), ("canary", "canary")]
    assert experiment.start_time == 1717372800
    needed = users_needed(0.05, 0.1, share=0.2).sequential_planned_users
    assert needed <= experiment.analysis.planned_users < needed * 1.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 3}, "unknown key `seed`; expected one of analysis, arms, control, holdout, name, salt, start"),
        ({"analysis": {"aplha": 0.1}}, "unknown key `analysis.aplha`"),
        ({"analysis": {"alpha": 2}}, "`analysis.alpha` is 2; expected a number from 1e-06 to 0.5"),
        ({"analysis": {"primary": "sales"}}, "`analysis.primary` is 'sales'; expected one of ctr, conversion, revenue"),
        ({"analysis": {"guardrails": {"sales": 0.1}}}, "`analysis.guardrails` names 'sales'"),
        (
            {"analysis": {"guardrails": {"ctr": 1.1}}},
            "`analysis.guardrails.ctr` is 1.1; expected a number from 0 to 0.99",
        ),
        ({"analysis": {"guardrails": {"conversion": 0.1}}}, "names conversion, the primary metric"),
        ({"arms": [{"name": "stable", "model": "m"}]}, "`arms\\[0\\].share` is missing"),
        (
            {"arms": [{"name": "stable", "model": "m", "share": "all"}]},
            "`arms\\[0\\].share` is 'all'; expected a number",
        ),
        ({"arms": [{"name": "stable", "model": "m", "share": 0.9}]}, "the shares of `arms` sum to 0.9; expected 1"),
        ({"arms": {"stable": 1}}, "`arms` is .*; expected a list"),
        ({"arms": [{"name": "stable", "model": "m", "share": 1, "label": "x", "version": 7}]}, "expected one of them"),
        (
            {"arms": [{"name": "stable", "model": "m", "share": 0.5}] * 2},
            "`arms` names 'stable' 2 times; expected once",
        ),
        ({"control": "old"}, "`control` is 'old'; expected one of the arms \\(stable, canary\\)"),
        ({"start": "soon"}, "`start`: 'soon' is no time; expected one such as 2024-06-03T08:00:00Z"),
        ({"salt": ""}, "expected a text for each"),
        ({"salt": None}, "`salt` is None; expected a text"),
        ({"holdout": {"share": 0.1, "salt": "affinity-1"}}, "`holdout.salt` is 'affinity-1', which `salt` is too"),
        ({"holdout": {"share": -0.1}}, "`holdout.share` is -0.1; expected a number from 0 to 1"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_that_names_file_and_key(tmp_path, change, message):
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(EXAMPLE.read_text()), **change}))
    with pytest.raises(ExperimentError, match=message) as caught:
        Experiment.read(file)
    assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def test_what_is_no_configuration_at_all(tmp_path):
    with pytest.raises(ExperimentError, match=r"none\.yaml: cannot be read"):
        Experiment.read(tmp_path / "none.yaml")
    for text, message in (("a: [", "is not valid YAML in line 1"), ("- a", "holds list; expected a mapping")):
        (tmp_path / "e.yaml").write_text(text)
        with pytest.raises(ExperimentError, match=message):
            Experiment.read(tmp_path / "e.yaml")


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (
            ("experiment", "exposure_log", "outcome_log", "interleaving"),
            {"tensorflow", "pandas", "statsmodels", "scipy"},
        ),
        (("__main__", "decision"), {"tensorflow"}),
    ],
)
def test_who_asks_and_logs_needs_no_pandas_and_who_reports_no_tensorflow(modules, heavy):
    imports = ", ".join(f"serving.experiment.{module}" for module in modules)
    code = f"import sys, {imports}; print(sorted(set({sorted(heavy)!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
