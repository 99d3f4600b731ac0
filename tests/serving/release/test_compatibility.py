"""What breaks a client, and what does not."""

import pytest

from serving.release import compatibility
from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel

OLD = (
    {"x": ("float", [-1, 3]), "n": ("int64", [-1]), "o": ("string", [-1])},
    {"y": ("float", [-1, 10]), "z": ("string", None)},
    ("o",),
)


@pytest.fixture
def compare(tmp_path, write_model):
    def differences(inputs=None, outputs=None, optional=("o",), gone=False, **more):
        write_model(tmp_path / "1", {"s": OLD, "t": OLD})
        new = {**OLD[0], **(inputs or {})}, {**OLD[1], **(outputs or {})}, optional
        new = tuple({k: v for k, v in part.items() if v} if isinstance(part, dict) else part for part in new)
        write_model(tmp_path / "2", {"s": new} if gone else {"s": new, "t": OLD, **more})
        return compatibility.differences(SavedModel.read(tmp_path / "1"), SavedModel.read(tmp_path / "2"))

    return differences


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"inputs": {"n": None}}, "s has no input n any more"),
        ({"inputs": {"new": ("float", [-1])}}, "s wants a new input new"),
        ({"optional": ()}, "s wants the input o, which could be left out"),
        ({"outputs": {"y": None}}, "s has no output y any more"),
        ({"inputs": {"n": ("int32", [-1])}}, "s: input n is int32 [?] and was int64 [?]"),
        ({"inputs": {"n": ("int64", [-1, -1])}}, "s: input n is int64 [?, ?] and was int64 [?]"),
        ({"inputs": {"x": ("float", [-1, 4])}}, "s: input x is float [?, 4] and was float [?, 3]"),
        ({"inputs": {"x": ("float", [8, 3])}}, "s: input x is float [8, 3] and was float [?, 3]"),
        ({"outputs": {"y": ("double", [-1, 10])}}, "s: output y is double [?, 10] and was float [?, 10]"),
        ({"outputs": {"y": ("float", [-1])}}, "s: output y is float [?] and was float [?, 10]"),
        ({"outputs": {"y": ("float", None)}}, "s: output y is float of any rank and was float [?, 10]"),
        ({"gone": True}, "the signature t is gone"),
    ],
)
def test_what_breaks_a_client(compare, change, found):
    assert compare(**change) == [found]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"inputs": {"new": ("float", [-1])}, "optional": ("o", "new")},
        {"optional": ("o", "n")},
        {"outputs": {"new": ("float", [-1])}},
        {"inputs": {"x": ("float", [-1, -1])}},
        {"inputs": {"x": ("float", None)}},
        {"outputs": {"y": ("float", [-1, 20]), "z": ("string", [-1])}},
        {"u": OLD},
    ],
)
def test_what_does_not(compare, change):
    assert compare(**change) == []


def test_one_sentence_says_it(tmp_path, write_model):
    write_model(tmp_path / "1", {name: OLD for name in "abcdef"})
    write_model(tmp_path / "2", {"f": OLD})
    with pytest.raises(ReleaseError) as caught:
        compatibility.check(SavedModel.read(tmp_path / "1"), SavedModel.read(tmp_path / "2"))
    assert str(caught.value) == (
        f"{tmp_path}/2: clients of {tmp_path}/1 would break (the signature a is gone; the signature b is gone; the "
        "signature c is gone; the signature d is gone; and 1 more); expected signatures that take and give what theirs "
        "did, or another model name."
    )
