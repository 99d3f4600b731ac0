"""Sizes and switches of the flagship."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class RankerConfig:
    """Sizes and switches of a `Ranker`, all plain values.

    Attributes:
      items: V, items of the catalogue.
      event_types, categories, brands, price_buckets, gap_buckets: sizes of the vocabularies, ids 0 and 1 included
        (buckets: 0 included).
      context: name of each declared context column -> size of its vocabulary.
      text_length: T, tokens of an item's text.
      image_width: numbers of an item's image embedding, 0 where the data has none.
      relations: kinds of relations between items, 0 where the data has none.
      days: days in the popularity table.
      dimension, dropout, slice_length, slices, slice_layers, slice_heads, code_dimension, merge, merge_source,
        use_profile, use_autoencoder, use_merge, use_cooccurrence, use_mixture, use_copy, use_popularity, use_lexical,
        use_attributes, use_affinity, use_words, use_newest_event, use_image_embedding, use_relations,
        relation_neighbours, neighbours, content_neighbours, linear_regularisation, decay_days, popularity_days,
        id_dropout, history_dropout, query_dropout: as in the pipeline's settings.
      special_tokens: ids of the text vocabulary that are no words.
      item_text: `table` (item texts are encoded once, and again whenever the trainer says so), `through` (in every
        training step, so that BERT learns from them) or `none` (not encoded).
      loss_weights: weight of each loss: catalogue, listwise, binary, reconstruction.
      label_smoothing: of the catalogue loss.
      sampled_items: items drawn for a training step in place of the whole catalogue; 0 takes the whole one.
      tasks: task -> weight of its score in the one that is served; {} for one score without tasks.
      task_strengths: task -> its place among the label event types from 1, the weakest first.
      task_weights: task -> weight of its catalogue loss, times that of `loss_weights`; 1 where it is not named.

    Raises:
      ValueError: for an `item_text` or `merge_source` that is not one of those, `label_smoothing` with
        `sampled_items`, a task without a place,
        or the use of images or relations that are not there.
    """

    items: int
    event_types: int
    categories: int
    brands: int
    price_buckets: int
    gap_buckets: int
    context: dict[str, int]
    text_length: int
    days: int
    image_width: int = 0
    relations: int = 0
    dimension: int = 64
    dropout: float = 0.2
    history_dropout: float = 0.0
    query_dropout: float = 0.0
    slice_length: int = 16
    slices: int = 4
    slice_layers: int = 1
    slice_heads: int = 2
    code_dimension: int = 32
    merge: str = "weighted"
    merge_source: str = "codes"
    use_profile: bool = True
    use_autoencoder: bool = True
    use_merge: bool = True
    use_cooccurrence: bool = True
    use_mixture: bool = True
    use_copy: bool = True
    use_popularity: bool = True
    use_lexical: bool = True
    use_attributes: bool = True
    use_affinity: bool = False
    use_words: bool = False
    use_newest_event: bool = False
    use_image_embedding: bool = False
    use_relations: bool = False
    relation_neighbours: int = 8
    neighbours: int = 0
    content_neighbours: int = 0
    linear_regularisation: float = 0.0
    special_tokens: tuple[int, ...] = (0, 1, 2, 3, 4)
    decay_days: tuple[float, ...] = (7.0, 30.0, 120.0)
    popularity_days: tuple[int, ...] = (7, 30, 365)
    id_dropout: float = 0.0
    item_text: str = "table"
    loss_weights: dict[str, float] = dataclasses.field(default_factory=lambda: {"catalogue": 1.0})
    label_smoothing: float = 0.0
    sampled_items: int = 0
    tasks: dict[str, float] = dataclasses.field(default_factory=dict)
    task_strengths: dict[str, int] = dataclasses.field(default_factory=dict)
    task_weights: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.item_text not in ("table", "through", "none"):
            raise ValueError(f"item_text must be `table`, `through` or `none`, not {self.item_text!r}.")
        if self.merge_source not in ("codes", "vectors"):
            raise ValueError(f"merge_source must be `codes` or `vectors`, not {self.merge_source!r}.")
        if self.sampled_items and self.label_smoothing:
            raise ValueError(
                "label_smoothing spreads over the whole catalogue; expected it to be 0 with sampled_items."
            )
        if self.tasks.keys() != self.task_strengths.keys():
            raise ValueError(
                f"tasks are {', '.join(self.tasks) or 'none'} and task_strengths name "
                f"{', '.join(self.task_strengths) or 'none'}; expected the same ones."
            )
        if self.use_image_embedding and not self.image_width:
            raise ValueError("use_image_embedding is on, but items have no image embedding; expected an image_width.")
        if self.use_relations and not self.relations:
            raise ValueError("use_relations is on, but the catalogue has no relation between items; expected some.")

    @property
    def use_evidence(self) -> bool:
        """Whether the model has an evidence path."""
        return bool(self.neighbours or self.content_neighbours)

    @property
    def use_linear(self) -> bool:
        """Whether the model has a linear path."""
        return self.linear_regularisation > 0
