"""What client and servable agree on: signatures, their inputs and outputs, and the neutral values.

Written once here; `serving.signatures` builds the graph from it and `serving.client` the requests. Raw feature
names are those of `models.features`. All inputs of a named signature are required (TensorFlow Serving refuses a
request that lacks one), so a client fills what it does not know with the neutral value. Imports no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass

from models import features

SERVING_DEFAULT = "serving_default"
RANK = "rank"
RECOMMEND = "recommend"
SEARCH = "search"
PROFILE = "profile"
SUGGEST = "suggest"
TAG = "tag"

# inputs that only requests have
EXAMPLES = "examples"
HISTORY_LENGTH = "history_length"
CANDIDATE_COUNT = "candidate_count"
EXCLUDE_ITEM_IDS = "exclude_item_ids"
EXCLUDE_COUNT = "exclude_count"
ALLOW_ITEM_IDS = "allow_item_ids"
ALLOW_COUNT = "allow_count"
PREFIX = "prefix"

# outputs
SCORES = "scores"
ITEM_IDS = "item_ids"
VECTOR = "vector"
TAGS = "tags"
TAG_SCORES = "tag_scores"
SUGGESTIONS = "suggestions"
KINDS = "kinds"
WORDS = "words"
WORD_LABELS = "word_labels"
WORD_SCORES = "word_scores"
SENTIMENT = "sentiment"

# kinds of suggestions
QUERY_SUGGESTION = "query"
CATEGORY_SUGGESTION = "category"
WORD_SUGGESTION = "word"

#: Outputs that are names, best first -> the output with their scores.
RANKED = {ITEM_IDS: SCORES, TAGS: TAG_SCORES, SUGGESTIONS: SCORES}

#: What Trainer says of the fit, inside the SavedModel.
RUN_FILE = "assets.extra/training.json"

#: What a later fit needs to know to start from the SavedModel's weights.
WARM_START_FILE = "assets.extra/warm_start.json"

#: What an export knew of its items, and how many more it has room for; arrays of it lie beside.
CATALOGUE_FILE = "assets.extra/catalogue.json"
CATALOGUE_ARRAYS_FILE = "assets.extra/catalogue.npz"

#: Rows of `recommend` and `search`; fixed at export. Short rows end in "" and -inf.
DEFAULT_TOP_K = 100


@dataclass(frozen=True)
class Input:
    """One input of a signature.

    Attributes:
      name: the alias in the signature.
      dtype: "string", "int64" or "float".
      rank: 1 for one value a row ([B]), 2 for a padded list a row ([B, L], L >= 1).
      neutral: what a client sends for "nothing known"; also what pads a list.
      length: the name of the input that holds how many values of the list are real; None for rank 1.
    """

    name: str
    dtype: str
    rank: int
    neutral: str | int
    length: str | None = None


_USER = (
    Input(features.USER_ID, "string", 1, ""),
    Input(features.PROFILE_TEXT, "string", 1, ""),
    Input(features.QUERY, "string", 1, ""),
    Input(features.REQUEST_TIME, "int64", 1, 0),
    Input(features.HISTORY_ITEM_IDS, "string", 2, "", HISTORY_LENGTH),
    Input(features.HISTORY_EVENT_TYPES, "string", 2, "", HISTORY_LENGTH),
    Input(features.HISTORY_TIMESTAMPS, "int64", 2, 0, HISTORY_LENGTH),
    Input(HISTORY_LENGTH, "int64", 1, 0),
)
_CANDIDATES = (
    Input(features.CANDIDATE_ITEM_IDS, "string", 2, "", CANDIDATE_COUNT),
    Input(features.CANDIDATE_TEXT, "string", 2, "", CANDIDATE_COUNT),
    Input(CANDIDATE_COUNT, "int64", 1, 0),
)
_FILTERS = (
    Input(EXCLUDE_ITEM_IDS, "string", 2, "", EXCLUDE_COUNT),
    Input(EXCLUDE_COUNT, "int64", 1, 0),
    Input(ALLOW_ITEM_IDS, "string", 2, "", ALLOW_COUNT),
    Input(ALLOW_COUNT, "int64", 1, 0),
)

#: signature -> names of its outputs
OUTPUTS = {
    SERVING_DEFAULT: (SCORES,),
    RANK: (SCORES,),
    RECOMMEND: (ITEM_IDS, SCORES),
    SEARCH: (ITEM_IDS, SCORES),
    PROFILE: (VECTOR, TAGS, TAG_SCORES),
    SUGGEST: (SUGGESTIONS, SCORES, KINDS),
    TAG: (TAGS, TAG_SCORES, WORDS, WORD_LABELS, WORD_SCORES, SENTIMENT),
}

_PARTS = {
    RANK: _USER + _CANDIDATES,
    RECOMMEND: _USER + _FILTERS,
    SEARCH: _USER + _FILTERS,
    PROFILE: _USER,
    SUGGEST: (Input(PREFIX, "string", 1, ""),),
    TAG: (Input(features.TEXT, "string", 1, ""),),
}

#: Signatures about words alone, which know nothing of a user.
_IMPERSONAL = (SUGGEST, TAG)


def signature_inputs(signature: str, context_columns: tuple[str, ...] = ()) -> tuple[Input, ...]:
    """The inputs of a named signature, declared context columns included where it is about a user.

    Args:
      signature: a key of `OUTPUTS` but `serving_default`, which takes serialized examples.
      context_columns: the declared context columns (string, one a row), such as `country`.

    Raises:
      KeyError: for a signature that has no named inputs.
    """
    columns = () if signature in _IMPERSONAL else context_columns
    return _PARTS[signature] + tuple(Input(column, "string", 1, "") for column in columns)


def length_inputs(inputs: tuple[Input, ...]) -> tuple[str, ...]:
    """Names of the inputs that hold the length of a list."""
    return tuple(dict.fromkeys(i.length for i in inputs if i.length))
