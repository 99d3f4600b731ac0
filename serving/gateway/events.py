"""Takes what shoppers did."""

from __future__ import annotations

import collections
import time
from collections.abc import Sequence
from typing import NamedTuple

from models import features
from serving.experiment.metrics import CLICK, PURCHASE
from serving.experiment.outcome import Outcome
from serving.experiment.outcome_log import OutcomeLog
from serving.gateway import metrics as named
from serving.gateway.log_writer import LogWriter
from serving.gateway.messages import EventBody
from serving.gateway.metrics import Metrics
from serving.gateway.shoppers import Shoppers
from serving.privacy.privacy import Privacy
from serving.requests import Event
from serving.store.options import StoreOptions
from serving.store.profile import Query

_STORED, _SKIPPED = "stored", "skipped"


class Taken(NamedTuple):
    """What became of events.

    Attributes:
      stored: that count from the next request on.
      skipped: that are no history: impressions, and what visitors did.
    """

    stored: int
    skipped: int


class Events:
    """Puts events into the store, and clicks and purchases into the log of outcomes.

    Args:
      options: of the store, for what is an impression.
      privacy: what becomes of ids and queries first.
      shoppers: the store.
      outcomes: None logs none.
      writer: that writes them.
      metrics: of the gateway.
    """

    def __init__(
        self,
        options: StoreOptions,
        privacy: Privacy,
        shoppers: Shoppers,
        outcomes: OutcomeLog | None,
        writer: LogWriter,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._privacy = privacy
        self._shoppers = shoppers
        self._outcomes = outcomes
        self._writer = writer
        self._metrics = metrics

    async def take(self, events: Sequence[EventBody]) -> Taken:
        """Returns when the store has them, so that they count in the next request.

        Raises:
          StoreError: if it does not; then nothing is logged either, and they may be sent again.
        """
        history: dict[str, list[Event]] = collections.defaultdict(list)
        queries: dict[str, list[Query]] = collections.defaultdict(list)
        outcomes: list[Outcome] = []
        stored, now = 0, int(time.time())
        for event in events:
            named_by = {features.USER_ID: event.user_id, "session_id": event.session_id, features.QUERY: event.query}
            who = self._privacy.protect_event(named_by)
            user_id, moment = who[features.USER_ID], now if event.timestamp is None else int(event.timestamp)
            if event.event_type in (CLICK, PURCHASE):
                outcomes.append(_outcome(event, user_id or who["session_id"], moment))
            if not user_id or event.event_type in self._options.impression_event_types:
                continue
            stored += 1
            if event.item_id:
                history[user_id].append(Event(event.item_id, event.event_type, moment))
            if event.query:
                queries[user_id].append(Query(who[features.QUERY], moment))
        await self._shoppers.add(history, queries)
        if self._outcomes is not None:
            for outcome in outcomes:
                self._writer.put(named.OUTCOMES, lambda log=self._outcomes, one=outcome: log.write(one))  # type: ignore[misc]
        self._metrics.add(named.EVENTS, _STORED, amount=stored)
        self._metrics.add(named.EVENTS, _SKIPPED, amount=len(events) - stored)
        return Taken(stored, len(events) - stored)


def _outcome(event: EventBody, user_id: str, moment: int) -> Outcome:
    revenue = event.price * event.quantity if event.event_type == PURCHASE else 0.0
    return Outcome(float(moment), event.event_type, user_id, event.request_id, event.item_id, revenue)
