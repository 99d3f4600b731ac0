"""Logs: written by many at once, torn, by day, and as tables."""

import gzip
import json
import subprocess
import sys

import pandas as pd
import pytest

from serving.experiment.errors import ExperimentError
from serving.experiment.exposure import Exposure
from serving.experiment.exposure_log import ExposureLog
from serving.experiment.log_reader import LogReader
from serving.experiment.outcome import Outcome
from serving.experiment.outcome_log import OutcomeLog

EXPOSURE = Exposure(1717459199.5, "affinity", "canary", "ü7", "r1", ("a", "茶"), (0.5, 0.25), ("a", ""))
#: Two threads write 40 lines each of 6,000 characters and more, in pieces of at most 1,000, as a full disk or a signal
#: may cut them; the process says that it is ready and waits for the others.
WRITER = """
import os, sys, threading
from serving.experiment.exposure import Exposure
from serving.experiment.exposure_log import ExposureLog
log = ExposureLog(sys.argv[1])
whole = os.write
os.write = lambda descriptor, line: whole(descriptor, line[:1000])
print("ready", flush=True)
sys.stdin.readline()
def write(thread):
    for number in range(40):
        log.write(Exposure(0.0, "e", "a", "u", f"{sys.argv[2]}-{thread}-{number}", ("item" * 15,) * 100))
threads = [threading.Thread(target=write, args=(thread,)) for thread in range(2)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
"""


def test_what_is_written_is_read_by_day(tmp_path):
    log = ExposureLog(tmp_path / "log")
    later = Exposure(1717459200.0, "affinity", "stable", "u8", "r2")
    assert log.write(EXPOSURE) and log.write(later)
    assert not log.write(Exposure(1717459200.0, "affinity", "stable", "", "r3"))
    assert sorted(file.name for file in log_files(tmp_path)) == ["2024-06-03.jsonl", "2024-06-04.jsonl"]
    reader = LogReader(tmp_path / "log", Exposure)
    assert list(reader) == [EXPOSURE, later] == list(reader)
    assert reader.notes == []
    assert set(json.loads((tmp_path / "log" / "2024-06-04.jsonl").read_text())) == {
        "time", "experiment", "arm", "user_id", "request_id"
    }  # fmt: skip


def log_files(folder):
    return list((folder / "log").iterdir())


def test_processes_and_threads_do_not_mix_their_lines(tmp_path):
    folder = tmp_path / "log"
    command = [sys.executable, "-c", WRITER, str(folder)]
    writers = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    reader = LogReader(folder, Exposure)
    found = [one.request_id for one in reader]
    expected = {f"{process}-{thread}-{number}" for process in range(3) for thread in range(2) for number in range(40)}
    assert len(found) == len(expected) and set(found) == expected and reader.notes == []
    # Each thread's own lines are in its order.
    assert [one for one in found if one.startswith("0-0-")] == [f"0-0-{number}" for number in range(40)]


def test_a_torn_last_line_is_passed_over_and_said(tmp_path):
    OutcomeLog(tmp_path).write(Outcome(0.0, "click", "u", "r", "i"))
    file = tmp_path / "1970-01-01.jsonl"
    with file.open("ab") as log:
        log.write(b'{"time":1.0,"kind":"cl')
    reader = LogReader(tmp_path, Outcome)
    assert [one.time for one in reader] == [0.0]
    assert reader.notes == [f"{file}: the last line is torn and passed over."]
    # The next writer loses nothing of its own.
    OutcomeLog(tmp_path).write(Outcome(2.0, "purchase", "u", revenue=9.5))
    assert [one.time for one in reader] == [0.0, 2.0]
    assert reader.notes == [f"{file}: line 2 is torn and passed over."]


def test_a_last_line_that_lacks_its_end_alone_counts(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"time": "2024-06-03T00:00:00Z", "kind": "click", "user_id": 17}')
    assert list(LogReader(tmp_path / "log.jsonl", Outcome)) == [Outcome(1717372800.0, "click", "17")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "click", "user_id": "u"}', "`time` is missing"),
        ('{"time": true, "kind": "click", "user_id": "u"}', "`time` holds True; expected a number"),
        ('{"time": "yesterday", "kind": "click", "user_id": "u"}', "'yesterday' is no time"),
        ('{"time": NaN, "kind": "click", "user_id": "u"}', "`time` is nan"),
        (
            '{"time": 1717459199500, "kind": "click", "user_id": "u"}',
            "`time` is 1717459199500.0; expected seconds",
        ),
        ('{"time": -1, "kind": "click", "user_id": "u"}', "`time` is -1.0; expected seconds since 1970"),
        ('{"time": 1, "kind": "click", "user_id": "u", "revenue": 5}', "`revenue` is 5.0 of a click; expected it of a"),
        ('{"time": 1, "kind": "view", "user_id": "u"}', "`kind` is 'view'; expected click or purchase"),
        ('{"time": 1, "kind": "click"}', "`user_id` and `request_id` are empty"),
        ('{"time": 1, "kind": "click", "user_id": 1.5}', "`user_id` holds 1.5; expected a text"),
        ('{"time": 1, "kind": "purchase", "user_id": "u", "revenue": -2}', "`revenue` is -2.0; expected an amount"),
        (f'{{"time": 1{"0" * 400}, "kind": "click", "user_id": "u"}}', "`time` is too large a number"),
        ("[1]", "holds \\[1\\]; expected a JSON object"),
    ],
)
def test_a_line_that_is_no_record_is_an_error_that_names_it(tmp_path, line, message):
    file = tmp_path / "o.jsonl"
    file.write_text('{"time": 1, "kind": "click", "user_id": "u", "page": "passed over"}\n' + line + "\n")
    with pytest.raises(ExperimentError, match=f"o.jsonl: line 2:? {message}"):
        list(LogReader(file, Outcome))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"propensities": (0.5,)}, "`propensities` has 1 values for 2 items; expected one each"),
        ({"propensities": (0.5, 0.0)}, "`propensities` holds 0.0; expected above 0 and at most 1"),
        ({"teams": ("a", "c")}, "`teams` holds 'c'; expected a, b or nothing"),
        ({"time": 1717459199500.0}, "`time` is 1717459199500.0; expected seconds since 1970-01-01 UTC"),
        ({"request_id": ""}, "`request_id` is empty"),
    ],
)
def test_an_exposure_that_does_not_fit_together(more, message):
    values = {"time": 0.0, "experiment": "e", "arm": "a", "user_id": "u", "request_id": "r", "item_ids": ("x", "y")}
    with pytest.raises(ValueError, match=message):
        Exposure(**{**values, **more})


def test_tables_say_the_same_as_a_log(tmp_path):
    expected = [
        Outcome(1717372800.0, "click", request_id="r1", item_id="7"),
        Outcome(5.0, "purchase", "u", revenue=2.5),
    ]
    text = "time,kind,user_id,request_id,item_id,revenue\n2024-06-03 00:00:00,click,,r1,7,\n5,purchase,u,,,2.5\n"
    (tmp_path / "o.csv").write_text(text)
    (tmp_path / "o.csv.gz").write_bytes(gzip.compress(text.encode()))
    table = pd.DataFrame(
        {
            "time": pd.to_datetime([1717372800, 5], unit="s"),
            "kind": ["click", "purchase"],
            "user_id": [None, "u"],
            "request_id": ["r1", None],
            "item_id": ["7", None],
            "revenue": [float("nan"), 2.5],
        }
    )
    table.to_parquet(tmp_path / "o.parquet")
    for name in ("o.csv", "o.csv.gz", "o.parquet"):
        assert list(LogReader(tmp_path / name, Outcome)) == expected
    shown = pd.DataFrame(
        [{"time": 0.0, "experiment": "e", "arm": "a", "user_id": 3, "request_id": "r", "item_ids": ["x", "y"]}]
    )
    shown.to_parquet(tmp_path / "e.parquet")
    assert list(LogReader(tmp_path / "e.parquet", Exposure)) == [Exposure(0.0, "e", "a", "3", "r", ("x", "y"))]


def test_tables_of_pandas_own_types_and_empty_cells(tmp_path):
    table = pd.DataFrame(
        {
            "time": pd.array([1, 2], dtype="Int64"),
            "kind": pd.array(["click", "purchase"], dtype="string"),
            "user_id": pd.array([7, pd.NA], dtype="Int64"),
            "request_id": pd.array([pd.NA, "r"], dtype="string"),
            "revenue": pd.array([pd.NA, 2.5], dtype="Float64"),
        }
    )
    table.to_parquet(tmp_path / "o.parquet")
    expected = [Outcome(1.0, "click", "7"), Outcome(2.0, "purchase", "", "r", revenue=2.5)]
    assert list(LogReader(tmp_path / "o.parquet", Outcome)) == expected


def test_what_a_record_has_no_field_for_is_said_once(tmp_path):
    for day in ("2024-06-03", "2024-06-04"):
        (tmp_path / f"{day}.jsonl").write_text('{"time": 1, "kind": "click", "user_id": "u", "page": 1, "revenu": 2}\n')
    reader = LogReader(tmp_path, Outcome)
    assert len(list(reader)) == 2
    assert reader.notes == [f"{tmp_path}: `page`, `revenu` passed over; Outcome has no such field."]
    (tmp_path / "o.csv").write_text("time,kind,user_id,userid\n1,click,u,v\n")
    reader = LogReader(tmp_path / "o.csv", Outcome)
    assert len(list(reader)) == 1 and reader.notes[0].endswith(
        "o.csv: `userid` passed over; Outcome has no such field."
    )


def test_of_many_torn_lines_a_few_are_named(tmp_path):
    lines = ['{"time": 1, "kind": "click", "user_id": "u"}', *['{"time"'] * 1207]
    (tmp_path / "o.jsonl").write_text("\n".join(lines))
    reader = LogReader(tmp_path / "o.jsonl", Outcome)
    assert len(list(reader)) == 1
    assert reader.notes == [f"{tmp_path / 'o.jsonl'}: lines 2, 3, 4, 5, 6 and 1,202 more are torn and passed over."]


def test_what_is_no_log_at_all(tmp_path):
    with pytest.raises(ExperimentError, match="nothing: is not there; expected a folder"):
        LogReader(tmp_path / "nothing", Outcome)
    reader = LogReader(tmp_path, Outcome)
    assert list(reader) == [] and reader.notes == [f"{tmp_path}: holds no .jsonl file yet."]
    (tmp_path / "o.txt").write_text("time,kind\n1,click\n")
    with pytest.raises(ExperimentError, match=r"o\.txt: none of its 2 lines is JSON"):
        list(LogReader(tmp_path / "o.txt", Outcome))
    (tmp_path / "o.parquet").write_text("no")
    with pytest.raises(ExperimentError, match=r"o\.parquet: cannot be read"):
        list(LogReader(tmp_path / "o.parquet", Outcome))
    (tmp_path / "o.csv.gz").write_bytes(gzip.compress(b"time,kind\n" * 1000)[:-20])
    with pytest.raises(ExperimentError, match=r"o\.csv\.gz: cannot be read"):
        list(LogReader(tmp_path / "o.csv.gz", Outcome))
    (tmp_path / "o.csv").write_text("time,kind,user_id\n1,click,u\n2,view,u\n")
    with pytest.raises(ExperimentError, match=r"o\.csv: row 2: `kind` is 'view'"):
        list(LogReader(tmp_path / "o.csv", Outcome))
