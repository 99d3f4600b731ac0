"""Stops the pipeline at anomalies, which ExampleValidator only records."""

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.components.example_validator import executor as example_validator
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

#: As many features are named in the message; the artifact has all of them.
NAMED = 5


class AnomalyError(ValueError):
    """The data does not fit the curated schema; the message is one sentence for a person."""


@tfx.dsl.components.component
def AnomalyGate(
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    source_hash: tfx.dsl.components.Parameter[str] = "",
) -> None:
    """Succeeds where ExampleValidator found nothing; raises `AnomalyError` otherwise.

    Args:
      anomalies: what ExampleValidator wrote.
      source_hash: of the gate's code, for the cache only.
    """
    check(anomalies)


def check(artifact: Artifact) -> None:
    """Reads the anomalies of every split.

    Args:
      artifact: an ExampleAnomalies artifact.

    Raises:
      AnomalyError: naming the splits, features and reasons.
    """
    found: list[str] = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        folder = artifact_utils.get_split_uri([artifact], split)
        with fileio.open(f"{folder}/{example_validator.DEFAULT_FILE_NAME}", "rb") as file:
            found.extend(
                f"split {split}: {reason}" for reason in reasons(anomalies_pb2.Anomalies.FromString(file.read()))
            )
    if found:
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise AnomalyError(
            f"the examples do not fit the curated schema: {'; '.join(found[:NAMED])}{more}. "
            f"Expected data as the schema describes it; everything found lies in {artifact.uri}."
        )


def reasons(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One phrase per anomaly, such as `label: The feature was present in fewer examples than expected.`"""
    found = ["no examples"] if anomalies.data_missing else []
    if anomalies.HasField("dataset_anomaly_info"):
        found.append(anomalies.dataset_anomaly_info.description.rstrip("."))
    for feature, info in sorted(anomalies.anomaly_info.items()):
        found.append(f"{feature}: {(info.description or info.short_description).rstrip('.')}")
    return found
