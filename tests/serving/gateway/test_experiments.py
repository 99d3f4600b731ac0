"""Arms: which version is asked, which rules hold, and what happens when an arm's version is gone."""

import pathlib

import grpc
import pytest
import yaml

from serving.experiment.experiment import Experiment
from serving.experiment.exposure import Exposure
from serving.experiment.log_reader import LogReader
from serving.gateway.gateway import Gateway
from serving.release.settings import ReleaseSettings
from serving.release.traffic import Traffic, read_page
from serving.release.watch_settings import ArmMetrics

RELEASE = pathlib.Path(__file__).parents[3] / "configs/serving/release.yaml"
RULES = """
unknown_items: keep
rules:
  - {name: likes_nine, kind: pin, item: i9, position: 1, when: {arm: canary}}
overlays:
  bold: {add: [{name: no_zero, kind: block, where: {item_id: [i0]}}]}
"""


@pytest.fixture
def experiment(tmp_path):
    """Writes an experiment of two halves; returns a user of each arm."""

    def write(canary=None, **more):
        path = tmp_path / "experiment.yaml"
        arms = [
            {"name": "stable", "share": 0.5, "model": "toy", "label": "stable"},
            {"name": "canary", "share": 0.5, "model": "toy", "label": "canary", **(canary or {})},
        ]
        content = {"name": "test", "salt": "test-1", "control": "stable", "start": "2024-06-03", "arms": arms, **more}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        read = Experiment.read(path)
        users = [f"u{number}" for number in range(100)]
        return {arm: next(user for user in users if read.arm(user).name == arm) for arm in ("stable", "canary")}

    return write


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / "items.csv").write_text("item_id\n" + "".join(f"i{n}\n" for n in range(10)), encoding="utf-8")
    return {name: str(tmp_path / file) for name, file in
            (("experiment", "experiment.yaml"), ("rules", "rules.yaml"), ("items", "items.csv"))}  # fmt: skip


def test_each_user_is_asked_of_their_arm(make_shop, model, experiment, paths, tmp_path):
    users = experiment()
    shop = make_shop(experiment=paths["experiment"], logs={"exposures": str(tmp_path / "exposures")})
    for arm, user in users.items():
        answer = shop.recommend(user_id=user)
        assert (answer["arm"], answer["experiment"]) == (arm, "test")
        assert model.calls[-1][1].model_spec.version_label == arm
    shop.gateway.writer.flush()
    logged = {one.arm: one.user_id for one in LogReader(tmp_path / "exposures", Exposure)}
    assert logged == users
    assert shop.value("gateway_answers_total", arm="canary", source="model") == 1
    assert shop.value("gateway_model_version", model="toy", label="canary") == 7


def test_an_arm_of_a_number_asks_that_version(make_shop, model, experiment, paths):
    users = experiment(canary={"label": "", "version": 12})
    shop = make_shop(experiment=paths["experiment"])
    assert shop.recommend(user_id=users["canary"])["model"]["version"] == 12
    assert shop.value("gateway_model_version", model="toy", label="12") == 12


def test_arms_have_rules_of_their_own(make_shop, experiment, paths):
    users = experiment(canary={"rules": "bold"})
    shop = make_shop(**paths)
    assert shop.ids(user_id=users["stable"])[0] == "i0"
    assert "i0" not in shop.ids(user_id=users["canary"])


def test_rules_may_name_arms(make_shop, experiment, paths):
    users = experiment()
    shop = make_shop(**paths)
    assert shop.ids(user_id=users["stable"])[0] == "i0"
    assert shop.ids(user_id=users["canary"])[0] == "i9"


def test_control_answers_for_an_arm_whose_version_is_gone(make_shop, model, experiment, paths):
    users = experiment()
    shop = make_shop(experiment=paths["experiment"])
    model.failures.append((grpc.StatusCode.NOT_FOUND, "Unrecognized servable version label: canary"))
    answer = shop.recommend(user_id=users["canary"])
    assert (answer["arm"], answer["fallback"], answer["model"]["version"]) == ("canary", "control", 7)
    assert model.calls[-1][1].model_spec.version_label == "stable"
    assert shop.value("gateway_fallbacks_total", reason="control") == 1
    assert shop.value("gateway_score_count", model="toy", label="stable") == 10


def test_what_a_release_watches_is_counted(make_shop, model, experiment, paths, tmp_path):
    """The selectors of `configs/serving/release.yaml` find a canary's calls, and control's answers in its place."""
    users = experiment()
    shop = make_shop(experiment=paths["experiment"])
    page = tmp_path / "metrics"
    watch = ReleaseSettings.read(RELEASE).watch
    arms = {
        name: Traffic(
            ArmMetrics((page.as_uri(),), arm.requests, arm.errors, arm.latency.replace('"ranker"', '"toy"')), read_page
        )
        for name, arm in (("stable", watch.stable), ("canary", watch.canary))
    }

    def counts():
        page.write_bytes(shop.gateway.metrics.text())
        return {name: traffic.look() for name, traffic in arms.items()}

    assert {(found.requests, found.errors, found.latency) for found in counts().values()} == {(0, 0, None)}
    for _ in range(3):
        shop.recommend(user_id=users["stable"])
        shop.recommend(user_id=users["canary"])
    model.failures.append((grpc.StatusCode.INTERNAL, "planted"))
    shop.recommend(user_id=users["canary"])
    found = counts()
    assert {name: (one.requests, one.errors) for name, one in found.items()} == {"stable": (3, 0), "canary": (4, 1)}
    assert all(0 < one.latency < 20 for one in found.values())


def test_files_change_while_it_runs(make_shop, experiment, paths, tmp_path):
    users = experiment()
    shop = make_shop(**paths)
    assert shop.recommend(user_id=users["canary"])["arm"] == "canary"
    file = tmp_path / "experiment.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["arms"][0]["share"], content["arms"][1]["share"] = 1, 0
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(RULES.replace("item: i9", "item: i8").replace("arm: canary", "page: home"))
    (tmp_path / "items.csv").write_text("item_id\ni8\ni9\n", encoding="utf-8")
    shop.gateway.files.look()
    answer = shop.recommend(user_id=users["canary"], page="home")
    assert answer["arm"] == "stable"
    assert answer["items"][0]["item_id"] == "i8"
    # What nobody asks for any more is no version of which one says that it grows old.
    assert shop.value("gateway_model_version", model="toy", label="canary") == 7
    shop.run(shop.gateway.look())
    for series in ("gateway_model_version", "gateway_model_version_timestamp_seconds"):
        assert shop.value(series, model="toy", label="canary") is None
        assert shop.value(series, model="toy", label="stable")


@pytest.mark.parametrize("change", ["name: [", "name: other\n"])
def test_a_file_that_cannot_be_used_any_more_changes_nothing(make_shop, experiment, paths, tmp_path, change):
    users = experiment()
    shop = make_shop(**paths)
    (tmp_path / "experiment.yaml").write_text(change, encoding="utf-8")
    shop.gateway.files.look()
    assert shop.recommend(user_id=users["canary"])["arm"] == "canary"


def test_rules_and_experiment_change_together_or_not_at_all(make_shop, experiment, paths, tmp_path, caplog):
    users = experiment(canary={"rules": "bold"})
    shop = make_shop(**paths)
    (tmp_path / "rules.yaml").write_text(RULES.replace("bold:", "meek:"), encoding="utf-8")
    shop.gateway.files.look()
    shop.gateway.files.look()
    assert "i0" not in shop.ids(user_id=users["canary"])
    said = [record for record in caplog.records if "stay as they were" in record.getMessage()]
    assert len(said) == 1 and "expected an overlay (meek)" in said[0].fields["reason"]
    experiment(canary={"rules": "meek"})
    shop.gateway.files.look()
    assert "i0" not in shop.ids(user_id=users["canary"])
    assert shop.gateway.files.experiment.arms[1].rules == "meek"


@pytest.mark.parametrize(
    ("rules", "expected"), [({"rules": "meek"}, "expected an overlay"), ({"name": "bold"}, "expected `rules: bold`")]
)
def test_rules_that_do_not_fit_the_experiment_are_refused_at_the_start(
    settings, change, experiment, paths, rules, expected, tmp_path
):
    experiment()
    file = tmp_path / "experiment.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["arms"][1].update(rules)
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ValueError, match=expected):
        Gateway(change(settings, **paths))
