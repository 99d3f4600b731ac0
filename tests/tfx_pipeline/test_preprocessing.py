"""Transform's graph on a few hand-made examples, analysed and applied by Beam as the pipeline does."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils
from transformers import BertTokenizerFast

from models import features, wordpiece
from models.dense_inputs import dense_inputs
from models.paths import RepeatPath
from tfx_pipeline import preprocessing, settings

DAY = 86_400
_TYPES = {"string": tf.string, "int64": tf.int64, "float": tf.float32}
_REQUIRED = (features.USER_ID, features.REQUEST_TIME, features.PROFILE_TEXT, features.QUERY)
SPEC = {
    name: tf.io.FixedLenFeature([1], _TYPES[dtype]) if name in _REQUIRED else tf.io.VarLenFeature(_TYPES[dtype])
    for name, (dtype, _) in features.raw_features(("country",), declared=(features.LABEL_EVENT_TYPES,)).items()
    if name not in features.SLICE_FEATURES
}
TEXTS = ["I love waterproof boots 登山靴", "Résumé holder, 3x!", "", "unaffable 👢"]


def _row(**given: Any) -> dict[str, Any]:
    row: dict[str, Any] = {name: [] for name in SPEC}
    row.update(
        {features.USER_ID: [b""], features.REQUEST_TIME: [0], features.PROFILE_TEXT: [b""], features.QUERY: [b""]}
    )
    row.update(given)
    return row


ROWS = [
    _row(
        request_time=[DAY * 10 + 5],
        profile_text=[TEXTS[0]],
        query=["boots"],
        country=["UK"],
        history_item_ids=["a", "zz", "b"],
        history_event_types=["click", "impression", "purchase"],
        history_timestamps=[DAY * 7 + 5, DAY * 8, DAY * 10 + 50],
        candidate_item_ids=["b", "zz", ""],
        candidate_text=["", "a new boot", ""],
        label=[1.0, 0.0, -1.0],
        label_event_types=["purchase", "", ""],
    ),
    *(_row(profile_text=[text]) for text in TEXTS[1:]),
    _row(
        candidate_item_ids=["a"],
        label_event_types=["click"],
        candidate_text=["Waterproof boots"],
        item_price=[math.e - 1],
        item_category=["Shoes"],
    ),
    _row(
        candidate_item_ids=["b"], candidate_text=["Apple phone"], item_price=[math.e**3 - 1], item_category=["Phones"]
    ),
    _row(candidate_item_ids=["b"], candidate_text=["Apple phone"], item_category=["Phones"]),
]


def _transform(tmp_path: Any, which: str) -> tuple[list[dict[str, Any]], tft.TFTransformOutput]:
    strengths = ["click", "cart", "purchase"]
    decisions = {"label_event_types": strengths, "label_strengths": strengths}
    chosen = settings.from_dict(
        {"name": "x", "data": {"context": ["country"]}, "transform": {"wordpiece": which}, "decisions": decisions}
    )
    function = functools.partial(preprocessing.preprocessing_fn, custom_config={"settings": settings.to_dict(chosen)})
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))
    with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        (rows, _), transform = (ROWS, metadata) | tft_beam.AnalyzeAndTransformDataset(function)
        transform | tft_beam.WriteTransformFn(str(tmp_path / "graph"))
    return rows, tft.TFTransformOutput(str(tmp_path / "graph"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return _transform(tmp_path_factory.mktemp("learned"), "learned")


def test_ids_gaps_and_days(learned):
    row = learned[0][0]
    vocabulary = [entry.decode() for entry in learned[1].vocabulary_by_name(features.ITEM_VOCABULARY)]
    expected = [vocabulary.index(item) + features.FIRST_KNOWN_ID for item in ("b", "zz")]
    assert row[features.CANDIDATE_ITEMS_XF].tolist() == [*expected, features.PADDING_ID]
    known = [vocabulary.index(item) + features.FIRST_KNOWN_ID for item in ("a", "b")]
    assert row[features.HISTORY_ITEMS_XF].tolist() == known  # without the impression
    assert len(set(row[features.HISTORY_TYPES_XF].tolist())) == 2
    assert set(learned[1].vocabulary_by_name(features.EVENT_TYPE_VOCABULARY)) == {b"click", b"purchase"}
    assert row[features.HISTORY_GAPS_XF].tolist() == [
        3.0,
        0.0,
    ]  # the second event lies after the request: never negative
    buckets = row[features.HISTORY_GAP_BUCKETS_XF]
    assert buckets[0] > buckets[1] >= 1
    assert row[features.REQUEST_DAY_XF].tolist() == [10]
    assert row[features.context_xf("country")].tolist() == [features.FIRST_KNOWN_ID]
    assert learned[0][1][features.context_xf("country")].tolist() == [features.PADDING_ID]


def test_what_made_a_candidate_positive_becomes_its_place_from_the_weakest(learned):
    found = [row[features.LABEL_STRENGTHS_XF].tolist() for row in learned[0]]
    assert found[0] == [3, 0, 0] and found[4] == [1] and found[1] == []
    assert features.LABEL_EVENT_TYPES not in learned[0][0]
    asked = _ask(learned, [[("a", "click", 0)]])
    assert features.LABEL_STRENGTHS_XF not in asked and features.CANDIDATE_ITEMS_XF in asked


def test_prices_are_scaled_over_the_catalogue(learned):
    cheap, dear, unknown = learned[0][4:]
    # log1p gives 1 and 3: mean 2, standard deviation 1.
    assert cheap[features.ITEM_PRICE_SCALED_XF] == pytest.approx([-1], abs=1e-5)
    assert dear[features.ITEM_PRICE_SCALED_XF] == pytest.approx([1], abs=1e-5)
    assert unknown[features.ITEM_PRICE_SCALED_XF] == [0]
    assert unknown[features.ITEM_PRICE_BUCKET_XF] == [0]
    assert 1 <= cheap[features.ITEM_PRICE_BUCKET_XF][0] < dear[features.ITEM_PRICE_BUCKET_XF][0]


def test_candidate_texts_keep_their_places(learned):
    row = learned[0][0]
    assert row[features.CANDIDATE_TEXT_POSITIONS_XF].tolist() == [1]
    assert len(row[features.CANDIDATE_TOKENS_XF]) == settings.TransformSettings().title_length
    assert len(learned[0][1][features.CANDIDATE_TEXT_POSITIONS_XF]) == 0


def test_the_learned_vocabulary_spells_what_it_does_not_know(learned):
    entries = [entry.decode() for entry in learned[1].vocabulary_by_name(features.WORDPIECE_VOCABULARY)]
    assert tuple(entries[: len(wordpiece.RESERVED)]) == wordpiece.RESERVED
    special = wordpiece.special_tokens()
    tokens = [int(token) for token in learned[0][0][features.PROFILE_TOKENS_XF]]
    words = [entries[token] for token in tokens if token != special.pad]
    assert words[0] == "[CLS]"
    assert words[-1] == "[SEP]"
    spelled = "".join(word.removeprefix("##") for word in words[1:-1])
    assert spelled == "ilovewaterproofboots登山靴"
    assert not any(learned[0][2 + 0][features.PROFILE_TOKENS_XF]), "an empty text is all padding"


def _ask(learned: Any, histories: list[list[tuple[str, str, int]]]) -> dict[str, tf.Tensor]:
    """What a model gets for requests on day 10 with these histories of (item, event type, time)."""
    raw: dict[str, Any] = {}
    for name, spec in SPEC.items():
        if name not in features.REQUEST_FEATURES and name != "country":
            continue
        empty = tf.zeros([len(histories), 0], spec.dtype)
        required = tf.zeros([len(histories), 1], spec.dtype)
        raw[name] = required if name in _REQUIRED else tf.sparse.from_dense(empty)
    raw[features.REQUEST_TIME] = tf.fill([len(histories), 1], tf.constant(10 * DAY, tf.int64))
    for place, name in enumerate(
        (features.HISTORY_ITEM_IDS, features.HISTORY_EVENT_TYPES, features.HISTORY_TIMESTAMPS)
    ):
        values = [[event[place] for event in history] for history in histories]
        raw[name] = tf.ragged.constant(values, SPEC[name].dtype, ragged_rank=1).to_sparse()
    return dense_inputs(learned[1].transform_features_layer()(raw), settings.TransformSettings().title_length)


def test_unknown_ids_at_serving_time(learned):
    ids = _ask(learned, [[("no such item", "click", 0), ("a", "click", 0)]])[features.HISTORY_ITEMS_XF].numpy()[0]
    assert ids[0] == features.UNKNOWN_ID
    assert ids[1] >= features.FIRST_KNOWN_ID


def _repeats(inputs: dict[str, tf.Tensor]) -> list[np.ndarray]:
    path = RepeatPath(items=3, event_types=4, decay_days=(7.0,))
    positions = inputs[features.HISTORY_ITEMS_XF] - features.FIRST_KNOWN_ID
    outputs = path(positions, inputs[features.HISTORY_TYPES_XF], inputs[features.HISTORY_GAPS_XF])
    return [output.numpy() for output in outputs]


def test_impressions_in_a_request_are_no_history(learned):
    shown = ("a", "impression", 9 * DAY)
    a, b, c = ("a", "click", DAY), ("b", "purchase", 2 * DAY), ("b", "click", 3 * DAY)
    plain = _ask(learned, [[a, b, c], [], [b], []])
    mixed = _ask(learned, [[shown, a, shown, shown, b, c], [shown], [b, shown], []])
    assert set(plain) == set(mixed) and features.HISTORY_GAP_BUCKETS_XF in plain
    for name, value in plain.items():
        np.testing.assert_array_equal(mixed[name], value, name)
    for same, value in zip(_repeats(mixed), _repeats(plain), strict=True):
        np.testing.assert_array_equal(same, value)
    other = _repeats(_ask(learned, [[a, ("a", "click", 9 * DAY), b, c], [], [b], []]))
    assert not np.array_equal(other[0], _repeats(plain)[0])


def test_lists_of_a_history_must_be_of_the_same_length(learned):
    with pytest.raises(tf.errors.InvalidArgumentError, match="history_timestamps must be of the same lengths"):
        layer = learned[1].transform_features_layer()
        raw = {name: tf.sparse.from_dense(tf.zeros([1, 0], spec.dtype)) for name, spec in SPEC.items()}
        raw |= {name: tf.zeros([1, 1], SPEC[name].dtype) for name in _REQUIRED}
        raw[features.HISTORY_ITEM_IDS] = tf.sparse.from_dense(tf.constant([["a", "b"]]))
        layer({name: value for name, value in raw.items() if not name.startswith("label")})


def test_packaged_wordpiece_gives_the_ids_of_the_library():
    transform = settings.TransformSettings(wordpiece=wordpiece.PACKAGED_MINILM)
    special = wordpiece.special_tokens(wordpiece.load_vocabulary(wordpiece.PACKAGED_MINILM))
    pieces = tf.function(lambda texts: preprocessing.wordpieces(transform, texts)[0])(tf.constant(TEXTS))
    library = BertTokenizerFast(str(wordpiece.packaged_minilm_folder() / "vocab.txt"), do_lower_case=True)
    for found, text in zip(pieces.to_list(), TEXTS, strict=True):
        assert [special.cls, *found, special.sep] == library(text)["input_ids"]


@pytest.mark.long
def test_packaged_wordpiece_goes_through_transform(tmp_path):
    rows, _ = _transform(tmp_path, wordpiece.PACKAGED_MINILM)
    library = BertTokenizerFast(str(wordpiece.packaged_minilm_folder() / "vocab.txt"), do_lower_case=True)
    for row, text in zip(rows, TEXTS, strict=False):
        tokens = row[features.PROFILE_TOKENS_XF]
        expected = library(text)["input_ids"] if text else []
        np.testing.assert_array_equal(tokens[: len(expected)], expected)
        assert not tokens[len(expected) :].any()
