"""`make install` on machines of every kind, played with stand-ins on PATH; and what the other targets promise."""

import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOLS = (
    "bash",
    "make",
    "awk",
    "cat",
    "chmod",
    "cksum",
    "cp",
    "dirname",
    "env",
    "grep",
    "mkdir",
    "rm",
    "sed",
    "touch",
    "tr",
)

#: Answers as a Python of version $VERSION that can make environments and install uv.
PYTHON = """#!/usr/bin/env bash
echo "python {version} $*" >> "$LOG"
case "$*" in
  *version_info*) [[ {version} == 3.10 ]] ;;
  *sys.executable*) echo "$0" ;;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip install "*uv==*) cp "$STANDINS/uv" "$(dirname "$0")/uv" ;;
  --version) echo "Python {version}.1" ;;
  *) exit 9 ;;
esac
"""
#: Of uv, what `make install` uses.
UV = """#!/usr/bin/env bash
echo "uv $*" >> "$LOG"
case "$*" in
  *"venv --python "*)
    mkdir -p .venv/bin
    cp "$STANDINS/python3.10" .venv/bin/python
    echo "#!$PWD/.venv/bin/python" > .venv/bin/tfx ;;
  *"-r requirements.lock") echo "Installed 2 packages"; echo " + a==1"; exit "${UV_FAILS:-0}" ;;
esac
"""
FAILS = "#!/usr/bin/env bash\nexit 127\n"


class Machine:
    """A checkout with a small lock file, and a PATH that holds nothing but basic tools and stand-ins."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.checkout, self.bin, self.pyenv, self.standins = (
            folder / name for name in ("checkout", "bin", "pyenv", "standins")
        )
        for path in (self.checkout, self.bin, self.standins):
            path.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        shutil.copy(ROOT / "Makefile", self.checkout)
        (self.checkout / "requirements.lock").write_text("a==1\nuv==0.5\n")
        (self.checkout / "setup.py").write_text("")
        self.put(self.standins / "uv", UV)
        self.put(self.standins / "python3.10", PYTHON.format(version="3.10"))
        self.log = folder / "log"

    def put(self, path: pathlib.Path, script: str) -> pathlib.Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        self.log.write_text("")
        full = {
            "PATH": str(self.bin),
            "HOME": str(self.checkout.parent),
            "PYENV_ROOT": str(self.pyenv),
            "LOG": str(self.log),
            "STANDINS": str(self.standins),
            **environment,
        }
        return subprocess.run(
            ["make", *arguments], cwd=self.checkout, env=full, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def made_with(self) -> str:
        """The Python that `uv venv` was given."""
        return re.findall(r"^uv .*venv --python (\S+) \.venv$", self.log.read_text(), re.MULTILINE)[0]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def with_uv(machine):
    machine.put(machine.bin / "uv", UV)
    return machine


def test_python310_on_path_is_taken(with_uv):
    python = with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    done = with_uv.make("install")
    assert done.returncode == 0, done.stderr
    assert with_uv.made_with() == str(python)
    assert "Installing 2 locked packages" in done.stdout and "Installed 2 packages" in done.stdout
    assert "a==1" not in done.stdout
    calls = with_uv.log.read_text()
    assert "uv pip install --python .venv/bin/python --no-deps -r requirements.lock" in calls
    assert "--no-deps --no-build-isolation --editable ." in calls
    assert "index" not in calls


@pytest.mark.parametrize("shim", [FAILS, PYTHON.format(version="3.11")], ids=["that fails", "of another version"])
def test_a_shim_is_passed_over_for_a_version_of_pyenv(with_uv, shim):
    with_uv.put(with_uv.bin / "python3.10", shim)
    real = with_uv.put(with_uv.pyenv / "versions" / "3.10.9" / "bin" / "python", PYTHON.format(version="3.10"))
    assert with_uv.make("install").returncode == 0
    assert with_uv.made_with() == str(real)


def test_without_any_python310_uv_is_told_to_fetch_it(with_uv):
    with_uv.put(with_uv.bin / "python3.10", FAILS)
    done = with_uv.make("install")
    assert done.returncode == 0 and with_uv.made_with() == "3.10"
    assert "uv fetches one" in done.stdout


def test_uv_is_fetched_with_any_python_in_the_locked_version(machine):
    machine.put(machine.bin / "python3.10", FAILS)
    machine.put(machine.bin / "python3", PYTHON.format(version="3.12"))
    done = machine.make("install")
    assert done.returncode == 0, done.stderr
    calls = machine.log.read_text()
    assert re.search(r"^python 3\.12 -m pip install .* uv==0\.5$", calls, re.MULTILINE)
    assert (machine.checkout / ".uv" / ".gitignore").read_text() == "*\n"


def test_without_uv_and_python_there_is_one_sentence(machine):
    done = machine.make("install")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0].startswith("uv is not there and could not be fetched;")
    assert not (machine.checkout / ".venv").exists() and not (machine.checkout / ".uv").exists()


def test_a_second_install_calls_nothing(with_uv):
    with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    assert with_uv.make("install").returncode == 0
    done = with_uv.make("install")
    assert (done.returncode, with_uv.log.read_text()) == (0, "")
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize("file", ["requirements.lock", "setup.py"])
def test_what_is_installed_follows_the_lock_and_setup(with_uv, file):
    with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    assert with_uv.make("install").returncode == 0
    with (with_uv.checkout / file).open("a") as changed:
        changed.write("# new\n")
    assert with_uv.make("install").returncode == 0
    calls = with_uv.log.read_text()
    assert "-r requirements.lock" in calls and "venv" not in calls.replace(".venv", "")


def test_a_failed_install_is_tried_again(with_uv):
    with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    assert with_uv.make("install", UV_FAILS="1").returncode != 0
    assert with_uv.make("install").returncode == 0
    assert "-r requirements.lock" in with_uv.log.read_text()


def test_a_moved_checkout_gets_a_new_environment(with_uv):
    with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    assert with_uv.make("install").returncode == 0
    with_uv.checkout = with_uv.checkout.rename(with_uv.checkout.with_name("moved"))
    assert with_uv.make("install").returncode == 0
    assert with_uv.made_with()


def test_help_is_the_default_and_lists_every_target(machine):
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    done = machine.make()
    assert sorted(line.split()[1] for line in done.stdout.splitlines()) == sorted(phony)
    assert all(len(line.split()) > 3 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run",), "make run CONFIG="),
        (("run", "CONFIG=a.yaml"), "make run CONFIG="),
        (("serve",), "MODEL is ''"),
        (("serve", "MODEL=nowhere"), "MODEL is 'nowhere'"),
        (("serve", "MODEL=version"), "the folder that holds a model's versions"),
    ],
)
def test_a_missing_argument_is_one_sentence(with_uv, arguments, expected):
    with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    assert with_uv.make("install").returncode == 0
    version = with_uv.checkout / "version"
    version.mkdir()
    (version / "saved_model.pb").touch()
    done = with_uv.make(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr.splitlines()[0]
    assert with_uv.log.read_text() == ""


@pytest.mark.parametrize(("environment", "folder"), [({}, "runs"), ({"PIPELINE_ROOT": "/my runs"}, "/my runs")])
def test_tensorboard_shows_where_runs_are_written(with_uv, environment, folder):
    with_uv.put(with_uv.bin / "python3.10", PYTHON.format(version="3.10"))
    assert with_uv.make("install").returncode == 0
    with_uv.put(with_uv.checkout / ".venv/bin/tensorboard", '#!/usr/bin/env bash\nprintf "%s|" "$@"\n')
    assert with_uv.make("tensorboard", **environment).stdout == f"--logdir|{folder}|"


def test_clean_runs_removes_runs_only(machine):
    (machine.checkout / "runs" / "demo").mkdir(parents=True)
    before = set(machine.checkout.iterdir())
    assert machine.make("clean-runs").returncode == 0
    assert set(machine.checkout.iterdir()) == before - {machine.checkout / "runs"}


def test_ci_runs_make_test_and_nothing_else():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -euo pipefail" and lines[1].startswith("cd ") and lines[2:] == ["make test"]


def test_no_index_is_named():
    for name in ("Makefile", "requirements.lock", "setup.py", ".ci/run"):
        text = (ROOT / name).read_text()
        assert "://" not in text and not re.search(r"--(extra-)?index-url|--find-links", text), name
