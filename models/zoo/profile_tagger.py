"""Tags of a text: what its author is interested in, what its words name, whether a review is content."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.options import LossOptions, ModelOptions, TextEncoderOptions, number
from models.registry import Entry
from models.sizes import TextSizes

if TYPE_CHECKING:
    from models.tagger import ProfileTagger


@dataclass(frozen=True)
class ProfileTaggerOptions(ModelOptions):
    """What a configuration says of the `profile_tagger`.

    Attributes:
      dimension: d, width of a text's vector.
      dropout: of the text's states before the heads.
      word_dropout: share of tokens hidden in training.
      text_encoder: the BERT; its pooling is not used: words are weighed by learned attention.
      tag_weight, word_weight, sentiment_weight: of the losses of the three heads; 0 switches one off.
    """

    entry: str = "profile_tagger"
    dimension: int = number(128, 1, 1e5)
    dropout: float = number(0.1, 0, 0.99)
    word_dropout: float = number(0.1, 0, 0.99)
    text_encoder: TextEncoderOptions = field(default_factory=TextEncoderOptions)
    tag_weight: float = number(1.0, 0, 1e6)
    word_weight: float = number(1.0, 0, 1e6)
    sentiment_weight: float = number(0.5, 0, 1e6)

    def check(self) -> None:
        if not self.tag_weight:
            raise ValueError(
                "`model.tag_weight` is 0; expected a number above 0: tags are what the model is judged by."
            )
        self.text_encoder.check()

    @property
    def text_encoders(self) -> dict[str, TextEncoderOptions]:
        return {"text_encoder": self.text_encoder}


def build(options: ProfileTaggerOptions, sizes: TextSizes, losses: LossOptions) -> ProfileTagger:
    """An untrained tagger of a shop's sizes."""
    del losses  # those are of rankings
    # Settings are read where no TensorFlow is needed.
    from models.profile_encoder import ProfileEncoder
    from models.tagger import ProfileTagger

    encoder = ProfileEncoder.from_options(
        options.text_encoder, sizes.wordpieces, dimension=options.dimension, name="text_encoder"
    )
    return ProfileTagger(
        encoder,
        tags=sizes.tags,
        special_tokens=sizes.special_tokens,
        mask_token=sizes.mask_token,
        dropout=options.dropout,
        word_dropout=options.word_dropout,
        loss_weights={
            "tags": options.tag_weight,
            "words": options.word_weight,
            "sentiment": options.sentiment_weight,
        },
    )


ENTRY = Entry(
    purpose="Tags of a text's interest, names among its words, sentiment and key words, in English and Chinese",
    task="tagging",
    gate_metric="tag_macro_f1",
    signatures=("profile", "tag"),
    options=ProfileTaggerOptions,
    build=build,
)
