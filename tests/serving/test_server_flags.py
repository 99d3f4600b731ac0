"""What `--help` says; how flags are read is in conformance/test_15_flags.py."""

import dataclasses

from serving.server.__main__ import main
from serving.server.flags import Flags


def test_help_has_every_flag_with_its_default_and_its_meaning(capsys):
    assert main(["--port=1", "--help"]) == 0
    printed = capsys.readouterr().out
    parts = printed.split("\n  --")
    assert parts[0].startswith("usage: python -m serving.server")
    told = dict(part.split("\n", 1) for part in parts[1:])
    assert len(told) == len(dataclasses.fields(Flags))
    assert told["port=8500"].strip() == "of gRPC; 0, which the real server refuses, takes a free one."
    assert told["enable_batching=false"].strip() == "join requests into batches."
    assert told["tensorflow_inter_op_parallelism=0"] == told["tensorflow_intra_op_parallelism=0"]
    assert all(text.strip() for text in told.values())
