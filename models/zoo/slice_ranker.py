"""The flagship: profile encoder, slice autoencoder, merge layer and ranking head, with explicit paths beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.options import RANGE, LossOptions, ModelOptions, TextEncoderOptions, choice, number
from models.registry import Entry
from models.sizes import Sizes

if TYPE_CHECKING:
    from models.ranker import Ranker


@dataclass(frozen=True)
class SliceRankerOptions(ModelOptions):
    """What a configuration says of the `slice_ranker`.

    Attributes:
      dimension: d, width of user and item vectors.
      dropout: of embeddings, slices and fusion.
      text_encoder: the BERT.
      max_history: newest events cut into slices; a multiple of `slice_length`.
      slice_length: L, events a slice.
      slice_layers, slice_heads: of the slice Transformer.
      code_dimension: width of the autoencoder's code C_i.
      merge: `weighted`, `mean`, `attention` or `concat`.
      merge_source: `codes` (C_i) or `vectors` (X_i).
      use_profile, use_autoencoder, use_merge: parts to switch off for ablations.
      use_cooccurrence: what is bought beside what, learned as vectors of their own for the items of the history.
      use_mixture: score repeats and other items by two distributions, weighed by a gate, instead of by one.
      use_copy, use_popularity, use_lexical: the explicit paths: repeats and frequency, popularity, words of the query.
      use_newest_event: the slice Transformer's state of the newest event, in the user vector beside the newest slice.
      use_attributes: category, brand and price of items, in their vectors beside id and text (which names the first two
        all the same).
      use_affinity: the explicit path of what the history has of an item's category, brand and price level.
      use_words: a learned vector for each word of an item's text, beside what BERT makes of it.
      use_image_embedding: the items' image embeddings, in the vectors of items beside text and attributes; needs
        `data.image_embedding_width`.
      use_relations: what items are that an item is related to, in its vector too; needs `data.item_relations`.
      relation_neighbours: of each item and kind of relation the first so many related items of the table count.
      neighbours, content_neighbours: kept for each item of what is met near it and of what has similar texts, in the
        evidence path, which is left out where both are 0.
      linear_regularisation: λ of the linear path, which is left out at 0; for catalogues of at most 30,000 items.
      decay_days: time constants of the co-occurrence path's sums, and initial ones of the decayed counts of the copy
        and the affinity path.
      popularity_days: windows of the popularity path.
      id_dropout: share of item ids hidden in training, so that text and attributes alone learn to carry an item.
      history_dropout: share of history events hidden from the slices, and of its items from the co-occurrence path, in
        training.
      query_dropout: share of decisions whose query is hidden in training: what is said in a query needs no history, so
        that without it little is learned for those who ask nothing (of the losses alone: VAT and contrastive views see
        all queries).
      item_text: `table` (item texts are encoded once an epoch), `through` (in every step, so that BERT learns from
        them) or `none` (not encoded, where texts are no language; `use_words` reads them all the same).
      tasks: label event types with a score and a loss of their own, each with its weight in the one score that is
        served, such as {click: 1, purchase: 2}; a positive counts for the type of its strongest event and for all
        weaker ones (`decisions.label_strengths`). Empty for one score and one loss.
    """

    entry: str = "slice_ranker"
    dimension: int = number(64, 1, 1e5)
    dropout: float = number(0.2, 0, 0.99)
    text_encoder: TextEncoderOptions = field(default_factory=TextEncoderOptions)
    max_history: int = number(64, 1, 1e6)
    slice_length: int = number(16, 1, 1e5)
    slice_layers: int = number(1, 1, 1000)
    slice_heads: int = number(2, 1, 1000)
    code_dimension: int = number(32, 1, 1e5)
    merge: str = choice("weighted", "mean", "attention", "concat")
    merge_source: str = choice("codes", "vectors")
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
    relation_neighbours: int = number(8, 1, 1000)
    neighbours: int = number(0, 0, 1e5)
    content_neighbours: int = number(0, 0, 1e5)
    linear_regularisation: float = number(0.0, 0, 1e6)
    decay_days: tuple[float, ...] = number((7.0, 30.0, 120.0), 1e-3, 1e6)
    popularity_days: tuple[int, ...] = number((7, 30, 365), 1, 1e6)
    id_dropout: float = number(0.1, 0, 0.99)
    history_dropout: float = number(0.0, 0, 0.99)
    query_dropout: float = number(0.0, 0, 0.99)
    item_text: str = choice("table", "through", "none")
    tasks: dict[str, float] = field(default_factory=dict, metadata={RANGE: (0, 1e6)})

    def check(self) -> None:
        if self.max_history % self.slice_length:
            raise ValueError(
                f"`model.max_history` is {self.max_history} and `model.slice_length` {self.slice_length}; expected "
                f"whole slices, such as a `max_history` of "
                f"{self.slice_length * (self.max_history // self.slice_length + 1)}."
            )
        if self.dimension % self.slice_heads:
            raise ValueError(
                f"`model.dimension` is {self.dimension} and `model.slice_heads` {self.slice_heads}; expected a "
                "dimension that the heads can share out evenly."
            )
        if self.tasks and not any(self.tasks.values()):
            raise ValueError("`model.tasks` has only weights of 0; expected one above 0, so that a score is served.")
        if self.use_affinity and not self.use_attributes:
            raise ValueError("`model.use_affinity` counts attributes; expected `model.use_attributes` beside it.")
        self.text_encoder.check()

    @property
    def task_weights(self) -> dict[str, float]:
        return self.tasks

    @property
    def text_encoders(self) -> dict[str, TextEncoderOptions]:
        return {"text_encoder": self.text_encoder}

    @property
    def static_shapes(self) -> bool:
        lists = (self.use_words, self.use_relations, self.neighbours, self.content_neighbours)
        no_lists = not (any(lists) or self.linear_regularisation)
        return self.item_text != "through" and self.text_encoder.trainable == "frozen" and no_lists

    @property
    def item_data(self) -> dict[str, str]:
        wanted = {"use_image_embedding": "image_embedding_width", "use_relations": "item_relations"}
        return {option: name for option, name in wanted.items() if getattr(self, option)}


def build(options: SliceRankerOptions, sizes: Sizes, losses: LossOptions) -> Ranker:
    """An untrained ranker of a shop's sizes."""
    # Settings are read where no TensorFlow is needed: to check tables, to see that nothing is new.
    from models.profile_encoder import ProfileEncoder
    from models.ranker import Ranker
    from models.ranker_config import RankerConfig

    encoder = ProfileEncoder.from_options(
        options.text_encoder, sizes.wordpieces, dimension=options.dimension, name="text_encoder"
    )
    wanted = {field.name for field in dataclasses.fields(RankerConfig)}

    def shared(part: Sizes | LossOptions | SliceRankerOptions) -> dict[str, Any]:
        return {name: value for name, value in vars(part).items() if name in wanted}

    # Weights go by the place of a task, so it may not depend on the order in which a configuration names them.
    tasks = [task for task in sizes.label_strengths if task in options.tasks]
    if len(tasks) != len(options.tasks):
        raise ValueError(
            f"`model.tasks` names {', '.join(options.tasks)}; expected some of "
            f"{', '.join(sizes.label_strengths) or 'none'}, which is what `decisions.label_strengths` names."
        )
    given = {**shared(options), "tasks": {task: options.tasks[task] for task in tasks}}
    config = RankerConfig(
        **shared(sizes),
        **given,
        **shared(losses),
        slices=options.max_history // options.slice_length,
        loss_weights={name: getattr(losses, name) for name in Ranker.LOSSES},
        task_strengths={task: 1 + sizes.label_strengths.index(task) for task in tasks},
    )
    return Ranker(config, encoder)


ENTRY = Entry(
    purpose="Ranking from profile text, long behaviour, query and context, with repeats, trend and co-occurrence",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend", "search", "profile"),
    options=SliceRankerOptions,
    build=build,
    losses=tuple(field.name for field in dataclasses.fields(LossOptions)),
)
