"""A server without TensorFlow that follows TensorFlow Serving's rules of versions, labels and configurations."""

import collections
import concurrent.futures
import pathlib
import threading
import time

import grpc
import numpy as np
from google.protobuf import text_format

from serving import contract, protos
from serving.client.tensors import fill_tensor
from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel

LOADING, AVAILABLE, END = 20, 30, 50
_TICK = 0.01


class FakeServing:
    """Serves what its configuration says until it is closed; the answers' scores are the version's number.

    Args:
      config_file: read at the start, if it is there.
      polls: it is read again every few milliseconds, too.
      early_labels: --allow_version_labels_for_unavailable_models.
      port: to listen on; 0 for a free one.
      credentials: for TLS.

    Attributes:
      faults: version -> (code, text) that Predict ends with.
      answers: version -> outputs in place of the scores.
      delays: version -> seconds that Predict takes.
      failing: version -> why it cannot be loaded.
      load_seconds: that a version takes to load.
      asked: how often each (label, version) was.
      reloads: configurations that came by RPC.
      headers: what calls had as their header `authorization`.
    """

    def __init__(self, config_file=None, polls=False, early_labels=False, port=0, credentials=None):
        self.config_file = config_file
        self.early_labels = early_labels
        self.faults, self.answers, self.delays = {}, {}, {}
        self.failing = {}
        self.load_seconds = 0.02
        self.asked = collections.Counter()
        self.reloads = []
        self.headers = set()
        self._lock = threading.RLock()
        self._models, self._labels = {}, {}
        self._states = {}  # model -> version -> [state, code, text, when loaded, whether it was wanted last]
        self._signatures = {}
        self._stopping = threading.Event()
        if config_file and pathlib.Path(config_file).exists():
            self._apply(self._read())
        self._pool = concurrent.futures.ThreadPoolExecutor(16)
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        services = collections.defaultdict(dict)
        for name, (path, request, response) in protos.METHODS.items():
            services[path.split("/")[1]][name] = grpc.unary_unary_rpc_method_handler(
                self._handler(name), request.FromString, response.SerializeToString
            )
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, handlers) for service, handlers in services.items()]
        )
        where = f"127.0.0.1:{port}"
        self.port = (
            self._server.add_secure_port(where, credentials) if credentials else self._server.add_insecure_port(where)
        )
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._watch, args=(polls,), daemon=True)
        self._server.start()
        self._thread.start()

    def close(self):
        self._stopping.set()
        self._thread.join()
        self._server.stop(0).wait()
        self._pool.shutdown()

    def loaded(self, model="ranker"):
        with self._lock:
            return sorted(number for number, state in self._states.get(model, {}).items() if state[0] == AVAILABLE)

    def labels(self, model="ranker"):
        return dict(self._labels.get(model, {}))

    def _handler(self, name):
        def handle(request, context):
            self.headers.add(dict(context.invocation_metadata()).get("authorization"))
            return getattr(self, f"_{name}")(request, context)

        return handle

    def _read(self):
        return text_format.Parse(pathlib.Path(self.config_file).read_text("utf-8"), protos.ModelServerConfig())

    def _apply(self, config):
        """Labels are checked before models load; returns why the configuration is refused."""
        with self._lock:
            labels = {}
            for model in config.model_config_list.config:
                for label, number in model.version_labels.items():
                    is_there = self._states.get(model.name, {}).get(number, [None])[0] == AVAILABLE
                    in_use = self._labels.get(model.name, {}).get(label, number) != number
                    if not is_there and (in_use or not self.early_labels):
                        which = f"version {number} of model {model.name}"
                        return f"Request to assign label to {which}, which is not currently available for inference"
                    labels.setdefault(model.name, {})[label] = number
            self._labels = labels
            self._models = {model.name: model for model in config.model_config_list.config}
            for name in self._models:
                self._states.setdefault(name, {})
        return ""

    def _watch(self, polls):
        while not self._stopping.wait(_TICK):
            if polls and pathlib.Path(self.config_file).exists():
                self._apply(self._read())
            with self._lock:
                for name in self._states:
                    self._settle(name)

    def _wanted(self, name):
        model = self._models.get(name)
        if model is None:
            return {}
        base = pathlib.Path(model.base_path)
        found = {int(path.name): path for path in base.iterdir() if path.name.isdecimal()} if base.exists() else {}
        policy = model.model_version_policy
        if policy.HasField("specific"):
            return {number: path for number, path in found.items() if number in policy.specific.versions}
        return {number: found[number] for number in sorted(found)[-1:]}

    def _settle(self, name):
        """Loads what is wanted; unloads the rest when one that is wanted serves."""
        wanted, states = self._wanted(name), self._states[name]
        for number, path in wanted.items():
            if number not in states or (states[number][0] == END and not states[number][4]):
                states[number] = [LOADING, 0, "", time.monotonic() + self.load_seconds, True]
            state = states[number]
            if state[0] == LOADING and time.monotonic() >= state[3]:
                try:
                    if number in self.failing:
                        raise ReleaseError(self.failing[number])
                    self._signatures[name, number] = SavedModel.read(path)
                    state[0] = AVAILABLE
                except ReleaseError as error:
                    state[:3] = [END, 13, str(error)]
        serves = any(states[number][0] == AVAILABLE for number in wanted)
        for number, state in states.items():
            if number not in wanted and (serves or not wanted or state[0] != AVAILABLE):
                if state[0] == LOADING:
                    state[1:3] = [1, "Loading of servable cancelled"]
                state[0], state[4] = END, False

    def _version(self, spec, context):
        with self._lock:
            states = self._states.get(spec.name, {})
            number = spec.version.value if spec.WhichOneof("choice") == "version" else None
            if spec.WhichOneof("choice") == "version_label":
                number = self._labels.get(spec.name, {}).get(spec.version_label)
                if number is None:
                    text = f"Unrecognized servable version label: {spec.version_label}"
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            elif number is None:
                number = max((n for n, state in states.items() if state[0] == AVAILABLE), default=-1)
            if states.get(number, [None])[0] != AVAILABLE:
                text = f"Servable not found for request: Specific({spec.name}, {number})"
                context.abort(grpc.StatusCode.NOT_FOUND, text)
            return number

    def _Predict(self, request, context):
        number = self._version(request.model_spec, context)
        self.asked[request.model_spec.version_label, number] += 1
        time.sleep(self.delays.get(number, 0.0))
        if number in self.faults:
            context.abort(*self.faults[number])
        answer = protos.PredictResponse()
        answer.model_spec.version.value = number
        rows = max((tensor.tensor_shape.dim[0].size for tensor in request.inputs.values()), default=1)
        outputs = self.answers.get(number) or {contract.SCORES: np.full((rows, 3), number, np.float32)}
        for name, array in outputs.items():
            fill_tensor(answer.outputs[name], array)
        return answer

    def _GetModelMetadata(self, request, context):
        number = self._version(request.model_spec, context)
        signatures = protos.SignatureDefMap()
        for name, spec in self._signatures[request.model_spec.name, number].signatures.items():
            for alias, tensor in spec.inputs.items():
                made = signatures.signature_def[name].inputs[alias]
                made.dtype = protos.DATA_TYPES[tensor.dtype]
                for size in tensor.shape:
                    made.tensor_shape.dim.add(size=size)
        answer = protos.GetModelMetadataResponse()
        answer.model_spec.version.value = number
        answer.metadata["signature_def"].value = signatures.SerializeToString()
        return answer

    def _GetModelStatus(self, request, context):
        answer = protos.GetModelStatusResponse()
        with self._lock:
            states = self._states.get(request.model_spec.name)
            if not states:
                text = f"Could not find any versions of model {request.model_spec.name}"
                context.abort(grpc.StatusCode.NOT_FOUND, text)
            for number, state in sorted(states.items(), reverse=True):
                made = answer.model_version_status.add(version=number, state=state[0])
                made.status.error_code, made.status.error_message = state[1:3]
        return answer

    def _HandleReloadConfigRequest(self, request, context):
        self.reloads.append(request.config)
        before = set(self._models)
        refused = self._apply(request.config)
        if refused:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, refused)
        new = set(self._models) - before
        while any(not self.loaded(name) for name in new) and context.is_active():
            self._stopping.wait(_TICK)
        return protos.ReloadConfigResponse()
