"""Command-line flags, read as TensorFlow Serving reads them."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Flags of `tensorflow_model_server` that are read and change nothing here, and whether they are boolean.
WITHOUT_EFFECT = {
    "num_unload_threads": False,
    "flush_filesystem_caches": True,
    "prefer_tflite_model": True,
    "num_tflite_pools": False,
    "num_tflite_interpreters_per_pool": False,
    "per_process_gpu_memory_fraction": False,
    "remove_unused_fields_from_bundle_metagraph": True,
    "enable_signature_method_name_check": True,
    "enforce_session_run_timeout": True,
    "use_alts_credentials": True,
    "enable_profiler": True,
    "thread_pool_factory_config_file": False,
    "mixed_precision": False,
    "skip_initialize_tpu": True,
    "xla_cpu_compilation_enabled": True,
    "xla_gpu_compilation_enabled": True,
}
_NUMBERS = ("file_system_poll_wait_seconds", "model_config_file_poll_wait_seconds")
_THREADS = ("rest_api_num_threads", "grpc_max_threads")
#: As --rest_api_port: a port that is free.
FREE_PORT = -1
_LARGEST_PORT = 65535


class FlagError(ValueError):
    """A flag whose value cannot be read or is out of range; the message is one sentence."""


@dataclass(frozen=True)
class Flags:
    """The flags of `tensorflow_model_server` that the embedded server heeds, with its names and defaults.

    Attributes:
      port: of gRPC; 0, which the real server refuses, takes a free one.
      grpc_socket_path: UNIX socket for gRPC besides the port.
      rest_api_port: of REST; 0 leaves REST off. Only here: -1 takes a free one.
      rest_api_num_threads: REST requests that are answered at the same time.
      rest_api_timeout_in_ms: of one run asked for over REST.
      rest_api_enable_cors_support: let browsers ask from other sites' pages.
      model_name: under which the model is offered.
      model_base_path: absolute local directory that holds the version directories.
      model_config_file: text proto ModelServerConfig, in place of the two above.
      model_config_file_poll_wait_seconds: between readings of it; 0 reads it once.
      file_system_poll_wait_seconds: between looks at the base paths; 0 looks once, below 0 never.
      allow_version_labels_for_unavailable_models: of labels that are not in use yet.
      max_num_load_retries: after a load that failed.
      load_retry_interval_micros: between them.
      num_load_threads: versions that load at once; 0 is 1.
      enable_model_warmup: run assets.extra/tf_serving_warmup_requests before a version is AVAILABLE.
      num_request_iterations_for_warmup: how often each of its requests is run; 0 is 1.
      saved_model_tags: comma-separated.
      enable_batching: join requests into batches.
      batching_parameters_file: text proto BatchingParameters.
      enable_per_model_batching_parameters: read `batching_params.pbtxt` in each version directory instead; a version
        without one is not batched. The threads stay those of `batching_parameters_file`.
      monitoring_config_file: text proto MonitoringConfig.
      ssl_config_file: text proto SSLConfig, for gRPC.
      grpc_channel_arguments: comma-separated name=value.
      grpc_max_threads: gRPC requests that are answered at the same time.
      enable_grpc_healthcheck_service: offer grpc.health.v1.Health.
      tensorflow_session_parallelism: threads within and between ops of a Session; 0 chooses itself.
      tensorflow_intra_op_parallelism, tensorflow_inter_op_parallelism: the same, one by one.
      exit_on_stdin_close: only here: end when stdin closes, so as not to outlive the process that holds it.

    Raises:
      FlagError: for a port or a number of threads that there cannot be.
    """

    port: int = 8500
    grpc_socket_path: str = ""
    rest_api_port: int = 0
    rest_api_num_threads: int = 4 * (os.cpu_count() or 1)
    rest_api_timeout_in_ms: int = 30000
    rest_api_enable_cors_support: bool = False
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: float = 0
    file_system_poll_wait_seconds: float = 1
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    saved_model_tags: str = "serve"
    enable_batching: bool = False
    batching_parameters_file: str = ""
    enable_per_model_batching_parameters: bool = False
    monitoring_config_file: str = ""
    ssl_config_file: str = ""
    grpc_channel_arguments: str = ""
    grpc_max_threads: int = 4 * (os.cpu_count() or 1)
    enable_grpc_healthcheck_service: bool = False
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    exit_on_stdin_close: bool = False

    def __post_init__(self) -> None:
        for name in _THREADS:
            if getattr(self, name) < 1:
                raise FlagError(f"The flag {name} is {getattr(self, name)}; expected at least 1.")
        for name, least in (("port", 0), ("rest_api_port", FREE_PORT)):
            if not least <= getattr(self, name) <= _LARGEST_PORT:
                raise FlagError(f"The flag {name} is {getattr(self, name)}; expected {least} to {_LARGEST_PORT}.")


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Reads `--name=value` (a boolean may stand bare); an unknown argument is said on stderr and passed over.

    Raises:
      FlagError: when a value is not of the flag's type, or out of its range.
    """
    fields = {field.name: field for field in dataclasses.fields(Flags)}
    values: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        field = fields.get(name) if argument.startswith("--") else None
        is_boolean = isinstance(field.default, bool) if field else WITHOUT_EFFECT.get(name, False)
        if not argument.startswith("--") or not (field or name in WITHOUT_EFFECT) or not (equals or is_boolean):
            print(f"unknown argument: {argument}", file=sys.stderr)
        elif field:
            values[name] = _convert(field.default, text if equals else "true", name)
        else:
            print(f"without effect in the embedded server: {argument}", file=sys.stderr)
    return Flags(**values)


def usage() -> str:
    """What `--help` prints: each flag with its default, and what the class above says of it."""
    described = inspect.cleandoc(Flags.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    texts = {}
    for part in re.split(r"\n  (?! )", f"\n{described}")[1:]:
        names, _, text = part.partition(": ")
        texts.update(dict.fromkeys(names.split(", "), " ".join(text.split())))
    lines = ["usage: python -m serving.server [--FLAG=VALUE ...]", ""]
    for field in dataclasses.fields(Flags):
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default
        lines.append(f"  --{field.name}={default}")
        lines += textwrap.wrap(texts[field.name], 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _convert(default: Any, text: str, name: str) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "1", "false", "0"):
            raise FlagError(f"Couldn't interpret value {text} for flag {name}: expected true or false.")
        return text.lower() in ("true", "1")
    kind = float if name in _NUMBERS else type(default)
    try:
        return kind(text)
    except ValueError:
        raise FlagError(f"Couldn't interpret value {text} for flag {name}: expected a number.") from None
