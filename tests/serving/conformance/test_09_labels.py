"""Section 9: version labels."""

import urllib.parse

import pytest

from serving.server.errors import ServingError

AVAILABLE, END = 30, 50


@pytest.fixture
def base(shelf, tmp_path):
    shelf.put(tmp_path, 1)
    shelf.put(tmp_path, 2, "half_plus_three")
    return tmp_path


def model(base, labels=None, versions=(1, 2)):
    return {
        "name": "default",
        "base_path": str(base),
        "model_version_policy": {"specific": {"versions": list(versions)}},
        "version_labels": labels or {},
    }


@pytest.fixture
def caller(serve, base, config_file, tmp_path, wait_for):
    policy = "model_version_policy { specific { versions: 1 versions: 2 } }"
    file = config_file(tmp_path / "models.config", {"default": (base, policy)})
    with serve(model_config_file=file) as caller:
        wait_for(lambda: caller.status() == [(2, AVAILABLE), (1, AVAILABLE)])
        yield caller


def error(caller, *models):
    return caller.error(caller.model.HandleReloadConfigRequest, caller.reload_request(*models))


def not_available(version):
    return (
        "FAILED_PRECONDITION",
        f"Request to assign label to version {version} of model default, which is not currently available for "
        "inference",
    )


def test_labels_name_versions_several_may_name_one(caller, base):
    caller.reload(model(base, {"stable": 1, "canary": 2, "newest": 2}))
    assert [caller.half(label=label) for label in ("stable", "canary", "newest")] == [(3.0, 1), (4.0, 2), (4.0, 2)]
    for path in ("/v1/models/default/labels/stable:predict", "/v1/models/default/labels/st%61ble:predict"):
        assert caller.rest(path, {"instances": [2.0]}) == (200, {"predictions": [3.0]})
    assert caller.rest("/v1/models/default/labels/canary/metadata")[1]["model_spec"]["version"] == "2"
    # A label moves between served versions in one step; one that is left out is gone.
    caller.reload(model(base, {"stable": 2}))
    assert caller.half(label="stable") == (4.0, 2)
    assert caller.predict_error(label="canary") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    )


def test_a_label_of_a_version_that_is_not_available_is_refused_and_changes_nothing(caller, base):
    caller.reload(model(base, {"stable": 1}))
    assert error(caller, model(base, {"stable": 2, "canary": 3})) == not_available(3)
    assert caller.half(label="stable") == (3.0, 1)


def test_the_labels_of_all_models_change_in_one_step(serve, base, config_file, tmp_path, wait_for):
    """Sec. 9: one that is refused leaves those of the other models as they were."""
    policy = "model_version_policy { all {} }"
    file = config_file(tmp_path / "two.config", {"first": (base, policy), "second": (base, policy)})

    def labelled(first, second):
        return [
            {**model(base, {"stable": number}), "name": name, "model_version_policy": {"all": {}}}
            for name, number in (("first", first), ("second", second))
        ]

    def stable(caller):
        return [caller.half(name=name, label="stable")[1] for name in ("first", "second")]

    with serve(model_config_file=file) as caller:
        for name in ("first", "second"):
            wait_for(lambda name=name: caller.status(name=name) == [(2, AVAILABLE), (1, AVAILABLE)])
        caller.reload(*labelled(1, 2))
        assert stable(caller) == [1, 2]
        assert error(caller, *labelled(2, 7)) == (
            "FAILED_PRECONDITION",
            "Request to assign label to version 7 of model second, which is not currently available for inference",
        )
        assert stable(caller) == [1, 2]
        caller.reload(*labelled(2, 1))
        assert stable(caller) == [2, 1]


def test_labels_need_two_steps(caller, base, shelf, wait_for):
    """Sec. 9: not in the reload that brings the version."""
    shelf.put(base, 3)
    assert error(caller, model(base, {"canary": 3}, (1, 2, 3))) == not_available(3)
    caller.reload(model(base, versions=(1, 2, 3)))
    wait_for(lambda: caller.status()[0] == (3, AVAILABLE))
    caller.reload(model(base, {"canary": 3}, (1, 2, 3)))
    assert caller.half(label="canary") == (3.0, 3)


def test_a_label_of_a_version_unloaded_later(caller, base, wait_for):
    caller.reload(model(base, {"stable": 1}))
    caller.reload(model(base, {"stable": 1}, (2,)))
    wait_for(lambda: (1, END) in caller.status())
    expected = ("NOT_FOUND", "Servable not found for request: Specific(default, 1)")
    assert caller.predict_error({"x": [2.0]}, label="stable") == expected


@pytest.mark.embedded
def test_labels_in_the_first_config_are_refused(serve, base, config_file, tmp_path):
    text = 'version_labels { key: "stable" value: 1 }'
    file = config_file(tmp_path / "models.config", {"default": (base, text)})
    with (
        pytest.raises(ServingError, match="which is not currently available for inference"),
        serve(model_config_file=file),
    ):
        pass


def test_labels_for_unavailable_models_where_allowed(serve, base, config_file, tmp_path, wait_for):
    """Sec. 9: for labels that are not in use; moving one in use to a version that does not serve is still refused."""
    text = 'version_labels { key: "next" value: 7 } version_labels { key: "newest" value: 2 }'
    file = config_file(tmp_path / "models.config", {"default": (base, text)})
    with serve(model_config_file=file, allow_version_labels_for_unavailable_models=True) as caller:
        assert caller.half(label="newest") == (4.0, 2)
        expected = ("NOT_FOUND", "Servable not found for request: Specific(default, 7)")
        assert caller.predict_error(label="next") == expected
        assert error(caller, model(base, {"newest": 9})) == not_available(9)
        caller.reload(model(base, {"next": 7, "other": 8}))


@pytest.mark.parametrize("label", ["a-b", "a.b", "ä b"])
def test_rest_labels_may_be_anything_without_slash_and_colon(caller, base, label):
    caller.reload(model(base, {label: 1}))
    path = f"/v1/models/default/labels/{urllib.parse.quote(label)}:predict"
    assert caller.rest(path, {"instances": [2.0]}) == (200, {"predictions": [3.0]})
