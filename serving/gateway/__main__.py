"""What an online shop's application calls for recommendations.

    python -m serving.gateway --config configs/serving/gateway.yaml
    python -m serving.gateway token NAME --file tokens.yaml
    python -m serving.gateway bench-events --url http://127.0.0.1:8080 --item i000001 --item i000002

The first serves until SIGTERM or SIGINT: 0 then, 1 and one sentence if it cannot start. `token` adds a caller to a file
and prints the token, which is kept nowhere else. `bench-events` asks a gateway that runs how soon events count, and
prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

import prometheus_client

from serving.gateway import freshness, json_logs, tokens
from serving.gateway.gateway import Gateway
from serving.gateway.server import GatewayServer
from serving.gateway.settings import GatewaySettings
from serving.store.errors import StoreError

#: Environment variable with the token that `bench-events` calls with.
TOKEN_VARIABLE = "GATEWAY_TOKEN"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "token":
            print(tokens.add_token(options.file, options.name))
        elif options.command == "bench-events":
            _bench(options)
        elif options.config is None:
            parser.error("expected --config FILE, or a command")
        else:
            _serve(options.config)
    except (ValueError, StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.gateway", description="Answers a shop's application.")
    parser.add_argument("--config", help="YAML, such as configs/serving/gateway.yaml; serves it")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    token = commands.add_parser("token", help="make a token for a caller")
    token.add_argument("name", help="of the caller, in logs and metrics")
    token.add_argument("--file", required=True, help="of tokens; made where it is not there")
    bench = commands.add_parser("bench-events", help="measure how soon events count")
    bench.add_argument("--url", default="http://127.0.0.1:8080", help="of a gateway that runs; default %(default)s")
    bench.add_argument("--item", action="append", required=True, help="that is clicked; repeatable")
    bench.add_argument("--rounds", type=int, default=50, help="of four requests; default %(default)s")
    bench.epilog = f"The token is that of the environment variable {TOKEN_VARIABLE}."
    return parser


def _serve(config: str) -> None:
    prometheus_client.disable_created_metrics()  # a series more for each, which nobody looks at
    server = GatewayServer(Gateway(GatewaySettings.read(config)))
    json_logs.configure()
    server.serve_forever()


def _bench(options: argparse.Namespace) -> None:
    if options.rounds < 1:
        raise ValueError(f"--rounds is {options.rounds}; expected 1 or more.")
    print(json.dumps(freshness.measure(options.url, os.environ.get(TOKEN_VARIABLE, ""), options.item, options.rounds)))


if __name__ == "__main__":
    sys.exit(main())
