"""Settings of the training that do not go together are refused in one sentence, and those that do are not."""

import pytest

from tfx_pipeline import settings as settings_lib

ALLOWED = [
    {"accumulate": 4, "averaging": "ema", "mixed_precision": True},
    {"accumulate": 2, "adversarial": {"kind": "vat"}, "contrastive": {"weight": 0.1}},
    {"adversarial": {"kind": "fgm"}, "losses": {"sampled_items": 100}, "optimizer": "lazy_adam"},
    {"averaging": "best_epochs", "averaged_epochs": 5, "losses": {"weighting": "uncertainty"}, "xla": True},
]
REFUSED = [
    ({"accumulate": 2, "optimizer": "lazy_adam"}, "expected `adamw` with it"),
    ({"accumulate": 2, "xla": True}, "expected `accumulate: 1`"),
    ({"adversarial": {"kind": "fgm"}, "xla": True}, "`adversarial.kind: none`"),
    ({"contrastive": {"weight": 0.1}, "xla": True}, "`contrastive.weight: 0` with it"),
    ({"adversarial": {"kind": "vat"}, "losses": {"sampled_items": 100}}, "expected `losses.sampled_items: 0` with it"),
    ({"contrastive": {"weight": 0.1, "crop": 0, "mask": 0, "reorder": 0}}, "expected `crop`, `mask` or `reorder`"),
    ({"averaging": "best_epochs", "averaged_epochs": 1}, "expected a number from 2 to 100"),
    ({"adversarial": {"kind": "pgd"}}, "expected one of none, fgm, vat"),
]


def test_what_only_a_model_of_users_can_do_is_refused_for_others():
    content = {"name": "t", "model": {"entry": "click_classifier"}}
    for train in ({"adversarial": {"kind": "vat"}}, {"contrastive": {"weight": 0.1}}):
        with pytest.raises(
            settings_lib.SettingsError, match="click_classifier does not encode users; expected neither"
        ):
            settings_lib.from_dict({**content, "train": {"monitor": "gauc", "losses": {"binary": 1.0}, **train}})
    train = {"monitor": "gauc", "losses": {"binary": 1.0}, "adversarial": {"kind": "fgm"}, "accumulate": 2}
    assert settings_lib.from_dict({**content, "train": train}).train.adversarial.kind == "fgm"


def test_a_slate_is_read_only_where_it_is_what_was_shown():
    content = {"name": "t", "model": {"entry": "click_classifier", "use_slate": True}}
    content["train"] = {"monitor": "gauc", "losses": {"binary": 1.0}}
    with pytest.raises(settings_lib.SettingsError, match=r"`decisions.negatives` is 99, .* expected 0 with it"):
        settings_lib.from_dict(content)
    assert settings_lib.from_dict({**content, "decisions": {"negatives": 0}}).model.use_slate


def _read(train):
    model = {"entry": "sasrec"} if train.get("xla") else {}
    return settings_lib.from_dict({"name": "t", "model": model, "train": train})


@pytest.mark.parametrize("train", ALLOWED)
def test_what_goes_together_is_read(train):
    settings = _read(train)
    again = settings_lib.from_dict(settings_lib.to_dict(settings))
    assert again == settings
    for name, value in train.items():
        read = (
            settings_lib.to_dict(getattr(settings.train, name))
            if isinstance(value, dict)
            else getattr(settings.train, name)
        )
        assert (read | value == read) if isinstance(value, dict) else read == value


@pytest.mark.parametrize("train,expected", REFUSED)
def test_what_does_not_is_one_sentence(train, expected):
    with pytest.raises(settings_lib.SettingsError) as raised:
        _read(train)
    assert expected in str(raised.value)
    assert str(raised.value).startswith("settings: `train.")
    assert str(raised.value).endswith(".")


TYPES = ["click", "cart", "purchase"]
TASKS = {
    "decisions": {"label_event_types": TYPES, "label_strengths": TYPES},
    "model": {"tasks": {"click": 1.0, "purchase": 2}},
    "train": {"losses": {"task_weights": {"purchase": 0.5}}},
}


def test_tasks_are_read():
    settings = settings_lib.from_dict(TASKS)
    assert settings_lib.from_dict(settings_lib.to_dict(settings)) == settings
    assert settings.model.task_weights == {"click": 1.0, "purchase": 2.0}
    assert settings.train.losses.task_weights == {"purchase": 0.5}
    assert settings_lib.from_dict({}).model.task_weights == {}
    assert settings_lib.from_dict({"model": {"entry": "sasrec"}}).model.task_weights == {}


@pytest.mark.parametrize(
    "changes,expected",
    [
        (
            {"model": {"tasks": {"wish": 1.0}}},
            "`model.tasks` names 'wish', which is no label event type; expected some",
        ),
        (
            {"decisions": {"label_event_types": TYPES}},
            "expected `decisions.label_strengths` to name click, cart, purch",
        ),
        (
            {"decisions": {"label_event_types": TYPES, "label_strengths": ["click", "purchase"]}},
            "is click, purchase; expected each of `decisions.label_event_types` (click, cart, purchase) once, the",
        ),
        (
            {"decisions": {"label_event_types": ["click"], "label_strengths": ["click"] * 2}},
            "is click, click; expected",
        ),
        ({"model": {"tasks": {"click": 0, "purchase": 0}}}, "has only weights of 0; expected one above 0"),
        ({"model": {"tasks": {"click": -1}}}, "`model.tasks.click` is -1; expected a number from 0 to 1e+06"),
        (
            {"train": {"losses": {"task_weights": {"cart": 1.0}}}},
            "names 'cart', which is no task of the model; expected",
        ),
        (
            {"train": {"losses": {"task_weights": {"click": 0}}}},
            "task_weights.click` is 0; expected a number from 0.001",
        ),
        ({"train": {"losses": {"catalogue": 0, "binary": 1}}}, "expected a `train.losses.catalogue` above 0"),
        ({"model": {"entry": "sasrec", "tasks": {"click": 1.0}}}, "unknown key `model.tasks`"),
    ],
)
def test_tasks_that_nothing_is_known_of_are_one_sentence(changes, expected):
    with pytest.raises(settings_lib.SettingsError) as raised:
        settings_lib.from_dict({**TASKS, **changes})
    assert expected in str(raised.value)
    assert str(raised.value).endswith(".") and str(raised.value).count("\n") == 0


RELATIONS = {"relations": {"path": "relations.csv"}, "item_relations": True}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"model": {"use_image_embedding": True}}, "`model.use_image_embedding` is true; expected `data.image_embedd"),
        ({"model": {"use_relations": True}}, "`model.use_relations` is true; expected `data.item_relations` to be set"),
        ({"data": {"item_relations": True}}, "`data.item_relations` is true; expected `data.relations.path`"),
        ({"data": {"adapter": "recbole", "image_embedding_width": 3}}, "which `adapter: recbole` does not bring"),
        ({"data": {"image_embedding_width": -1}}, "expected a number from 0 to"),
        ({"data": {"context": ["item_image"]}}, "`data.context` names 'item_image'"),
        (
            {
                "data": RELATIONS,
                "model": {"use_relations": True, "item_text": "table", "text_encoder": {"trainable": "frozen"}},
                "train": {"xla": True},
            },
            "`use_relations`, `neighbours`, `content_neighbours` or `linear_regularisation`",
        ),
    ],
)
def test_item_data_that_does_not_go_together_is_one_sentence(content, expected):
    with pytest.raises(settings_lib.SettingsError) as raised:
        settings_lib.from_dict({"name": "t", **content})
    assert expected in str(raised.value)


def test_item_data_that_goes_together_is_read():
    model = {"use_relations": True, "use_image_embedding": True}
    settings = settings_lib.from_dict({"name": "t", "data": {**RELATIONS, "image_embedding_width": 3}, "model": model})
    assert settings.data.item_features == ("item_image", "item_relation_kinds", "item_related_items")
    assert settings_lib.from_dict({"name": "t", "data": settings_lib.to_dict(settings.data)}).model.item_data == {}
