"""Settings of what a text encoder learns beside the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.options import TextEncoderOptions, number


@dataclass(frozen=True)
class PretrainingSettings:
    """Masked language modelling on the shop's own text, before the fit.

    Attributes:
      epochs: over the texts; 0 for none.
      mask_share: of the words, to be guessed.
      learning_rate: at its highest.
      batch_size: texts a step.
      max_texts: at most so many different texts of items, profiles and queries of the train split are read.
    """

    epochs: int = number(0, 0, 1e6)
    mask_share: float = number(0.15, 0.01, 0.9)
    learning_rate: float = number(1e-3, 0, 1000)
    batch_size: int = number(128, 1, 1e6)
    max_texts: int = number(100_000, 1, 1e9)


@dataclass(frozen=True)
class DistillationSettings:
    """Learning the pooled vectors that another BERT gives the shop's texts, before the fit.

    Attributes:
      teacher: as `model.text_encoder.pretrained`, with the vocabulary of `transform.wordpiece`.
      epochs: over the texts; 0 for none.
      relations: weight of the mean squared difference between the cosines of the texts of a batch.
      learning_rate: at its highest.
      batch_size: texts a step.
      max_texts: at most so many different texts are read; the teacher's vectors of all are kept in memory.
    """

    teacher: str = ""
    epochs: int = number(0, 0, 1e6)
    relations: float = number(1.0, 0, 1e6)
    learning_rate: float = number(1e-3, 0, 1000)
    batch_size: int = number(128, 1, 1e6)
    max_texts: int = number(100_000, 1, 1e9)


@dataclass(frozen=True)
class TextTrainingSettings:
    """What the text encoders of a model learn beside the fit.

    Attributes:
      pretraining: on the shop's own text.
      distillation: of another BERT, after the pretraining.
      mask_share: of the words of profile texts and queries, hidden in each step of the fit.
      keep: write the BERTs beside the model, in `assets.extra`, for other models and as teachers.
    """

    pretraining: PretrainingSettings = field(default_factory=PretrainingSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    mask_share: float = number(0.0, 0, 0.9)
    keep: bool = False

    def check(self, encoders: Sequence[TextEncoderOptions]) -> None:
        """Raises a ValueError of one sentence if the settings do not fit each other or the model's text encoders."""
        if bool(self.distillation.teacher) != bool(self.distillation.epochs):
            raise ValueError(
                f"`train.text.distillation.teacher` is {self.distillation.teacher!r} and `epochs` "
                f"{self.distillation.epochs}; expected both or neither."
            )
        if not encoders and (self.pretraining.epochs or self.distillation.epochs or self.keep):
            raise ValueError("`train.text` asks for a text encoder; expected a model that has one.")
        if self.mask_share and all(encoder.trainable == "frozen" for encoder in encoders):
            raise ValueError(
                f"`train.text.mask_share` is {self.mask_share}; expected 0 for a model without a text encoder that is "
                "trained, since a frozen one reads each text once."
            )


@dataclass(frozen=True)
class AugmentationSettings:
    """Copies of train decisions whose profile text and query say the same in other words.

    Attributes:
      synonyms: a text file in UTF-8, a line for each group of words or phrases of one meaning, separated by commas.
      share: of the words with synonyms that are replaced.
      hook: dotted name of a function text -> texts, such as one that translates there and back.
      copies: of each decision for `synonyms`, and at most for the `hook`.
    """

    synonyms: str = ""
    share: float = number(0.5, 0.01, 1)
    hook: str = ""
    copies: int = number(1, 1, 100)

    @property
    def active(self) -> bool:
        """Whether there are copies at all."""
        return bool(self.synonyms or self.hook)

    def check(self) -> None:
        """Raises a ValueError of one sentence if the hook's name is not dotted."""
        parts = self.hook.split(".")
        if self.hook and not (len(parts) > 1 and all(part.isidentifier() for part in parts)):
            raise ValueError(f"`decisions.augmentation.hook` is {self.hook!r}; expected module.function.")
