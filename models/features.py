"""The name of every feature, written once; this module imports nothing.

Three families of names:

* **raw** features are what ExampleGen writes into a `tf.train.Example` and what a request brings.
  One example is one *decision*: a user, a moment, the history strictly before it, and candidates.
  A catalogue row is the same example with an empty history and one candidate, plus `item_*` features.
* **transformed** features (`*_xf`) are what Transform makes of them: ids, buckets, tokens, scaled numbers.
* **slice** features describe a decision to Evaluator; no model reads them.
"""

#: Times are seconds, gaps and table rows are days.
SECONDS_PER_DAY = 86_400

# --- raw: who asks, and when -------------------------------------------------------------------------------------
USER_ID = "user_id"  # string [1]
REQUEST_TIME = "request_time"  # int64 [1], seconds since 1970-01-01 UTC
PROFILE_TEXT = "profile_text"  # string [1]: free text, queries, reviews, titles of what was bought
QUERY = "query"  # string [1], "" when the decision is not a search

# --- raw: what the user did before, oldest first, all of it ------------------------------------------------------
HISTORY_ITEM_IDS = "history_item_ids"  # string [H]
HISTORY_EVENT_TYPES = "history_event_types"  # string [H]
HISTORY_TIMESTAMPS = "history_timestamps"  # int64 [H], seconds
# Event types that reviews have in a history, by their rating, where `decisions.review_events` puts them there.
REVIEW_LIKED = "review_liked"  # 4 and more
REVIEW_NEUTRAL = "review_neutral"  # in between, or without a rating
REVIEW_DISLIKED = "review_disliked"  # 2 and less

# --- raw: what is to be ranked -----------------------------------------------------------------------------------
CANDIDATE_ITEM_IDS = "candidate_item_ids"  # string [N], padded with ""
CANDIDATE_TEXT = "candidate_text"  # string [N]: title etc. of items the catalogue may not know, else ""
LABEL = "label"  # float [N]: 1 positive, 0 negative, -1 padding
# Only where `decisions.label_strengths` asks for it: the strongest event that made a candidate positive, else "".
LABEL_EVENT_TYPES = "label_event_types"  # string [N]

# --- raw: only in catalogue rows ---------------------------------------------------------------------------------
ITEM_TITLE = "item_title"  # string [1], as shown to people
ITEM_CATEGORY = "item_category"  # string [1], "" when there is none
ITEM_BRAND = "item_brand"  # string [1]
ITEM_PRICE = "item_price"  # float [1], absent when unknown
ITEM_FIRST_SEEN = "item_first_seen"  # int64 [1], seconds; 0 when the item has always been there
ITEM_SALES_DAYS = "item_sales_days"  # int64 [D]: days since 1970-01-01 UTC on which the item had label events
ITEM_SALES_COUNTS = "item_sales_counts"  # int64 [D]: how many label events on each of those days
# Only where the data declares them (`DECLARED_ITEM_FEATURES`):
ITEM_IMAGE = "item_image"  # float [w], the embedding of the item's image, empty when there is none
ITEM_RELATION_KINDS = "item_relation_kinds"  # string [E]: kinds of the item's relations, in the table's order
ITEM_RELATED_ITEMS = "item_related_items"  # string [E]: id of the related item of each of them

# --- slices, only for Evaluator ----------------------------------------------------------------------------------
SLICE_USER = "slice_user"  # "new" | "known"
SLICE_ITEMS = "slice_items"  # "new" when a positive was never seen before the split's start, else "known"
SLICE_CATEGORY = "slice_category"  # "unseen" when no positive's category is in the history, else "seen"
SLICE_HISTORY = "slice_history"  # "0" | "1-9" | "10-49" | "50+"

# --- transformed -------------------------------------------------------------------------------------------------
# Ids: 0 is padding, 1 is unknown, known ones start at FIRST_KNOWN_ID. Event types and categories follow the same rule.
PADDING_ID = 0
UNKNOWN_ID = 1
FIRST_KNOWN_ID = 2

PROFILE_TOKENS_XF = "profile_tokens_xf"  # int64 [profile_length], 0 = padding
QUERY_TOKENS_XF = "query_tokens_xf"  # int64 [query_length]
QUERY_TEXT_XF = "query_text_xf"  # string [1]: the query as it is
HISTORY_ITEMS_XF = "history_items_xf"  # int64 [H]
HISTORY_TYPES_XF = "history_types_xf"  # int64 [H]
HISTORY_GAPS_XF = "history_gaps_xf"  # float [H]: days from event to request, never negative
HISTORY_GAP_BUCKETS_XF = "history_gap_buckets_xf"  # int64 [H]: quantile bucket of the gap, from 1
CANDIDATE_ITEMS_XF = "candidate_items_xf"  # int64 [N]
CANDIDATE_TEXT_POSITIONS_XF = "candidate_text_positions_xf"  # int64 [P]: which candidates bring a text
CANDIDATE_TOKENS_XF = "candidate_tokens_xf"  # int64 [P * title_length], one text after the other
PROFILE_POOLED_XF = "profile_pooled_xf"  # float [h]: pooled BERT states, computed once when BERT is frozen
QUERY_POOLED_XF = "query_pooled_xf"  # float [h]
LABEL_STRENGTHS_XF = "label_strengths_xf"  # int64 [N]: place in `decisions.label_strengths` from 1, 0 = no positive
USER_KEY_XF = "user_key_xf"  # int64 [1]: hash of the user id; tells decisions of one user; no score depends on it
REQUEST_DAY_XF = "request_day_xf"  # int64 [1]: days since 1970-01-01 UTC
ITEM_CATEGORY_XF = "item_category_xf"  # int64 [1]
ITEM_BRAND_XF = "item_brand_xf"  # int64 [1]
ITEM_PRICE_SCALED_XF = "item_price_scaled_xf"  # float [1]: z-score of log1p(price), 0 when unknown
ITEM_PRICE_BUCKET_XF = "item_price_bucket_xf"  # int64 [1]: quantile bucket from 1, 0 when unknown
ITEM_RELATION_KINDS_XF = "item_relation_kinds_xf"  # int64 [E]
ITEM_RELATED_ITEMS_XF = "item_related_items_xf"  # int64 [E]

# --- task `tagging`: one example is one text, with weak labels -----------------------------------------------------
TEXT = "text"  # string [1]: a query, a review, a sentence of the user, a title or a description
TEXT_TAGS = "text_tags"  # string [n]: tags of the user's interest
TEXT_TAG_WEIGHTS = "text_tag_weights"  # float [n], from 0 to 1: how far each is held to be true
TEXT_WORD_LABELS = "text_word_labels"  # string [W]: of each word, one of `text_words.WORD_LABELS`
TEXT_SENTIMENT = "text_sentiment"  # string [1]: "positive", "negative" or "" where it is not known
SLICE_SOURCE = "slice_source"  # "query" | "review" | "free_text" | "title" | "description"
SLICE_LANGUAGE = "slice_language"  # "Chinese" with at least one Chinese character, else "other"

TEXT_TOKENS_XF = "text_tokens_xf"  # int64 [L], 0 = padding
TEXT_WORD_PLACES_XF = "text_word_places_xf"  # int64 [L]: place of each word's first token, 0 = no word
TEXT_WORD_LABELS_XF = "text_word_labels_xf"  # int64 [L]: row of `text_words.WORD_LABELS` of each word, -1 = no word
TEXT_TAGS_XF = "text_tags_xf"  # int64 [n]: row of the tag vocabulary
TEXT_TAG_WEIGHTS_XF = "text_tag_weights_xf"  # float [n]
TEXT_SENTIMENT_XF = "text_sentiment_xf"  # int64 [1]: 1 positive, 0 negative, -1 unknown

# --- splits of the Examples artifact -----------------------------------------------------------------------------
TRAIN_SPLIT = "train"
EVAL_SPLIT = "eval"
RECENT_SPLIT = "recent"  # decisions after the validation boundary, only for the final fit
CATALOGUE_SPLIT = "catalogue"

# --- vocabularies written by Transform ---------------------------------------------------------------------------
ITEM_VOCABULARY = "item_vocabulary"
EVENT_TYPE_VOCABULARY = "event_type_vocabulary"
CATEGORY_VOCABULARY = "category_vocabulary"
BRAND_VOCABULARY = "brand_vocabulary"
RELATION_VOCABULARY = "relation_vocabulary"
TAG_VOCABULARY = "tag_vocabulary"
WORDPIECE_VOCABULARY = "wordpiece_vocabulary"


def context_vocabulary(column: str) -> str:
    """The vocabulary of a declared context column, such as `country`."""
    return f"{column}_vocabulary"


def context_xf(column: str) -> str:
    """The transformed name of a declared context column: int64 [1], 0 absent, 1 unknown."""
    return f"{column}_xf"


#: Raw features of a request (and so of every example): name -> (dtype, "scalar" or "list").
REQUEST_FEATURES = {
    USER_ID: ("string", "scalar"),
    REQUEST_TIME: ("int64", "scalar"),
    PROFILE_TEXT: ("string", "scalar"),
    QUERY: ("string", "scalar"),
    HISTORY_ITEM_IDS: ("string", "list"),
    HISTORY_EVENT_TYPES: ("string", "list"),
    HISTORY_TIMESTAMPS: ("int64", "list"),
    CANDIDATE_ITEM_IDS: ("string", "list"),
    CANDIDATE_TEXT: ("string", "list"),
}

#: Features of examples that no request carries.
LABEL_FEATURES = {LABEL: ("float", "list")}

#: The same, of examples that say what made a candidate positive.
LABEL_EVENT_FEATURES = {LABEL_EVENT_TYPES: ("string", "list")}

#: Features that only rows of the catalogue split have.
CATALOGUE_FEATURES = {
    ITEM_TITLE: ("string", "scalar"),
    ITEM_CATEGORY: ("string", "scalar"),
    ITEM_BRAND: ("string", "scalar"),
    ITEM_PRICE: ("float", "scalar"),
    ITEM_FIRST_SEEN: ("int64", "scalar"),
    ITEM_SALES_DAYS: ("int64", "list"),
    ITEM_SALES_COUNTS: ("int64", "list"),
}

#: Features of the catalogue split that are there only where the data declares them.
DECLARED_ITEM_FEATURES = {
    ITEM_IMAGE: ("float", "list"),
    ITEM_RELATION_KINDS: ("string", "list"),
    ITEM_RELATED_ITEMS: ("string", "list"),
}

#: Features that examples have only where the settings ask for them.
DECLARED_FEATURES = {**DECLARED_ITEM_FEATURES, **LABEL_EVENT_FEATURES}

#: Features that only Evaluator reads.
SLICE_FEATURES = {
    SLICE_USER: ("string", "scalar"),
    SLICE_ITEMS: ("string", "scalar"),
    SLICE_CATEGORY: ("string", "scalar"),
    SLICE_HISTORY: ("string", "scalar"),
}

#: Raw features of the task `tagging`: name -> (dtype, "scalar" or "list").
TEXT_FEATURES = {
    USER_ID: ("string", "scalar"),
    REQUEST_TIME: ("int64", "scalar"),
    TEXT: ("string", "scalar"),
    TEXT_TAGS: ("string", "list"),
    TEXT_TAG_WEIGHTS: ("float", "list"),
    TEXT_WORD_LABELS: ("string", "list"),
    TEXT_SENTIMENT: ("string", "scalar"),
    SLICE_SOURCE: ("string", "scalar"),
    SLICE_LANGUAGE: ("string", "scalar"),
}


def raw_features(context_columns: tuple[str, ...], declared: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    """All raw features of a configuration: name -> (dtype, "scalar" or "list").

    Args:
      context_columns: the declared context columns of the data, each a string scalar.
      declared: of `DECLARED_FEATURES`, those that the settings ask for.
    """
    context = {column: ("string", "scalar") for column in context_columns}
    chosen = {name: DECLARED_FEATURES[name] for name in declared}
    return {**REQUEST_FEATURES, **context, **LABEL_FEATURES, **CATALOGUE_FEATURES, **chosen, **SLICE_FEATURES}
