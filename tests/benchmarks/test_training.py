"""The cost of training: what is compared is alike, and each case says what it measured."""

import json
import stat

import numpy as np
import pytest

from benchmarks import training, training_case


def test_sequences_are_right_aligned_and_of_the_catalogue():
    made = training.sequences(3)
    assert made.shape == (3, training.BATCH, training.LONGEST + 1)
    lengths = (made > 0).sum(2)
    assert lengths.min() >= 3 and made.max() <= training.ITEMS and (made[:, :, -1] > 0).all()
    places = np.arange(training.LONGEST, -1, -1)
    assert ((made > 0) == (places < lengths[:, :, np.newaxis])).all()
    assert np.array_equal(made, training.sequences(3)) and 6 < lengths.mean() < 8.9  # Beauty: 8.9 with what is held out


def test_sasrec_is_asked_for_as_many_targets_as_the_other(tmp_path, monkeypatch):
    """Of n events n - 1 are to be found: both sides' losses are means over the same targets."""
    monkeypatch.setattr(training, "ITEMS", 30)
    rows = np.zeros([2, 3, 6], np.int32)
    rows[:, :, 1:] = np.random.default_rng(0).integers(1, 31, [2, 3, 5])
    rows[:, 0, 1:3] = 0
    np.save(tmp_path / "sequences.npy", rows)
    seen = []
    fit = training_case.fit

    def watched(model, batches, steps, warm_up):
        batches = list(batches)
        seen.extend(batches)
        return fit(model, batches, steps, warm_up)

    monkeypatch.setattr(training_case, "fit", watched)
    found = training_case.sasrec(str(tmp_path / "sequences.npy"), 1)
    assert found["sequences_per_second"] > 0 and found["peak_mb"] > 100 and np.isfinite(found["loss"])
    (inputs, labels), _ = seen
    history, target = (inputs[name].numpy() - 1 for name in ("history_items_xf", "candidate_items_xf"))
    assert history[1].tolist() == rows[0, 1, 1:-1].tolist() and target[:, 0].tolist() == rows[0, :, -1].tolist()
    assert history[0].tolist() == [*rows[0, 0, 3:-1], -1, -1]  # padding is 0 as an id
    assert labels.shape == [3, 1]


@pytest.mark.parametrize("sampled", [pytest.param(0, marks=pytest.mark.long), 7])
def test_the_flagship_takes_a_step(sampled):
    found = training_case.slice_ranker(history=3, items=40, sampled=sampled, warm_up=1, steps=1)
    assert found["step_ms"] > 0 and np.isfinite(found["loss"])


def test_models_take_turns_and_the_last_line_has_the_ratio(monkeypatch):
    asked = []

    def run(command):
        asked.append("torch" if command[0] == "/some/python" else "zoo")
        return {"sequences_per_second": 100.0 if asked[-1] == "torch" else 150.0, "peak_mb": 400 + len(asked)}

    monkeypatch.setattr(training, "_run", run)
    lines = training.compare_sasrec("/some/python", 2)
    assert asked == ["torch", "zoo"] * 2
    assert [line["model"] for line in lines] == ["pytorch", "sasrec", "pytorch", "sasrec", "sasrec by pytorch"]
    assert lines[-1]["speed_ratio"] == 1.5 and lines[-1]["memory_ratio"] == pytest.approx(404 / 403, abs=1e-3)


def test_growth_leaves_out_what_no_machine_of_its_size_holds_and_draws_the_rest(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(training, "_run", lambda command: {"step_ms": float(command[-2]) / 100, "peak_mb": 500})
    assert training.main(["growth", "--plot", str(tmp_path / "out.svg")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    cases = [(line["history"], line["items"], line["sampled_items"]) for line in lines]
    assert len(set(cases)) == len(cases) == 8
    left_out = [line for line in lines if "left_out" in line]
    assert [(line["items"], line["sampled_items"]) for line in left_out] == [(1_000_000, 0)]
    assert (tmp_path / "out.svg").read_text().count("</svg>") == 1


def test_a_process_that_fails_is_named(tmp_path, capsys):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no torch here >&2\nexit 3\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    assert training.main(["sasrec", "--torch", str(python)]) == 1
    assert "ended with exit code 3: no torch here" in capsys.readouterr().err
