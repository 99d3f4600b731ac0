"""SavedModels read without TensorFlow; test_tensorflow.py reads real ones."""

import pytest

from serving import contract
from serving.release.errors import ReleaseError
from serving.release.saved_model import SavedModel
from serving.results import TensorSpec


def test_signatures_and_columns(tmp_path, write_model, signatures):
    made = signatures(("country", "age"))
    made["own"] = ({"x": ("float", None), "n": ("int64", [2, -1])}, {"y": ("double", [])}, ("n",))
    made["__saved_model_init_op"] = ({}, {}, ())
    model = SavedModel.read(write_model(tmp_path / "1", made))
    assert sorted(model.signatures) == ["own", contract.RANK, contract.RECOMMEND]
    assert model.context_columns == ("age", "country")
    assert model.signatures["own"].inputs == {"x": TensorSpec("float", None), "n": TensorSpec("int64", (2, -1))}
    assert model.signatures["own"].outputs == {"y": TensorSpec("double", ())}
    assert (model.optional["own"], model.optional[contract.RANK]) == ({"n"}, frozenset())


def test_what_is_no_whole_saved_model(tmp_path, write_model):
    def refused(path, match):
        with pytest.raises(ReleaseError, match=match):
            SavedModel.read(path)

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty: holds no saved_model.pb; expected a SavedModel\.")
    refused(tmp_path / "none", r"none: holds no saved_model.pb")
    cut = write_model(tmp_path / "cut") / "saved_model.pb"
    cut.write_bytes(cut.read_bytes()[:-7])
    refused(cut.parent, r"cut/saved_model.pb: is corrupt; expected a SavedModel\.")
    cut.write_bytes(b"")
    refused(cut.parent, "has no graph with the tag 'serve'")
    refused(write_model(tmp_path / "training", tags=("train",)), "has no graph with the tag 'serve'")
    refused(write_model(tmp_path / "mute", made={}), "mute: has no signature")
    assets = write_model(tmp_path / "assets", assets=("words", "items"))
    refused(assets, r"assets: lacks assets/words and 1 more; expected a whole SavedModel\.")
    (assets / "assets").mkdir()
    (assets / "assets" / "words").touch()
    refused(assets, r"lacks assets/items; expected")
    (assets / "assets" / "items").touch()
    variables = assets / "variables"
    variables.mkdir()
    assert SavedModel.read(assets).signatures
    (variables / "variables.data-00001-of-00002").touch()
    refused(assets, r"lacks variables/variables.index and 1 more")
    (variables / "variables.index").touch()
    refused(assets, r"lacks variables/variables.data-00000-of-00002;")
    (variables / "variables.data-00000-of-00002").touch()
    assert SavedModel.read(assets).signatures
