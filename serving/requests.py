"""What a caller knows of one request."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from models import features


class Event(NamedTuple):
    """One thing the user did.

    Attributes:
      item_id: of the catalogue, or of an item it does not know.
      event_type: view, click, cart, purchase, ...
      timestamp: seconds since 1970-01-01 UTC.
    """

    item_id: str
    event_type: str
    timestamp: int


@dataclass(frozen=True)
class Request:
    """What a caller knows of one request; whatever is left out is sent as the contract's neutral value.

    Attributes:
      user_id: of the shop, "" for a visitor.
      profile_text: free text, queries, reviews, titles of what was bought.
      query: "" when this is not a search.
      request_time: seconds since 1970-01-01 UTC; 0 when unknown.
      history: (item_id, event_type, timestamp) triples before the request, all of them, oldest first.
      context: value of each declared context column that is known, such as {"country": "France"}.
      candidates: item ids to rank.
      candidate_text: title etc. of each candidate, "" where the catalogue knows it; empty for none at all.
      exclude: item ids that `recommend` and `search` must not return.
      allow: the only item ids that they may return; empty for all.

    Raises:
      ValueError: when the parts do not fit together.
    """

    user_id: str = ""
    profile_text: str = ""
    query: str = ""
    request_time: int = 0
    history: Sequence[tuple[str, str, int]] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    candidates: Sequence[str] = ()
    candidate_text: Sequence[str] = ()
    exclude: Sequence[str] = ()
    allow: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("candidates", features.CANDIDATE_TEXT, "exclude", "allow"):
            if isinstance(getattr(self, name), (str, bytes)):
                raise ValueError(f"`{name}` is one string; expected a list of strings.")
        if self.candidate_text and len(self.candidate_text) != len(self.candidates):
            raise ValueError(
                f"`candidate_text` has {len(self.candidate_text)} texts for {len(self.candidates)} candidates; "
                'expected one each ("" where there is none).'
            )
        for position, event in enumerate(self.history):
            if len(event) != 3:
                raise ValueError(
                    f"`history[{position}]` is {event!r}; expected a triple of item_id, event_type and timestamp."
                )
            before, time = self.history[max(0, position - 1)][2], event[2]
            # What is no whole number is named when the request is sent.
            if isinstance(time, numbers.Integral) and isinstance(before, numbers.Integral) and time < before:
                raise ValueError(
                    f"`history[{position}]` is of {time}, and the event before it of {before}; "
                    "expected the oldest event first."
                )
