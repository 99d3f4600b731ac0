"""Section 6: GetModelStatus."""

import shutil

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50


def test_upstreams_status(standard):
    """tensorflow_model_server_test.testGetModelStatus: one version, 123, error code 0."""
    (item,) = standard.model.GetModelStatus(standard.status_request()).model_version_status
    assert (item.version, item.state, item.status.error_code, item.status.error_message) == (123, AVAILABLE, 0, "")


@pytest.mark.parametrize(
    ("spec", "details"),
    [
        ({"name": "no"}, "Could not find any versions of model no"),
        ({"name": "no", "version": 1}, "Could not find version 1 of model no"),
        ({"version": 7}, "Could not find version 7 of model default"),
        ({"name": ""}, "Could not find any versions of model "),
    ],
)
def test_what_is_not_found(standard, spec, details):
    assert standard.error(standard.model.GetModelStatus, standard.status_request(**spec)) == ("NOT_FOUND", details)


def test_a_label_is_not_looked_at(standard):
    assert standard.status(label="nonsense") == [(123, AVAILABLE)]


def test_every_version_ever_tried_highest_first(serve, shelf, tmp_path, wait_for):
    """Sec. 6: unloaded ones as END, a failed load as END with its error; `version` narrows the list."""
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path) as caller:
        shelf.put(tmp_path, 10, "half_plus_three")
        wait_for(lambda: caller.status() == [(10, AVAILABLE), (1, END)])
        (tmp_path / ".3.part").mkdir()
        (tmp_path / ".3.part").rename(tmp_path / "3")
        shutil.rmtree(tmp_path / "10")
        wait_for(lambda: (3, END) in caller.status())
        assert caller.status() == [(10, AVAILABLE), (3, END), (1, END)]
        assert caller.half() == (4.0, 10)
        assert caller.status(version=1) == [(1, END)]
        (failed,) = caller.model.GetModelStatus(caller.status_request(version=3)).model_version_status
        assert failed.status.error_code == 5  # NOT_FOUND
        assert failed.status.error_message.startswith("Could not find SavedModel .pb or .pbtxt")
        rest = caller.rest("/v1/models/default/versions/3")[1]["model_version_status"]
        assert (rest[0]["state"], rest[0]["status"]["error_code"]) == ("END", "NOT_FOUND")


def corrupt(path):
    (path / "saved_model.pb").write_bytes(b"this is no SavedModel")
    return 15, f"Can't parse {path}/saved_model.pb as binary proto"  # DATA_LOSS


def corrupt_text(path):
    (path / "saved_model.pb").unlink()
    (path / "saved_model.pbtxt").write_text("this is no SavedModel")
    return 15, f"Can't parse {path}/saved_model.pbtxt as text proto"


def without_the_tags(path):
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    proto.meta_graphs[0].meta_info_def.tags.append("gpu")
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return 5, (  # NOT_FOUND
        "Could not find meta graph def matching supplied tags: { serve }. To inspect available tag-sets in the "
        "SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


@pytest.mark.parametrize("damage", [corrupt, corrupt_text, without_the_tags])
def test_code_and_text_of_a_load_that_fails(serve, shelf, tmp_path, wait_for, damage):
    """Sec. 6: those of TensorFlow's own loader, cc/saved_model/reader.cc."""
    shelf.put(tmp_path / "m", 1)
    with serve(model_base_path=tmp_path / "m") as caller:
        staged = shelf.put(tmp_path / "staged", 2)
        code, text = damage(staged)
        staged.rename(tmp_path / "m" / "2")
        wait_for(lambda: caller.status() == [(2, END), (1, AVAILABLE)])
        (item, _) = caller.model.GetModelStatus(caller.status_request()).model_version_status
        assert item.status.error_code == code
        assert item.status.error_message == text.replace(str(staged), str(tmp_path / "m" / "2"))


def test_a_version_whose_load_waits_for_another_is_at_the_start(serve, shelf, tmp_path, config_file, wait_for):
    shelf.put(tmp_path / "m", 1)
    file = config_file(tmp_path / "models.config", {"default": (tmp_path / "m", "model_version_policy { all {} }")})
    with serve(model_config_file=file, max_num_load_retries=5) as caller:
        (tmp_path / "m" / "3").mkdir()
        wait_for(lambda: caller.status() == [(3, LOADING), (1, AVAILABLE)])
        shelf.put(tmp_path / "m", 2)
        wait_for(lambda: caller.status() == [(3, LOADING), (2, START), (1, AVAILABLE)])


def test_a_version_that_still_answers_is_unloading(serve, shelf, tmp_path, wait_for):
    shelf.put(tmp_path, 1, "kinds")
    with serve(model_base_path=tmp_path, enable_batching=True) as caller:
        request = caller.predict_request({"n": np.array([2**60])}, signature="slow")
        under_way = caller.prediction.Predict.future(request, timeout=4)
        wait_for(lambda: caller.batches() == 1)
        shelf.put(tmp_path, 2)
        wait_for(lambda: caller.status() == [(2, AVAILABLE), (1, UNLOADING)])
        assert under_way.exception(60).code().name == "DEADLINE_EXCEEDED"
        wait_for(lambda: caller.status() == [(2, AVAILABLE), (1, END)])


def test_a_load_that_waits_for_its_retry_is_loading(serve, shelf, tmp_path, wait_for):
    shelf.put(tmp_path, 1)
    with serve(model_base_path=tmp_path, max_num_load_retries=5, load_retry_interval_micros=60_000_000) as caller:
        (tmp_path / "2").mkdir()
        wait_for(lambda: caller.status() == [(2, LOADING), (1, AVAILABLE)])
        (item, _) = caller.model.GetModelStatus(caller.status_request()).model_version_status
        assert item.status.error_code == 0
