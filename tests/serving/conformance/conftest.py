"""What the conformance tests share: upstream's small models, servers that hold them, and a caller of every method.

Each `test_NN_*.py` goes through one section of the list of what `tensorflow_model_server` promises; the values expected
are written in the list or in upstream's own tests, never taken from this server.

Tests ask through the protocol, the metrics page included, so that they could be put to the real server. Those marked
`embedded` look inside this one, at its classes, its log, the error with which it does not start, or say where it is
known to differ; their words and limits are this server's own.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server.embedded import Server
from serving.server.flags import Flags

v1 = tf.compat.v1
PAGE = "/monitoring/prometheus/metrics"
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "embedded: looks inside the embedded server or says where it differs; no test for the real one"
    )


def save(path, signatures, tags=(tf.saved_model.SERVING,), defaults=None):
    """Saves the default graph as TF1 does: name -> (inputs, outputs, method); `defaults` is name -> {alias: value}."""
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))

        def infos(tensors):
            return {name: v1.saved_model.build_tensor_info(tensor) for name, tensor in tensors.items()}

        definitions = {
            name: v1.saved_model.build_signature_def(infos(inputs), infos(outputs), method)
            for name, (inputs, outputs, method) in signatures.items()
        }
        for name, values in (defaults or {}).items():
            for alias, value in values.items():
                definitions[name].defaults[alias].CopyFrom(tf.make_tensor_proto(value))
        builder.add_meta_graph_and_variables(session, list(tags), signature_def_map=definitions)
        builder.save()


def save_half_plus(path, addend, **options):
    """Upstream's half_plus_two (and half_plus_three): y = x / 2 + addend, y2 = x / 2 + 3, y3 = x2 / 2 + 3."""
    with tf.Graph().as_default():
        a, b = v1.get_variable("a", initializer=0.5), v1.get_variable("b", initializer=float(addend))
        c = v1.get_variable("c", initializer=3.0)
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = v1.parse_example(
            serialized,
            {
                "x": v1.FixedLenFeature([1], tf.float32),
                "x2": v1.FixedLenFeature([1], tf.float32, default_value=[0.0]),
            },
        )
        x, x2 = tf.identity(parsed["x"], "x"), tf.identity(parsed["x2"], "x2")
        y, y2, y3 = a * x + b, a * x + c, a * x2 + c
        save(
            path,
            {
                "serving_default": ({"x": x}, {"y": y}, PREDICT),
                "regress_x_to_y": ({"inputs": serialized}, {"outputs": y}, REGRESS),
                "regress_x_to_y2": ({"inputs": serialized}, {"outputs": y2}, REGRESS),
                "regress_x2_to_y3": ({"inputs": x2}, {"outputs": y3}, REGRESS),
                "classify_x_to_y": ({"inputs": serialized}, {"scores": y}, CLASSIFY),
                "classify_x2_to_y3": ({"inputs": x2}, {"scores": y3}, CLASSIFY),
            },
            **options,
        )


def save_kinds(path):
    """Signatures for what the half_plus models do not show."""
    with tf.Graph().as_default():
        x, two = v1.placeholder(tf.float32, [None], "x"), v1.placeholder(tf.float32, [None], "z")
        n, text = v1.placeholder(tf.int64, [None], "n"), v1.placeholder(tf.string, [None], "s")
        matrix = v1.placeholder(tf.float32, [None, None], "m")
        words, length = v1.placeholder(tf.string, [None, None], "words"), v1.placeholder(tf.int64, [None], "length")
        examples = v1.placeholder(tf.string, [None], "examples")
        size = tf.size(examples)
        scores = tf.random.uniform([size, 2], 0.25, 0.25)
        labels = tf.tile([["a", "b"]], [size, 1])
        real = tf.sequence_mask(length, tf.shape(words)[1])
        double, whole = v1.placeholder(tf.float64, [None], "d"), v1.placeholder(tf.uint16, [None], "u")
        brain = v1.placeholder(tf.bfloat16, [None], "w")
        ended = v1.data.make_one_shot_iterator(tf.data.Dataset.from_tensors(1.0).take(0)).get_next()
        loop = tf.while_loop(lambda i: i < n[0], lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]
        out_only = {"scores": scores}
        save(
            path,
            {
                "two": ({"a": x, "b": two}, {"sum": x + two, "difference": x - two}, PREDICT),
                "count": ({"n": n}, {"n": n + 1}, PREDICT),
                "text": ({"s": text}, {"s": text + "!", "s_bytes": text + "!"}, PREDICT),
                "matrix": ({"m": matrix}, {"product": tf.matmul(matrix, tf.eye(2))}, PREDICT),
                "same": ({"m": matrix}, {"m": tf.identity(matrix)}, PREDICT),
                "echo": ({"m": matrix}, {"m": tf.identity(matrix), "rows": tf.shape(matrix)[:1]}, PREDICT),
                "variable": (
                    {"words": words, "length": length},
                    {"letters": tf.reduce_sum(tf.where(real, tf.strings.length(words), 0), 1)},
                    PREDICT,
                ),
                "slow": ({"n": n}, {"n": loop + n}, PREDICT),
                "scalar": ({"x": x}, {"total": tf.reduce_sum(x)}, PREDICT),
                "shorter": ({"x": x}, {"rest": x[1:]}, PREDICT),
                "batch": ({"x": x}, {"rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}, PREDICT),
                "failing": (
                    {"n": n},
                    {"n": tf.debugging.check_numerics(1.0 / tf.cast(n, tf.float32), "bad row")},
                    PREDICT,
                ),
                "double": ({"d": double}, {"d": double / 3}, PREDICT),
                "uint16": ({"u": whole}, {"n": tf.cast(whole, tf.int32)}, PREDICT),
                "to_uint16": ({"x": x}, {"u": tf.cast(x, tf.uint16)}, PREDICT),
                "bfloat16": ({"w": brain}, {"x": tf.cast(brain, tf.float32)}, PREDICT),
                "to_bfloat16": ({"x": x}, {"w": tf.cast(x, tf.bfloat16)}, PREDICT),
                "lost": ({"s": text}, {"s": tf.io.decode_compressed(text, "ZLIB")}, PREDICT),
                "ended": ({"x": x}, {"x": x + ended}, PREDICT),
                "two_with_defaults": ({"a": x, "b": two}, {"sum": x + two}, PREDICT),
                "classify_both": ({"inputs": examples}, {"classes": labels, "scores": scores}, CLASSIFY),
                "classify_labels": ({"inputs": examples}, {"classes": labels}, CLASSIFY),
                "classify_as_predict": ({"inputs": examples}, out_only, PREDICT),
                "classify_no_outputs": ({"inputs": examples}, {"other": scores}, CLASSIFY),
                "classify_other_input": ({"examples": examples}, out_only, CLASSIFY),
                "classify_two_inputs": ({"inputs": examples, "x": x}, out_only, CLASSIFY),
                "classify_three": ({"inputs": examples}, {**out_only, "a": labels, "b": labels}, CLASSIFY),
                "classify_uneven": ({"inputs": examples}, {"classes": labels, "scores": scores[:, :1]}, CLASSIFY),
                "classify_flat": ({"inputs": examples}, {"scores": scores[:, 0]}, CLASSIFY),
                "classify_short": ({"inputs": examples}, {"scores": scores[1:]}, CLASSIFY),
                "regress_flat": ({"inputs": examples}, {"outputs": scores[:, 0]}, REGRESS),
                "regress_wide": ({"inputs": examples}, {"outputs": scores}, REGRESS),
                "regress_short": ({"inputs": examples}, {"outputs": scores[1:, 0]}, REGRESS),
                "regress_other_input": ({"examples": examples}, {"outputs": scores[:, 0]}, REGRESS),
                "regress_other_output": ({"inputs": examples}, {"y": scores[:, 0]}, REGRESS),
                "regress_two_outputs": ({"inputs": examples}, {"outputs": scores[:, 0], "y": scores}, REGRESS),
            },
            defaults={"two_with_defaults": {"b": np.array([10.0], np.float32)}},
        )


class Shelf:
    """The exported models; puts copies of them into base paths, whole, by rename."""

    def __init__(self, folder):
        self.folder = folder

    def put(self, base, version, model="half_plus_two"):
        base.mkdir(parents=True, exist_ok=True)
        hidden = base / f".{version}.part"
        shutil.copytree(self.folder / model, hidden)
        return hidden.rename(base / str(version))


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    save_half_plus(folder / "half_plus_two", 2)
    save_half_plus(folder / "half_plus_three", 3)
    save_half_plus(folder / "tagged", 3, tags=["serve", "gpu"])
    save_kinds(folder / "kinds")
    return Shelf(folder)


@pytest.fixture(scope="session")
def quick_flags():
    """Free ports, quick polls, no retries, few threads."""
    return Flags(
        port=0,
        rest_api_port=-1,
        file_system_poll_wait_seconds=0.05,
        max_num_load_retries=0,
        tensorflow_session_parallelism=1,
    )


def read(text):
    return json.loads(text) if text else None


class Caller:
    """Calls a server's methods over gRPC and REST."""

    def __init__(self, server):
        self.server = server
        self.address = f"127.0.0.1:{server.port}"
        self.url = f"http://127.0.0.1:{server.rest_port}"
        self.channel = grpc.insecure_channel(self.address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    @staticmethod
    def spec(message, name="default", signature="", version=None, label=None):
        message.name, message.signature_name = name, signature
        if version is not None:
            message.version.value = version
        if label is not None:
            message.version_label = label

    def predict_request(self, inputs=None, outputs=(), **spec):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        self.spec(request.model_spec, **spec)
        for alias, value in (inputs or {}).items():
            request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
        return request

    def predict(self, inputs, outputs=(), timeout=30, **spec):
        response = self.prediction.Predict(self.predict_request(inputs, outputs, **spec), timeout=timeout)
        return {alias: tf.make_ndarray(proto).tolist() for alias, proto in response.outputs.items()}

    def half(self, value=2.0, **spec):
        """Upstream's VerifyPredictRequest: one value in, (one value, version) out."""
        response = self.prediction.Predict(self.predict_request({"x": np.array([value], np.float32)}, **spec))
        return response.outputs["y"].float_val[0], response.model_spec.version.value

    def input_request(self, kind, examples, context=None, **spec):
        request = kind()
        self.spec(request.model_spec, **spec)
        self.fill_input(request.input, examples, context)
        return request

    def classify_request(self, examples, context=None, **spec):
        return self.input_request(classification_pb2.ClassificationRequest, examples, context, **spec)

    def regress_request(self, examples, context=None, **spec):
        return self.input_request(regression_pb2.RegressionRequest, examples, context, **spec)

    def multi_request(self, examples, *tasks, name="default"):
        """Tasks are (signature, method)."""
        request = inference_pb2.MultiInferenceRequest()
        for signature, method in tasks:
            task = request.tasks.add(method_name=method)
            self.spec(task.model_spec, name, signature)
        self.fill_input(request.input, examples)
        return request

    @staticmethod
    def fill_input(message, examples, context=None):
        """Examples are {feature: float}."""

        def fill(example, features):
            example.features.SetInParent()
            for feature, value in features.items():
                example.features.feature[feature].float_list.value.append(value)

        if context is None:
            for features in examples:
                fill(message.example_list.examples.add(), features)
        else:
            fill(message.example_list_with_context.context, context)
            for features in examples:
                fill(message.example_list_with_context.examples.add(), features)

    def metadata_request(self, fields=("signature_def",), **spec):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        self.spec(request.model_spec, **spec)
        return request

    def status_request(self, **spec):
        request = get_model_status_pb2.GetModelStatusRequest()
        self.spec(request.model_spec, **spec)
        return request

    def status(self, **spec):
        """[(version, state)] as the server lists them."""
        statuses = self.model.GetModelStatus(self.status_request(**spec)).model_version_status
        return [(status.version, status.state) for status in statuses]

    def reload_request(self, *models, metric_names=()):
        """Models are keyword arguments of ModelConfig."""
        request = model_management_pb2.ReloadConfigRequest(metric_names=metric_names)
        request.config.model_config_list.SetInParent()
        for model in models:
            request.config.model_config_list.config.add(**{"model_platform": "tensorflow", **model})
        return request

    def reload(self, *models, timeout=60, metric_names=()):
        request = self.reload_request(*models, metric_names=metric_names)
        return self.model.HandleReloadConfigRequest(request, timeout=timeout)

    def error(self, call, request, timeout=60):
        """(code's name, details) of a call that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=timeout)
        return caught.value.code().name, caught.value.details()

    def predict_error(self, inputs=None, outputs=(), **spec):
        return self.error(self.prediction.Predict, self.predict_request(inputs, outputs, **spec))

    def http(self, path, body=None, method=None, headers=None):
        """(status, headers, text)"""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def rest(self, path, body=None, method=None):
        """(status, parsed JSON); the error's text where there is one."""
        status, _, text = self.http(path, body, method)
        content = read(text)
        return status, content["error"] if isinstance(content, dict) and "error" in content else content

    def metrics(self):
        """Name and labels -> number, of the page that Prometheus reads."""
        status, headers, text = self.http(PAGE)
        assert (status, headers["Content-Type"]) == (200, "text/plain")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(number) for name, number in lines}

    def metric(self, name):
        """The number of one series, as `request_count{..}`; 0 where there is none."""
        return self.metrics().get(f":tensorflow:serving:{name}", 0)

    def batches(self):
        """How many batches have begun to run."""
        return self.metric("batching_session:wrapped_run_count{}")


@pytest.fixture(scope="session")
def serve(quick_flags, tmp_path_factory):
    """Starts a server with the given flags and a metrics page: `with serve(model_base_path=..) as caller`."""
    monitoring = tmp_path_factory.mktemp("monitoring") / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")

    @contextlib.contextmanager
    def start(**flags):
        flags = {"monitoring_config_file": monitoring, **flags}
        values = {name: str(value) if isinstance(value, pathlib.Path) else value for name, value in flags.items()}
        with Server(dataclasses.replace(quick_flags, **values)) as server:
            caller = Caller(server)
            with caller.channel:
                yield caller

    return start


@pytest.fixture(scope="session")
def config_file():
    """Writes a ModelServerConfig: path, then `name` -> (base path, further text)."""

    def write(path, models):
        entries = [
            f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {text} }}'
            for name, (base, text) in models.items()
        ]
        path.write_text(f"model_config_list {{ {' '.join(entries)} }}")
        return path

    return write


@pytest.fixture(scope="session")
def standard(serve, shelf, config_file, tmp_path_factory):
    """Serves `default` (half_plus_two, version 123) and `kinds` (version 1), for tests that change nothing."""
    base = tmp_path_factory.mktemp("standard")
    shelf.put(base / "default", "00000123")
    shelf.put(base / "kinds", 1, "kinds")
    config = config_file(base / "models.config", {"default": (base / "default", ""), "kinds": (base / "kinds", "")})
    with serve(model_config_file=config) as caller:
        yield caller


@pytest.fixture(scope="session")
def wait_for():
    """Waits for a condition that a thread of the server brings about."""

    def wait(condition, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "not within the time"
            time.sleep(0.01)

    return wait
