"""What the tasks share: a case, what is asked for it, and what the benchmark wants of a protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol as TypingProtocol

from serving.requests import Request
from tfx_pipeline.example_gen.decision import Decision


@dataclass(frozen=True)
class Case:
    """One user and what is to be found for them.

    Attributes:
      request: what was known of the user just before the moment that is asked of, as ExampleGen builds it.
      bought: items of the user's label events before it.
      targets: items that are to be found.
    """

    request: Request
    bought: frozenset[str]
    targets: frozenset[str]

    @property
    def novel_targets(self) -> frozenset[str]:
        """Targets that the user had not bought before."""
        return self.targets - self.bought


@dataclass(frozen=True)
class Part:
    """One list of rankings that a task asks for.

    Attributes:
      name: "" for the task's main one; else it stands before the names of its metrics and in that of its file.
      requests: what is asked, one a user.
      targets: user id -> what is to be found, never empty.
      groups: name -> users whose metrics are also given on their own.
      relevance: user id -> item id -> grade, 1 or more, where targets are graded.
    """

    name: str
    requests: Sequence[Request]
    targets: Mapping[str, frozenset[str]]
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    relevance: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Protocol(TypingProtocol):
    """The cases of a data set under one task.

    Attributes:
      task: its name.
      signature: of the SavedModel, that answers its requests.
      known: ids of the items to be ranked.
      boundary: seconds since 1970-01-01 UTC; what comes from then on is not known.
    """

    @property
    def task(self) -> str: ...
    @property
    def signature(self) -> str: ...
    @property
    def known(self) -> frozenset[str]: ...
    @property
    def boundary(self) -> int: ...

    def parts(self) -> list[Part]:
        """What is asked, the main part first."""
        ...


def request_of(decision: Decision) -> Request:
    """The request that brings what a decision holds."""
    history = zip(
        decision.history_item_ids.tolist(),
        decision.history_event_types.tolist(),
        decision.history_timestamps.tolist(),
        strict=True,
    )
    return Request(
        user_id=decision.user_id,
        profile_text=decision.profile_text,
        query=decision.query,
        request_time=decision.time,
        history=tuple(history),
        context=decision.context,
    )
