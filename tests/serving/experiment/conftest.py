"""An experiment of two equal arms, and logs of it, that the tests share."""

import dataclasses

import pytest

from serving.experiment.analysis import Analysis
from serving.experiment.arm import Arm
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure

START = "2024-06-03"


@pytest.fixture
def experiment():
    return Experiment(
        "affinity",
        "affinity-1",
        "stable",
        (Arm("stable", "ranker", 0.5, "stable"), Arm("canary", "ranker", 0.5, "canary")),
        START,
        analysis=Analysis(planned_users=2000, least_users=100, least_days=7),
    )


@pytest.fixture
def judged_by(experiment):
    """The experiment with another analysis."""
    return lambda **options: dataclasses.replace(
        experiment, analysis=dataclasses.replace(experiment.analysis, **options)
    )


@pytest.fixture
def shown(experiment):
    """An exposure so many hours after the start."""

    def make(hours, user_id, request_id, arm="stable", **more):
        return Exposure(experiment.start_time + hours * 3600, "affinity", arm, user_id, request_id, **more)

    return make
