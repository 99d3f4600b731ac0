"""Every part: config and SavedModel round trips, graph = eager, gradients, a batch of one, half precision."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertConfig

from models.affinity_path import AffinityPath
from models.cooccurrence_path import CooccurrencePath
from models.fusion import UserFusion
from models.item_encoder import ItemEncoder
from models.layers.attention_prefix import AttentionPrefix
from models.layers.repeat_mixture import RepeatMixture
from models.layers.transformer_block import TransformerBlock
from models.lexical_path import LexicalPath
from models.merge import MergeLayer
from models.paths import PopularityPath, RepeatPath
from models.profile_encoder import ProfileEncoder
from models.query_match import QueryMatch
from models.ranking_head import RankingHead
from models.slice_autoencoder import SliceAutoencoder
from models.word_bag import WordBag

rng = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(rng.normal(size=shape), tf.float32)


MASK = tf.constant([[True, True, True], [False, False, True], [False, False, False]])
REPEATED = tf.constant([[1.0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
BERT = BertConfig(
    vocab_size=40,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
).to_dict()
TOKENS = tf.constant([[2, 7, 3, 0], [0, 0, 0, 0], [2, 9, 30, 3]])


def fill_popularity(path):
    path.set_table(np.random.default_rng(1).integers(0, 9, (5, 4)), 100)


def fill_words(path):
    path.set_table(np.array([[2, 5, 5], [2, 3, 7], [2, 6, 0], [2, 5, 3]]))


def fill_items(encoder):
    encoder.set_text_vectors(np.random.default_rng(1).normal(size=(4, 5)))
    for name, value in (
        ("item_categories", [1, 0, 1, 2]),
        ("item_brands", [0, 1, 2, 1]),
        ("item_price_buckets", [3, 2, 1, 0]),
    ):
        getattr(encoder, name).assign(value)
    encoder.item_prices.assign([0.5, -1.0, 2.0, 0.0])
    encoder.trained.assign([1.0, 1.0, 0.0, 1.0])


def move_affinity(path):
    for layer in path.outer:
        layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))


PARTS = {
    "affinity_path": (
        AffinityPath,
        dict(sizes=(3, 4), event_types=3, decay_days=(7.0, 30.0)),
        [
            [tf.constant([1, 1, 2, 0, 2]), tf.constant([3, 0, 1, 2, 3])],
            tf.constant([[0, 2, 4, -1], [3, -1, -1, -1], [1, 1, 0, 2]]),
            tf.constant([[1, 2, 2, 0], [1, 0, 0, 0], [2, 2, 1, 1]]),
            tf.constant([[9.0, 4.0, 0.5, 0.0], [2.0, 0, 0, 0], [6.0, 5.0, 3.0, 1.0]]),
            tf.constant([[0.0], [1.0], [1.0]]),
        ],
        dict(shared=(0,), prepare=move_affinity, dtype="float32"),
    ),
    "transformer_block": (
        TransformerBlock,
        dict(dimension=8, heads=2, intermediate_dimension=16, dropout=0.1),
        [normal(3, 3, 8), tf.constant([[True, True, False], [True, True, True], [True, False, False]])],
        # A softmax does not change when all its inputs move by the same amount, so a key's bias is idle.
        dict(without_gradient=["key/bias"]),
    ),
    "causal_block": (
        TransformerBlock,
        dict(dimension=8, heads=2, intermediate_dimension=16, dropout=0.1, causal=True),
        [normal(3, 3, 8), tf.constant([[True, True, False], [True, True, True], [True, False, False]])],
        dict(without_gradient=["key/bias"]),
    ),
    "word_bag": (
        WordBag,
        dict(wordpieces=9, dimension=3, ignored=(0, 2)),
        [tf.constant([[2, 5, 7, 0], [2, 3, 0, 0], [5, 3, 7, 6]])],
        {},
    ),
    "slice_autoencoder": (
        SliceAutoencoder,
        dict(dimension=8, code_dimension=4, slice_length=2, slices=3, layers=1, heads=2, dropout=0.1),
        [normal(3, 5, 8), tf.sequence_mask([5, 3, 0], 5)],
        dict(without_gradient=["key/bias"]),
    ),
    **{
        f"merge_{mode}": (MergeLayer, dict(mode=mode, slices=3), [normal(3, 3, 4), MASK], {})
        for mode in ("weighted", "mean", "attention", "concat")
    },
    "fusion": (UserFusion, dict(dimension=4, hidden_dimension=8, dropout=0.1), [[normal(3, 3), normal(3, 5)]], {}),
    "ranking_head": (
        RankingHead,
        dict(dimension=4, interactions=2, hidden_dimension=6, bilinear=rng.normal(size=(4, 4)).tolist()),
        [normal(3, 4), normal(3, 4, 4), normal(3, 4, 2), REPEATED],
        dict(dtype="float32"),
    ),
    "ranking_head_catalogue": (
        RankingHead,
        dict(dimension=4),
        [normal(3, 4), normal(5, 4)],
        dict(dtype="float32", shared=[1]),
    ),
    "ranking_head_tasks": (
        RankingHead,
        dict(dimension=4, interactions=2, hidden_dimension=6, tasks=(1.0, 3.0)),
        [normal(3, 4), normal(3, 4, 4), normal(3, 4, 2), REPEATED],
        dict(dtype="float32"),
    ),
    "repeat_path": (
        RepeatPath,
        dict(items=4, event_types=3, decay_days=(7.0, 30.0)),
        [
            tf.constant([[0, 2, -1, 2], [1, 3, 0, -1], [-1, -1, -1, -1]]),
            tf.constant([[1, 2, 1, 2], [2, 2, 1, 0], [0, 0, 0, 0]]),
            tf.constant([[40.0, 8, 3, 1], [3, 2, 1, 0], [0, 0, 0, 0]]),
        ],
        dict(dtype="float32"),
    ),
    "cooccurrence_path": (
        CooccurrencePath,
        dict(items=4, dimension=3, decay_days=(7.0, 30.0), dropout=0.1),
        [
            tf.constant([[0, 2, -1, 2], [1, 3, 0, -1], [-1, -1, -1, -1]]),
            tf.constant([[40.0, 8, 3, 1], [3, 2, 1, 0], [0, 0, 0, 0]]),
            tf.constant([1.0, 1, 0, 1]),
            tf.constant([[0.0], [1], [0]]),
        ],
        dict(dtype="float32", shared=[2]),
    ),
    "popularity_path": (
        PopularityPath,
        dict(items=4, days=5, windows=(1, 3)),
        [tf.constant([103, 100, 99], tf.int64)],
        dict(dtype="float32", prepare=fill_popularity),
    ),
    "lexical_path": (
        LexicalPath,
        dict(wordpieces=9, items=4, text_length=3, ignored=(0, 2)),
        [tf.constant([[2, 5, 7, 0], [2, 3, 0, 0], [5, 3, 7, 6]], tf.int64)],
        dict(dtype="float32", prepare=fill_words),
    ),
    "query_match": (
        QueryMatch,
        dict(dimension=3, text_dimension=5, wordpieces=9, items=4, text_length=3, ignored=(0, 2)),
        [normal(3, 5), tf.constant([[2, 5, 7], [2, 3, 0], [5, 3, 7]], tf.int64), normal(4, 3), normal(4, 5)],
        dict(dtype="float32", prepare=lambda part: fill_words(part.lexical_path), shared=[2, 3]),
    ),
    "repeat_mixture": (
        RepeatMixture,
        dict(slopes=(0.0, 0.5, 1.0), hidden_dimension=6),
        [normal(3, 4), REPEATED, tf.abs(normal(3, 3)), tf.constant([1.0, 1, 1, 0])],
        dict(dtype="float32", shared=[3]),
    ),
    "item_encoder": (
        ItemEncoder,
        dict(items=4, dimension=3, text_dimension=5, categories=3, brands=3, price_buckets=4, id_dropout=0.1),
        [normal(4, 5)],
        dict(prepare=fill_items, shared=[0]),
    ),
    **{
        f"profile_encoder_{pooling}": (
            ProfileEncoder,
            dict(bert_config=BERT, dimension=4, projection_dimension=6, pooling=pooling, fine_tuning=tuning, top_n=1),
            [TOKENS],
            dict(without_gradient=["key/bias"] if tuning != "frozen" else []),
        )
        for pooling, tuning in (("mean", "full"), ("cls", "top_n"), ("max", "frozen"))
    },
    "attention_prefix": (AttentionPrefix, dict(layers=2, heads=2, length=3, head_size=4), [normal(3, 3)], {}),
}


@pytest.mark.parametrize("name", PARTS)
def test_part(name, tools, tmp_path):
    cls, arguments, inputs, options = PARTS[name]
    tools.check_part(cls, arguments, inputs, tmp_path, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerBlock(8, 3, 16), "heads must divide dimension, but 3 does not divide 8"),
        (lambda: SliceAutoencoder(8, 4, 0, 3), "slice_length must be at least 1, not 0"),
        (lambda: MergeLayer("sum", 3), "weighted, mean, attention, concat, not 'sum'"),
        (lambda: MergeLayer("mean", 0), "slices must be at least 1, not 0"),
        (lambda: UserFusion(4, 8).build([]), "at least one part"),
        (lambda: RankingHead(3, bilinear=[[1.0, 0], [0, 1]]), r"bilinear must be \[3, 3\], not \[2, 2\]"),
        (lambda: RankingHead(4, interactions=2)(normal(1, 4), normal(1, 4)), "features are missing"),
        (
            lambda: RankingHead(4, tasks=(0, 0)),
            r"tasks are \(0\.0, 0\.0\); expected weights of 0 and more, at least one",
        ),
        (lambda: RankingHead(4, tasks=(2, -1)), r"tasks are \(2\.0, -1\.0\); expected weights of 0 and more"),
        (lambda: RepeatPath(4, 3, (7.0, 0.0)), "decay_days must be positive"),
        (lambda: PopularityPath(4, 5, (0,)), "at least 1 day"),
        (lambda: ItemEncoder(4, 3, 5, 3, 3, 4, id_dropout=1.0), r"id_dropout must lie in \[0, 1\), not 1.0"),
        (lambda: ProfileEncoder(BERT, 4, pooling="last"), "pooling must be one of mean, cls, max, not 'last'"),
        (
            lambda: ProfileEncoder(BERT, 4, fine_tuning="half"),
            "frozen, top_n, full, layerwise, lora, adapters, prefix, not 'half'",
        ),
        (lambda: ProfileEncoder(BERT, 4, fine_tuning="top_n", top_n=3), "between 1 and 1, the BERT's layers, not 3"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
