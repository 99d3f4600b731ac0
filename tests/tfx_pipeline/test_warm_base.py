"""What an update starts from, asked of a real store."""

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb
from tfx.types import standard_artifacts

from tfx_pipeline.components.warm_base import BlessedOnOtherExamples


class History:
    """Fits of the past: examples, the model that a Trainer made of them, and what Evaluator said."""

    def __init__(self):
        self.store = mlmd.MetadataStore(pb.ConnectionConfig(fake_database=pb.FakeDatabaseConfig()))
        self.types = {
            kind.TYPE_NAME: self.store.put_artifact_type(pb.ArtifactType(name=kind.TYPE_NAME))
            for kind in (standard_artifacts.Examples, standard_artifacts.Model, standard_artifacts.ModelBlessing)
        }
        self.trainer = self.store.put_execution_type(pb.ExecutionType(name="Trainer"))
        self.models, self.blessings = [], []

    def artifact(self, kind):
        (made,) = self.store.put_artifacts([pb.Artifact(type_id=self.types[kind.TYPE_NAME])])
        found = kind()
        found.id = made
        return found

    def fit(self, examples, blessed=True):
        model, blessing = self.artifact(standard_artifacts.Model), self.artifact(standard_artifacts.ModelBlessing)
        (execution,) = self.store.put_executions([pb.Execution(type_id=self.trainer)])
        made = [(examples.id, pb.Event.INPUT), (model.id, pb.Event.OUTPUT)]
        self.store.put_events([pb.Event(artifact_id=a, execution_id=execution, type=kind) for a, kind in made])
        blessing.set_int_custom_property("blessed", int(blessed))
        blessing.set_int_custom_property("current_model_id", model.id)
        self.models.append(model)
        self.blessings.append(blessing)
        return model

    def base_of(self, examples):
        given = {"model": self.models, "model_blessing": self.blessings, "examples": [examples]}
        resolved = BlessedOnOtherExamples().resolve_artifacts(self.store, given)
        assert resolved["examples"] == [examples]
        assert len(resolved["model"]) == len(resolved["model_blessing"])
        return [model.id for model in resolved["model"]]


@pytest.fixture
def history():
    return History()


def test_at_first_there_is_none(history):
    assert history.base_of(history.artifact(standard_artifacts.Examples)) == []


def test_the_latest_blessed_one_of_other_examples(history):
    monday, tuesday, today = (history.artifact(standard_artifacts.Examples) for _ in range(3))
    first, second = history.fit(monday), history.fit(tuesday)
    assert history.base_of(today) == [second.id]
    history.fit(today)  # blessed too, but what it started from stays: nothing is new
    assert history.base_of(today) == [second.id]
    assert history.base_of(tuesday) != [second.id]
    assert first.id not in history.base_of(today)


def test_what_was_not_blessed_is_passed_over(history):
    monday, tuesday, today = (history.artifact(standard_artifacts.Examples) for _ in range(3))
    first = history.fit(monday)
    history.fit(tuesday, blessed=False)
    assert history.base_of(today) == [first.id]


def test_only_fits_on_the_same_examples(history):
    today = history.artifact(standard_artifacts.Examples)
    history.fit(today)
    assert history.base_of(today) == []
