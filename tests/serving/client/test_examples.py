"""The Go example, as far as this can be told without Go."""

import pathlib
import re

from serving import contract, protos

GO = (pathlib.Path(__file__).parents[3] / "configs/serving/clients/go/main.go").read_text(encoding="utf-8")


def test_the_go_example_sends_what_rank_takes():
    kinds = {("string", 1): "texts", ("string", 2): "textList", ("int64", 1): "numbers", ("int64", 2): "numberList"}
    sent = dict(re.findall(r'"(\w+)":\s+(texts|textList|numbers|numberList)\(', GO))
    assert sent == {spec.name: kinds[spec.dtype, spec.rank] for spec in contract.signature_inputs(contract.RANK)}
    assert f'SignatureName: "{contract.RANK}"' in GO
    assert f'[]string{{"{contract.SCORES}"}}' in GO


def test_its_commands_name_the_files_of_the_protoset():
    own = [file.name for file in protos.DESCRIPTORS.file if not file.name.startswith("google/")]
    assert f"    {' '.join(own)}\n" in GO
    for name in own:
        assert f"--go_opt=M{name}=" in GO and f"--go-grpc_opt=M{name}=" in GO
