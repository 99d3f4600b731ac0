"""Which model an update starts from."""

from __future__ import annotations

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies import latest_blessed_model_strategy

_MADE = (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.DECLARED_OUTPUT)
_READ = (metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.DECLARED_INPUT)


class BlessedOnOtherExamples(resolver.ResolverStrategy):
    """The latest blessed model that was not fitted on the examples at hand.

    While nothing is new it stays the same model, so a run that is started again finds its fit in the cache, also after
    the fit's own model was blessed. The resolver's channels are `model`, `model_blessing` and `examples`.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """The model and its blessing, or nothing where there is none; the examples as they are."""
        current = {examples.id for examples in input_dict["examples"]}
        models = list(input_dict["model"])
        events = store.get_events_by_artifact_ids([model.id for model in models]) if models else []
        made_by = {event.artifact_id: event.execution_id for event in events if event.type in _MADE}
        events = store.get_events_by_execution_ids(sorted(set(made_by.values()))) if made_by else []
        fitted_here = {event.execution_id for event in events if event.type in _READ and event.artifact_id in current}
        before = {
            "model": [model for model in models if made_by.get(model.id) not in fitted_here],
            "model_blessing": list(input_dict["model_blessing"]),
        }
        strategy = latest_blessed_model_strategy.LatestBlessedModelStrategy()
        resolved = strategy.resolve_artifacts(store, before) or {"model": [], "model_blessing": []}
        return {**resolved, "examples": input_dict["examples"]}
