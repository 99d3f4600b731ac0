"""README.md holds: what it names exists, and what it shows is what the code says."""

import ast
import dataclasses
import importlib.util
import json
import pathlib
import re
import shutil

import numpy as np
import tensorflow as tf
import yaml

from models import features, options, registry
from models.catalogue_model import CatalogueModel
from models.counted_model import CountedModel
from models.item_encoder import ItemTable
from models.options import LossOptions
from models.sizes import Sizes
from serving import contract
from serving.client import Client, build_inputs
from serving.requests import Request
from serving.server.flags import Flags
from tfx_pipeline import check, schema
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables import adapter, synthetic, tables

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
DEMO = settings_lib.load(ROOT / "configs" / "demo.yaml")
#: What the reader makes, by following the example.
EXAMPLE = "my_shop"
SERVER_FLAGS = {field.name for field in dataclasses.fields(Flags)}
OPTION = re.compile(r"--([a-z]+(?:[-_][a-z]+)*)")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def rows(*head):
    """Cells of the table whose header begins with these columns, row by row."""
    start = README.index("| " + " | ".join(head))
    lines = README[start:].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def names(text):
    """What stands in backticks, fenced blocks left out."""
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def test_every_target_of_make_is_there_and_reads_the_variables():
    named = re.findall(r"\bmake ([a-z][a-z-]+)((?: [A-Z]+=\S+)*)", "\n".join(blocks("bash") + names(README)))
    assert {"demo", "help", "run", "serve", "test", "tensorboard"} <= {target for target, _ in named}
    for target, variables in named:
        assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE), target
        for variable in re.findall(r"([A-Z]+)=", variables):
            assert f"$({variable})" in MAKEFILE, variable


def test_the_zoo_is_that_of_the_code():
    assert [entry.strip("`") for entry, *_ in rows("entry", "what it is for")] == sorted(registry.names())
    shop = Sizes(2, 3, 2, 2, 2, 2, {}, 5, (0,), 3, 1)
    losses = LossOptions(listwise=1.0, binary=1.0)
    entries = {name: registry.entry(name) for name in registry.names()}
    entries = {name: entry for name, entry in entries.items() if entry.task != "tagging"}  # of texts: other sizes
    models = {name: entry.build(entry.options(), shop, losses) for name, entry in entries.items()}
    counted = re.search(r"^(.*) are made by counting in one pass", README, re.MULTILINE)
    assert set(names(counted[1])) == {name for name, model in models.items() if isinstance(model, CountedModel)}


def test_the_new_entry_works():
    code = next(block for block in blocks("python") if "class CheapestOptions" in block)
    space = {"dataclass": dataclasses.dataclass, "tf": tf, "ModelOptions": options.ModelOptions}
    space |= {"number": options.number, "CountedModel": CountedModel, "Entry": registry.Entry}
    exec(compile(code, "README.md", "exec", dont_inherit=True), space)
    entry = space["ENTRY"]
    model = entry.build(entry.options(weight=2.0), Sizes(3, 3, 2, 2, 2, 2, {}, 5, (0,), 3, 1), LossOptions())
    assert isinstance(model, CatalogueModel)
    table = ItemTable(*[np.zeros([3, 3], int)] * 4, np.array([0.5, -1.0, 0.0]), np.ones(3, bool), np.ones(3, bool))
    model.set_catalogue(table, np.zeros([1, 3]), 0)
    ids, gaps, day = tf.constant([[2]]), tf.constant([[1.0]]), tf.constant([0])
    request = {features.HISTORY_ITEMS_XF: ids, features.HISTORY_GAPS_XF: gaps, features.REQUEST_DAY_XF: day}
    assert model.score_catalogue(model.encode_user(request)).numpy().tolist() == [[-1.0, 2.0, 0.0]]


def test_every_module_runs_and_knows_its_options():
    commands = re.findall(r"python -m ([\w.]+)([^\n`#]*)", README.replace("\\\n", ""))
    assert len({module for module, _ in commands}) >= 4
    for module, arguments in commands:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations:  # a package
            spec = importlib.util.find_spec(f"{module}.__main__")
        assert spec is not None and spec.origin, module
        source = pathlib.Path(spec.origin).read_text(encoding="utf-8")
        assert '__name__ == "__main__"' in source, module
        for option in OPTION.findall(arguments):
            known = option in SERVER_FLAGS if module == "serving.server" else f'"--{option}"' in source
            assert known, f"{module} --{option}"


def test_every_path_is_there():
    text = README
    for block in blocks("yaml"):
        text = text.replace(block, "")
    rooms = "configs|models|serving|tfx_pipeline|benchmarks|tests|\\.ci"
    files = "requirements\\.lock|CHANGELOG\\.md|LICENSE"
    named = set(re.findall(rf"(?<![\w/.])((?:{rooms})/[\w./-]*|{files})", text))
    named = {path.rstrip(".") for path in named if EXAMPLE not in path and "/MODEL" not in path and "/NAME" not in path}
    assert len(named) > 20
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_every_setting_named_is_one():
    settings = settings_lib.Settings()
    sections = {field.name for field in dataclasses.fields(settings) if field.name != "name"}
    found = 0
    for text in names(README):
        parts = text.split(":")[0].split(".")
        if parts[0] in sections and len(parts) > 1 and all(part.isidentifier() for part in parts):
            values = [settings]
            for part in parts:
                # Of `model`, what any entry takes.
                of_all = [registry.entry(name).options() for name in registry.names()]
                values = [getattr(value, part) for value in values if hasattr(value, part)]
                assert values, text
                values = of_all if part == "model" else values
            found += 1
    assert found >= 8


def test_components_of_the_picture_are_those_of_the_pipeline():
    source = (ROOT / "tfx_pipeline" / "pipeline.py").read_text(encoding="utf-8")
    drawn = set(re.findall(r"\b[A-Z]\w+", blocks("mermaid")[0])) - {"LR", "TensorFlow", "Serving"}
    assert len(drawn) >= 12
    assert not [name for name in drawn if not re.search(rf"\b{name}\b", source)]


def flat(settings, prefix=""):
    """Dotted names of a dataclass' fields and theirs -> values."""
    found = {}
    for name, value in vars(settings).items():
        found.update(flat(value, f"{prefix}{name}.") if dataclasses.is_dataclass(value) else {prefix + name: value})
    return found


def test_tables_of_settings():
    settings = settings_lib.Settings()
    tables = {"train": "", "train.text": "text.", "train.warm_start": "warm_start."}
    shown = {}
    for section, prefix in tables.items():
        for keys, defaults, _ in rows(f"setting (`{section}`)", "default", "meaning"):
            values = [yaml.safe_load(value.strip().strip("`")) for value in defaults.split(",")]
            shown.update({prefix + key: value for key, value in zip(names(keys), values, strict=True)})
    assert shown == flat(settings.train)
    exported = {}
    for key, default, _ in rows("setting (`export`)", "default", "meaning"):
        exported[names(key)[0]] = yaml.safe_load(default.strip("`"))
    assert exported == flat(settings.export)
    decisions = flat(settings.decisions)
    for keys, defaults, _ in rows("setting (`decisions`)", "default", "meaning"):
        cells = [yaml.safe_load(value.strip().strip("`")) for value in defaults.split(", ")]
        said = [
            value if isinstance(value, list) else type(decisions[key])(value)
            for key, value in zip(names(keys), cells, strict=True)
        ]
        assert said == [list(v) if isinstance(v, tuple) else v for v in (decisions[key] for key in names(keys))]


def test_table_of_raw_tables():
    columns = {
        "events": adapter.EVENT_COLUMNS,
        "items": (*adapter.ITEM_COLUMNS, adapter.IMAGE_EMBEDDING),
        "users": adapter.USER_COLUMNS,
        "reviews": adapter.REVIEW_COLUMNS,
        "relations": adapter.RELATION_COLUMNS,
    }
    shown = {names(table)[0]: (must, may) for table, must, may in rows("table", "required columns")}
    assert set(shown) == set(columns)
    for table, (must, may) in shown.items():
        required, optional = ([name for name in cell.split(", ") if name] for cell in (must, may))
        assert set(required) == set(tables._REQUIRED[table])
        assert set(required + optional) == set(columns[table])


def test_the_smallest_example_is_read_without_a_reject(tmp_path, capsys):
    shutil.copytree(ROOT / "configs" / "models", tmp_path / "configs" / "models")
    files = re.findall(r"`((?:shop|configs)/\w+\.\w+)`[^\n]*:\n\n```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(files) == 4
    for path, content in files:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    config, data = tmp_path / "configs" / f"{EXAMPLE}.yaml", tmp_path / "shop"
    assert check.main(["--config", str(config), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert "No row was left out." in said and "Organic green tea · 有机绿茶" in said
    assert schema.main(["--config", str(config)]) == 0
    assert schema.schema_path(config, EXAMPLE).is_file()
    assert settings_lib.load(config).evaluate.thresholds


def test_profile_text_is_described_with_its_settings():
    """How it is built, tests/tfx_pipeline/example_gen/test_decisions.py computes by hand."""
    paragraph = next(part for part in README.split("\n\n") if part.startswith("`profile_text` should be"))
    text, wanted = " ".join(paragraph.split()), settings_lib.ProfileTextSettings()
    assert f"by default {', '.join(f'`{source}`' for source in wanted.sources)} (of the items" in text
    assert f"`max_items` ({wanted.max_items}) distinct" in text and f"`max_chars` ({wanted.max_chars}) char" in text


def test_tables_of_signatures():
    outputs = {names(name)[0]: tuple(names(out)) for name, _, out in rows("signature", "inputs", "outputs")}
    assert outputs == contract.OUTPUTS
    user = contract.signature_inputs(contract.PROFILE)
    parts = {"user": user}
    parts["candidates"] = contract.signature_inputs(contract.RANK)[len(user) :]
    parts["filters"] = contract.signature_inputs(contract.RECOMMEND)[len(user) :]
    assert contract.signature_inputs(contract.SEARCH) == contract.signature_inputs(contract.RECOMMEND)
    expected = [
        (part, spec.name, spec.dtype, spec.rank, spec.neutral, spec.length)
        for part, inputs in parts.items()
        for spec in inputs
    ]
    shown = [
        (part, *names(name), kind, shape.count(",") + 1, json.loads(*names(neutral)), (names(length) or [None])[0])
        for part, name, kind, shape, neutral, length in rows("part", "input", "type", "shape", "neutral", "length")
    ]
    assert shown == expected


def test_grpc_example():
    code = next(block for block in blocks("python") if "Client(" in block)
    tree = ast.parse(code)
    compile(code, "README.md", "exec")
    made = next(node for node in tree.body if isinstance(node, ast.Assign)).value
    request = eval(compile(ast.Expression(made), "README.md", "eval"), {"Request": Request})
    (ranker,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Client" and node.keywords
    )
    client = {part.arg: ast.literal_eval(part.value) for part in ranker.keywords}
    assert client == {"context_columns": DEMO.data.context}
    assert [ast.literal_eval(part) for part in ranker.args] == ["localhost:8500", DEMO.serve.model_name]
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "client"
    }
    assert asked == set(contract.OUTPUTS) - {contract.SERVING_DEFAULT}
    assert all(callable(getattr(Client, name)) for name in asked)
    for signature in asked:
        arrays = build_inputs(signature, [request], DEMO.data.context)
        if signature not in (contract.SUGGEST, contract.TAG):
            assert arrays[features.HISTORY_EVENT_TYPES].tolist() == [[b"click", b"purchase"]]


def test_rest_example_brings_every_input_as_the_contract_has_it():
    (body,) = re.findall(r":predict -d '(\{.*?\})'$", README, re.MULTILINE | re.DOTALL)
    assert f"http://localhost:8501/v1/models/{DEMO.serve.model_name}:predict" in README
    document = json.loads(body)
    inputs = contract.signature_inputs(document["signature_name"], DEMO.data.context)
    (row,) = document["instances"]
    assert set(row) == {spec.name for spec in inputs}
    kinds = {"string": str, "int64": int}
    widths = {}
    for spec in inputs:
        value = row[spec.name]
        if spec.rank == 1:
            assert type(value) is kinds[spec.dtype], spec.name
            continue
        assert {type(item) for item in value} == {kinds[spec.dtype]}, spec.name
        assert widths.setdefault(spec.length, len(value)) == len(value) >= max(1, row[spec.length]), spec.name
        assert all(item == spec.neutral for item in value[row[spec.length] :]), spec.name


def test_difficulty_of_the_synthetic_shop_is_what_was_frozen():
    number = re.compile(r"^ {4}( *\d+ +\d+ +\d+ +\d+ +\d+ +\..*)$", re.MULTILINE)
    frozen = [line.split() for line in number.findall(synthetic.__doc__)]
    assert len(frozen) >= 7
    assert rows("users", "items", "days", "seed") == frozen
