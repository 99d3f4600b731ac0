"""Fine-tuning modes against formulas in NumPy: what is trained, what a mode computes, and what merging leaves."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertConfig, TFBertModel

from models.layers.adapter_dense import AdapterDense
from models.layers.lora_dense import LoraDense
from models.profile_encoder import ProfileEncoder, text_encoders

TOKENS = tf.constant([[2, 7, 3, 0], [0, 0, 0, 0], [2, 9, 30, 3]])
CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
    initializer_range=0.3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
).to_dict()
NUMBERS = dict(top_n=1, lora_rank=3, lora_alpha=5.0, adapter_size=4, prefix_length=2)
#: Mode -> parts of the names of what it trains in BERT, and how many weights these are.
TRAINED = {
    "frozen": ((), 0),
    "top_n": (("layer_._1/",), 16),
    "full": (("embeddings", "layer_._"), 37),
    "layerwise": (("embeddings", "layer_._"), 37),
    "lora": (("lora_a", "lora_b"), 8),
    "adapters": (("adapter",), 16),
    "prefix": (("prefix",), 1),
}


def make(mode, **changes):
    tf.keras.utils.set_random_seed(0)
    return ProfileEncoder(CONFIG, 4, fine_tuning=mode, **{**NUMBERS, **changes})


def shaken(mode, tools, **changes):
    encoder = make(mode, **changes)
    tools.shake(encoder)
    return encoder


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


@pytest.mark.parametrize("mode", TRAINED)
def test_exactly_what_the_mode_names_is_trained_and_the_loss_falls(mode):
    encoder = make(mode)
    before = {id(weight): weight.numpy() for weight in encoder.weights}
    optimizer = tf.keras.optimizers.legacy.Adam(0.02)
    target = tf.constant(np.random.default_rng(0).normal(size=(3, 4)), tf.float32)

    def loss():
        return tf.reduce_mean(tf.square(encoder(TOKENS, training=True) - target)[::2])

    first = loss().numpy()
    for _ in range(8):
        optimizer.minimize(loss, encoder.trainable_weights)
    assert loss().numpy() < 0.9 * first
    own = {"inner_projection", "projection"}
    of_bert = [w for w in encoder.weights if not any(w is v for n in own for v in getattr(encoder, n).weights)]
    moved = [w.name for w in of_bert if np.abs(w.numpy() - before[id(w)]).max() > 0]
    parts, number = TRAINED[mode]
    trained = {id(weight) for weight in encoder.trainable_weights}
    assert len([w for w in of_bert if id(w) in trained]) == number
    assert all(any(part in name for part in parts) for name in moved)
    # A softmax does not change when all its inputs move by the same amount, so a key's bias hardly moves.
    assert len([name for name in moved if "key/bias" not in name]) == number - (
        sum("key/bias" in w.name for w in of_bert if id(w) in trained)
    )


@pytest.mark.parametrize("mode", ["lora", "adapters"])
def test_at_the_start_nothing_is_changed(mode):
    np.testing.assert_allclose(make(mode)(TOKENS), make_like(mode)(TOKENS), atol=1e-6)


def make_like(mode):
    """A frozen encoder with the weights of a fresh one of a mode."""
    like, plain = make(mode), make("frozen")
    for weight, value in zip(plain.bert_weights, like.bert_weights, strict=True):
        weight.assign(value)
    plain.inner_projection.set_weights(like.inner_projection.get_weights())
    plain.projection.set_weights(like.projection.get_weights())
    return plain


def test_lora_is_the_product_of_two_thin_matrices_beside_the_layer():
    rng = np.random.default_rng(0)
    layer = LoraDense(tf.keras.layers.Dense(3, bias_initializer="ones"), rank=2, alpha=5.0)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    layer(x)
    layer.up.assign(rng.normal(size=(2, 3)))
    w, b = layer.layer.get_weights()
    a, up = layer.down.numpy(), layer.up.numpy()
    expected = x @ w + b + 5.0 / 2 * (x @ a) @ up
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    dense = layer.merged()
    np.testing.assert_allclose(dense(x), expected, atol=1e-5)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    np.testing.assert_allclose(dense.kernel, w + 2.5 * a @ up, atol=1e-6)


def test_an_adapter_adds_what_its_bottleneck_makes_of_the_layer():
    rng = np.random.default_rng(1)
    layer = AdapterDense(tf.keras.layers.Dense(3), size=2)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    layer(x)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    w, b = layer.layer.get_weights()
    h = x @ w + b
    inner = gelu(h @ layer.down.kernel.numpy() + layer.down.bias.numpy())
    expected = h + inner @ layer.up.kernel.numpy() + layer.up.bias.numpy()
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("cls", [LoraDense, AdapterDense])
def test_a_wrapped_layer_comes_back_from_its_config(cls):
    layer = cls(tf.keras.layers.Dense(3), 2)
    layer(tf.ones([1, 4]))
    for place, weight in enumerate(layer.weights):
        weight.assign(tf.fill(weight.shape, 0.1 * place + 0.1))
    twin = cls.from_config(layer.get_config())
    twin(tf.ones([1, 4]))
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(tf.ones([2, 4])), layer(tf.ones([2, 4])))
    assert len(twin.trainable_weights) == len(layer.trainable_weights)


def test_a_prefix_is_attended_to_like_words_but_is_no_position(tools):
    encoder = shaken("prefix", tools)
    main, (keys, values) = encoder.bert.bert, encoder.prefix.prefix.numpy()[0]
    tokens = TOKENS[2:]
    x = main.embeddings(input_ids=tokens).numpy()[0]
    attention = main.encoder.layer[0].attention
    own = [
        np.stack(np.split(x @ part.kernel.numpy() + part.bias.numpy(), 2, -1))
        for part in (
            attention.self_attention.query,
            attention.self_attention.key,
            attention.self_attention.value,
        )
    ]
    heads = []
    for head in range(2):
        q, k, v = (part[head] for part in own)
        k, v = np.concatenate([keys[head], k]), np.concatenate([values[head], v])
        shares = np.exp(q @ k.T / math.sqrt(4))
        heads.append(shares / shares.sum(-1, keepdims=True) @ v)
    mask = tf.zeros([1, 1, 1, 6])
    found = attention.self_attention(tf.constant(x[None]), mask, None, None, None, encoder.prefix(tokens)[0], False)[0]
    np.testing.assert_allclose(found[0], np.concatenate(heads, -1), atol=1e-5)
    # The encoder hands exactly that on, to every layer.
    config, no_prefix = encoder.bert.config, encoder.states(tokens, tf.ones_like(tokens))
    states = encoder.states(tokens, tf.ones_like(tokens), prefix=encoder.prefix)
    assert np.abs(states - no_prefix).max() > 1e-2
    hidden = tf.constant(x[None])
    for layer, pair in zip(main.encoder.layer, encoder.prefix(tokens), strict=True):
        hidden = layer(hidden, mask, None, None, None, pair, False)[0]
    assert config.num_hidden_layers == 2
    np.testing.assert_allclose(states, hidden, atol=1e-5)


@pytest.mark.parametrize("mode", ["lora", "adapters", "prefix"])
def test_padding_and_a_batch_change_nothing(mode, tools):
    encoder = shaken(mode, tools)
    together = encoder(TOKENS).numpy()
    np.testing.assert_allclose(encoder(tf.pad(TOKENS, [[0, 0], [0, 3]])), together, atol=1e-5)
    np.testing.assert_allclose(encoder(TOKENS[:1, :3]), together[:1], atol=1e-5)
    assert not together[1].any()


def test_merged_lora_gives_the_same_and_leaves_nothing_behind(tools, tmp_path):
    encoder = shaken("lora", tools)
    traced = tf.function(encoder.pool)
    expected = traced(TOKENS).numpy()
    names = [weight.name for weight in encoder.weights]
    assert sum("lora" in name for name in names) == 8
    encoder.merge()
    np.testing.assert_allclose(encoder.pool(TOKENS), expected, atol=1e-5)
    np.testing.assert_allclose(traced(TOKENS), expected, atol=1e-5)
    assert [w.name for w in encoder.weights if "lora" in w.name] == []
    assert len(encoder.weights) == len(names) - 8
    assert [w.name for w in encoder.trainable_weights] == ["kernel:0", "kernel:0"]
    twin = ProfileEncoder.from_config(encoder.get_config())
    twin.set_weights(encoder.get_weights())
    np.testing.assert_allclose(twin.pool(TOKENS), expected, atol=1e-5)
    module = tf.Module()
    module.held = encoder.weights
    module.run = tf.function(encoder.pool, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    tf.saved_model.save(module, str(tmp_path))
    saved = [name for name, _ in tf.train.list_variables(str(tmp_path / "variables/variables"))]
    assert len([name for name in saved if name.startswith("held")]) == len(encoder.weights)
    graph = module.run.get_concrete_function().graph
    assert len(graph.variables) <= len(encoder.weights)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.run(TOKENS), expected, atol=1e-5)


def test_merged_lora_costs_what_a_plain_bert_costs():
    """Operations, which are exact where a time on a busy machine is not."""

    def operations(encoder):
        function = tf.function(encoder.pool).get_concrete_function(tf.TensorSpec([None, None], tf.int32))
        return sum(op.type == "MatMul" or op.type == "BatchMatMulV2" for op in function.graph.get_operations())

    merged, apart, plain = make("lora"), make("lora"), make("full")
    merged.merge()
    assert operations(merged) == operations(plain) < operations(apart)


@pytest.mark.parametrize("mode", [mode for mode in TRAINED if mode != "lora"])
def test_merging_does_nothing_else(mode, tools):
    encoder = shaken(mode, tools)
    expected, weights = encoder(TOKENS).numpy(), len(encoder.weights)
    encoder.merge()
    np.testing.assert_array_equal(encoder(TOKENS), expected)
    assert (len(encoder.weights), encoder.fine_tuning) == (weights, mode)


def test_rates_fall_from_layer_to_layer():
    encoder = make("layerwise", layer_decay=0.5)
    by_weight = {id(weight): factor for weight, factor in encoder.rate_factors()}
    main = encoder.bert.bert
    assert {by_weight.get(id(w), 1.0) for w in main.encoder.layer[1].weights} == {1.0}
    assert {by_weight[id(w)] for w in main.encoder.layer[0].weights} == {0.5}
    assert {by_weight[id(w)] for w in main.embeddings.weights} == {0.25}
    assert len(by_weight) == 16 + 5
    assert list(make("full").rate_factors()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of six layers as transformers saves it."""
    folder = tmp_path_factory.mktemp("bert")
    tf.keras.utils.set_random_seed(4)
    bert = TFBertModel(BertConfig.from_dict({**CONFIG, "num_hidden_layers": 6}))
    bert(tf.constant([[2, 3]]))
    bert.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("mode", ["lora", "adapters"])
def test_pretrained_weights_come_into_every_mode(mode, folder):
    plain = ProfileEncoder.from_pretrained(str(folder), dimension=4)
    encoder = ProfileEncoder.from_pretrained(str(folder), dimension=4, fine_tuning=mode, **NUMBERS)
    np.testing.assert_allclose(encoder.pool(TOKENS), plain.pool(TOKENS), atol=1e-5)


@pytest.mark.parametrize(("layers", "kept"), [(1, [5]), (2, [2, 5]), (4, [0, 2, 3, 5])])
def test_layers_that_are_kept_are_evenly_spaced_up_to_the_last(folder, layers, kept):
    every = ProfileEncoder.from_pretrained(str(folder), dimension=4).bert.bert
    some = ProfileEncoder.from_pretrained(str(folder), dimension=4, layers=layers).bert.bert
    assert len(some.encoder.layer) == layers
    for one, place in zip(some.encoder.layer, kept, strict=True):
        for found, expected in zip(one.get_weights(), every.encoder.layer[place].get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(some.embeddings.weight, every.embeddings.weight)


def test_more_layers_than_there_are_is_one_sentence(folder):
    with pytest.raises(ValueError, match=r"has 6 layers; expected at most so many to be kept of it, not 7"):
        ProfileEncoder.from_pretrained(str(folder), dimension=4, layers=7)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: make("lora", lora_rank=9), "rank must lie between 1 and 8, the smaller side of the layer, not 9"),
        (lambda: make("adapters", adapter_size=0), "size must be at least 1, not 0"),
        (lambda: make("prefix", prefix_length=0), "length must be at least 1, not 0"),
        (lambda: make("full", layer_decay=0), "layer_decay must lie above 0 and at most at 1, not 0"),
    ],
)
def test_a_number_that_does_not_fit_is_one_sentence(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_text_encoders_are_found_wherever_they_are(tools):
    encoder = tools.small_encoder()
    assert text_encoders(encoder) == [encoder]
    assert text_encoders(tools.make_ranker(encoder=encoder)) == [encoder]


@pytest.mark.parametrize("mode", ["lora", "adapters", "prefix"])
def test_config_round_trip_and_half_precision(mode, tools):
    encoder = shaken(mode, tools)
    config = json.loads(json.dumps(encoder.get_config()))
    for policy, tolerance in (("float32", 1e-6), ("mixed_bfloat16", 0.1), ("mixed_float16", 0.01)):
        with tools.precision(policy):
            twin = ProfileEncoder.from_config(config)
            twin.set_weights(encoder.get_weights())
            found = twin(TOKENS)
        assert found.dtype == policy.removeprefix("mixed_")
        np.testing.assert_allclose(tf.cast(found, tf.float32), encoder(TOKENS), atol=tolerance)
