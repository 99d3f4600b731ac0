"""The embedded server: TensorFlow Serving's protocol without its binary.

Where a client may tell it from tensorflow_model_server 2.15.1:

* Ports: --port=0 and --rest_api_port=-1 take free ones, and --exit_on_stdin_close is its own. The flags of
  `flags.WITHOUT_EFFECT` are read and change nothing: there is no profiler service, no TFLite, no ALTS. Base paths are
  local; one of another file system is waited for like a missing one.
* Limits: gRPC callers that find no thread wait, 1,000 of them, where the real server refuses them at once. REST takes
  bodies up to 64 MiB (413), 1 GiB of them together (503), 1,000 connections, paths and header lines up to 64 KiB (414,
  431), and 50 seconds of silence. Tensors have at most 32 dimensions, of which JSON spells 31, and no quantized types.
* JSON: of a key that is there twice the last one counts (there the first), and a number beyond a double is infinite
  (there an error).
* Texts: errors quote at most 1,024 characters of a body, and no record of a warm-up file. A class label that is no
  UTF-8 has U+FFFD where it is not.
* Metrics: `request_count` has 1,000 names of models that there are not, cut to 256 characters, and no more. Those of
  TensorFlow's session are not there.
* Batching: see `batched.BatchedServable`.
* Stopping: who sends over a connection that was kept meanwhile reads 503, `The server stops.`
"""

from __future__ import annotations

import logging
import threading
import time

import grpc

from serving.server.errors import ServingError, invalid_argument
from serving.server.flags import FREE_PORT, Flags
from serving.server.loading import Loader
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.models import Models, single_model
from serving.server.rest import RestServer
from serving.server.rest_api import RestApi
from serving.server.servable import LoadedRunner
from serving.server.textproto import ModelServerConfig, MonitoringConfig, read_text_proto
from serving.server.transport import start_grpc

log = logging.getLogger("serving.server")

_HOST = "0.0.0.0"
_METRICS_PATH = "/monitoring/prometheus/metrics"


class Server:
    """Serves models over gRPC and, where asked for, REST.

    Args:
      flags: as of the command line; port 0 and rest_api_port -1 take free ports.

    Raises:
      ServingError: for flags that contradict each other, and for files that cannot be read.

    Example:
      with Server(Flags(port=0, rest_api_port=-1, model_name="ranker", model_base_path="/models/ranker")) as server:
          client = Client(f"localhost:{server.port}", "ranker")
    """

    def __init__(self, flags: Flags) -> None:
        if not flags.model_base_path and not flags.model_config_file:
            raise invalid_argument(
                "Both server_options.model_base_path and server_options.model_config_file are empty!"
            )
        self._flags = flags
        self._config = self._read_config()
        self._metrics_path = self._read_metrics_path()
        #: Ports that were bound; `rest_port` is None without REST.
        self.port: int = 0
        self.rest_port: int | None = None
        self.metrics = Metrics()
        self._loader = Loader(flags, self.metrics)
        #: The versions of all models.
        self.manager: Manager[LoadedRunner] = Manager(
            self._loader.load,
            flags.file_system_poll_wait_seconds,
            flags.max_num_load_retries,
            flags.load_retry_interval_micros / 1e6,
            flags.num_load_threads,
        )
        #: What requests ask for.
        self.models: Models[LoadedRunner] = Models(self.manager, flags.allow_version_labels_for_unavailable_models)
        self._stopping = threading.Event()
        #: Held while ports are opened, so that `stop` finds all of them or none.
        self._opening = threading.Lock()
        self._grpc: grpc.Server | None = None
        self._rest: RestServer | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Loads a version of each model, then opens the ports; waits for versions as long as there are none.

        Raises:
          ServingError: when the configuration is refused, a model cannot be loaded or a port cannot be bound.
        """
        flags = self._flags
        self.manager.start()
        try:
            if not self.models.reload(self._config):
                return
            with self._opening:
                if self._stopping.is_set():
                    return
                self._grpc, self.port = start_grpc(_HOST, flags, self.models, self.metrics)
                if flags.rest_api_port:
                    self._open_rest()
            if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
                threading.Thread(target=self._poll_config, name="model config", daemon=True).start()
        except BaseException:
            self.stop()
            raise

    def stop(self, grace: float = 2.0) -> None:
        """Takes no new requests, lets those under way end for `grace` seconds, unloads everything.

        May be called from another thread while `start` still waits for a version.
        """
        self._stopping.set()
        deadline = time.monotonic() + grace
        self._loader.close()
        with self._opening:
            over_grpc, self._grpc = self._grpc, None
            over_rest, self._rest = self._rest, None
        stopped = over_grpc.stop(grace) if over_grpc else None
        if over_rest:
            over_rest.stop(grace)
        if stopped:
            stopped.wait(grace + 1.0)
        self.manager.stop(max(0.5, deadline - time.monotonic()))

    def _read_config(self) -> ModelServerConfig:
        if self._flags.model_config_file:
            return read_text_proto(self._flags.model_config_file, ModelServerConfig)
        return single_model(self._flags.model_name, self._flags.model_base_path)

    def _read_metrics_path(self) -> str | None:
        if not self._flags.monitoring_config_file:
            return None
        prometheus = read_text_proto(self._flags.monitoring_config_file, MonitoringConfig).prometheus_config
        return (prometheus.path or _METRICS_PATH) if prometheus.enable else None

    def _poll_config(self) -> None:
        """Applies the file each period, changed or not, as TensorFlow Serving does."""
        while not self._stopping.wait(self._flags.model_config_file_poll_wait_seconds):
            try:
                self.models.reload(self._read_config(), lambda: not self._stopping.is_set())
            except Exception as error:
                message = ServingError.wrap(error).message
                log.error("PollFilesystemAndReloadConfig failed to ReloadConfig: %s", message)

    def _open_rest(self) -> None:
        flags = self._flags
        if flags.rest_api_port == self.port:
            log.error("server_options.http_port cannot be same as grpc_port. Skipped exporting HTTP/REST API.")
            return
        api = RestApi(self.models, self.metrics, flags.rest_api_timeout_in_ms)
        pages = {self._metrics_path: self.metrics.text} if self._metrics_path else {}
        try:
            self._rest = RestServer(
                _HOST,
                0 if flags.rest_api_port == FREE_PORT else flags.rest_api_port,
                api,
                flags.rest_api_num_threads,
                pages,
                flags.rest_api_enable_cors_support,
            )
        except OSError:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE, f"The REST port {flags.rest_api_port} cannot be bound; is it taken?"
            ) from None
        self.rest_port = self._rest.server_port
        threading.Thread(target=self._rest.serve_forever, args=(0.1,), name="rest", daemon=True).start()
