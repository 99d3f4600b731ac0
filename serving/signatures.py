"""The named signatures of `serving.contract` as graph: raw text and ids in, scores and items out."""

from __future__ import annotations

import pathlib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models import features
from models.candidate_model import CandidateModel
from models.dense_inputs import dense_inputs
from models.user_state import UserState
from serving import contract
from serving.forbidden_items import read_forbidden_items
from serving.item_rows import ItemRows
from serving.profile_tags import ProfileTags
from serving.raw_features import as_specified, everything
from serving.suggestions import SuggestionTable

_LISTS = (contract.EXCLUDE_ITEM_IDS, contract.EXCLUDE_COUNT, contract.ALLOW_ITEM_IDS, contract.ALLOW_COUNT)
_DTYPES = {"string": tf.string, "int64": tf.int64, "float": tf.float32}


@dataclass(frozen=True)
class Tags:
    """What `profile` may answer: tags, and which items carry them.

    Attributes:
      names: str [T_all].
      tag_of, item_of: int [E], one entry per pair of tag and item (row of the catalogue).
    """

    names: Sequence[str]
    tag_of: Sequence[int]
    item_of: Sequence[int]


class CatalogueServable(tf.Module):
    """A trained model with its preprocessing, ready for `tf.saved_model.save`.

    Args:
      model: of the zoo, trained; all signatures but `rank` ask for a `CatalogueModel`.
      transform: callable layer, raw features -> transformed ones (Transform's graph).
      raw_spec: parsing spec of the raw features.
      item_vocabulary: path of the item vocabulary, one id a line; line i is row i of the catalogue.
      item_ids: the same ids; the model's spare rows come after them.
      forbidden_items: path of what `serving.forbidden_items` writes: `recommend` and `search` answer none of them, and
        `rank` puts them last, with minus infinity.
      tags: of the `profile` signature.
      context_columns: declared context columns.
      title_length: tokens of a candidate's text.
      last_moment: seconds; taken for `request_time` 0, unless the history is newer.
      top_k: K of `recommend` and `search`.
      top_tags: tags `profile` answers.
      weights: what is saved of the model; all of its weights by default.
      suggestions: what `suggest` answers; None for a model without it.
      tagger: reads tags out of the profile text, which join those of `profile`; None for none.
    """

    def __init__(
        self,
        model: CandidateModel,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        raw_spec: Mapping[str, Any],
        item_vocabulary: str,
        item_ids: Sequence[str],
        forbidden_items: str,
        tags: Tags,
        context_columns: tuple[str, ...],
        title_length: int,
        last_moment: int,
        top_k: int = contract.DEFAULT_TOP_K,
        top_tags: int = 10,
        weights: Sequence[tf.Variable] | None = None,
        suggestions: SuggestionTable | None = None,
        tagger: ProfileTags | None = None,
    ) -> None:
        super().__init__(name="catalogue_servable")
        # The graphs capture the model's variables; the Keras objects themselves stay out of the SavedModel, which would
        # trace every layer's call once more.
        self._untracked = types.SimpleNamespace(model=model, shared={})
        self._weights = list(model.weights if weights is None else weights)
        self.item_vectors = model.kept_vectors
        self.transform = transform
        self._suggestions = suggestions
        self.tagger = tagger
        # No labels, and nothing of the catalogue: no request has them.
        self._raw_spec = {
            name: raw_spec[name] for name in raw_spec if name in {*features.REQUEST_FEATURES, *context_columns}
        }
        self._context = context_columns
        self._title_length = title_length
        self._top_k = top_k
        self._top_tags = min(top_tags, len(tags.names))
        self._last_moment = tf.Variable(last_moment, trainable=False, dtype=tf.int64, name="last_moment")
        # What `serving.refresh_catalogue` writes anew has names without an underscore.
        ids = [*item_ids, *[""] * model.spare_items]
        hidden = {"", *read_forbidden_items(pathlib.Path(forbidden_items))}
        servable = (tf.convert_to_tensor(model.servable).numpy() > 0).tolist()
        listed = [known and item_id not in hidden for item_id, known in zip(ids, servable, strict=True)]
        self.item_ids = tf.Variable(ids, trainable=False, dtype=tf.string, name=contract.ITEM_IDS)
        self.withheld = tf.Variable(withheld(listed), trainable=False, name="withheld")
        self.item_rows = None
        if model.spare_items and model.READS_ITEMS:
            self.item_rows = ItemRows(model, transform, raw_spec, title_length)
        self._trained = len(item_ids)
        self._tag_names = tf.Variable(list(tags.names), trainable=False, dtype=tf.string, name="tag_names")
        self._tag_of = tf.Variable(list(tags.tag_of), trainable=False, dtype=tf.int64, name="tag_of")
        self._item_of = tf.Variable(list(tags.item_of), trainable=False, dtype=tf.int64, name="item_of")
        self._rows = _line_numbers(item_vocabulary)
        self._forbidden = _line_numbers(forbidden_items)

    def signatures(self, names: Sequence[str]) -> dict[str, Any]:
        """Concrete functions by the names of signatures, `serving_default` always among them."""
        made = {contract.SERVING_DEFAULT: self._serving_default_function()}
        for name, function in (
            (contract.RANK, self._rank),
            (contract.RECOMMEND, self._recommend),
            (contract.SEARCH, self._search),
            (contract.PROFILE, self._profile),
            (contract.SUGGEST, self._suggest),
        ):
            if name not in names:
                continue
            specs = {
                part.name: tf.TensorSpec([None] * part.rank, _DTYPES[part.dtype], name=part.name)
                for part in contract.signature_inputs(name, self._context)
            }
            made[name] = tf.function(function).get_concrete_function(**specs)
        return made

    # --- signatures ----------------------------------------------------------------------------------------------

    def _serving_default_function(self) -> Any:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=contract.EXAMPLES)])
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(examples, self._raw_spec)
            return self._shared(self._score, parsed)

        return serving_default.get_concrete_function()

    def _rank(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._shared(self._score, self._raw(inputs, keep_query=True))

    def _recommend(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._best(inputs, keep_query=False)

    def _search(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._best(inputs, keep_query=True)

    def _best(self, inputs: Mapping[str, tf.Tensor], keep_query: bool) -> dict[str, tf.Tensor]:
        lists = {name: inputs[name] for name in _LISTS}
        return self._shared(self._retrieve, self._raw(inputs, keep_query), lists)

    def _profile(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        state = self._state(self._raw(inputs, keep_query=True))
        # Of the items that tags were taken from: what comes after training changes no profile.
        probability = tf.nn.softmax(self._untracked.model.score_catalogue(state)[:, : self._trained])
        carried = tf.transpose(tf.gather(probability, self._item_of, axis=1))
        weights = tf.transpose(tf.math.unsorted_segment_sum(carried, self._tag_of, tf.size(self._tag_names)))
        scores, places = tf.math.top_k(weights, self._top_tags)
        names = tf.gather(self._tag_names, places)
        if self.tagger is not None:
            names, scores = self.tagger.merge(inputs[features.PROFILE_TEXT], names, scores)
        return {
            contract.VECTOR: tf.cast(state.vector, tf.float32),
            contract.TAGS: names,
            contract.TAG_SCORES: scores,
        }

    def _suggest(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        if self._suggestions is None:
            raise ValueError("the model has the signature `suggest` and no suggestions; expected a `SuggestionTable`.")
        return dict(zip(contract.OUTPUTS[contract.SUGGEST], self._suggestions(inputs[contract.PREFIX]), strict=True))

    # --- parts ---------------------------------------------------------------------------------------------------

    def _shared(self, part: Callable[..., dict[str, tf.Tensor]], *args: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """What a part answers, as a call of the one graph that all signatures have of it.

        A graph of the whole model is most of the time of an export, and of the SavedModel where weights are few. All
        callers give values of the same names, types and ranks.
        """
        function = self._untracked.shared.get(part.__name__)
        if function is None:
            specs = [{name: _any_batch(value) for name, value in values.items()} for values in args]
            function = tf.function(part, input_signature=specs)
            self._untracked.shared[part.__name__] = function
        return function(*args)

    def _score(self, raw: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        inputs = dense_inputs(self.transform(dict(raw)), self._title_length)
        scores = self._untracked.model(inputs, training=False)
        real = inputs[features.CANDIDATE_ITEMS_XF] > features.PADDING_ID
        ids = raw[features.CANDIDATE_ITEM_IDS]
        named = tf.boolean_mask(ids.indices, self._forbidden.lookup(ids.values) >= 0)
        forbidden = tf.scatter_nd(named, tf.ones_like(named[:, 0]), tf.shape(scores, tf.int64)) > 0
        allowed = tf.logical_and(real, tf.logical_not(forbidden))
        return {contract.SCORES: tf.where(allowed, scores, -float("inf"))}

    def _state(self, raw: Mapping[str, Any]) -> UserState:
        inputs = dense_inputs(self.transform(dict(raw)), self._title_length)
        return self._untracked.model.encode_user(inputs, training=False)

    def _retrieve(self, raw: Mapping[str, Any], lists: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        state = self._state(raw)
        # Every pass over a large catalogue counts: lists that a request leaves empty make none.
        scores = self._untracked.model.all_scores(state) + self.withheld
        excluded = self._named(lists[contract.EXCLUDE_ITEM_IDS], lists[contract.EXCLUDE_COUNT])
        scores = tf.tensor_scatter_nd_update(scores, excluded, tf.fill(tf.shape(excluded)[:1], -float("inf")))
        count = lists[contract.ALLOW_COUNT]

        def allowed() -> tf.Tensor:
            named = self._named(lists[contract.ALLOW_ITEM_IDS], count)
            others = scores + tf.where(count == 0, 0.0, -float("inf"))[:, tf.newaxis]
            return tf.tensor_scatter_nd_update(others, named, tf.gather_nd(scores, named))

        scores = tf.cond(tf.reduce_any(count != 0), allowed, lambda: scores)
        best, places = tf.math.top_k(scores, tf.minimum(self._top_k, tf.shape(scores)[1]))
        ids = tf.where(tf.math.is_inf(best), "", tf.gather(self.item_ids, places))
        missing = [[0, 0], [0, self._top_k - tf.shape(best)[1]]]
        ids = tf.ensure_shape(tf.pad(ids, missing, constant_values=""), [None, self._top_k])
        best = tf.ensure_shape(tf.pad(best, missing, constant_values=-float("inf")), [None, self._top_k])
        return {contract.ITEM_IDS: ids, contract.SCORES: best}

    def _named(self, ids: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Int64 [n, 2]: (row of the batch, row of the catalogue) of what the first `count` ids name."""
        rows = self._rows.lookup(ids)
        named = tf.logical_and(rows >= 0, tf.sequence_mask(count, tf.shape(ids)[1]))
        return tf.stack([tf.where(named)[:, 0], tf.boolean_mask(rows, named)], 1)

    def _raw(self, inputs: Mapping[str, tf.Tensor], keep_query: bool) -> dict[str, Any]:
        """Raw features as Transform's graph takes them, from the rectangles of a request."""
        raw: dict[str, Any] = {}
        ids = inputs[features.HISTORY_ITEM_IDS]
        real = tf.sequence_mask(inputs[contract.HISTORY_LENGTH], tf.shape(ids)[1])
        real = tf.logical_and(real, tf.not_equal(ids, ""))
        for name in (features.HISTORY_ITEM_IDS, features.HISTORY_EVENT_TYPES, features.HISTORY_TIMESTAMPS):
            raw[name] = tf.ragged.boolean_mask(inputs[name], real).to_sparse()
        newest = tf.reduce_max(tf.where(real, inputs[features.HISTORY_TIMESTAMPS], 0), 1)
        now = tf.maximum(self._last_moment, newest + 1)
        asked = inputs[features.REQUEST_TIME]
        scalars = {features.REQUEST_TIME: tf.where(asked > 0, asked, now)}
        for name in (features.USER_ID, features.PROFILE_TEXT, *self._context):
            scalars[name] = inputs[name]
        query = inputs[features.QUERY]
        scalars[features.QUERY] = query if keep_query else tf.zeros_like(query)
        for name, value in scalars.items():
            raw[name] = as_specified(value, self._raw_spec[name])
        if features.CANDIDATE_ITEM_IDS in inputs:
            count = inputs[contract.CANDIDATE_COUNT]
            for name in (features.CANDIDATE_ITEM_IDS, features.CANDIDATE_TEXT):
                within = tf.sequence_mask(count, tf.shape(inputs[name])[1])
                raw[name] = everything(tf.where(within, inputs[name], ""))
        else:
            for name in (features.CANDIDATE_ITEM_IDS, features.CANDIDATE_TEXT):
                raw[name] = everything(tf.zeros_like(ids[:, :1]))
        return raw


def _any_batch(value: tf.Tensor | tf.SparseTensor) -> tf.TypeSpec:
    """The spec of a value with any number of rows, and of columns where it is a rectangle of ids or sparse."""
    if isinstance(value, tf.SparseTensor):
        return tf.SparseTensorSpec([None] * value.shape.rank, value.dtype)
    return tf.TensorSpec([None, *value.shape[1:]], value.dtype)


def withheld(listed: Sequence[bool] | np.ndarray) -> np.ndarray:
    """What is added to the scores of items: 0 where they may be answered, minus infinity elsewhere; float32 [V]."""
    return np.where(listed, 0, -np.inf).astype(np.float32)


def _line_numbers(path: str) -> tf.lookup.StaticHashTable:
    """The lines of a file -> their numbers from 0; -1 for what is none."""
    line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    return tf.lookup.StaticHashTable(tf.lookup.TextFileInitializer(path, tf.string, line, tf.int64, number), -1)
