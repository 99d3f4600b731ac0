"""The gateway's image: what it installs is enough, is locked, and is no TensorFlow."""

import importlib.metadata
import re
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement

PIN = re.compile(r"([a-z0-9.-]+)==(\S+)")
#: Imports the gateway with all that it may come to need, and nothing of distributions that are not in the image. It
#: stands in a folder that has what the image has.
PROBE = """
import importlib.abc, importlib.machinery, importlib.metadata, pathlib, sys

there = {
    pathlib.PurePath(file).parts[0].partition(".")[0]
    for name in sys.argv[1:]
    for file in importlib.metadata.files(name)
}
site = str(importlib.metadata.distribution("fastapi").locate_file(""))

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if path is None and name not in there and importlib.machinery.PathFinder.find_spec(name, [site]):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Refuse())
import serving.gateway.__main__
import serving.store.async_redis_store
import serving.rules.catalogue
import pandas
import pyarrow.parquet

assert "tensorflow" not in sys.modules
for name in ("tensorflow", "scipy"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{name} can be imported")
print("imported")
"""


@pytest.fixture(scope="module")
def folder(configs):
    return configs / "gateway_image"


@pytest.fixture(scope="module")
def dockerfile(folder):
    """(instruction, argument), continued lines joined."""
    text = (folder / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def pins(file):
    return dict(PIN.fullmatch(line).groups() for line in file.read_text(encoding="utf-8").split("\n") if "==" in line)


@pytest.fixture(scope="module")
def installed(folder):
    return pins(folder / "requirements.txt")


def arguments(dockerfile, instruction):
    return [argument for name, argument in dockerfile if name == instruction]


def copied(dockerfile):
    """Files and folders of the repository that are in the image."""
    return {
        source
        for argument in arguments(dockerfile, "COPY")
        if not argument.startswith("--from")
        for source in argument.split()[:-1]
    }


def test_versions_are_those_of_the_lock_file(installed, root):
    lock = pins(root / "requirements.lock")
    assert {name: lock.get(name) for name in installed} == installed


def test_nothing_is_missing_that_something_else_requires(installed):
    for name in installed:
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed = re.sub("[-_.]+", "-", requirement.name).lower()
                assert needed in installed, f"{name} requires {needed}"
                assert requirement.specifier.contains(installed[needed], prereleases=True), text


def test_the_gateways_extra_is_in_it(installed, root):
    setup = (root / "setup.py").read_text(encoding="utf-8")
    (extra,) = re.findall(r'"gateway": \[(.*?)\]', setup)
    for text in re.findall(r'"([^"]+)"', extra):
        requirement = Requirement(text)
        assert requirement.specifier.contains(installed[requirement.name])


def test_the_gateway_imports_with_that_alone(installed, dockerfile, root, tmp_path):
    for name in copied(dockerfile):
        if (root / name).is_dir():
            (tmp_path / name).symlink_to(root / name)
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, *installed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.stdout == "imported\n", found.stderr


def test_it_begins_with_the_projects_python_pinned(dockerfile, root):
    bases = arguments(dockerfile, "FROM")
    version = (root / ".python-version").read_text(encoding="utf-8").strip()
    for base in bases:
        assert re.fullmatch(rf"python:{re.escape(version)}\.\d+-slim-bookworm( AS build)?", base)
    assert len({base.split()[0] for base in bases}) == 1


def test_it_copies_what_is_there_and_is_sent(dockerfile, folder, root):
    ignored = (folder / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored and ignored.index("*") < min(ignored.index(f"!{name}") for name in sent)
    assert copied(dockerfile) == sent
    assert all((root / name).exists() for name in sent)


def test_it_runs_as_nobody_in_particular(dockerfile, configs):
    (user,) = arguments(dockerfile, "USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    last = [name for name, _ in dockerfile].index("USER")
    assert not [name for name, _ in dockerfile[last:] if name in ("RUN", "COPY")]
    stack = yaml.safe_load((configs / "stack.yaml").read_text(encoding="utf-8"))["services"]["gateway"]
    assert stack["user"] == user
    assert f"useradd --uid {user.partition(':')[0]} " in " ".join(arguments(dockerfile, "RUN"))
    assert stack["build"]["dockerfile"] == "configs/serving/gateway_image/Dockerfile"
    assert (configs / stack["build"]["context"]).resolve() == configs.parents[1]


def test_it_serves_what_is_mounted(dockerfile, configs):
    (entry,), (command,) = arguments(dockerfile, "ENTRYPOINT"), arguments(dockerfile, "CMD")
    assert yaml.safe_load(entry) == ["python", "-m", "serving.gateway"]
    # `-m` finds it in the working folder.
    (folder,) = {argument for argument in arguments(dockerfile, "WORKDIR")} - {"/src"}
    assert folder == "/app" and "serving serving" in arguments(dockerfile, "COPY")
    option, path = yaml.safe_load(command)
    assert option == "--config" and (configs / path.removeprefix("/config/")).is_file()
    deployment = next(yaml.safe_load_all((configs / "kubernetes/gateway.yaml").read_text(encoding="utf-8")))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"] == [option, path]
