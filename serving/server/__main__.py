"""`python -m serving.server --port=8500 --rest_api_port=8501 --model_name=ranker --model_base_path=/models/ranker`"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading

# Before TensorFlow is imported: its start-up notices would bury the server's own lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from serving.server.flags import FlagError, parse_flags, usage

EXIT_FAILURE = 255
HELP = "--help"


def main(arguments: list[str]) -> int:
    """Serves until SIGTERM or SIGINT.

    Prints one line on stdout when it is ready: `Serving gRPC on 0.0.0.0:PORT` and, with REST, ` and REST on
    0.0.0.0:PORT`. Everything else goes to stderr.

    Returns:
      0 after a signal or `--help`, 255 when the server cannot start.
    """
    if HELP in arguments:
        print(usage())
        return 0
    try:
        flags = parse_flags(arguments)
    except FlagError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILURE
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if flags.exit_on_stdin_close:
        threading.Thread(target=_wait_for_eof, args=(stopping,), daemon=True).start()

    from serving.server.embedded import Server

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    failure: list[Exception] = []

    def start(server: Server) -> None:
        try:
            server.start()
        except Exception as error:
            failure.append(error)
            stopping.set()
            return
        gc.freeze()  # a collection that looks through all of TensorFlow would hold up requests for a second
        if not stopping.is_set():
            rest = "" if server.rest_port is None else f" and REST on 0.0.0.0:{server.rest_port}"
            print(f"Serving gRPC on 0.0.0.0:{server.port}{rest}", flush=True)

    try:
        server = Server(flags)
    except Exception as error:
        print(f"Failed to start server. Error: {_describe(error)}", file=sys.stderr)
        return EXIT_FAILURE
    # Start-up may wait for a version for ever; signals are seen here meanwhile.
    starter = threading.Thread(target=start, args=(server,), daemon=True)
    starter.start()
    while not stopping.wait(3600):
        pass
    if failure:
        print(f"Failed to start server. Error: {_describe(failure[0])}", file=sys.stderr)
        return EXIT_FAILURE
    server.stop()
    return 0


def _wait_for_eof(stopping: threading.Event) -> None:
    sys.stdin.read()
    stopping.set()


def _describe(error: Exception) -> str:
    """An error at start as TensorFlow Serving has it, the code as a word: `Unknown: ...`. The unforeseen are logged."""
    from serving.server.errors import ServingError

    if not isinstance(error, ServingError):
        logging.getLogger("serving.server").error("The server does not start", exc_info=error)
    code, _, message = str(ServingError.wrap(error)).partition(": ")
    return f"{code.replace('_', ' ').capitalize()}: {message}"


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread may still be loading or running a model; nothing of it is worth waiting for.
    os._exit(status)
