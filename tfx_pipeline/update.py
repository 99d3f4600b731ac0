"""What a fit does differently where it starts from a model: which decisions it reads, how fast, and what it proves."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features
from models.catalogue_model import CatalogueModel
from serving import contract
from tfx_pipeline import inputs, warm_start
from tfx_pipeline.callbacks import CatalogueRanking
from tfx_pipeline.settings import Settings, to_dict
from tfx_pipeline.shoppers import decision_keys, marked_records
from tfx_pipeline.warm_start import Base

_METRIC = "ndcg@10"

#: Decisions of yesterday's test that are ranked at once.
_MOST_AT_ONCE = 64


def find_base(settings: Settings, folder: str | None, final: Mapping[str, Any] | None) -> Base | None:
    """The model that a fit starts from; None, and says why, where it cannot.

    Args:
      settings: of the pipeline.
      folder: of the SavedModel that was found; None or "" for none.
      final: what the validation fit left, for a final fit: that starts from a model only if the other one did.
    """
    if not settings.train.warm_start.enabled or (final and not final["warm_start"]):
        return None
    reason = "no model was blessed before"
    if not warm_start.keeps_weights(settings):
        reason = "what is pushed with `export`, or with LoRA merged, has not the weights of the fit"
    elif folder:
        base = warm_start.find(folder)
        if base is not None and base.model == to_dict(settings.model):
            return base
        lacks = f"no {contract.WARM_START_FILE}" if base is None else "other settings of `model`"
        reason = f"{folder} has {lacks}"
    print(f"  fitting from scratch: {reason}", flush=True)
    return None


class Update:
    """One update of a model that has taken over the weights of its base.

    Args:
      base: the model that it starts from.
      settings: of the pipeline.
      files: TFRecord files (gz) of transformed train decisions, what the base was fitted on among them.
      transform: Transform's output.
      model: not trained; `start` gives it the base's weights.
      catalogue: what the model knows of the items.
      texts: how the model's texts are read.
      until: day of the first decision of today's test; None where there is none.

    Raises:
      ValueError: if the base knows today's test.

    Attributes:
      settings: those of the update: its epochs and its rate in place of a fit's.
      records: of the decisions that it learns from; None if nothing is new.
      held_out: bool [D], decisions of yesterday's test, of which no shopper may be counted; None if nothing is new.
      report: what `contract.RUN_FILE` says of it: base, until_day, new, replayed, yesterday (numbers of decisions),
        before and after (NDCG@10 of the whole catalogue on today's and yesterday's test), seconds of training.
    """

    def __init__(
        self,
        base: Base,
        settings: Settings,
        files: Sequence[str],
        transform: tft.TFTransformOutput,
        model: CatalogueModel,
        catalogue: inputs.Catalogue,
        texts: inputs.Texts,
        until: int | None,
    ) -> None:
        if until is not None and base.until_day > until:
            raise ValueError(
                f"{base.folder} knows events until {_date(base.until_day)}, and the eval split starts on "
                f"{_date(until)}; expected a later `decisions.train_until`, or no `train.warm_start`."
            )
        warm = settings.train.warm_start
        users, days, events = decision_keys(files, transform)
        # Within a user later decisions have longer histories, so the two together rise with time.
        rising = days + 1 - 1 / (1.0 + events) if model.one_decision_a_user else None
        chosen = warm_start.choose(users, days, base.until_day, warm, settings.train.seed, rising)
        self.settings = dataclasses.replace(
            settings,
            train=dataclasses.replace(
                settings.train, epochs=warm.epochs, patience=warm.epochs, learning_rate=warm.learning_rate
            ),
        )
        self.records: tf.data.Dataset | None = None
        self.held_out: np.ndarray | None = None
        if chosen.new.any():
            self.held_out = chosen.yesterday
            self.records = marked_records(files, chosen.new | chosen.replayed)
        else:
            print(f"  fitting from scratch: no decision is newer than {base.folder}", flush=True)
        self.report: dict[str, Any] = {
            "base": base.folder,
            "until_day": base.until_day,
            **{name: int(getattr(chosen, name).sum()) for name in ("new", "replayed", "yesterday")},
        }
        self._yesterday = inputs.decisions(
            files,
            transform,
            settings,
            batch_size=min(settings.train.batch_size, _MOST_AT_ONCE),
            texts=texts,
            chosen=marked_records(files, _at_most(chosen.yesterday, settings.train.validation_decisions)),
        ).cache()
        self._started = time.monotonic()
        self._model, self._base = model, base
        self._sizes = inputs.read_sizes(transform, settings, catalogue)
        self._known = warm_start.vocabularies(settings, transform, catalogue.item_ids)

    def start(self, today: CatalogueRanking | None) -> Update | None:
        """Gives the model the base's weights and ranks both tests; None, and an untouched model, if nothing is new.

        Args:
          today: of the held-out decisions; None leaves them out.
        """
        if self.records is None:
            return None
        warm_start.transfer(self._model, self._base, self.settings, self._sizes, self._known)
        self.measure("before", self._model, today)
        return self

    def measure(self, moment: str, model: CatalogueModel, today: CatalogueRanking | None = None) -> None:
        """Ranks both tests; the calibration of a mixture is afterwards that of the last one.

        Args:
          moment: `before` or `after`.
          model: as it stands.
          today: of the held-out decisions; None leaves them out.
        """
        found = {}
        if self.report["yesterday"]:
            found["yesterday"] = CatalogueRanking(model, self._yesterday).evaluate()[_METRIC]
        if today is not None:
            found["today"] = today.evaluate()[_METRIC]
        self.report[moment] = found
        if moment == "before":
            self._started = time.monotonic()

    def trained(self) -> None:
        """Takes the time that training took."""
        self.report["seconds"] = round(time.monotonic() - self._started, 1)

    def finish(self, today: float | None) -> None:
        """Says what came of it.

        Args:
          today: NDCG@10 on today's test afterwards, where there is one.

        Raises:
          ValueError: if the update forgets (`warm_start.check_forgetting`).
        """
        before, after = self.report["before"], self.report["after"]
        if today is not None:
            after["today"] = today
        shown = [f"{name}'s test {before[name]:.4f} → {after[name]:.4f}" for name in before if name in after]
        print(
            f"  updated in {self.report['seconds']} s with {self.report['new']:,} new and {self.report['replayed']:,} "
            f"older decisions; NDCG@10 of {', '.join(shown) or 'no test'}",
            flush=True,
        )
        if "yesterday" in after:
            warm_start.check_forgetting(before["yesterday"], after["yesterday"], self.settings.train.warm_start)


def _date(day: int) -> str:
    """A day since 1970-01-01 UTC as a date."""
    return str(np.datetime64(day * features.SECONDS_PER_DAY, "s"))[:10]


def _at_most(marked: np.ndarray, number: int) -> np.ndarray:
    kept = marked.copy()
    kept[np.flatnonzero(marked)[number:]] = False
    return kept
