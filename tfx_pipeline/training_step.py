"""From settings to a training step."""

from __future__ import annotations

from models.candidate_model import CandidateModel
from models.losses import task_loss
from models.tagger import ProfileTagger
from models.training_step import TrainingStep
from models.uncertainty_weights import UncertaintyWeights
from tfx_pipeline.settings import TrainSettings


def make_training_step(train: TrainSettings, model: CandidateModel | ProfileTagger) -> TrainingStep:
    """What the settings say of a step; must be made within the strategy's scope."""
    weighting = None
    if train.losses.weighting == "uncertainty" and isinstance(model, CandidateModel):
        # A model may track a loss in parts, such as `reconstruction_items`, or by tasks.
        own = {name: kind for name in model.trackers for kind in model.LOSSES if name.startswith(kind)}
        weights = {name: getattr(train.losses, kind) for name, kind in own.items()}
        for task, weight in train.losses.task_weights.items():
            weights[task_loss(task)] *= weight
        weighting = UncertaintyWeights({name: weight for name, weight in weights.items() if weight})
    return TrainingStep(train.accumulate, train.adversarial, train.contrastive, weighting)
