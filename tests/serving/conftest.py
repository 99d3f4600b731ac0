"""Toy SavedModels and servers that the serving tests share."""

import dataclasses
import pathlib
import shutil

import pytest
import tensorflow as tf

from models import features
from serving import contract
from serving.server.embedded import Server
from serving.server.flags import Flags

CONTEXT = ("country",)
_DTYPES = {"string": tf.string, "int64": tf.int64, "float": tf.float32}


def _specs(signature):
    return {
        spec.name: tf.TensorSpec([None] * spec.rank, _DTYPES[spec.dtype], name=spec.name)
        for spec in contract.signature_inputs(signature, CONTEXT)
    }


class ToyModel(tf.Module):
    """Small signatures whose answers one computes by hand; `factor` tells versions apart."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.Variable(float(factor))

    def signatures(self):
        def add(name, function, **inputs):
            made[name] = tf.function(function).get_concrete_function(
                **{
                    key: spec if isinstance(spec, tf.TensorSpec) else tf.TensorSpec(*spec)
                    for key, spec in inputs.items()
                }
            )

        made = {}
        matrix = tf.constant([[1.0, 2.0], [3.0, 4.0]])
        add("serving_default", lambda x: {"y": tf.matmul(x, matrix) * self.factor}, x=([None, 2], tf.float32, "x"))
        add(
            "typed",
            lambda x, n, s, b: {
                "x": x * self.factor,
                "n": n + 1,
                "small": tf.cast(n, tf.int32),
                "s": s + "!",
                "s_bytes": s + "!",
                "b": tf.logical_not(b),
            },
            x=([None], tf.float32, "x"),
            n=([None], tf.int64, "n"),
            s=([None], tf.string, "s"),
            b=([None], tf.bool, "b"),
        )
        add("double", lambda x: {"y": x / 3.0}, x=([None], tf.float64, "x"))
        add("half", lambda x: {"y": x * tf.cast(2.0, tf.float16)}, x=([None], tf.float16, "x"))
        add("to_half", lambda x: {"y": tf.cast(x, tf.float16)}, x=([None], tf.float32, "x"))
        add("total", lambda x: {"y": tf.reduce_sum(x)}, x=([None], tf.float32, "x"))
        add("uneven", lambda x: {"a": x, "b": x[1:]}, x=([None], tf.float32, "x"))
        add(
            "slow",
            lambda n: {"y": tf.while_loop(lambda i: i < n[0], lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]},
            n=([None], tf.int64, "n"),
        )
        add(contract.RANK, self._rank, **_specs(contract.RANK))
        add(contract.RECOMMEND, self._recommend, **_specs(contract.RECOMMEND))
        add(contract.SEARCH, self._recommend, **_specs(contract.SEARCH))
        add(contract.PROFILE, self._profile, **_specs(contract.PROFILE))
        return made

    def _user(self, inputs):
        """Every input of the user part counts, padding beyond the lengths too (as 1e6), so that it must be masked."""
        history = inputs[features.HISTORY_TIMESTAMPS]
        real = tf.sequence_mask(inputs[contract.HISTORY_LENGTH], tf.shape(history)[1])
        texts = tf.strings.length(inputs[features.HISTORY_ITEM_IDS] + inputs[features.HISTORY_EVENT_TYPES])
        padding = tf.where(real, 0, 1_000_000 * (texts + tf.cast(history, tf.int32)))
        whole = (
            tf.reduce_sum(tf.where(real, history, 0), 1)
            + inputs[features.REQUEST_TIME]
            + 10 * tf.cast(tf.strings.length(inputs[features.PROFILE_TEXT], unit="UTF8_CHAR"), tf.int64)
            + 100 * tf.cast(tf.strings.length(inputs[features.USER_ID]), tf.int64)
            + 1000 * tf.cast(inputs["country"] == "France", tf.int64)
        )
        return tf.cast(whole, tf.float32) + tf.cast(tf.reduce_sum(padding, 1), tf.float32)

    def _rank(self, **inputs):
        ids = inputs[features.CANDIDATE_ITEM_IDS]
        own = tf.strings.length(ids) + 2 * tf.strings.length(inputs[features.CANDIDATE_TEXT])
        real = tf.sequence_mask(inputs[contract.CANDIDATE_COUNT], tf.shape(ids)[1])
        scores = tf.cast(own, tf.float32) + self._user(inputs)[:, None]
        return {contract.SCORES: tf.where(real, scores, float("-inf")) * self.factor}

    def _recommend(self, **inputs):
        """The allowed items in their order, as two rows of padding-ended answers."""
        ids = inputs[contract.ALLOW_ITEM_IDS]
        width = tf.shape(ids)[1]
        count = inputs[contract.ALLOW_COUNT] - inputs[contract.EXCLUDE_COUNT]
        real = tf.sequence_mask(count, width)
        scores = self._user(inputs)[:, None] - tf.cast(tf.range(width), tf.float32)
        query = inputs[features.QUERY][:, None]
        return {
            contract.ITEM_IDS: tf.where(real, query + ids, ""),
            contract.SCORES: tf.where(real, scores, float("-inf")),
        }

    def _profile(self, **inputs):
        user = self._user(inputs)
        tags = tf.stack([inputs[features.QUERY], tf.zeros_like(inputs[features.QUERY], tf.string)], 1)
        return {
            contract.VECTOR: tf.stack([user, -user], 1),
            contract.TAGS: tags,
            contract.TAG_SCORES: tf.constant([[0.5, float("-inf")]]) * tf.ones_like(user)[:, None],
        }


class ToyVersions:
    """Puts toy versions into a base path as Pusher does: whole, by rename."""

    def __init__(self, exported: dict[int, pathlib.Path]) -> None:
        self._exported = exported

    def put(self, base: pathlib.Path, version: int, factor: int = 2) -> pathlib.Path:
        base.mkdir(parents=True, exist_ok=True)
        hidden = base / f".{version}.part"
        shutil.copytree(self._exported[factor], hidden)
        return hidden.rename(base / str(version))

    def put_broken(self, base: pathlib.Path, version: int) -> pathlib.Path:
        hidden = base / f".{version}.part"
        hidden.mkdir(parents=True)
        (hidden / "saved_model.pb").write_bytes(b"this is not a SavedModel")
        return hidden.rename(base / str(version))


@pytest.fixture(scope="session")
def toys(tmp_path_factory) -> ToyVersions:
    exported = {}
    model = ToyModel(0)
    signatures = model.signatures()
    for factor in (2, 3):
        model.factor.assign(factor)
        exported[factor] = tmp_path_factory.mktemp("toy") / str(factor)
        tf.saved_model.save(model, str(exported[factor]), signatures=signatures)
    return ToyVersions(exported)


@pytest.fixture(scope="session")
def toy_flags() -> Flags:
    """Free ports, quick polls, no retries."""
    return Flags(
        port=0,
        rest_api_port=-1,
        model_name="toy",
        file_system_poll_wait_seconds=0.05,
        max_num_load_retries=0,
        tensorflow_intra_op_parallelism=1,
        tensorflow_inter_op_parallelism=2,
    )


@pytest.fixture(scope="session")
def toy_base(toys, tmp_path_factory) -> pathlib.Path:
    base = tmp_path_factory.mktemp("served")
    toys.put(base, 7)
    return base


@pytest.fixture(scope="session")
def toy_server(toy_base, toy_flags):
    """Serves version 7 (factor 2) of the toy model over gRPC and REST."""
    with Server(dataclasses.replace(toy_flags, model_base_path=str(toy_base))) as server:
        yield server
