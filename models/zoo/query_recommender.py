"""A dual encoder for search: query and user on one side, items on the other, with words matched in spite of typos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.options import LossOptions, ModelOptions, number
from models.registry import Entry
from models.sizes import Sizes

if TYPE_CHECKING:
    from models.query_recommender import QueryRecommender


@dataclass(frozen=True)
class QueryRecommenderOptions(ModelOptions):
    """What a configuration says of `query_recommender`.

    Attributes:
      dimension: d, width of the vectors.
      heads: of the attention to the history.
      max_history: newest events that are read.
      dropout: of the vectors of the history's items and of texts.
      history_dropout: share of decisions whose history is hidden in training, so that the query alone is enough.
      id_dropout: share of item ids hidden in training, so that words and attributes alone learn to carry an item.
      vocabulary: most words of the catalogue that are known, the most frequent ones.
      item_words: most words of an item; a longer text loses its most frequent ones.
      use_profile: read the words of the profile text.
      neighbours, content_neighbours: kept for each item of what is met near it and of what has similar texts, in the
        evidence path, which is left out where both are 0.
      decay: what an event counts among the neighbours for each known one after it.
      hard_negatives: items drawn for each query of those that hold its rarest word.
    """

    entry: str = "query_recommender"
    dimension: int = number(64, 1, 1e5)
    heads: int = number(4, 1, 1000)
    max_history: int = number(50, 1, 1e5)
    dropout: float = number(0.2, 0, 0.99)
    history_dropout: float = number(0.1, 0, 0.99)
    id_dropout: float = number(0.1, 0, 0.99)
    vocabulary: int = number(20000, 1, 1e7)
    item_words: int = number(24, 1, 1000)
    use_profile: bool = True
    neighbours: int = number(200, 0, 1e5)
    content_neighbours: int = number(100, 0, 1e5)
    decay: float = number(0.9, 0.01, 1)
    hard_negatives: int = number(16, 0, 1e4)

    def check(self) -> None:
        if self.dimension % self.heads:
            raise ValueError(
                f"`model.dimension` is {self.dimension} and `model.heads` {self.heads}; expected a dimension that the "
                "heads can share out evenly."
            )

    @property
    def static_shapes(self) -> bool:
        return False


def build(options: QueryRecommenderOptions, sizes: Sizes, losses: LossOptions) -> QueryRecommender:
    """An untrained QueryRecommender of a shop's sizes."""
    # Settings are read where no TensorFlow is needed: to check tables, to see that nothing is new.
    from models.query_recommender import QueryRecommender

    del losses
    return QueryRecommender(sizes, options)


ENTRY = Entry(
    purpose="Search that knows the shopper: words in spite of typos, meaning, and taste",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend", "search", "suggest"),
    options=QueryRecommenderOptions,
    build=build,
)
