"""The text about a shopper that a model reads, made as training made it (`example_gen.decisions`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serving.gateway.settings import FREE_TEXT, QUERIES, ProfileTextSettings
from serving.requests import Event
from serving.store.profile import Profile


def profile_text(
    settings: ProfileTextSettings,
    profile: Profile,
    history: Sequence[Event],
    title: Callable[[str], str | None],
) -> str:
    """Free text, queries and titles, as the settings say, with "; " between them.

    Args:
      settings: which of them, and how much.
      profile: of the shopper.
      history: of the shopper, oldest first.
      title: of an item, by its id; None for one that is not in the catalogue.
    """
    parts: list[str] = []
    for source in settings.sources:
        if source == FREE_TEXT:
            parts.append(profile.free_text)
        elif source == QUERIES:
            parts += [query.text for query in profile.queries[: settings.max_items]]
        else:
            chosen = (event.item_id for event in reversed(history) if event.event_type in settings.label_event_types)
            titles = [found for item_id in dict.fromkeys(chosen) if (found := title(item_id)) is not None]
            parts += titles[: settings.max_items]
    return "; ".join(part for part in parts if part)[: settings.max_chars]
