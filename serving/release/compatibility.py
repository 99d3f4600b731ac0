"""Whether clients of one version can ask another one."""

from __future__ import annotations

from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel
from serving.results import TensorSpec

#: Differences that a sentence names; of more it says how many.
_NAMED = 4


def check(old: SavedModel, new: SavedModel) -> None:
    """Raises a ReleaseError if a client of the old version would break at the new one, and says at what."""
    found = differences(old, new)
    if found:
        named = "; ".join(found[:_NAMED]) + (f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
        raise ReleaseError(
            f"{new.path}: clients of {old.path} would break ({named}); expected signatures that take and give what "
            "theirs did, or another model name."
        )


def differences(old: SavedModel, new: SavedModel) -> list[str]:
    """What breaks a client of the old version, a text for each thing.

    TensorFlow Serving refuses a request with an input more or less than the signature's, unless that one has defaults,
    and casts nothing. So a client breaks at a signature, input or output that is gone, at another type or rank, and at
    a new input without a default. It does not break at new signatures, outputs, or inputs with a default, nor where an
    input takes more shapes than it did, or an output has a rank that it had not always.
    """
    found = []
    for name, before in old.signatures.items():
        after = new.signatures.get(name)
        if after is None:
            found.append(f"the signature {name} is gone")
            continue
        for alias in before.inputs.keys() - after.inputs.keys():
            found.append(f"{name} has no input {alias} any more")
        for alias in after.inputs.keys() - before.inputs.keys() - new.optional[name]:
            found.append(f"{name} wants a new input {alias}")
        for alias in (before.inputs.keys() & after.inputs.keys() & old.optional[name]) - new.optional[name]:
            found.append(f"{name} wants the input {alias}, which could be left out")
        for alias in before.outputs.keys() - after.outputs.keys():
            found.append(f"{name} has no output {alias} any more")
        for alias in before.inputs.keys() & after.inputs.keys():
            if not _takes_all(after.inputs[alias], before.inputs[alias]):
                found.append(f"{name}: {_change('input', alias, before.inputs[alias], after.inputs[alias])}")
        for alias in before.outputs.keys() & after.outputs.keys():
            old_output, new_output = before.outputs[alias], after.outputs[alias]
            if old_output.dtype != new_output.dtype or not _has_rank(new_output, old_output):
                found.append(f"{name}: {_change('output', alias, old_output, new_output)}")
    return sorted(found)


def _takes_all(new: TensorSpec, old: TensorSpec) -> bool:
    """Whether an input takes whatever the old one took."""
    if new.dtype != old.dtype or new.shape is None:
        return new.dtype == old.dtype
    if old.shape is None or len(new.shape) != len(old.shape):
        return False
    return all(size < 0 or size == before for size, before in zip(new.shape, old.shape, strict=True))


def _has_rank(new: TensorSpec, old: TensorSpec) -> bool:
    """Whether an output has the rank on which readers of the old one rely."""
    return old.shape is None or (new.shape is not None and len(new.shape) == len(old.shape))


def _change(kind: str, alias: str, old: TensorSpec, new: TensorSpec) -> str:
    return f"{kind} {alias} is {_said(new)} and was {_said(old)}"


def _said(spec: TensorSpec) -> str:
    shape = "of any rank" if spec.shape is None else f"[{', '.join('?' if n < 0 else str(n) for n in spec.shape)}]"
    return f"{spec.dtype} {shape}"
