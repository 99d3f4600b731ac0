"""What a shop's data says of the sizes of a model."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sizes:
    """Sizes of the vocabularies and tables that Transform has made of a shop's data.

    Attributes:
      items: V, items of the catalogue.
      event_types, categories, brands, price_buckets, gap_buckets: ids 0 and 1 included (buckets: 0 included).
      context: name of each declared context column -> size of its vocabulary.
      wordpieces: entries of the text vocabulary.
      special_tokens: ids of the text vocabulary that are no words, padding first.
      text_length: T, tokens of an item's text.
      days: days with sales that are known.
      type_ids: event type -> its id.
      label_strengths: label event types, the weakest first, where examples say which made a candidate positive.
      image_width: numbers of an item's image embedding, 0 where the data declares none.
      relations: kinds of relations between items, 0 where the data declares none.
    """

    items: int
    event_types: int
    categories: int
    brands: int
    price_buckets: int
    gap_buckets: int
    context: dict[str, int]
    wordpieces: int
    special_tokens: tuple[int, ...]
    text_length: int
    days: int
    type_ids: dict[str, int] = field(default_factory=dict)
    label_strengths: tuple[str, ...] = ()
    image_width: int = 0
    relations: int = 0


@dataclass(frozen=True)
class TextSizes:
    """Sizes of what Transform has made of a shop's texts, for the task `tagging`.

    Attributes:
      tags: entries of the tag vocabulary.
      wordpieces: entries of the text vocabulary.
      special_tokens: ids of the text vocabulary that are no words, padding first.
      mask_token: the one that stands for a hidden word.
    """

    tags: int
    wordpieces: int
    special_tokens: tuple[int, ...]
    mask_token: int
