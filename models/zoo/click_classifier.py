"""Click classifier: a BERT that reads what a shopper says and an item's text together, beside what they did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.options import PAIR_FINE_TUNING, LossOptions, ModelOptions, TextEncoderOptions, number
from models.registry import Entry
from models.sizes import Sizes

if TYPE_CHECKING:
    from models.click_classifier import ClickClassifier


@dataclass(frozen=True)
class ClickClassifierOptions(ModelOptions):
    """What a configuration says of the `click_classifier`.

    Attributes:
      text_encoder: the BERT; its `pooling` is not looked at, a classifier reads the first token.
      use_text: read query, profile text and the item's text together by the BERT.
      use_evidence: read the item itself and how it fits history, query words and context.
      text_rate: what `train.learning_rate` is multiplied by for the BERT: a pretrained one wants 1e-5 to 5e-5 in all,
        one from scratch 1e-3, and what is counted of behaviour more.
      train_candidates: at most so many candidates of a decision, drawn anew in each training step.
      dropout: before the BERT's classifier, of item vectors and of hidden layers.
      dimension: d, width of the evidence's vectors.
      hidden: widths of the evidence's hidden layers.
      decay_days: time constants of the history's sums.
      max_history: newest events that are read.
      id_dropout: share of item ids hidden in training.
      popularity_days: windows in which it is counted how often an item was chosen.
      use_slate: the evidence reads what is shown beside an item, too; for requests whose candidates are what is shown,
        and logs with one slate a session, of at most `decisions.candidates` items.
    """

    entry: str = "click_classifier"
    text_encoder: TextEncoderOptions = field(default_factory=TextEncoderOptions)
    use_text: bool = True
    use_evidence: bool = True
    text_rate: float = number(1.0, 1e-6, 1)
    train_candidates: int = number(16, 1, 1e5)
    dropout: float = number(0.2, 0, 0.99)
    dimension: int = number(16, 1, 1e5)
    hidden: tuple[int, ...] = number((32,), 1, 1e5)
    decay_days: tuple[float, ...] = number((7.0, 30.0, 120.0), 1e-3, 1e6)
    max_history: int = number(64, 1, 1e5)
    id_dropout: float = number(0.1, 0, 0.99)
    popularity_days: tuple[int, ...] = number((7, 30, 365), 1, 1e6)
    use_slate: bool = False

    def check(self) -> None:
        if not (self.use_text or self.use_evidence):
            raise ValueError("`model.use_text` and `model.use_evidence` are false; expected one of them to be true.")
        if self.use_slate and not self.use_evidence:
            raise ValueError("`model.use_slate` is true; expected `model.use_evidence: true`, which reads it.")
        self.text_encoder.check()
        if self.use_text and self.text_encoder.trainable not in PAIR_FINE_TUNING:
            raise ValueError(
                f"`model.text_encoder.trainable` is {self.text_encoder.trainable!r}; expected one of "
                f"{', '.join(PAIR_FINE_TUNING)} for a classifier of pairs of texts."
            )

    @property
    def text_encoders(self) -> dict[str, TextEncoderOptions]:
        return {"text_encoder": self.text_encoder} if self.use_text else {}

    @property
    def reads_slate(self) -> bool:
        return self.use_slate

    @property
    def static_shapes(self) -> bool:
        return False


def build(options: ClickClassifierOptions, sizes: Sizes, losses: LossOptions) -> ClickClassifier:
    """An untrained classifier of a shop's sizes."""
    # Settings are read where no TensorFlow is needed: to check tables, to see that nothing is new.
    from models.click_classifier import ClickClassifier
    from models.click_evidence import ClickEvidence
    from models.pair_encoder import PairEncoder

    if not losses.binary:
        raise ValueError("click_classifier learns clicks; expected a weight for `losses.binary`.")
    encoder = evidence = None
    if options.use_text:
        encoder = PairEncoder.from_options(
            options.text_encoder, sizes.wordpieces, dropout=options.dropout, name="pair_encoder"
        )
    if options.use_evidence:
        evidence = ClickEvidence(
            sizes,
            options.dimension,
            options.decay_days,
            options.hidden,
            options.dropout,
            options.id_dropout,
            options.use_slate,
            options.popularity_days,
            name="evidence",
        )
    return ClickClassifier(
        sizes,
        encoder,
        evidence,
        train_candidates=options.train_candidates,
        max_history=options.max_history,
        text_rate=options.text_rate,
    )


ENTRY = Entry(
    purpose="How likely what is shown is clicked, from query, profile text, item text and behaviour",
    task="click",
    gate_metric="pooled_auc",
    signatures=("rank",),
    options=ClickClassifierOptions,
    build=build,
    losses=("binary",),
)
