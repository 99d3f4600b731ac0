"""From what an application asks to what it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pathlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import numpy as np

from models import features
from serving import contract
from serving.client import Request
from serving.experiment.arm import Arm
from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.exposure_log import ExposureLog
from serving.experiment.outcome_log import OutcomeLog
from serving.gateway import metrics as named
from serving.gateway.answered import CONTROL, WELCOME, Answered
from serving.gateway.events import Events
from serving.gateway.json_logs import log
from serving.gateway.log_writer import LogWriter
from serving.gateway.messages import RecommendBody
from serving.gateway.metrics import Metrics
from serving.gateway.models import MODEL_REASONS, REFUSED, ModelError, Models, Target
from serving.gateway.profile_text import profile_text
from serving.gateway.refusal import Refusal, invalid
from serving.gateway.sentences import unknown_field
from serving.gateway.settings import GatewaySettings
from serving.gateway.shop_files import ShopFiles, rules_of
from serving.gateway.shoppers import Known, Shoppers
from serving.privacy.privacy import Privacy
from serving.results import Recommendation
from serving.rules.answer import Answer
from serving.rules.condition import NEW, USER
from serving.rules.engine import Engine
from serving.rules.kinds import NEW_USER, Fallback
from serving.rules.shopper import Shopper
from serving.store import open_async_store
from serving.store.async_online_store import AsyncOnlineStore

#: Why the arm's model did not answer, beside what `models` has.


class _Ranked(NamedTuple):
    """A ranking, or why there is none.

    Attributes:
      ranking: of the model.
      asked: the arm that was asked.
      fallback: "" where the user's arm answered.
    """

    ranking: Recommendation | None
    asked: Arm
    fallback: str = ""


class Gateway:
    """Puts together what an answer needs: the store, the experiment's arm, the model, the rules.

    What fails has something in its place: without the store the answer is made without history; of an arm whose model
    refuses (an unloaded version, a label that is gone) control's answers; and where no model does, the rules' fallback
    `model_down`, else popular items. Only a shop that has none of these refuses.

    Args:
      settings: of everything.
      store: of shoppers; None opens the one that the settings name.

    Attributes:
      metrics: of this gateway.
      files: what the shop's files say now.
      models: the model server.
      shoppers: the store.
      events: takes what shoppers did.

    Raises:
      ValueError, StoreError, OSError: if something that the settings name cannot be used.
    """

    def __init__(self, settings: GatewaySettings, store: AsyncOnlineStore | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.score_buckets)
        self.files = ShopFiles(settings)
        self.models = Models(settings.model, self.metrics)
        self._privacy = Privacy(settings.privacy)
        self._exposures = ExposureLog(settings.logs.exposures) if settings.logs.exposures else None
        outcomes = OutcomeLog(settings.logs.outcomes) if settings.logs.outcomes else None
        store = store or open_async_store(_url(settings), settings.store.options)
        self.shoppers = Shoppers(store, settings.store, self.metrics)
        self.writer = LogWriter(self.metrics)
        self.events = Events(settings.store.options, self._privacy, self.shoppers, outcomes, self.writer, self.metrics)
        self._learned: tuple[str, ...] = ()
        self._learned_at = -settings.fallback.learn_seconds
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to look at the model server, the store and the files."""
        self._tasks = [
            asyncio.create_task(_every(self.settings.model.poll_seconds, self.look)),
            asyncio.create_task(_every(self.settings.refresh_seconds, lambda: asyncio.to_thread(self.files.look))),
        ]

    async def stop(self) -> None:
        """Ends that, closes the connections, and writes what is not written yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.models.close()
        await self.shoppers.close()
        await asyncio.to_thread(self.writer.close)

    async def look(self) -> None:
        """Looks at model server and store, and learns what is popular when it is time for that."""
        experiment = self.files.experiment
        control = experiment.control_arm
        arms = [control, *(arm for arm in experiment.treatments if arm.share)]
        _, up = await asyncio.gather(self.shoppers.look(), self.models.look(arms))
        due = not self._learned or time.monotonic() >= self._learned_at + self.settings.fallback.learn_seconds
        if up and due and not self.settings.fallback.popular:
            with contextlib.suppress(ModelError):
                timeout = self.settings.model.timeout_ms / 1000
                found = await self.models.ask(contract.RECOMMEND, Request(), control, timeout)
                self._learned, self._learned_at = tuple(found.item_ids), time.monotonic()
        self.metrics.set(named.POPULAR_ITEMS, len(self._popular()))

    async def answer(self, signature: str, body: RecommendBody, query: str, request_id: str) -> Answered:
        """Answers one request.

        Args:
          signature: `recommend` or `search`.
          body: of the request.
          query: "" for none.
          request_id: of it, for the log.

        Raises:
          Refusal: for a context column that is not declared, and where there is nothing to answer.
        """
        self._check(body)
        now = time.time()
        engine, experiment = self.files.engine, self.files.experiment
        raw = {features.USER_ID: body.user_id, "session_id": body.session_id, features.QUERY: query}
        who = self._privacy.protect_event(raw)
        user_id = who[features.USER_ID]
        arm = experiment.arm(user_id, who["session_id"], now)
        found = await self.shoppers.known(user_id) if user_id else Known()
        known = found or Known()
        context = {**self._declared(known.profile.context), **body.context}
        region = {self.settings.region_column: str(body.region)} if body.region else {}
        shopper = Shopper(
            known.history,
            {**context, **region},
            body.age,
            None if found is not None else False,  # a user whose history is not known is not a new one
            body.page,
            body.placement,
            rules_of(arm),
            now,
        )
        if _welcomes(engine, shopper, now):
            ranked = _Ranked(None, arm, WELCOME)
        else:
            newest = known.history[-1].timestamp if known.history else 0
            request = Request(
                user_id=user_id,
                # Its parts were redacted when they were stored; titles never are, as in training.
                profile_text=profile_text(self.settings.profile_text, known.profile, known.history, self.files.title),
                query=who[features.QUERY],
                request_time=max(int(now), newest),
                history=known.history,
                context=context,
                exclude=body.exclude,
            )
            ranked = await self._rank(signature, request, arm, experiment)
        ranked, answer = self._apply(engine, ranked, shopper, body)
        if not answer.items and ranked.fallback in MODEL_REASONS:
            raise Refusal(503, "unavailable", "The model does not answer, and there is nothing to answer instead.", 1)
        answered = Answered(
            request_id,
            experiment.name,
            arm,
            ranked.asked,
            ranked.ranking,
            ranked.fallback,
            found is not None,
            answer,
        )
        self._log_exposure(answered, now, user_id or who["session_id"])
        return answered

    def _check(self, body: RecommendBody) -> None:
        columns = self.settings.context_columns
        unknown = sorted(set(body.context) - set(columns))
        if unknown:
            raise invalid(unknown_field(unknown[0], "`context`", columns))
        if body.region and not self.settings.region_column:
            raise invalid("`region` is given, and no column is declared for it; expected none.")

    def _declared(self, context: Any) -> dict[str, str]:
        """What a stored profile says of the declared columns; it may be of a time when there were others."""
        return {column: context[column] for column in self.settings.context_columns if column in context}

    async def _rank(self, signature: str, request: Request, arm: Arm, experiment: Experiment) -> _Ranked:
        """The ranking of the arm's model; of control's where that one refuses."""
        deadline = time.monotonic() + self.settings.model.timeout_ms / 1000
        reason, control = "", experiment.control_arm
        for asked in (arm, control):
            try:
                ranking = await self.models.ask(signature, request, asked, max(0.0, deadline - time.monotonic()))
                return _Ranked(ranking, asked, CONTROL if reason else "")
            except ModelError as error:
                reason = reason or error.reason
            if reason != REFUSED or Target.of(arm) == Target.of(control):
                break
        return _Ranked(None, arm, reason)

    def _apply(self, engine: Engine, ranked: _Ranked, shopper: Shopper, body: RecommendBody) -> tuple[_Ranked, Answer]:
        """What the rules make of a ranking, or of what there is in its place."""
        wanted = body.top, body.exclude
        if ranked.ranking is not None:
            try:
                return ranked, engine.apply(ranked.ranking, shopper, *wanted)
            except ValueError as error:  # a score that is no number
                log("the ranking cannot be used", logging.ERROR, error, version=ranked.ranking.version)
                ranked = _Ranked(None, ranked.asked, REFUSED)
        answer = engine.apply(None, shopper, *wanted)
        popular = self._popular()
        if not answer.items and popular:
            # As likely as Zipf's law has it, as the engine takes its lists.
            scores = -np.log1p(np.arange(len(popular)))
            answer = engine.apply(Recommendation(list(popular), scores, 0), shopper, *wanted)
        return ranked, answer

    def _popular(self) -> tuple[str, ...]:
        return self.files.popular or self._learned

    def _log_exposure(self, answered: Answered, now: float, unit: str) -> None:
        if self._exposures is None or not unit:
            return
        exposure = Exposure(
            now,
            answered.experiment,
            answered.arm.name,
            unit,
            answered.request_id,
            tuple(item.item_id for item in answered.answer.items),
        )
        exposures = self._exposures
        self.writer.put(named.EXPOSURES, lambda: exposures.write(exposure))


def _welcomes(engine: Engine, shopper: Shopper, now: float) -> bool:
    """Whether a fallback for new users takes the place of the ranking, so that no model need be asked."""
    facts = shopper.facts()
    return facts[USER] == NEW and any(
        isinstance(rule, Fallback) and rule.on == NEW_USER and rule.when.holds(facts, now)
        for rule in engine.rules.rules_of(shopper.arm)
    )


def _url(settings: GatewaySettings) -> str:
    if not settings.store.url_file:
        return settings.store.url
    try:
        return pathlib.Path(settings.store.url_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{settings.store.url_file}: cannot be read; expected the URL of the store.") from None


async def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # whatever it is, the next look may succeed
            log("a look failed", logging.ERROR, error)
        await asyncio.sleep(seconds)
