"""What every part of the zoo must hold, checked by one helper, and a small Ranker with its inputs."""

import contextlib
import inspect
import json

import numpy as np
import pytest
import tensorflow as tf

from models import features
from models.item_encoder import ItemTable
from models.profile_encoder import ProfileEncoder
from models.ranker import Ranker, RankerConfig

WORDS, TEXT_LENGTH, ITEMS = 50, 5, 6


@contextlib.contextmanager
def precision(policy):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def shake(layer, seed=0):
    """Moves every trainable weight, so that initial ones and zeros cannot hide a mistake."""
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        weight.assign_add(tf.cast(rng.normal(0, 0.2, weight.shape), weight.dtype))


def assert_close(found, expected, tolerance=1e-5):
    tf.nest.assert_same_structure(found, expected)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float64), np.asarray(other, np.float64), tolerance, tolerance)


def assert_gradients_reach(layer, inputs, without=()):
    """Every trainable weight gets a gradient that is not all zero, but those whose name holds one of `without`."""
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        outputs = [out for out in tf.nest.flatten(layer(*inputs)) if out.dtype.is_floating]
        loss = tf.add_n([tf.reduce_sum(tf.square(out) * rng.normal(size=out.shape)) for out in outputs])
    weights = layer.trainable_weights
    gradients = tape.gradient(loss, weights)
    sizes = [0.0 if g is None else float(tf.reduce_max(tf.abs(tf.convert_to_tensor(g)))) for g in gradients]
    dead = {w.name for w, size in zip(weights, sizes, strict=True) if size <= 1e-6 * max(sizes, default=0)}
    expected = {weight.name for weight in weights if any(name in weight.name for name in without)}
    assert dead == expected


def check_part(cls, arguments, inputs, folder, prepare=None, without_gradient=(), shared=(), dtype=None):
    """Config and SavedModel round trips, graph = eager, gradients, a batch of one, half precision.

    Args:
      cls, arguments: the part and what it is constructed with.
      inputs: tensors of a call; the first axis of each that is not in `shared` is the batch.
      folder: an empty one.
      prepare: called with a part to fill its tables.
      without_gradient: names of trainable weights that the inputs cannot reach.
      shared: places of inputs without a batch axis.
      dtype: of all float outputs under a mixed policy; that policy's compute dtype when None.
    """
    part = cls(**arguments)
    part(*inputs)
    shake(part)
    if prepare:
        prepare(part)
    expected = part(*inputs)

    config = part.get_config()
    named = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    assert named <= set(config), f"get_config lacks {named - set(config)}"
    twin = cls.from_config(json.loads(json.dumps(config)))
    twin(*inputs)
    twin.set_weights(part.get_weights())
    assert_close(twin(*inputs), expected)
    assert json.dumps(twin.get_config()) == json.dumps(config)

    module = tf.Module()
    module.held = part.weights  # not the part: Keras would trace every layer of a BERT on its own
    specs = [
        tf.nest.map_structure(
            lambda x, i=i: tf.TensorSpec(x.shape if i in shared else [None, *x.shape[1:]], x.dtype), value
        )
        for i, value in enumerate(inputs)
    ]

    @tf.function(input_signature=tf.nest.flatten(specs))
    def run(*values):
        return list(tf.nest.flatten(part(*tf.nest.pack_sequence_as(inputs, values))))

    module.run = run
    assert_close(run(*tf.nest.flatten(inputs)), list(tf.nest.flatten(expected)))
    tf.saved_model.save(module, str(folder / "saved"))
    loaded = tf.saved_model.load(str(folder / "saved"))
    assert_close(loaded.run(*tf.nest.flatten(inputs)), list(tf.nest.flatten(expected)))

    if len(shared) < len(inputs):
        one = part(*[x if i in shared else tf.nest.map_structure(lambda y: y[:1], x) for i, x in enumerate(inputs)])
        size = next(tf.nest.flatten(x)[0].shape[0] for i, x in enumerate(inputs) if i not in shared)
        for row, rows in zip(tf.nest.flatten(one), tf.nest.flatten(expected), strict=True):
            assert_close(row, rows[:1] if rows.shape[:1] == [size] else rows)

    assert_gradients_reach(part, inputs, without_gradient)

    for policy in ("mixed_bfloat16", "mixed_float16"):
        with precision(policy):
            half = cls(**arguments)
            half(*inputs)
            half.set_weights(part.get_weights())
            for out, exact in zip(tf.nest.flatten(half(*inputs)), tf.nest.flatten(expected), strict=True):
                if out.dtype.is_floating:
                    assert out.dtype == (dtype or policy.removeprefix("mixed_")), (policy, out)
                    exact = np.asarray(exact)
                    error = np.abs(np.asarray(out, np.float32) - exact).max()
                    assert error <= 0.05 * max(np.abs(exact).max(), 1), (policy, error)
                else:
                    assert_close(out, exact)


def small_encoder(**arguments):
    return ProfileEncoder.from_scratch(WORDS, 16, 1, 2, 32, dropout=0.0, **{"dimension": 8, **arguments})


def small_config(**changes):
    sizes = dict(items=ITEMS, event_types=4, categories=3, brands=3, price_buckets=4, gap_buckets=5, days=10)
    parts = dict(dimension=8, slice_length=2, slices=3, code_dimension=4, dropout=0.0, text_length=TEXT_LENGTH)
    weights = dict(catalogue=1.0, listwise=1.0, binary=1.0, reconstruction=0.1)
    return RankerConfig(**{**sizes, **parts, "context": {"country": 4}, "loss_weights": weights, **changes})


def small_table(**changes):
    """Six items with texts and attributes; items 4 and 5 never sold in training, and the last has no text."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, WORDS, (ITEMS, TEXT_LENGTH))
    tokens[:, 0], tokens[1, 3:], tokens[5] = 2, 0, 0
    values = dict(
        tokens=tokens,
        categories=np.array([1, 2, 0, 1, 2, 0]),
        brands=np.array([2, 1, 1, 0, 0, 2]),
        price_buckets=np.array([1, 2, 3, 0, 1, 2]),
        prices=np.array([0.5, -1.0, 2.0, 0.0, 0.3, -0.2], np.float32),
        trained=np.array([1, 1, 1, 1, 0, 0], bool),
        servable=np.ones(ITEMS, bool),
        texts=["Hiking boots", "Trail boots, red", "Green tea", "登山靴", "Tea pot", ""],
        images=rng.normal(size=(ITEMS, 3)).astype(np.float32) * [[1], [1], [0], [1], [1], [1]],
        relations=np.array([[4, 0, 0], [4, 0, 2], [5, 1, 1], [0, 1, 3], [2, 0, 5]]),
    )
    return ItemTable(**{**values, **changes})


def small_sales():
    return np.random.default_rng(1).integers(0, 5, (10, ITEMS)).astype(np.float32)


def make_ranker(table=None, sales=None, encoder=None, **changes):
    """A Ranker with moved weights and a catalogue; its first day is 100."""
    tf.keras.utils.set_random_seed(3)
    ranker = Ranker(small_config(**changes), encoder or small_encoder())
    shake(ranker)
    tf.config.run_functions_eagerly(True)  # tracing a BERT takes longer than running it once
    ranker.set_catalogue(table or small_table(), small_sales() if sales is None else sales, 100)
    tf.config.run_functions_eagerly(False)
    return ranker


def request(**changes):
    """Three decisions: a known user with a text, a searcher without a history, and one with unknown ids only.

    Ids are those of the catalogue's rows + 2; the third candidate of row 0 is unknown and brings a text.
    """
    values = {
        features.PROFILE_TOKENS_XF: [[2, 15, 33, 3], [0, 0, 0, 0], [2, 9, 3, 0]],
        features.QUERY_TOKENS_XF: [[0, 0, 0], [2, 23, 3], [0, 0, 0]],
        features.QUERY_TEXT_XF: ["", "red boots", ""],
        features.HISTORY_ITEMS_XF: [[2, 3, 1, 4, 2], [0] * 5, [1, 1, 0, 0, 0]],
        features.HISTORY_TYPES_XF: [[2, 3, 1, 2, 2], [0] * 5, [1, 1, 0, 0, 0]],
        features.HISTORY_GAPS_XF: [[9.0, 3, 2, 1, 0.5], [0] * 5, [2.0, 1, 0, 0, 0]],
        features.HISTORY_GAP_BUCKETS_XF: [[4, 3, 2, 1, 1], [0] * 5, [2, 1, 0, 0, 0]],
        features.REQUEST_DAY_XF: [105, 120, 103],
        features.USER_KEY_XF: [10, 12, 13],
        features.context_xf("country"): [2, 0, 1],
        features.CANDIDATE_ITEMS_XF: [[2, 7, 1, 4], [3, 6, 1, 0], [5, 2, 3, 0]],
        features.CANDIDATE_TEXT_POSITIONS_XF: [[2], [-1], [-1]],
        features.CANDIDATE_TOKENS_XF: [[[2, 17, 31, 3, 0]], [[0] * 5], [[0] * 5]],
    }
    values.update(changes)
    kinds = {features.HISTORY_GAPS_XF: tf.float32, features.QUERY_TEXT_XF: tf.string}
    return {name: tf.constant(value, kinds.get(name, tf.int64)) for name, value in values.items()}


def pooled_request(ranker):
    """The same three decisions with texts pooled already, as a frozen BERT's are; queries keep their words too."""
    inputs = request()
    inputs[features.PROFILE_POOLED_XF] = ranker.text_encoder.pool(inputs.pop(features.PROFILE_TOKENS_XF))
    inputs[features.QUERY_POOLED_XF] = ranker.text_encoder.pool(inputs[features.QUERY_TOKENS_XF])
    return inputs


LABELS = [[1.0, 0, 0, 1], [1, 0, 0, -1], [0, 1, 0, -1]]


class Tools:
    """What the test files of this folder share; a fixture hands it over, since tests are no package."""

    check_part = staticmethod(check_part)
    assert_close = staticmethod(assert_close)
    assert_gradients_reach = staticmethod(assert_gradients_reach)
    shake = staticmethod(shake)
    precision = staticmethod(precision)
    small_encoder = staticmethod(small_encoder)
    small_config = staticmethod(small_config)
    small_table = staticmethod(small_table)
    small_sales = staticmethod(small_sales)
    make_ranker = staticmethod(make_ranker)
    request = staticmethod(request)
    pooled_request = staticmethod(pooled_request)
    labels = LABELS


@pytest.fixture(scope="session")
def tools():
    return Tools
