"""Queries for decisions that have none: words of what was then chosen, some of them with a typo."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models import features
from models.options import QueryOptions
from models.words import normalized

#: Neighbours of each letter, from a to z, on a keyboard.
NEIGHBOURS: tuple[str, ...] = (
    "qwsz",
    "vghn",
    "xdfv",
    "serfcx",
    "wsdr",
    "drtgvc",
    "ftyhbv",
    "gyujnb",
    "ujko",
    "huikmn",
    "jiolm",
    "kop",
    "njk",
    "bhjm",
    "iklp",
    "ol",
    "wa",
    "edft",
    "awedxz",
    "rfgy",
    "yhji",
    "cfgb",
    "qase",
    "zsdc",
    "tghu",
    "asx",
)


def with_queries(
    decisions: tf.data.Dataset, titles: Sequence[str], settings: QueryOptions, seed: int, first: int = 0
) -> tf.data.Dataset:
    """Batches in which decisions without a query have one, drawn from the title of one of their positives.

    A query has 1 to `most_words` distinct places of the title, each number as likely as the others, in random order. It
    depends on `seed` and the number of the batch alone, so that an epoch draws anew and a fit that goes on draws what
    it would have.

    Args:
      decisions: batches of (inputs, labels) with `query_text_xf`.
      titles: of the catalogue's items, V of them.
      settings: how often, how many words, how many typos.
      seed: of the drawing.
      first: number of the first batch.
    """
    shown = tf.constant(list(titles), tf.string)

    def draw(
        number: tf.Tensor, batch: tuple[dict[str, tf.Tensor], tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        inputs, labels = batch
        seeds = tf.random.experimental.stateless_split(tf.stack([tf.constant(seed, tf.int64), number]), 6)
        queries = inputs[features.QUERY_TEXT_XF]
        rows = tf.cast(inputs[features.CANDIDATE_ITEMS_XF], tf.int64) - features.FIRST_KNOWN_ID
        usable = tf.logical_and(labels > 0, rows >= 0)
        ballot = tf.random.stateless_uniform(tf.shape(labels), seeds[0]) + tf.cast(usable, tf.float32)
        chosen = tf.gather(rows, tf.argmax(ballot, 1), batch_dims=1)
        text = tf.where(tf.reduce_any(usable, 1), tf.gather(shown, tf.maximum(chosen, 0)), "")
        drawn = _words(text, settings.most_words, seeds[1:3])
        drawn = _with_typos(drawn, settings.typos, seeds[3:5])
        asked = tf.random.stateless_uniform(tf.shape(queries), seeds[5]) < settings.share
        query = tf.strings.strip(tf.strings.reduce_join(drawn, 1, separator=" "))
        wanted = tf.logical_and(tf.equal(queries, ""), asked)
        return {**inputs, features.QUERY_TEXT_XF: tf.where(wanted, query, queries)}, labels

    return decisions.enumerate(start=first).map(draw)


def _words(texts: tf.Tensor, most: int, seeds: tf.Tensor) -> tf.Tensor:
    """String [B, most], words of each text, "" for none."""
    split = tf.strings.split(normalized(texts)).to_tensor("")
    split = tf.pad(split, [[0, 0], [0, tf.maximum(most - tf.shape(split)[1], 0)]], constant_values="")
    there = tf.not_equal(split, "")
    keys = tf.random.stateless_uniform(tf.shape(split), seeds[0]) + tf.cast(there, tf.float32)
    _, places = tf.math.top_k(keys, most)
    number = tf.random.stateless_uniform([tf.shape(split)[0], 1], seeds[1], 1, most + 1, tf.int32)
    return tf.where(tf.range(most) < number, tf.gather(split, places, batch_dims=1), "")


def _with_typos(words: tf.Tensor, share: float, seeds: tf.Tensor) -> tf.Tensor:
    """The same with one typo in a share of the rows: letters swapped, one dropped, doubled, or its neighbour."""
    numbers = tf.random.stateless_uniform(tf.stack([5, tf.shape(words)[0]]), seeds[0])
    real = tf.reduce_sum(tf.cast(tf.not_equal(words, ""), tf.float32), 1)
    column = tf.cast(numbers[0] * real, tf.int32)
    word = tf.gather(words, column, batch_dims=1)
    letters = tf.cast(tf.strings.length(word, "UTF8_CHAR"), tf.float32)
    place = tf.cast(numbers[1] * letters, tf.int32)
    padded = tf.strings.join([word, "  "])

    def part(start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        return tf.strings.substr(padded, start, length, unit="UTF8_CHAR")

    one = tf.ones_like(place)
    head, letter, after, tail = (
        part(tf.zeros_like(place), place),
        part(place, one),
        part(place + 1, one),
        part(place + 2, 1000 * one),
    )
    near = _neighbour(letter, numbers[2])
    made = tf.stack(
        [
            tf.strings.join([head, after, letter, tail]),
            tf.strings.join([head, after, tail]),
            tf.strings.join([head, letter, letter, after, tail]),
            tf.strings.join([head, near, after, tail]),
        ],
        1,
    )
    wrong = tf.strings.regex_replace(tf.gather(made, tf.cast(numbers[3] * 4, tf.int32), batch_dims=1), " ", "")
    with_typo = tf.logical_and(numbers[4] < share, letters >= 3)
    here = tf.logical_and(with_typo[:, tf.newaxis], tf.range(tf.shape(words)[1]) == column[:, tf.newaxis])
    return tf.where(here, wrong[:, tf.newaxis], words)


def _neighbour(letters: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """A letter beside each one on the keyboard; the letter itself where it has no place there."""
    codes = tf.strings.unicode_decode(letters, "UTF-8").to_tensor(0, shape=[None, 1])[:, 0] - ord("a")
    known = tf.logical_and(codes >= 0, codes < len(NEIGHBOURS))
    beside = tf.gather(tf.constant(NEIGHBOURS), tf.where(known, codes, 0))
    place = tf.cast(number * tf.cast(tf.strings.length(beside), tf.float32), tf.int32)
    return tf.where(known, tf.strings.substr(beside, place, tf.ones_like(place)), letters)
