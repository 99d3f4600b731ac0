"""One side of an experiment."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.options import RANGE, number


@dataclass(frozen=True)
class Arm:
    """What a share of the users is asked of.

    Attributes:
      name: in the logs.
      model: served name of the model that is asked.
      share: of the users, from 0 to 1. 0 ends an arm: it stays in the file, so that others keep their places.
      label: of the version that is asked, such as stable or canary; "" where `version` says it.
      version: number of the version that is asked; 0 for the newest, or where `label` says it.
      rules: name of the overlay of rules that the answers go through; "" for the rules as they are.

    Raises:
      ValueError: for a label beside a version.
    """

    name: str
    model: str
    share: float = field(metadata={RANGE: (0, 1)})
    label: str = ""
    version: int = number(0, 0, 2**63 - 1)
    rules: str = ""

    def __post_init__(self) -> None:
        if not self.name or not self.model:
            raise ValueError(f"arm {self.name!r} of model {self.model!r}; expected a name of each.")
        if self.label and self.version:
            raise ValueError(
                f"arm {self.name!r} has label {self.label!r} and version {self.version}; expected one of them."
            )
