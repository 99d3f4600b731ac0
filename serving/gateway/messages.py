"""What applications send and get, as pydantic models: they check requests and make the OpenAPI document.

Texts are checked to be Unicode that UTF-8 can write, numbers are not made of texts, and unknown fields are refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConstrainedInt, ConstrainedStr, Extra, Field, root_validator, validator
from pydantic.errors import DictError

MOST_ITEMS, MOST_EXCLUDED, MOST_EVENTS = 100, 1000, 500
#: Seconds that the clock of who sends an event may be ahead.
_AHEAD = 300
_HIGHEST_AMOUNT = 1e9


class Text(ConstrainedStr):
    """A short text that people wrote."""

    strict = True
    strip_whitespace = True
    max_length = 1000

    @classmethod
    def validate(cls, value: str) -> str:
        value = super().validate(value)
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise ValueError("has half a surrogate pair; expected Unicode") from None
        return value


class Query(Text):
    """What is searched for."""

    min_length = 1


class Id(Text):
    """The id of something, white space around it not counted."""

    max_length = 256

    @classmethod
    def validate(cls, value: str) -> str:
        value = super().validate(value)
        if any(character < " " or character == "\x7f" for character in value):
            raise ValueError("has a control character; expected an id without one")
        return value


class ItemId(Id):
    """The id of an item."""

    min_length = 1


class EventType(ItemId):
    """The type of an event."""

    max_length = 64


class Top(ConstrainedInt):
    """How many items."""

    strict = True
    ge = 1
    le = MOST_ITEMS


class Age(ConstrainedInt):
    """Years."""

    strict = True
    ge = 0
    le = 150


class Seconds(ConstrainedInt):
    """Since 1970-01-01 UTC."""

    strict = True
    ge = 0


class Quantity(ConstrainedInt):
    """How many pieces."""

    strict = True
    ge = 1
    le = 1_000_000


class Amount(float):
    """Money."""

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[[Any], float]]:
        yield cls.validate

    @classmethod
    def __modify_schema__(cls, field_schema: dict[str, Any]) -> None:
        field_schema.update(type="number", minimum=0, maximum=_HIGHEST_AMOUNT)

    @classmethod
    def validate(cls, value: Any) -> float:
        # NaN is not within the bounds, either.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _HIGHEST_AMOUNT:
            raise ValueError(f"is no amount; expected a number from 0 to {_HIGHEST_AMOUNT:g}")
        return float(value)


class _Body(BaseModel):
    class Config:
        extra = Extra.forbid

    @classmethod
    def validate(cls, value: Any) -> Any:
        # pydantic would make an object of a list of pairs.
        if not isinstance(value, (dict, cls)):
            raise DictError()
        return super().validate(value)


class RecommendBody(_Body):
    """Who asks, and where the answer is shown."""

    user_id: Id = Field(Id(""), description="Of the shop; empty for a visitor.")
    session_id: Id = Field(Id(""), description="Tells visitors apart in experiments.")
    top: Top = Field(Top(20), description="At most so many items are answered.")
    context: dict[str, Text] = Field(
        {}, description="Values of declared context columns; they win over those of the stored profile."
    )
    exclude: list[ItemId] = Field([], max_items=MOST_EXCLUDED, description="Items that must not be answered.")
    region: Text = Field(Text(""), description="Where the items are sold to, for the rules.")
    age: Age | None = Field(None, description="Of the shopper, in years, for the rules.")
    page: Text = Field(Text(""), description="Where the answer is shown, for the rules, such as home.")
    placement: Text = Field(Text(""), description="Where on that page, such as top.")

    class Config:
        schema_extra = {
            "example": {"user_id": "17850", "top": 10, "context": {"country": "FR"}, "age": 34, "page": "home"}
        }


class SearchBody(RecommendBody):
    """Who searches for what."""

    query: Query = Field(..., description="What is searched for.")

    class Config:
        schema_extra = {"example": {"user_id": "17850", "query": "waterproof hiking boots", "top": 10}}


class EventBody(_Body):
    """One thing that somebody did; it has an `item_id`, a `query` or both."""

    user_id: Id = Field(Id(""), description="Of the shop; nothing is kept of visitors, who have none.")
    session_id: Id = Field(Id(""), description="Tells visitors apart in experiments.")
    item_id: Id = Field(Id(""), description="What it was done to.")
    event_type: EventType = Field(..., description="view, click, cart, purchase, search, …")
    timestamp: Seconds | None = Field(None, description="Seconds since 1970-01-01 UTC; now, if it is left out.")
    query: Text = Field(Text(""), description="What was searched for.")
    request_id: Id = Field(Id(""), description="Of the answer that it follows from, for experiments.")
    quantity: Quantity = Field(Quantity(1), description="Of a purchase.")
    price: Amount = Field(Amount(0.0), description="Of one piece, in the shop's currency.")

    class Config:
        schema_extra = {
            "example": {"user_id": "17850", "item_id": "i000176", "event_type": "click", "timestamp": 1711800000}
        }

    @validator("timestamp")
    def _not_ahead(cls, value: int | None) -> int | None:
        if value is not None and value > time.time() + _AHEAD:
            raise ValueError(f"lies more than {_AHEAD} seconds ahead; expected seconds since 1970-01-01 UTC")
        return value

    @root_validator(skip_on_failure=True)
    def _whole(cls, values: dict[str, Any]) -> dict[str, Any]:
        if not values["item_id"] and not values["query"]:
            raise ValueError("has neither `item_id` nor `query`; expected one of them")
        if not (values["user_id"] or values["session_id"] or values["request_id"]):
            raise ValueError("has no `user_id`, `session_id` or `request_id`; expected one of them")
        return values


class EventsBody(_Body):
    """Events; one alone may stand for itself."""

    events: list[EventBody] = Field(..., min_items=1, max_items=MOST_EVENTS)

    class Config:
        @staticmethod
        def schema_extra(schema: dict[str, Any], _: type[BaseModel]) -> None:
            event = schema["properties"]["events"]["items"]
            batch = {key: schema.pop(key) for key in ("type", "properties", "required", "additionalProperties")}
            schema["anyOf"] = [event, batch]

    @root_validator(pre=True)
    def _of_one(cls, values: dict[str, Any]) -> dict[str, Any]:
        return values if "events" in values or not values else {"events": [values]}


class AnsweredItem(BaseModel):
    """One item of an answer."""

    item_id: str
    score: float | None = Field(None, description="The model's; null for what the model did not rank.")
    position: int = Field(..., description="From 1.")
    reasons: list[str] = Field(..., description="Rules that brought it here, or to this place.")


class AnsweredRule(BaseModel):
    """A rule that made a difference to an answer."""

    name: str
    kind: str
    items: int = Field(..., description="How many it ruled out, moved or brought in.")


class AnsweredModel(BaseModel):
    """Which model answered."""

    name: str
    version: int


class RecommendAnswer(BaseModel):
    """Items, best first, and where they are from."""

    request_id: str = Field(..., description="Sent along with clicks and purchases, it says what they follow from.")
    items: list[AnsweredItem]
    rules: list[AnsweredRule]
    experiment: str
    arm: str
    model: AnsweredModel | None = Field(None, description="null, if none did.")
    fallback: Literal["new_user", "control", "model_timeout", "model_unavailable", "model_refused"] | None = Field(
        None, description="Why the arm's model did not answer; with control, that of the control arm did."
    )
    history_known: bool = Field(..., description="False, if the store did not give what it has of the user.")

    class Config:
        schema_extra = {
            "example": {
                "request_id": "3f0c8a52c9f14c64a2b9c3a3a8d6a1f7",
                "items": [{"item_id": "i000176", "score": 1.25, "position": 1, "reasons": ["new_items"]}],
                "rules": [{"name": "in_stock", "kind": "out_of_stock", "items": 3}],
                "experiment": "affinity",
                "arm": "stable",
                "model": {"name": "ranker", "version": 1711800000},
                "fallback": None,
                "history_known": True,
            }
        }


class EventsAnswer(BaseModel):
    """What became of events."""

    request_id: str
    stored: int = Field(..., description="So many count from the next request on.")
    skipped: int = Field(..., description="So many are no history: impressions, and what visitors did.")


class HealthAnswer(BaseModel):
    """That the process lives."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """Whether everything that answers need is there."""

    ready: bool
    model: bool = Field(..., description="The model server answers.")
    store: bool = Field(..., description="The store of shoppers answers.")


class ErrorDetail(BaseModel):
    """What is wrong."""

    code: str = Field(..., description="For programs.")
    message: str = Field(..., description="One sentence.")
    request_id: str


class ErrorAnswer(BaseModel):
    """Every answer but one that is as asked."""

    error: ErrorDetail

    class Config:
        schema_extra = {
            "example": {
                "error": {
                    "code": "invalid_request",
                    "message": "`top` is above the limit; expected at most 100.",
                    "request_id": "3f0c8a52c9f14c64a2b9c3a3a8d6a1f7",
                }
            }
        }
