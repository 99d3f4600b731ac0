"""What a configuration says of updates."""

from __future__ import annotations

from dataclasses import dataclass

from models.options import number


@dataclass(frozen=True)
class WarmStartSettings:
    """An update of the last blessed model in place of a fit from scratch (see `tfx_pipeline.warm_start`).

    Attributes:
      enabled: start from the last blessed model of other examples, where there is one of the same `model` settings;
        PIPELINE_UPDATE=1 says so for one run.
      epochs: over what is learned from.
      learning_rate: the highest.
      decisions: at most so many new ones are learned from, the newest.
      replay: share of older decisions among those learned from.
      held_out: share of users whose new decisions are not learned from: yesterday's test.
      max_forgotten: how far NDCG@10 on yesterday's test may fall below the base's.
    """

    enabled: bool = False
    epochs: int = number(1, 1, 1000)
    learning_rate: float = number(3e-4, 0, 1000)
    decisions: int = number(4096, 1, 1e9)
    replay: float = number(0.5, 0, 0.99)
    held_out: float = number(0.1, 0, 0.9)
    max_forgotten: float = number(0.02, 0, 1)
