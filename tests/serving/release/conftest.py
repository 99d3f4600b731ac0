"""A shop's served folder, its servers and its traffic, without TensorFlow.

`python -m pytest --confcutdir=tests/serving/release tests/serving/release` loads none, but for test_tensorflow.py.
"""

import collections
import pathlib
import runpy
import threading

import grpc
import pytest
import yaml

from serving import contract, protos
from serving.client import Request, build_inputs
from serving.client.connection import Connection
from serving.client.tensors import fill_tensor, read_tensor
from serving.release import fleet, saved_model
from serving.release.release import Release
from serving.release.settings import ReleaseSettings

_FakeServing = runpy.run_path(str(pathlib.Path(__file__).with_name("fake_serving.py")))["FakeServing"]
COLUMNS = ("country",)
EXPERIMENT = """\
# who is asked of which version
name: affinity
salt: affinity-1
start: 2024-06-03T00:00:00Z  # set anew whenever shares change
control: stable
arms:
  - {name: stable, share: 1.0, model: ranker, label: stable}  # the rest
  - {name: canary, share: 0.0, model: ranker, label: canary}
analysis: {planned_users: 2000, least_users: 100, least_days: 0}
"""


def signatures(columns=COLUMNS, names=(contract.RANK, contract.RECOMMEND)):
    """name -> (inputs, outputs, optional): alias -> (dtype, shape; None for any rank)."""
    return {
        name: (
            {spec.name: (spec.dtype, [-1] * spec.rank) for spec in contract.signature_inputs(name, tuple(columns))},
            {
                alias: ("string" if alias == contract.ITEM_IDS else "float", [-1, -1])
                for alias in contract.OUTPUTS[name]
            },
            (),
        )
        for name in names
    }


def write_model(path, made=None, tags=("serve",), assets=(), run=""):
    """A SavedModel of signatures alone; `run` tells models apart."""
    model = saved_model._SavedModel()
    graph = model.meta_graphs.add()
    graph.meta_info_def.tags.extend(tags)
    for name, (inputs, outputs, optional) in (signatures() if made is None else made).items():
        signature = graph.signature_def.add(key=name).value
        for entries, specs in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for alias, (dtype, shape) in specs.items():
                info = entries.add(key=alias).value
                info.dtype = protos.DATA_TYPES[dtype]
                info.tensor_shape.unknown_rank = shape is None
                for size in shape or ():
                    info.tensor_shape.dim.add(size=size)
        for alias in optional:
            signature.defaults.add(key=alias)
    for name in assets:
        graph.asset_file_def.add(filename=name)
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(model.SerializeToString())
    (path / "fingerprint.pb").write_text(run)
    return path


@pytest.fixture(name="signatures")
def _signatures():
    return signatures


@pytest.fixture(name="write_model")
def _write_model():
    return write_model


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Makes versions, servers, settings and traffic; all of it ends with the test."""
    monkeypatch.setattr(fleet, "_POLL_SECONDS", 0.01)
    made = Shop(tmp_path)
    yield made
    made.close()


class Shop:
    """One model's release in a folder.

    Attributes:
      folder: served one.
      config: the servers' configuration.
      experiment, journal: files.
    """

    def __init__(self, home):
        self.home = home
        self.folder = home / "served"
        self.config = home / "models.config"
        self.experiment = home / "experiment.yaml"
        self.journal = home / "releases.jsonl"
        self.servers, self.traffic = [], []

    def version(self, number, **options):
        """A version that Pusher put into the served folder."""
        return write_model(self.folder / str(number), **{"run": str(number), **options})

    def serve(self, **options):
        self.servers.append(_FakeServing(self.config, **options))
        return self.servers[-1]

    def settings(self, **options):
        content = {
            "model": "ranker",
            "folder": "served",
            "config_file": "models.config",
            "journal": "releases.jsonl",
            "servers": [server.address for server in self.servers] or ["127.0.0.1:1"],
            "grace_seconds": 0.05,
            "load_seconds": 20,
            **({"experiment": "experiment.yaml"} if self.experiment.exists() else {}),
            **options,
        }
        file = self.home / "release.yaml"
        file.write_text(yaml.safe_dump(content))
        return ReleaseSettings.read(file)

    def release(self, by="anna", **options):
        self.said = []
        return Release(self.settings(**options), by, self.said.append)

    def started(self, *numbers, servers=1, **options):
        """The first of these versions serves, on so many servers; returns the release."""
        for number in numbers:
            self.version(number)
        for _ in range(servers):
            self.serve(**options)
        release = self.release(reload="poll" if options.get("polls") else "rpc")
        release.promote(numbers[0])
        return release

    def experimented(self):
        self.experiment.write_text(EXPERIMENT)

    def ask(self, labels=("stable", "canary"), addresses=None, **options):
        """Traffic to these labels of every server until the test ends."""
        self.traffic += [
            _Traffic(address, label, **options)
            for address in addresses or [server.address for server in self.servers]
            for label in labels
        ]
        return self.traffic

    def answered(self):
        """Ends the traffic; returns what failed, and the versions that answered each label in their order."""
        for one in self.traffic:
            one.stop()
        versions = collections.defaultdict(list)
        for one in self.traffic:
            versions[one.label] += one.versions
        return [failure for one in self.traffic for failure in one.failures], dict(versions)

    def close(self):
        for one in self.traffic:
            one.stop()
        for server in self.servers:
            server.close()


class _Traffic:
    """Asks a label of a server, again and again; an answer that is not its version's (`scores`) counts as failed."""

    def __init__(self, address, label, model="ranker", scores=None, pause=0.01):
        self.label, self.failures, self.versions, self.requests = label, [], [], 0
        self._address, self._model, self._scores, self._pause = address, model, scores, pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self):
        self._stopping.set()
        self._thread.join()

    def _ask(self):
        question = protos.PredictRequest()
        question.model_spec.name, question.model_spec.version_label = self._model, self.label
        question.model_spec.signature_name = contract.RANK
        for name, array in build_inputs(contract.RANK, [Request(candidates=["ab"])], COLUMNS).items():
            fill_tensor(question.inputs[name], array)
        channel, calls = Connection((self._address,)).open(grpc)
        with channel:
            while not self._stopping.wait(self._pause):
                try:
                    answer = calls["Predict"](question, timeout=20)
                except grpc.RpcError as error:
                    self.failures.append(f"{self.label}: {error.code().name}: {error.details()}")
                    continue
                version, score = answer.model_spec.version.value, read_tensor(answer.outputs[contract.SCORES])[0, 0]
                if score != (self._scores[version] if self._scores else version):
                    self.failures.append(f"{self.label}: {score} of version {version}")
                self.requests += 1
                if not self.versions or self.versions[-1] != version:
                    self.versions.append(version)
