"""A pushed SavedModel, asked through its `recommend`, `search` or `rank` signature in this process."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving import contract
from serving.client import build_inputs
from serving.requests import Request
from serving.results import Recommendation
from serving.server.storage import parse_version

BATCH = 64


class ServableError(ValueError):
    """A servable that cannot be scored; the message is one sentence for a person."""


class Servable:
    """A SavedModel that follows `serving.contract`.

    Args:
      path: a version's folder (it holds `saved_model.pb`), or a base folder with one folder per version, of which the
        newest is taken.
      context_columns: the declared context columns.
      signature: that is asked: `recommend` or `search` (`ask`), or `rank` (`score`).

    Attributes:
      path: the version's folder.
      version: its number; None where the folder's name is none.
      final: as `knows_validation` says.
      seed: that it was fitted with; None where nothing says it.
      seconds: spent in calls of the signature so far.

    Raises:
      ServableError: if there is no SavedModel, or it lacks the signature with the contract's inputs and outputs.
    """

    def __init__(
        self, path: str | pathlib.Path, context_columns: tuple[str, ...] = (), signature: str = contract.RECOMMEND
    ) -> None:
        import tensorflow as tf
        import tensorflow_text  # noqa: F401 (its ops are in the graph)

        self.path = newest_version(path)
        self.version = parse_version(self.path.name)
        self.final = knows_validation(self.path)
        self.seed: int | None = (_run(self.path) or {}).get("seed")
        self.seconds = 0.0
        self._context, self._name = context_columns, signature
        self._constant = tf.constant
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except OSError:
            raise ServableError(f"{self.path}: cannot be loaded; expected a whole SavedModel.") from None
        if signature not in self._loaded.signatures:
            there = ", ".join(sorted(self._loaded.signatures)) or "none"
            raise ServableError(f"{self.path}: has no signature `{signature}`; its signatures: {there}.")
        self._signature = self._loaded.signatures[signature]
        expected = {spec.name for spec in contract.signature_inputs(signature, context_columns)}
        self._compare("inputs", expected, set(self._signature.structured_input_signature[1]))
        self._compare("outputs", set(contract.OUTPUTS[signature]), set(self._signature.structured_outputs))

    @property
    def place(self) -> str:
        """The path as it is written down: from the working directory, where it lies below it."""
        here = pathlib.Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def parameters(self) -> int:
        """How many numbers the model's layers hold, a frozen text encoder's included; counted tables are not.

        As the fit says; where it says nothing, those that the signature reads, which are fewer where the export keeps
        what follows from them, such as the items' vectors.
        """
        said: int | None = (_run(self.path) or {}).get("all_parameters")
        if said is not None:
            return said
        return sum(int(np.prod(variable.shape)) for variable in self._signature.variables if variable.trainable)

    def ask(self, requests: Sequence[Request]) -> list[Recommendation]:
        """The best items for each request, best first.

        Raises:
          ServableError: if an answer names an excluded item, names one twice, or has a score that is not a number.
        """
        answers: list[Recommendation | None] = [None] * len(requests)
        # Neighbours in a batch are padded to the longest history, so they should be of a length.
        order = sorted(range(len(requests)), key=lambda place: len(requests[place].history))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            arrays = build_inputs(self._name, [requests[place] for place in places], self._context)
            began = time.perf_counter()
            outputs = self._signature(**{name: self._constant(array) for name, array in arrays.items()})
            ids, scores = outputs[contract.ITEM_IDS].numpy(), outputs[contract.SCORES].numpy()
            self.seconds += time.perf_counter() - began
            for row, place in enumerate(places):
                real = int(np.argmax(ids[row] == b"")) if (ids[row] == b"").any() else len(ids[row])
                items = [item.decode("utf-8") for item in ids[row][:real]]
                self._check(requests[place], items, scores[row][:real])
                answers[place] = Recommendation(items, scores[row][:real], self.version or 0)
        return [answer for answer in answers if answer is not None]

    def score(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """The score of each candidate of each request, by `rank`.

        Raises:
          ServableError: if a score is not a number.
        """
        answers = []
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            arrays = build_inputs(self._name, batch, self._context)
            began = time.perf_counter()
            outputs = self._signature(**{name: self._constant(array) for name, array in arrays.items()})
            scores = outputs[contract.SCORES].numpy()
            self.seconds += time.perf_counter() - began
            for request, row in zip(batch, scores, strict=True):
                found = row[: len(request.candidates)]
                if np.isnan(found).any():
                    item = request.candidates[int(np.argmax(np.isnan(found)))]
                    raise ServableError(
                        f"{self.path}: to user {request.user_id!r}, `{self._name}` gave item {item!r} a "
                        "score that is not a number."
                    )
                answers.append(found)
        return answers

    def _check(self, request: Request, items: list[str], scores: np.ndarray) -> None:
        problem = ""
        if wrong := set(items) & set(request.exclude):
            problem = f"answered item {min(wrong)!r}, which the request excludes"
        elif len(set(items)) < len(items):
            problem = f"answered item {next(item for item in items if items.count(item) > 1)!r} twice"
        elif np.isnan(scores).any():
            problem = f"gave item {items[int(np.argmax(np.isnan(scores)))]!r} a score that is not a number"
        if problem:
            raise ServableError(f"{self.path}: to user {request.user_id!r}, `{self._name}` {problem}.")

    def _compare(self, what: str, expected: set[str], found: set[str]) -> None:
        if expected != found:
            name = min(expected ^ found)
            problem = f"lacks `{name}`" if name in expected else f"has `{name}`, which nobody declared,"
            wanted = ", ".join(sorted(expected))
            raise ServableError(f"{self.path}: `{self._name}` {problem} among its {what}; expected {wanted}.")


def knows_validation(path: pathlib.Path) -> bool | None:
    """Whether a SavedModel was fitted on the validation events too, as Trainer left it there; None where nothing is.

    Raises:
      ServableError: if what is there cannot be read.
    """
    run = _run(path)
    return None if run is None else bool(run["final"])


def check_held_out(path: pathlib.Path) -> None:
    """Raises a ServableError unless a SavedModel says that it was fitted without the validation events."""
    if knows_validation(path) is not False:
        raise ServableError(
            f"{path}: {contract.RUN_FILE} does not say that the model was fitted without the validation window; "
            "expected --servable DIR with --validation, what Trainer made and FinalTrainer did not."
        )


def fitted_as(path: pathlib.Path) -> dict[str, Any] | None:
    """The settings `model` that a SavedModel was fitted with, as Trainer left them there; None where nothing is."""
    file = path / contract.WARM_START_FILE
    return json.loads(file.read_text(encoding="utf-8"))["model"] if file.is_file() else None


def _run(path: pathlib.Path) -> dict[str, Any] | None:
    """What Trainer left in a SavedModel, `final` at least; None where nothing is."""
    file = path / contract.RUN_FILE
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        return {**run, "final": run["final"]}
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        raise ServableError(
            f"{file}: cannot be read; expected a JSON object with `final`, as Trainer writes."
        ) from None


def newest_version(path: str | pathlib.Path) -> pathlib.Path:
    """The folder of a SavedModel: `path` itself, or its newest version.

    Raises:
      ServableError: if there is none.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    folders = [model.parent for model in path.glob("*/saved_model.pb")]
    standing = {version: folder for folder in folders if (version := parse_version(folder.name)) is not None}
    if not standing:
        raise ServableError(f"{path}: holds no SavedModel and no version of one; expected a folder that Pusher filled.")
    return standing[max(standing)]
