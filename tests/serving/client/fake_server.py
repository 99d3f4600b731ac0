"""A replica without TensorFlow: answers TensorFlow Serving's gRPC API with numbers that one computes by hand.

`python fake_server.py NUMBER` serves in a process of its own, prints its port and ends with its stdin.
"""

import collections
import concurrent.futures
import sys
import threading

import grpc
import numpy as np

from models import features
from serving import contract, protos
from serving.client.tensors import fill_tensor, read_tensor


class FakeServer:
    """Serves every signature of the contract until it is closed.

    Args:
      number: of the version that it says it serves; tells replicas apart.
      columns: context columns of its signatures.
      credentials: of grpc; None for none.
      port: to listen on; 0 for a free one.

    Attributes:
      signatures: that it has.
      calls: (method, request, metadata, seconds left) of each call that came.
      peers: the other ends of the connections on which they came.
      failures: (code, text) with which the next calls end.
      hold: while it is cleared, calls wait.
      held: set when a call waits.
      given_up: set when a call that waits is no longer wanted.
    """

    def __init__(self, number=1, columns=("country",), credentials=None, port=0):
        self.number = number
        self.columns = tuple(columns)
        self.signatures = tuple(contract.OUTPUTS.keys() - {contract.SERVING_DEFAULT})
        self.calls = []
        self.peers = set()
        self.failures = collections.deque()
        self.hold = threading.Event()
        self.hold.set()
        self.held = threading.Event()
        self.given_up = threading.Event()
        self.reloaded = None
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
        self._server.start()

    def close(self):
        self._server.stop(0).wait()
        self.hold.set()
        self._pool.shutdown()

    def methods(self):
        return [call[0] for call in self.calls]

    def _handler(self, name):
        def handle(request, context):
            self.calls.append((name, request, dict(context.invocation_metadata()), context.time_remaining()))
            self.peers.add(context.peer())
            if self.failures:
                context.abort(*self.failures.popleft())
            while not self.hold.wait(0.02):
                self.held.set()
                if not context.is_active():
                    self.given_up.set()
                    break
            if hasattr(request, "model_spec") and request.model_spec.name not in ("toy", "default"):
                context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {request.model_spec.name}")
            return getattr(self, f"_{name}")(request, context)

        return handle

    def _Predict(self, request, context):
        signature = request.model_spec.signature_name
        if signature not in self.signatures:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        wanted = {spec.name for spec in contract.signature_inputs(signature, self.columns)}
        sent = set(request.inputs)
        if sent != wanted:
            text = f"input size does not match signature: {len(sent)}!={len(wanted)}"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{text} Missing but required: {sorted(wanted - sent)}.")
        inputs = {name: read_tensor(tensor) for name, tensor in request.inputs.items()}
        answer = protos.PredictResponse()
        answer.model_spec.version.value = request.model_spec.version.value or self.number
        for name, array in getattr(self, f"_{signature}")(inputs).items():
            if not request.output_filter or name in request.output_filter:
                fill_tensor(answer.outputs[name], array)
        return answer

    def _rank(self, inputs):
        """The length of a candidate's id, plus the request's time."""
        ids = inputs[features.CANDIDATE_ITEM_IDS]
        lengths = np.array([[len(item) for item in row] for row in ids], np.float32)
        return {contract.SCORES: lengths + inputs[features.REQUEST_TIME][:, None].astype(np.float32)}

    def _recommend(self, inputs):
        """The user's id and the query before `a` and `b`, then padding."""
        rows = zip(inputs[features.USER_ID], inputs[features.QUERY], strict=True)
        ids = [[user + query + b"a", user + query + b"b", b""] for user, query in rows]
        scores = np.array([[2.0, 1.0, -np.inf]] * len(ids), np.float32)
        return {contract.ITEM_IDS: np.array(ids, object), contract.SCORES: scores}

    _search = _recommend

    def _profile(self, inputs):
        users = inputs[features.USER_ID]
        tags = [[user + b"-tag", b""] for user in users]
        return {
            contract.VECTOR: np.array([[len(user), 0.5] for user in users], np.float32),
            contract.TAGS: np.array(tags, object),
            contract.TAG_SCORES: np.array([[0.75, -np.inf]] * len(users), np.float32),
        }

    def _suggest(self, inputs):
        texts = [[prefix + b" shoes", b""] for prefix in inputs[contract.PREFIX]]
        return {
            contract.SUGGESTIONS: np.array(texts, object),
            contract.KINDS: np.array([[b"query", b""]] * len(texts), object),
            contract.SCORES: np.array([[3.0, 0.0]] * len(texts), np.float32),
        }

    def _tag(self, inputs):
        words = [text.split() for text in inputs[features.TEXT]]
        width = max(map(len, words))
        rows = [row + [b""] * (width - len(row)) for row in words]
        return {
            contract.TAGS: np.array([[b"tea", b""]] * len(words), object),
            contract.TAG_SCORES: np.array([[0.5, 0.0]] * len(words), np.float32),
            contract.WORDS: np.array(rows, object),
            contract.WORD_LABELS: np.array([[b"B-product" if word else b"" for word in row] for row in rows], object),
            contract.WORD_SCORES: np.array([[1 / len(row) for _ in rows[0]] for row in words], np.float32),
            contract.SENTIMENT: np.array([0.25] * len(words), np.float32),
        }

    def _GetModelStatus(self, request, context):
        answer = protos.GetModelStatusResponse()
        answer.model_version_status.add(version=self.number, state=30)
        failed = answer.model_version_status.add(version=self.number - 1, state=50)
        failed.status.error_code, failed.status.error_message = 13, "no memory"
        return answer

    def _GetModelMetadata(self, request, context):
        signatures = protos.SignatureDefMap()
        types = {"string": 7, "int64": 9}
        for signature in self.signatures:
            made = signatures.signature_def[signature]
            for spec in contract.signature_inputs(signature, self.columns):
                made.inputs[spec.name].dtype = types[spec.dtype]
                for _ in range(spec.rank):
                    made.inputs[spec.name].tensor_shape.dim.add(size=-1)
            for output in contract.OUTPUTS[signature]:
                made.outputs[output].dtype = 1
                made.outputs[output].tensor_shape.unknown_rank = True
        answer = protos.GetModelMetadataResponse()
        answer.model_spec.version.value = self.number
        answer.metadata["signature_def"].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
        answer.metadata["signature_def"].value = signatures.SerializeToString()
        return answer

    def _HandleReloadConfigRequest(self, request, context):
        self.reloaded = request.config
        answer = protos.ReloadConfigResponse()
        if not request.config.model_config_list.config:
            answer.status.error_code, answer.status.error_message = 3, "an empty list"
        return answer


if __name__ == "__main__":
    server = FakeServer(int(sys.argv[1]))
    print(server.port, flush=True)
    sys.stdin.read()
    server.close()
