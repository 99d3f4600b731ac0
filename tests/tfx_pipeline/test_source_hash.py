"""What the cache must see, and what it must not."""

import importlib.metadata
import os
import pathlib
import shutil

import pytest

import tfx_pipeline
from models import wordpiece
from serving.privacy.pseudonyms import KEY_FILE_VARIABLE, Pseudonyms
from tfx_pipeline import settings, source_hash

SOURCE = {
    "models/__init__.py": "",
    "models/layer.py": '"""A layer."""\n\nWIDTH = 8  # neurons\n',
    "models/other.py": "A = 1\n",
    "serving/__init__.py": "",
    "serving/export.py": "from models import layer\n",
    "serving/client.py": "B = 2\n",
    "tfx_pipeline/__init__.py": "",
    "tfx_pipeline/settings.py": "C = 3\n",
    "tfx_pipeline/trainer.py": (
        "import numpy\nfrom tfx_pipeline import settings\ndef run_fn():\n    from serving.export import x\n"
    ),
    "tfx_pipeline/relative.py": "from .trainer import run_fn\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, content in SOURCE.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    return tmp_path


def hash_after(tree, name, content):
    (tree / name).write_text(content)
    return source_hash.source_hash(["tfx_pipeline.trainer"], tree)


def test_an_edit_of_what_is_run_changes_the_hash(tree):
    before = source_hash.source_hash(["tfx_pipeline.trainer"], tree)
    assert len(before) == 64
    assert hash_after(tree, "models/layer.py", '"""A layer."""\n\nWIDTH = 9  # neurons\n') != before
    assert hash_after(tree, "models/layer.py", SOURCE["models/layer.py"]) == before
    assert hash_after(tree, "serving/export.py", "from models import layer, other\n") != before


def test_other_code_comments_and_settings_do_not(tree):
    before = source_hash.source_hash(["tfx_pipeline.trainer"], tree)
    assert hash_after(tree, "models/layer.py", '"""A layer."""\nWIDTH  =  8\n# of them\n') == before
    assert hash_after(tree, "models/other.py", "A = 2\n") == before
    assert hash_after(tree, "serving/client.py", "B = 3\n") == before
    assert hash_after(tree, "tfx_pipeline/settings.py", "C = 4\n") == before


def test_a_package_as_root_stands_for_all_its_modules(tree):
    before = source_hash.source_hash(["models"], tree)
    (tree / "models/other.py").write_text("A = 2\n")
    changed = source_hash.source_hash(["models"], tree)
    (tree / "models/new.py").write_text("D = 4\n")
    assert len({before, changed, source_hash.source_hash(["models"], tree)}) == 3


def test_relative_imports_are_followed(tree):
    before = source_hash.source_hash(["tfx_pipeline.relative"], tree)
    (tree / "models/layer.py").write_text("WIDTH = 10\n")
    assert source_hash.source_hash(["tfx_pipeline.relative"], tree) != before


def test_the_hash_does_not_depend_on_the_place(tree, tmp_path_factory):
    copy = tmp_path_factory.mktemp("elsewhere") / "site-packages"
    shutil.copytree(tree, copy)
    assert source_hash.source_hash(["tfx_pipeline.trainer"], copy) == source_hash.source_hash(
        ["tfx_pipeline.trainer"], tree
    )


def test_a_missing_root_is_named(tree):
    with pytest.raises(FileNotFoundError, match=r"tfx_pipeline\.gone"):
        source_hash.source_hash(["tfx_pipeline.gone"], tree)


def test_components_of_this_project_see_their_own_edits(tmp_path):
    base = pathlib.Path(tfx_pipeline.__file__).parents[1]
    for package in source_hash.PACKAGES:
        shutil.copytree(base / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = {name: source_hash.component_hash(name, base=tmp_path) for name in source_hash.ROOTS}
    assert before == {name: source_hash.component_hash(name) for name in source_hash.ROOTS}

    def changed_by(file):
        path = tmp_path / file
        original = path.read_text()
        path.write_text(original + "\nEDITED = True\n")
        changed = {name for name in before if source_hash.component_hash(name, base=tmp_path) != before[name]}
        path.write_text(original)
        return changed

    assert changed_by("models/features.py") >= {"ExampleGen", "Transform", "Trainer", "Evaluator"}
    assert changed_by("tfx_pipeline/preprocessing.py") >= {"Transform"}
    assert changed_by("tfx_pipeline/raw_tables/tables.py") == {"ExampleGen"}
    assert changed_by("models/metrics.py") >= {"Trainer", "Evaluator"}
    assert changed_by("models/click_metrics.py") >= {"Trainer", "Evaluator"}
    layer = next(path for path in sorted((base / "models" / "layers").glob("*.py")) if path.name != "__init__.py")
    assert changed_by(f"models/layers/{layer.name}") == {"Trainer"}
    assert changed_by("serving/contract.py") >= {"Trainer", "Evaluator", "ServingCheck"}
    assert changed_by("tfx_pipeline/local_runner.py") == set()
    assert changed_by("tfx_pipeline/components/anomaly_gate.py") == {"AnomalyGate"}
    assert changed_by("tfx_pipeline/example_gen/boundaries.py") == {"ExampleGen"}


@pytest.mark.parametrize("library", source_hash.LIBRARIES)
def test_another_version_of_a_library_changes_every_component(library, monkeypatch):
    monkeypatch.setattr(source_hash, "source_hash", lambda roots, base: "the code")
    before = {name: source_hash.component_hash(name) for name in source_hash.ROOTS}
    honest = importlib.metadata.version
    for version in ("99.9", None):

        def other(name, version=version):
            if name == library and version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version if name == library else honest(name)

        monkeypatch.setattr(importlib.metadata, "version", other)
        after = {name: source_hash.component_hash(name) for name in source_hash.ROOTS}
        assert all(after[name] != before[name] for name in before)
        before = after


def named(wordpiece_name, pretrained):
    content = {"transform": {"wordpiece": wordpiece_name}, "model": {"text_encoder": {"pretrained": pretrained}}}
    return source_hash.named_contents(settings.from_dict(content))


def test_what_is_not_a_file_here_counts_by_its_name(tmp_path):
    assert named(wordpiece.LEARNED, "") == named(wordpiece.PACKAGED_MINILM, wordpiece.PACKAGED_MINILM) == {}
    assert named(str(tmp_path / "only in the image"), "bert-base-cased") == {}


def test_contents_count_and_neither_place_nor_time(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "deep").mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "deep" / "weights").write_bytes(bytes(3 << 20))
        (folder / ".git").mkdir()
    os.utime(second / "config.json", (1, 1))
    (second / ".git" / "index").write_text("hidden")
    hashes = named(str(first / "config.json"), str(first))
    assert set(hashes) == {"transform.wordpiece", "model.text_encoder.pretrained"}
    assert named(str(second / "config.json"), str(second)) == hashes
    seen = {hashes["model.text_encoder.pretrained"]}
    (second / "config.json").write_text("[]")
    seen.add(source_hash.content_hash(second))
    (second / "config.json").rename(second / "other.json")
    seen.add(source_hash.content_hash(second))
    with (second / "deep" / "weights").open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"x")
    seen.add(source_hash.content_hash(second))
    assert len(seen) == 4


def test_another_key_of_pseudonyms_makes_other_examples_and_its_bytes_are_nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_FILE_VARIABLE, raising=False)

    def found(enabled=True):
        return settings.from_dict({"data": {"privacy": {"enabled": enabled, "key_file": str(tmp_path / "key")}}})

    assert source_hash.named_contents(found()) == {}  # a key that is elsewhere
    hashes = []
    for key in (bytes(range(32)), bytes(range(1, 33))):
        (tmp_path / "key").write_bytes(key)
        os.utime(tmp_path / "key", (1, 1))
        assert source_hash.named_contents(found(enabled=False)) == {}
        contents = source_hash.named_contents(found())
        assert contents == {"data.privacy.key_file": Pseudonyms(key).key_id}
        hashes.append(source_hash.component_hashes(found()))
    assert {name for name in hashes[0] if hashes[0][name] != hashes[1][name]} == {"ExampleGen"}


def test_a_process_reads_a_file_once(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(b"many")
    before = source_hash.content_hash(tmp_path)
    monkeypatch.setattr(pathlib.Path, "open", None)
    assert source_hash.content_hash(tmp_path) == before


def test_the_code_of_a_task_counts_where_it_runs():
    config = pathlib.Path(__file__).parents[2] / "configs/demo.yaml"
    ranking, tagging = (
        source_hash.component_hashes(settings.load(config, entry)) for entry in ("sasrec", "profile_tagger")
    )
    changed = {name for name in ranking if ranking[name] != tagging[name]}
    assert changed == {"ExampleGen", "Transform", "Trainer", "Evaluator"}
    assert set(ranking) == set(source_hash.ROOTS)
