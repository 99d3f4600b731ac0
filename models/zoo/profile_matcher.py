"""The `profile_matcher`: what is known of a user, from several sources, matched with items."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.options import LossOptions, ModelOptions, TextEncoderOptions, choice, number
from models.registry import Entry
from models.sizes import Sizes

if TYPE_CHECKING:
    from models.profile_matcher import ProfileMatcher

#: What a user vector may be made of.
SOURCES = ("profile", "query", "history", "context", "sentiment")


@dataclass(frozen=True)
class ProfileMatcherOptions(ModelOptions):
    """What a configuration says of the `profile_matcher`.

    Attributes:
      dimension: d, width of user and item vectors.
      dropout: of what enters a source's encoder, and within.
      sources: of the user vector: `profile` (its text), `query`, `history`, `context` (the declared columns),
        `sentiment` (reviews in the history; `decisions.review_events` puts them there).
      half_lives: initial ones of the history's heads, in days.
      max_history: newest events that are read.
      text_encoder: the BERT of profile, query and item texts.
      use_words: a learned vector for each word of an item's and a profile's text, beside what BERT makes of it.
      use_lexical: words that a query shares with an item's text count too.
      id_dropout: share of item ids hidden in training, so that text and attributes alone learn to carry an item.
      source_dropout: share of sources hidden in training, each on its own, so that none leans on the others.
      item_text: `table` (item texts are encoded once an epoch) or `through` (in every step, so that BERT learns from
        them).
    """

    entry: str = "profile_matcher"
    dimension: int = number(64, 1, 1e5)
    dropout: float = number(0.2, 0, 0.99)
    sources: tuple[str, ...] = choice(*SOURCES, default=SOURCES)
    half_lives: tuple[float, ...] = number((1.0, 7.0, 60.0), 1e-3, 1e6)
    max_history: int = number(64, 1, 1e6)
    text_encoder: TextEncoderOptions = field(default_factory=TextEncoderOptions)
    use_words: bool = True
    use_lexical: bool = True
    id_dropout: float = number(0.1, 0, 0.99)
    source_dropout: float = number(0.1, 0, 0.99)
    item_text: str = choice("table", "through")

    def check(self) -> None:
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(
                f"`model.sources` is {list(self.sources)}; expected each of {', '.join(SOURCES)} once at most, and one "
                "at least."
            )
        if not self.half_lives:
            raise ValueError("`model.half_lives` is empty; expected a number of days for each head.")
        self.text_encoder.check()

    @property
    def text_encoders(self) -> dict[str, TextEncoderOptions]:
        return {"text_encoder": self.text_encoder}

    @property
    def static_shapes(self) -> bool:
        return self.item_text == "table" and self.text_encoder.trainable == "frozen"


def build(options: ProfileMatcherOptions, sizes: Sizes, losses: LossOptions) -> ProfileMatcher:
    """An untrained matcher of a shop's sizes."""
    # Settings are read where no TensorFlow is needed: to check tables, to see that nothing is new.
    from models.profile_encoder import ProfileEncoder
    from models.profile_matcher import ProfileMatcher

    encoder = ProfileEncoder.from_options(
        options.text_encoder, sizes.wordpieces, dimension=options.dimension, name="text_encoder"
    )
    return ProfileMatcher(sizes, options, losses, encoder)


ENTRY = Entry(
    purpose="Vectors from profile text, query, history, context and reviews, matched with items over the catalogue",
    task="ranking",
    gate_metric="ndcg@10",
    signatures=("rank", "recommend", "search", "profile"),
    options=ProfileMatcherOptions,
    build=build,
    losses=("catalogue", "listwise", "label_smoothing"),
)
