"""What a configuration says of the SavedModel's size, and of its room for items to come."""

from __future__ import annotations

from dataclasses import dataclass

from models.options import choice, number

#: Values of `export.weights`; as in `serving.compression`, which is not read without TensorFlow.
WEIGHT_KINDS = ("float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True)
class ExportSettings:
    """How much room the SavedModel takes, and has.

    Attributes:
      weights: how large float weights are stored: `float32`, `bfloat16`, `float16` or `int8` (a scale for each row of a
        table, or channel of a kernel); the graph reads them as float32.
      text_layers: so many first layers of the text encoder are exported; 0 for all.
      sparsity: share of each dense kernel, its smallest numbers, that is set to 0; the SavedModel is smaller by it
        when packed, not as it lies.
      spare_items: rows for items that come after training, as a share of the catalogue, at least one where it is above
        0: `serving.refresh_catalogue` fills them. Scoring the catalogue costs as much more. 0 for none.
    """

    weights: str = choice(*WEIGHT_KINDS)
    text_layers: int = number(0, 0, 1000)
    sparsity: float = number(0.0, 0, 0.99)
    # Up to a half: `models.lexical_path.LexicalPath.held_share` tells words by the number of rows.
    spare_items: float = number(0.05, 0, 0.5)
