"""Which words of a query an item's title holds, found in spite of a typo."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models import perturbation
from models import words as text_words
from models.described_items import put_rows

#: First letters of a word in which a typo is found.
_LETTERS = 16
#: Words that may stand for one with a typo, and entries of the index that are looked at for each of its keys.
_ALTERNATIVES, _ENTRIES = 3, 8
#: A word that shares several keys (letters swapped, say) goes before one that shares one and is e^2 times as frequent.
_SHARED = 2.0
#: What the words one typo from a known one count together, beside the 1 of that.
_DOUBT = 0.1


@dataclass
class QueryWords:
    """The words of queries that the catalogue knows.

    Attributes:
      places: int32 [B, Q, C], places in the vocabulary; its size W stands for none.
      shares: float32 [B, Q, C], the share of the query's weight that each has; a row sums up to 1, or 0 without words.
      number: float32 [B], how many words were found.
      rarest: int32 [B], the place of the word of the largest weight; W for none.
    """

    places: tf.Tensor
    shares: tf.Tensor
    number: tf.Tensor
    rarest: tf.Tensor


class WordMatch(tf.keras.layers.Layer):
    """Share of the query's weight that an item's words cover: Σ_w share_w·[w in item], share_w = idf_w / Σ idf.

    idf_w = log((V+1)/(n_w+1)) with n_w of V items holding w; a word counts once. A word of the query that no item holds
    is taken for those one typo away (a letter dropped, added or replaced, two neighbours swapped), in proportion to
    what they are held; without any it does not count. Beside a word that items hold, those count a tenth.

    Args:
      items: V.
      vocabulary: W, most words of the catalogue that are known, the most frequent ones.
      item_words: T, most words of an item; a longer title loses its most frequent ones.

    Call arguments:
      query: `QueryWords`, as `read` returns them.
      rows: int [R], the items that are wanted; all when None.

    Returns:
      float32 [B, V] or [B, R], between 0 and 1.

    Raises:
      ValueError: if a size is not positive.

    Example:
      >>> match = WordMatch(items=3, vocabulary=9, item_words=4)
      >>> match.set_texts(["Zelda: Twilight", "Zelda: Majora", "Mario Kart"])
      >>> print(match(match.read(tf.constant(["majora zelda", "MARIO", "zelad", ""]))).numpy().round(2))
      [[0.29 1.   0.  ]
       [0.   0.   1.  ]
       [1.   1.   0.  ]
       [0.   0.   0.  ]]

    Reference: idf of Sparck Jones (1972); typos by the symmetric delete index of Garbe, SymSpell (2012).
    """

    def __init__(self, items: int, vocabulary: int, item_words: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        for name, value in (("items", items), ("vocabulary", vocabulary), ("item_words", item_words)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}.")
        self.items = items
        self.vocabulary = vocabulary
        self.item_words = item_words
        # A plain object: what training alone reads is no part of a checkpoint or a SavedModel.
        self._training = types.SimpleNamespace(starts=None, holders=None)
        self.build([])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return

        def table(name: str, shape: list[int], dtype: str, value: float = 0) -> tf.Variable:
            initial = tf.constant_initializer(value)
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=initial, trainable=False)

        entries = self.vocabulary * (1 + _LETTERS)
        self.keys = table("keys", [self.vocabulary], "int64", text_words.NO_KEY)
        # One more, for no word.
        self.idf = table("idf", [self.vocabulary + 1], "float32")
        self.held = table("held", [self.vocabulary], "float32")
        self.words_of = table("words_of", [self.items, self.item_words], "int32", self.vocabulary)
        self.numbers = table("numbers", [self.items], "float32", 1)
        self.typo_keys = table("typo_keys", [entries], "int64", text_words.NO_KEY)
        self.typo_words = table("typo_words", [entries], "int32")
        super().build(input_shape)

    def set_texts(self, texts: Sequence[str]) -> None:
        """Stores the words of the catalogue's texts, V of them."""
        split = text_words.split_words(tf.constant(list(texts), tf.string))
        spelled, places = tf.unique(split.flat_values)
        rows = split.value_rowids().numpy()
        pairs = np.unique(np.stack([rows, places.numpy()], 1), axis=0) if len(rows) else np.zeros([0, 2], np.int64)
        held = np.bincount(pairs[:, 1], minlength=len(spelled))
        kept = np.argsort(-held, kind="stable")[: self.vocabulary]
        hashes = text_words.keys(tf.gather(spelled, kept)).numpy()
        order = np.argsort(hashes, kind="stable")
        kept, hashes = kept[order], hashes[order]
        place_of = np.full(len(spelled), self.vocabulary)
        place_of[kept] = np.arange(len(kept))
        self._assign(self.keys, hashes, text_words.NO_KEY)
        idf = np.log((len(texts) + 1) / (held[kept] + 1))
        # A word that every item holds says next to nothing, but a query of it alone still finds them.
        self._assign(self.idf, np.maximum(idf, 1e-3), 0)
        self._assign(self.held, held[kept], 0)
        owners, known = pairs[:, 0], place_of[pairs[:, 1]]
        numbers = np.bincount(owners, minlength=self.items)
        self.numbers.assign(np.maximum(numbers, 1))
        owners, known = owners[known < self.vocabulary], known[known < self.vocabulary]
        order = np.lexsort([self.held.numpy()[known], owners])
        owners, known = owners[order], known[order]
        columns = np.arange(len(owners)) - np.searchsorted(owners, owners)
        words_of = np.full([self.items, self.item_words], self.vocabulary, np.int32)
        inside = columns < self.item_words
        words_of[owners[inside], columns[inside]] = known[inside]
        self.words_of.assign(words_of)
        order = np.argsort(known, kind="stable")
        counts = np.bincount(known, minlength=self.vocabulary + 1)
        self._training.starts = tf.constant(np.concatenate([[0], np.cumsum(counts)]), tf.int32)
        self._training.holders = tf.constant(np.concatenate([owners[order], [0]]), tf.int32)
        self._index(tf.gather(spelled, kept))

    def put_rows(self, rows: tf.Tensor, texts: tf.Tensor) -> None:
        """Stores the words of n items in their rows, int64 [n] and string [n], as `set_texts` does.

        The vocabulary and the words' weights stay: a word that no item held before is none.
        """
        split = text_words.split_words(texts)
        places, known = self._known(split.flat_values)
        first = _first_times(split)
        numbers = tf.reduce_sum(split.with_flat_values(tf.cast(first, tf.float32)), 1)
        put_rows(self.numbers, rows, tf.maximum(numbers, 1))
        kept = tf.where(tf.logical_and(known, first), places, self.vocabulary)
        kept = split.with_flat_values(kept).to_tensor(self.vocabulary)
        kept = tf.pad(kept, [[0, 0], [0, self.item_words]], constant_values=self.vocabulary)
        # The rarest come first, and what is no word last, so that it is the others that are cut off.
        held = tf.gather(tf.concat([self.held, [float("inf")]], 0), kept)
        kept = tf.gather(kept, tf.argsort(held, stable=True), batch_dims=1)
        put_rows(self.words_of, rows, kept[:, : self.item_words])

    def read(self, queries: tf.Tensor, training: bool = False) -> QueryWords:
        """The words of queries.

        Args:
          queries: string [B].
          training: passes over what known words might stand for with a typo in them.
        """
        split = text_words.split_words(queries)
        flat, rows = split.flat_values, split.value_rowids()
        places, known = self._known(flat)
        again = tf.logical_not(_first_times(split))
        own = tf.where(known, places, self.vocabulary)
        # In training the few unknown ones alone are looked for: most of the time of a step would go into the others.
        looked_for = tf.where(tf.logical_or(not training, tf.logical_not(known)))
        near, trust = self._near(tf.gather_nd(flat, looked_for), tf.gather_nd(own, looked_for))
        near = tf.tensor_scatter_nd_update(tf.fill([tf.size(own), _ALTERNATIVES], self.vocabulary), looked_for, near)
        trust = tf.scatter_nd(looked_for, trust, tf.shape(near, tf.int64))
        # A word of the catalogue may be another one with a typo in it, but stands first of all for itself.
        with_own = tf.concat([own[:, tf.newaxis], near[:, :-1]], 1)
        trust_with_own = tf.concat([tf.ones_like(trust[:, :1]), _DOUBT * trust[:, :-1]], 1)
        alternatives = tf.where(known[:, tf.newaxis], with_own, near)
        weights = tf.where(known[:, tf.newaxis], trust_with_own, trust)
        weights *= tf.gather(self.idf, alternatives) * tf.cast(tf.logical_not(again), tf.float32)[:, tf.newaxis]
        total = tf.math.segment_sum(tf.reduce_sum(weights, 1), rows)
        total = tf.pad(total, [[0, split.nrows(tf.int32) - tf.shape(total)[0]]])
        shares = tf.math.divide_no_nan(weights, tf.gather(total, rows)[:, tf.newaxis])
        found = tf.cast(tf.reduce_sum(weights, 1) > 0, tf.float32)
        number_found = tf.math.segment_sum(found, rows)
        number_found = tf.pad(number_found, [[0, split.nrows(tf.int32) - tf.shape(number_found)[0]]])

        def dense(values: tf.Tensor, padding: Any) -> tf.Tensor:
            rectangle = split.with_flat_values(values).to_tensor(padding)
            missing = tf.maximum(1 - tf.shape(rectangle)[1], 0)
            return tf.pad(rectangle, [[0, 0], [0, missing], [0, 0]], constant_values=padding)

        padded = dense(alternatives, self.vocabulary)
        weighed = dense(shares, 0.0)
        heaviest = tf.argmax(weighed[:, :, 0], 1, output_type=tf.int32)
        rarest = tf.gather(padded[:, :, 0], heaviest, batch_dims=1)
        rarest = tf.where(number_found > 0, rarest, self.vocabulary)
        return QueryWords(padded, weighed, number_found, rarest)

    def call(self, query: QueryWords, rows: tf.Tensor | None = None) -> tf.Tensor:
        words_of = tf.convert_to_tensor(self.words_of) if rows is None else tf.gather(self.words_of, rows)
        batch, width, alternatives = tf.unstack(tf.shape(query.places))
        flat = tf.reshape(query.places, [batch, width * alternatives])
        # Words by queries, and one gather of rows: columns would be turned round for every word.
        where = tf.stack([flat, tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(flat))], -1)
        shares = tf.reshape(query.shares, tf.shape(flat))
        shares = tf.where(flat < self.vocabulary, shares, 0.0)
        by_word = tf.scatter_nd(where, shares, tf.stack([self.vocabulary + 1, batch]))
        return tf.minimum(tf.transpose(tf.reduce_sum(tf.gather(by_word, words_of), 1)), 1.0)

    def holders(self, places: tf.Tensor, number: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Items drawn evenly, with replacement, from those that hold a word; for training, after `set_texts`.

        Args:
          places: int32 [B], of words; W for none.
          number: of draws.

        Returns:
          (rows int32 [B, number], numbers of items that hold the word float32 [B]); where there is none, 0 and row 0.
        """
        starts = tf.gather(self._training.starts, places)
        held = tf.gather(self._training.starts, places + 1) - starts
        share = perturbation.uniform([tf.size(places), number])
        drawn = tf.cast(share * tf.cast(held, tf.float32)[:, tf.newaxis], tf.int32)
        drawn = tf.maximum(tf.minimum(drawn, held[:, tf.newaxis] - 1), 0)
        rows = tf.gather(self._training.holders, starts[:, tf.newaxis] + drawn)
        return tf.where(held[:, tf.newaxis] > 0, rows, 0), tf.cast(held, tf.float32)

    def _known(self, spelled: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(place int32 [n] in the vocabulary, whether the word is there bool [n]) of words, string [n]."""
        hashes = text_words.keys(spelled)
        places = tf.searchsorted(self.keys, hashes, out_type=tf.int32)
        places = tf.minimum(places, self.vocabulary - 1)
        return places, tf.equal(tf.gather(self.keys, places), hashes)

    def _near(self, spelled: tf.Tensor, own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(places int32 [n, C], weights float32 [n, C]) of the known words one typo from n words, but for their own."""
        hashes = text_words.deletion_keys(spelled, _LETTERS)
        found = tf.searchsorted(self.typo_keys, tf.reshape(hashes, [-1]), out_type=tf.int32)
        entries = found[:, tf.newaxis] + tf.range(_ENTRIES)
        inside = entries < tf.size(self.typo_keys)
        entries = tf.minimum(entries, tf.size(self.typo_keys) - 1)
        same = tf.equal(tf.gather(self.typo_keys, entries), tf.reshape(hashes, [-1, 1]))
        usable = tf.logical_and(tf.reshape(hashes, [-1, 1]) < text_words.NO_KEY, tf.logical_and(inside, same))
        number = tf.shape(hashes)[0]
        owners = tf.repeat(tf.range(number), hashes.shape[1] * _ENTRIES)
        places = tf.reshape(tf.gather(self.typo_words, entries), [-1])
        # How many keys each word of the vocabulary shares with each of the unknown ones.
        shared = tf.math.unsorted_segment_sum(
            tf.cast(tf.reshape(usable, [-1]), tf.float32),
            owners * self.vocabulary + places,
            number * self.vocabulary,
        )
        shared = tf.reshape(shared, [number, self.vocabulary])
        shared = tf.where(tf.range(self.vocabulary) == own[:, tf.newaxis], 0.0, shared)
        likely = _SHARED * tf.math.log(tf.maximum(shared, 1)) + tf.math.log(tf.maximum(self.held, 1))
        best, chosen = tf.math.top_k(tf.where(shared > 0, likely, -1e9), min(_ALTERNATIVES, self.vocabulary))
        weights = tf.where(best > -1e8, tf.nn.softmax(best), 0.0)
        missing = [[0, 0], [0, _ALTERNATIVES - chosen.shape[1]]]
        chosen = tf.where(weights > 0, chosen, self.vocabulary)
        return tf.pad(chosen, missing, constant_values=self.vocabulary), tf.pad(weights, missing)

    def _index(self, spelled: tf.Tensor) -> None:
        """Sorts the keys of all words, those of fewer items after those of more."""
        hashes = text_words.deletion_keys(spelled, _LETTERS).numpy()
        places = np.repeat(np.arange(len(hashes)), hashes.shape[1])
        flat = hashes.reshape(-1)
        held = self.held.numpy()[places]
        pairs = np.unique(np.stack([flat, places], 1), axis=0, return_index=True)[1]
        flat, places, held = flat[pairs], places[pairs], held[pairs]
        real = flat < text_words.NO_KEY
        order = np.lexsort([-held[real], flat[real]])
        self._assign(self.typo_keys, flat[real][order], text_words.NO_KEY)
        self._assign(self.typo_words, places[real][order], 0)

    def _assign(self, variable: tf.Variable, values: np.ndarray, padding: float) -> None:
        missing = variable.shape[0] - len(values)
        variable.assign(np.pad(values, [0, missing], constant_values=padding).astype(variable.dtype.as_numpy_dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "items": self.items,
            "vocabulary": self.vocabulary,
            "item_words": self.item_words,
        }


def _first_times(split: tf.RaggedTensor) -> tf.Tensor:
    """Bool, one a word: whether it stands in its text for the first time; a word counts once."""
    named = tf.strings.join([tf.strings.as_string(split.value_rowids()), split.flat_values], " ")
    _, of = tf.unique(named)
    number = tf.reduce_max(tf.concat([of + 1, [0]], 0))
    seen = tf.math.unsorted_segment_min(tf.range(tf.size(of)), of, number)
    return tf.equal(tf.gather(seen, of), tf.range(tf.size(of)))
