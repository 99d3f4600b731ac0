"""Weights in fewer bits: how far off they are, what is saved, and that graphs read nothing else."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from serving.compression import KINDS, SMALLEST, StoredWeight, compress

RNG = np.random.default_rng(0)


class _Model(tf.keras.Model):
    """Reads its weights in every way that the zoo does: looked up, multiplied by, added, sliced, in a loop."""

    def __init__(self, rng):
        super().__init__()
        self.table = self.add_weight("table", [200, 16])
        self.embedding = tf.keras.layers.Embedding(100, 16)
        self.embedding.build([None])
        self.wide = tf.keras.layers.Dense(96, name="wide")
        self.wide.build([None, 16])
        self.narrow = tf.keras.layers.Dense(16, name="narrow")
        self.narrow.build([None, 96])
        self.heads = tf.keras.layers.EinsumDense("bd,dhk->bhk", [8, 16], name="heads")
        self.heads.build([None, 16])
        self.small = self.add_weight("small", [16, 2])
        self.counts = self.add_weight("counts", [2000, 2], dtype="int64", initializer="ones", trainable=False)
        for weight in self.trainable_weights:
            weight.assign(
                rng.normal(size=weight.shape)
                * np.exp(rng.normal(size=weight.shape[:1] + [1] * (weight.shape.rank - 1)))
            )

    def call(self, ids):
        x = tf.gather(self.table, ids) + self.embedding(ids % 100) + self.table[:1]
        x = self.narrow(self.wide(x)) + tf.reduce_sum(self.heads(x), 1)
        for _ in tf.range(2):
            x = x + tf.nn.embedding_lookup(self.table, ids) + tf.cast(tf.gather(self.counts, ids)[:, :1], tf.float32)
        numbers = tf.gather_nd(self.table, tf.stack([ids, ids % 3], -1))[:, tf.newaxis]
        return tf.concat([tf.matmul(x, self.table, transpose_b=True), x @ self.small, numbers], -1)


def _bytes(folder: pathlib.Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _saved(kind, folder):
    tf.keras.utils.set_random_seed(1)
    model = _Model(np.random.default_rng(0))
    ids = tf.constant([0, 5, 199, 5])
    exact = model(ids).numpy()
    module = tf.Module()
    module.held = compress(model, kind)
    module.run = tf.function(lambda x: model(x), input_signature=[tf.TensorSpec([None], tf.int32)])
    tf.saved_model.save(module, str(folder))
    loaded = tf.saved_model.load(str(folder))
    return exact, loaded.run(ids).numpy(), module.held


@pytest.mark.parametrize("kind,most,size", [("bfloat16", 0.03, 0.5), ("float16", 0.003, 0.5), ("int8", 0.2, 0.3)])
def test_a_saved_model_is_smaller_and_answers_nearly_the_same(kind, most, size, tmp_path):
    exact, plain, _ = _saved("float32", tmp_path / "float32")
    np.testing.assert_allclose(plain, exact, atol=1e-6 * np.abs(exact).max())
    _, found, held = _saved(kind, tmp_path / kind)
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 0 < error < most
    variables = [_bytes(tmp_path / name / "variables") for name in (kind, "float32")]
    unchanged = 2000 * 2 * 8
    assert variables[0] - unchanged < (size + 0.1) * (variables[1] - unchanged)
    kept = [value.shape.num_elements() for value in held if value.dtype == tf.float32]
    assert max(kept) < SMALLEST
    reader = tf.train.load_checkpoint(str(tmp_path / kind / "variables" / "variables"))
    large = {key for key, shape in reader.get_variable_to_shape_map().items() if np.prod(shape) >= SMALLEST}
    assert {reader.get_variable_to_dtype_map()[key] for key in large} == {tf.dtypes.as_dtype(kind), tf.int64}


def test_int8_has_a_step_of_its_own_for_each_slice_of_the_longest_axis():
    value = RNG.normal(size=(50, 4)) * np.exp(RNG.normal(size=(50, 1)) * 3)
    stored = StoredWeight(value, "int8", "table", True)
    step = np.abs(value).max(1, keepdims=True) / 127
    assert (np.abs(stored.read().numpy() - value) <= step / 2 + 1e-5 * np.abs(value).max(1, keepdims=True)).all()
    np.testing.assert_array_equal(stored.rows(tf.constant([[3, 1]])).numpy(), stored.read().numpy()[[[3, 1]]])
    wide = StoredWeight(value.T, "int8", "kernel", True)
    np.testing.assert_allclose(wide.read().numpy(), stored.read().numpy().T)
    np.testing.assert_array_equal(wide.rows(tf.constant([2])).numpy(), wide.read().numpy()[[2]])
    assert [variable.dtype for variable in stored.saved] == [tf.int8, tf.float32]


@pytest.mark.parametrize("kind,bits", [("bfloat16", 8), ("float16", 11)])
def test_half_precision_rounds_to_its_bits(kind, bits):
    value = np.exp(RNG.normal(size=(40, 3)))
    found = StoredWeight(value, kind, "table", True).read().numpy()
    assert found.dtype == np.float32
    assert 0 < np.abs(found / value - 1).max() <= 2.0**-bits


def test_a_kind_nobody_knows_is_named():
    assert KINDS[0] == "float32"
    with pytest.raises(ValueError, match="must be one of bfloat16, float16, int8, not 'int4'"):
        StoredWeight(np.ones([2, 2]), "int4", "w", True)


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("shape", [(200, 16), (16, 200)])
def test_rows_can_be_written_through_a_graph(kind, shape):
    class Table(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.table = self.add_weight("table", shape)

        def call(self, rows):
            return tf.gather(self.table, rows)

    model, rows = Table(), tf.constant([3, 7], tf.int64)
    value = RNG.normal(size=shape).astype(np.float32)
    model.table.assign(value)
    held = compress(model, kind)
    new = (0.5 * value[[1, 2]]).astype(np.float32)  # within the steps of every column

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, shape[1]])])
    def write(rows, values):
        model.table.scatter_update(tf.IndexedSlices(values, rows))
        return tf.size(rows)

    before = model(tf.range(shape[0])).numpy()
    write(rows, new)
    after = model(tf.range(shape[0])).numpy()
    others = ~np.isin(np.arange(shape[0]), rows)
    np.testing.assert_array_equal(after[others], before[others])
    step = np.abs(value).max(0) / 127 if shape[0] < shape[1] else np.abs(new).max(1, keepdims=True) / 127
    expected = {
        "int8": np.clip(np.round(new / step), -127, 127) * step,
        "bfloat16": tf.cast(tf.cast(new, tf.bfloat16), tf.float32).numpy(),
        "float16": new.astype(np.float16).astype(np.float32),
    }[kind]
    np.testing.assert_allclose(after[rows], expected, rtol=1e-6, atol=1e-6)
    assert all(variable is not model.table for variable in held)
