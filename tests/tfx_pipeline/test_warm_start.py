"""Updates: which decisions they learn from, and weights that find their rows in grown and reordered vocabularies."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models import features, registry
from models.dense_inputs import PADDING
from models.item_encoder import ItemTable
from models.options import LossOptions, TextEncoderOptions
from models.sizes import Sizes
from serving import contract
from tfx_pipeline import settings as settings_lib
from tfx_pipeline import trainer, warm_start
from tfx_pipeline.export_settings import ExportSettings
from tfx_pipeline.settings import WarmStartSettings
from tfx_pipeline.update import find_base

OLD = {
    "items": ["a", "b", "c", "d", "e", "f"],
    "event_types": ["", " ", "click", "buy"],
    "categories": ["", " ", "toys", "food"],
    "brands": ["", " ", "x", "y"],
    "relations": ["also bought", "same brand"],
    "wordpieces": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"tuvw"],
    "context country": ["", " ", "FR", "CA"],
}
NEW = {
    "items": ["new", "f", "c", "a", "e", "d", "b", "newer"],
    "event_types": ["", " ", "buy", "cart", "click"],
    "categories": ["", " ", "food", "toys", "cars"],
    "brands": ["", " ", "z", "y", "x"],
    "relations": ["same brand", "accessory of", "also bought"],
    "wordpieces": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "n", *"wvut"],
    "context country": ["", " ", "CA", "DE", "FR"],
}
LOSSES = LossOptions(listwise=1.0)
BERT = TextEncoderOptions(trainable="frozen", hidden_size=8, layers=1, intermediate_size=8)
MODELS = {
    "two_tower": {"dimension": 8, "hidden": (6,)},
    "sasrec": {"dimension": 8, "max_history": 4, "intermediate": 8},
    "gru4rec": {"dimension": 8, "max_history": 4, "units": 6},
    "bert4rec": {"dimension": 8, "max_history": 4, "intermediate": 8},
    "din": {"dimension": 8, "max_history": 4, "attention": 5, "hidden": (7,)},
    "profile_matcher": {"dimension": 8, "text_encoder": BERT},
    "slice_ranker": {
        **{"dimension": 8, "code_dimension": 4, "max_history": 4, "slice_length": 2, "text_encoder": BERT},
        **{"use_popularity": False, "use_mixture": False, "use_image_embedding": True, "use_relations": True},
    },
}
RELATED = [("a", "also bought", "c"), ("a", "same brand", "f"), ("e", "same brand", "b"), ("e", "same brand", "d")]
HISTORY = [["a", "c", "b"], ["f"], []]
ASKED = ["b", "e", "a"]
ATTRIBUTES = {"a": ("toys", "x", "tu"), "b": ("food", "y", "v"), "c": ("toys", "y", "uw"), "d": ("", "x", "t"),
              "e": ("food", "", "wv"), "f": ("", "", "u")}  # fmt: skip


def sizes(known):
    numbers = {name: len(entries) for name, entries in known.items() if not name.startswith("context")}
    return Sizes(
        **numbers,
        price_buckets=4,
        gap_buckets=5,
        context={"country": len(known["context country"])},
        special_tokens=(0, 1, 2, 3, 4),
        text_length=4,
        days=5,
        image_width=2,
        type_ids={"click": known["event_types"].index("click")},
    )


def table(known):
    """The items of `OLD` have their attributes; others have none."""
    rows = [ATTRIBUTES.get(item, ("", "", "")) for item in known["items"]]
    tokens = np.zeros([len(rows), 4], np.int64)
    for row, (_, _, text) in enumerate(rows):
        ids = [2, *(known["wordpieces"].index(word) for word in text), 3]
        tokens[row, : len(ids)] = ids if text else 0
    return ItemTable(
        tokens=tokens,
        categories=np.array([known["categories"].index(category) for category, _, _ in rows]),
        brands=np.array([known["brands"].index(brand) for _, brand, _ in rows]),
        price_buckets=np.zeros(len(rows), int),
        prices=np.zeros(len(rows), np.float32),
        trained=np.ones(len(rows), bool),
        servable=np.ones(len(rows), bool),
        images=np.array([[1, len(text)] for _, _, text in rows], np.float32),
        relations=np.array(
            [
                (known["items"].index(item), known["relations"].index(kind), known["items"].index(other))
                for item, kind, other in RELATED
            ]
        ),
    )


def inputs(known):
    def item_ids(items, width):
        return [known["items"].index(item) + features.FIRST_KNOWN_ID for item in items] + [0] * (width - len(items))

    types = [known["event_types"].index(kind) for kind in ("click", "buy", "click")]
    values = {
        features.HISTORY_ITEMS_XF: [item_ids(row, 3) for row in HISTORY],
        features.HISTORY_TYPES_XF: [types[: len(row)] + [0] * (3 - len(row)) for row in HISTORY],
        features.HISTORY_GAPS_XF: [[3.0, 2.0, 1.0], [1.0, 0, 0], [0, 0, 0]],
        features.HISTORY_GAP_BUCKETS_XF: [[3, 2, 1], [1, 0, 0], [0, 0, 0]],
        features.CANDIDATE_ITEMS_XF: [item_ids(ASKED, 3)] * 3,
        features.CANDIDATE_TEXT_POSITIONS_XF: [[-1]] * 3,
        features.CANDIDATE_TOKENS_XF: [[[0] * 4]] * 3,
        features.PROFILE_TOKENS_XF: [[2, *(known["wordpieces"].index(word) for word in "tv"), 3], [0] * 4, [0] * 4],
        features.QUERY_TOKENS_XF: [[0] * 4, [2, known["wordpieces"].index("w"), 3, 0], [0] * 4],
        features.context_xf("country"): [known["context country"].index(name) for name in ("FR", "CA", "")],
        features.REQUEST_DAY_XF: [3, 3, 3],
        features.USER_KEY_XF: [1, 2, 3],
    }
    kinds = {name: tf.float32 for name, padding in PADDING.items() if isinstance(padding, float)}
    return {name: tf.constant(value, kinds.get(name, tf.int64)) for name, value in values.items()}


def settings_of(name, **options):
    entry = registry.entry(name)
    model = entry.options(**{**MODELS[name], **options})
    return settings_lib.Settings(model=model, train=settings_lib.TrainSettings(losses=LOSSES))


def build(settings, known, seed):
    tf.keras.utils.set_random_seed(seed)
    model = registry.entry(settings.model.entry).build(settings.model, sizes(known), LOSSES)
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(tf.cast(rng.normal(0, 0.3, variable.shape), variable.dtype))
    know(model, known)
    return model


@contextlib.contextmanager
def eagerly():
    """Where the items' texts are encoded once, for which no graph is worth its trace."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def know(model, known):
    with eagerly():
        model.set_catalogue(table(known), np.ones([5, len(known["items"])], np.float32), 0)


def save(base, folder, **content):
    """As `CatalogueServable` keeps the weights."""
    module = tf.Module()
    module._weights = list(base.weights)
    tf.saved_model.save(module, str(folder))
    (folder / "assets.extra").mkdir()
    (folder / contract.WARM_START_FILE).write_text(
        json.dumps({"until_day": 3, "model": {}, "vocabularies": OLD, **content})
    )
    return warm_start.find(str(folder))


@pytest.mark.parametrize("name", MODELS)
def test_a_reordered_and_grown_vocabulary_changes_no_score(name, tmp_path):
    settings = settings_of(name)
    base_model = build(settings, OLD, 1)
    base = save(base_model, tmp_path)
    model = build(settings, NEW, 2)
    before = model(inputs(NEW)).numpy()
    with eagerly():
        warm_start.transfer(model, base, settings, sizes(NEW), NEW)
    expected = base_model(inputs(OLD)).numpy()
    np.testing.assert_allclose(model(inputs(NEW)).numpy(), expected, atol=1e-5)
    assert np.abs(before - expected).max() > 1e-2


def test_a_catalogue_that_has_grown_past_the_whole_softmax_is_no_other_model(tmp_path):
    settings = settings_of("slice_ranker")
    base = save(build(settings, OLD, 1), tmp_path)
    larger = dataclasses.replace(LOSSES, full_softmax_items=len(OLD["items"]))
    drawn = dataclasses.replace(settings, train=dataclasses.replace(settings.train, losses=larger))
    drawing = trainer.losses_for(drawn, len(NEW["items"]))
    assert trainer.losses_for(drawn, len(OLD["items"])) == larger and drawing.sampled_items
    model = registry.entry("slice_ranker").build(settings.model, sizes(NEW), drawing)
    know(model, NEW)
    other = build(settings, NEW, 2)
    with eagerly():
        warm_start.transfer(model, base, drawn, sizes(NEW), NEW)
        warm_start.transfer(other, base, settings, sizes(NEW), NEW)
    np.testing.assert_allclose(model(inputs(NEW)).numpy(), other(inputs(NEW)).numpy(), atol=1e-6)


def test_what_is_new_keeps_its_first_values(tmp_path):
    settings = settings_of("gru4rec")
    base = save(build(settings, OLD, 1), tmp_path)
    model = build(settings, NEW, 2)
    first = model.item_embeddings.numpy()
    warm_start.transfer(model, base, settings, sizes(NEW), NEW)
    after = model.item_embeddings.numpy()
    kept = [NEW["items"].index(name) for name in ("new", "newer")]
    np.testing.assert_array_equal(after[kept], first[kept])
    assert np.abs(after - first)[[row for row in range(8) if row not in kept]].min(1).max() > 0


def test_every_axis_of_a_vocabulary_is_found():
    settings = settings_of("profile_matcher")
    model = build(settings, OLD, 1)
    found = dict(
        zip([v.name for v in model.weights], warm_start.vocabulary_axes(model, settings, sizes(OLD), OLD), strict=True)
    )
    named = {name.split("/")[-1].split(":")[0]: axes for name, axes in found.items() if axes}
    assert named["ids"] == {0: "items"}
    assert named["category_embeddings"] == {0: "categories"}
    assert named["brand_embeddings"] == {0: "brands"}
    assert named["word_vectors"] == {0: "wordpieces"}
    assert named["type_weights"] == {0: "event_types"}
    assert {0: "context country"} in found.values()
    assert not any(axes for name, axes in found.items() if "head" in name or "price" in name.split("/")[-1][:6])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 12}, r"has the shape \[8, 8\] where the model's is \[8, 12\]"),
        ({"use_words": False}, "weights where the model has"),
    ],
)
def test_a_base_of_another_shape_is_refused(options, message, tmp_path):
    base = save(build(settings_of("profile_matcher"), OLD, 1), tmp_path)
    other = settings_of("profile_matcher", **options)
    with pytest.raises(ValueError, match=message):
        warm_start.transfer(build(other, NEW, 2), base, other, sizes(NEW), NEW)


def test_a_fit_from_scratch_says_why(tmp_path, capsys):
    settings = settings_of("two_tower")
    warm = dataclasses.replace(settings.train, warm_start=WarmStartSettings(enabled=True))
    asked = dataclasses.replace(settings, train=warm)
    base = save(build(settings, OLD, 1), tmp_path / "fits", model=settings_lib.to_dict(settings.model))
    assert find_base(settings, base.folder, None) is None
    assert capsys.readouterr().out == ""
    assert find_base(asked, base.folder, None) == base
    assert find_base(asked, base.folder, {"warm_start": None}) is None
    assert find_base(asked, "", None) is None
    assert "no model was blessed before" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert find_base(asked, str(tmp_path / "empty"), None) is None
    assert f"has no {contract.WARM_START_FILE}" in capsys.readouterr().out
    wider = dataclasses.replace(asked, model=dataclasses.replace(asked.model, dimension=12))
    assert find_base(wider, base.folder, None) is None
    assert "has other settings of `model`" in capsys.readouterr().out
    for other in (
        dataclasses.replace(asked, export=ExportSettings(weights="int8")),
        settings_of("profile_matcher", text_encoder=TextEncoderOptions(trainable="lora")),
    ):
        other = dataclasses.replace(other, train=warm)
        assert find_base(other, base.folder, None) is None
        assert "has not the weights of the fit" in capsys.readouterr().out
        warm_start.write(str(tmp_path / "empty"), other, None, [], 3)
        assert not list((tmp_path / "empty").iterdir())


# --- which decisions -------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), min_size=1, max_size=200),
    st.integers(0, 31),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.integers(1, 50),
)
def test_an_update_learns_from_the_newest_and_from_a_share_of_the_old(rows, since, replay, held_out, most):
    users, days = (np.array(column) for column in zip(*rows, strict=True))
    settings = WarmStartSettings(replay=replay, held_out=held_out, decisions=most)
    chosen = warm_start.choose(users, days, since, settings, seed=1)
    assert not (chosen.new & chosen.yesterday).any()
    assert (days[chosen.new | chosen.yesterday] >= since).all()
    assert (days[chosen.replayed] < since).all()
    assert not set(users[chosen.new]) & set(users[chosen.yesterday])
    possible = (days >= since) & ~chosen.yesterday
    assert chosen.new.sum() == min(most, possible.sum())
    if (left := possible & ~chosen.new).any():
        assert days[left].max() <= days[chosen.new].min()
    assert chosen.replayed.sum() == min((days < since).sum(), round(chosen.new.sum() * replay / (1 - replay)))


def test_the_held_out_share_of_users_is_another_one_each_day():
    users, days = np.arange(5000), np.full(5000, 9)
    held = [warm_start.choose(users, days, since, WarmStartSettings(), 1).yesterday for since in (8, 9)]
    assert [round(part.mean(), 2) for part in held] == [0.1, 0.1]
    assert (held[0] & held[1]).mean() < 0.03


def test_of_each_user_only_the_newest_of_both_kinds():
    users, days = np.array([1, 1, 1, 1, 2, 2]), np.array([1, 2, 8, 9, 1, 1])
    settings = WarmStartSettings(held_out=0.0, replay=0.7)
    chosen = warm_start.choose(users, days, 5, settings, 1, np.array([1, 2, 8, 9, 1.5, 1.2]))
    assert chosen.new.tolist() == [False, False, False, True, False, False]
    assert chosen.replayed.tolist()[1::3] == [True, True] and chosen.replayed.sum() == 2


def test_forgetting_is_refused_past_the_bound():
    warm_start.check_forgetting(0.40, 0.385, WarmStartSettings(max_forgotten=0.02))
    with pytest.raises(ValueError, match=r"fell from 0.4000 to 0.3700, by more than .* \(0.02\)"):
        warm_start.check_forgetting(0.40, 0.37, WarmStartSettings(max_forgotten=0.02))
