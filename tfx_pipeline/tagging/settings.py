"""Settings of the task `tagging`: which texts are taken, and what the catalogue must say of a name."""

from __future__ import annotations

from dataclasses import dataclass

from models.options import choice, number

#: Sources of texts, as `features.SLICE_SOURCE` names them.
QUERY, REVIEW, FREE_TEXT, TITLE, DESCRIPTION = SOURCES = ("query", "review", "free_text", "title", "description")


@dataclass(frozen=True)
class TaggingSettings:
    """What examples of the task `tagging` are made of; other tasks do not look at it.

    Attributes:
      sources: texts taken: of `query` and `free_text` (users), `review`, `title` and `description` (items).
      min_count: titles that a phrase must be in to be a name.
      synonym_users: users who must have said a phrase that the catalogue does not know, and then mostly chosen one
        product, for the phrase to name it; 0 learns no such synonyms.
      typo_copies: copies with a typing mistake added for each query, free text and review of `train` and `recent`.
      max_tags: the most frequent tags are kept, at most so many.
      min_texts: texts that must have a tag for it to be kept.
    """

    sources: tuple[str, ...] = choice(*SOURCES, default=SOURCES)
    min_count: int = number(2, 1, 1e6)
    synonym_users: int = number(2, 0, 1e6)
    typo_copies: int = number(1, 0, 100)
    max_tags: int = number(1000, 1, 1e6)
    min_texts: int = number(2, 1, 1e6)
