"""The embedded server as a process of its own; imports no TensorFlow."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import subprocess
import sys
import threading

from serving.server.flags import FREE_PORT

_READY = re.compile(r"Serving gRPC on \S+:(\d+)(?: and REST on \S+:(\d+))?")


class ServerProcess:
    """Starts `python -m serving.server` on free ports, waits until it is ready, ends it.

    The server also ends when the process that started it does, however that ends.

    Args:
      model_base_path: directory that holds the version directories; empty with `--model_config_file` among the flags.
      model_name: under which it is offered.
      rest: open the REST port too.
      flags: further `--name=value` flags.
      log_file: takes the server's stderr; without one only its last lines are kept for error messages.
      timeout: seconds to wait for the first version (TensorFlow's own import takes several).

    Attributes:
      address: "127.0.0.1:port" of gRPC, for `serving.client.Client`.
      rest_url: "http://127.0.0.1:port", or "" without REST.

    Raises:
      RuntimeError: when the server ends, or is not ready, within the timeout; with the last lines it wrote.

    Example:
      with ServerProcess("/models/ranker", "ranker") as server, Client(server.address, "ranker") as client:
          client.status()
    """

    def __init__(
        self,
        model_base_path: str | pathlib.Path = "",
        model_name: str = "",
        rest: bool = True,
        flags: tuple[str, ...] = (),
        log_file: str | pathlib.Path | None = None,
        timeout: float = 120.0,
    ) -> None:
        command = [sys.executable, "-u", "-m", "serving.server", "--port=0", "--exit_on_stdin_close", *flags]
        if model_base_path:
            command += [f"--model_name={model_name}", f"--model_base_path={pathlib.Path(model_base_path).absolute()}"]
        if rest:
            command.append(f"--rest_api_port={FREE_PORT}")
        self.address = ""
        self.rest_url = ""
        self._log_file = pathlib.Path(log_file) if log_file else None
        self._last_lines: collections.deque[str] = collections.deque(maxlen=20)
        self._known = threading.Event()
        # Importable from wherever the caller's working directory is.
        root = str(pathlib.Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_stdout, self._read_stderr)]
        for reader in self._readers:
            reader.start()
        try:
            ready = self._known.wait(timeout)
        except BaseException:
            self.stop()
            raise
        if not self.address:
            status = self.stop() if not ready else self._process.wait()
            what = f"ended with status {status}" if ready else f"was not ready after {timeout:g} s"
            self._readers[1].join(1.0)
            whose = f"The server of model `{model_name}` in {model_base_path}" if model_base_path else "The server"
            raise RuntimeError(f"{whose} {what}: {' | '.join(self._last_lines)}")

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def stop(self, timeout: float = 10.0) -> int:
        """Ends the server (SIGTERM; SIGKILL after `timeout` seconds) and returns its exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def _read_stdout(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            match = _READY.search(line)
            if match:
                self.address = f"127.0.0.1:{match[1]}"
                self.rest_url = f"http://127.0.0.1:{match[2]}" if match[2] else ""
                self._known.set()
        self._known.set()

    def _read_stderr(self) -> None:
        assert self._process.stderr
        log = self._log_file.open("w", encoding="utf-8") if self._log_file else None
        for line in self._process.stderr:
            self._last_lines.append(line.rstrip())
            if log:
                log.write(line)
                log.flush()
        if log:
            log.close()
