"""The rules of the house about imports, read from the source of the whole tree."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
#: package -> packages of ours that it may import; `configs` holds YAML files and no code
MAY_IMPORT = {
    "models": {"models"},
    "serving": {"models", "serving"},
    "tfx_pipeline": {"models", "serving", "configs", "tfx_pipeline"},
    "benchmarks": {"models", "serving", "tfx_pipeline", "configs", "benchmarks"},
    "tests": {"models", "serving", "tfx_pipeline", "configs", "benchmarks", "tests"},
}
OURS = set(MAY_IMPORT) | {"configs"}
FILES = {package: sorted((ROOT / package).rglob("*.py")) for package in MAY_IMPORT}
EVERY_FILE = [path for files in FILES.values() for path in files]


def imports(path):
    """Dotted names that a file imports; `from a import b` gives a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import; expected the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_file(name):
    """The file of ours that a dotted name (of a module or of something in it) stands for."""
    parts = name.split(".")
    while parts:
        base = ROOT.joinpath(*parts)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
        parts.pop()
    return None


def reached(*paths):
    """Every name that importing these files brings in, through files of ours and the packages that they are in."""
    files, names, queue = set(), set(), list(paths)
    while queue:
        file = queue.pop()
        if file in files:
            continue
        files.add(file)
        packages = (folder / "__init__.py" for folder in file.parents if ROOT in folder.parents)
        queue += filter(pathlib.Path.is_file, packages)
        for name in imports(file):
            names.add(name)
            own = module_file(name) if name.split(".")[0] in OURS else None
            if own:
                queue.append(own)
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package):
    assert FILES[package]
    for path in FILES[package]:
        wrong = {name for name in imports(path) if name.split(".")[0] in OURS - MAY_IMPORT[package]}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_models_know_nothing_of_the_pipelines_libraries():
    banned = {
        "tfx",
        "tfx_bsl",
        "apache_beam",
        "tensorflow_transform",
        "tensorflow_model_analysis",
        "kfp",
        "ml_metadata",
    }
    for path in FILES["models"]:
        wrong = {name for name in imports(path) if name.split(".")[0] in banned}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_there_is_one_keras():
    for path in EVERY_FILE:
        for name in imports(path):
            wrong = name.split(".")[0] in ("keras", "tf_keras") or name.startswith(
                ("tensorflow.keras", "tensorflow.python.keras")
            )
            assert not wrong, f"{path.relative_to(ROOT)} imports {name}; expected tf.keras"


def test_features_imports_nothing():
    assert list(imports(ROOT / "models" / "features.py")) == []


#: What an application imports that asks a model server.
LIGHT = ("client", "experiment", "gateway", "privacy", "review", "rules", "store")


@pytest.mark.parametrize("package", LIGHT)
def test_what_applications_import_needs_no_tensorflow(package):
    files = sorted((ROOT / "serving" / package).rglob("*.py"))
    assert files
    names = reached(*files, ROOT / "serving" / "contract.py")
    assert "models.features" in names
    heavy = {"tensorflow", "tensorflow_serving", "tensorflow_text", "transformers", "tfx"}
    assert not {name for name in names if name.split(".")[0] in heavy}


def test_what_is_reached_includes_the_packages_above():
    """`import a.b` runs a/__init__.py too."""
    names = reached(ROOT / "serving" / "store" / "checks.py")
    assert "serving.store.embedded.EmbeddedStore" in names  # of serving/store/__init__.py alone
    assert any(name.startswith("tensorflow") for name in reached(ROOT / "serving" / "warmup.py"))


def test_the_reader_of_imports_sees_what_it_should(tmp_path):
    file = tmp_path / "example.py"
    file.write_text(
        "import keras.layers\ndef f():\n    from tensorflow import keras\n    from tfx_pipeline import check as c\n"
    )
    assert list(imports(file)) == ["keras.layers", "tensorflow.keras", "tfx_pipeline.check"]
