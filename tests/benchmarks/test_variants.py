import dataclasses
import shutil

import pytest

from benchmarks import servable, variants
from tfx_pipeline import settings, source_hash

BASE = settings.from_dict({"name": "x"})


def test_a_variant_changes_what_it_names_and_nothing_else():
    variant = variants.parse("mine=model.use_profile=false,train.epochs=3", BASE, "c")
    assert variant.name == "mine"
    content = settings.to_dict(variant.settings)
    assert content["model"].pop("use_profile") is False
    assert content["train"].pop("epochs") == 3
    expected = settings.to_dict(BASE)
    del expected["model"]["use_profile"], expected["train"]["epochs"]
    assert content == expected


def test_a_list_may_hold_commas():
    text = "mine=model.decay_days=[7,30],train.epochs=3,model.popularity_days=[1,2,3]"
    changed = variants.parse(text, BASE, "c").settings
    assert changed.model.decay_days == (7, 30) and changed.model.popularity_days == (1, 2, 3)
    assert changed.train.epochs == 3


EVERYTHING = {"linear_regularisation": 100.0, "neighbours": 5, "use_words": True, "use_affinity": True}


def test_every_ablation_can_be_read_and_differs():
    base = settings.from_dict({"name": "x", "model": EVERYTHING})
    found = variants.ablations(base, "c")
    assert [variant.name for variant in found] == [text.partition("=")[0] for text in variants.ABLATIONS]
    assert len({str(variant.settings) for variant in (*found, variants.parse("all=", base, "c"))}) == len(found) + 1


@pytest.mark.parametrize(
    "off, names",
    [
        ({"linear_regularisation": 0.0}, {"no_linear"}),
        ({"neighbours": 0}, {"no_evidence"}),
        ({"use_profile": False, "use_merge": False}, {"no_profile_encoder", "no_merge"}),
        ({"use_words": False}, set()),  # BERT's reading of the items' texts is still there to be left out
    ],
)
def test_a_part_that_is_off_is_not_left_out_once_more(off, names):
    found = variants.ablations(settings.from_dict({"name": "x", "model": {**EVERYTHING, **off}}), "c")
    assert {text.partition("=")[0] for text in variants.ABLATIONS} - {variant.name for variant in found} == names


def test_ablations_are_of_the_flagship():
    with pytest.raises(settings.SettingsError, match="the entry is sasrec; expected slice_ranker"):
        variants.ablations(settings.from_dict({"name": "x", "model": {"entry": "sasrec"}}), "c")


@pytest.mark.parametrize(
    "text", ["", "mine", "mine=model.no_such=1", "mine=modell.use_profile=false", "mine=train", "m=train.epochs=[3"]
)
def test_what_cannot_be_read_is_named(text):
    with pytest.raises(settings.SettingsError, match="expected"):
        variants.parse(text, BASE, "c")


def test_a_wrong_value_is_named():
    with pytest.raises(settings.SettingsError, match=r"train\.epochs"):
        variants.parse("mine=train.epochs=many", BASE, "c")


def test_variants_need_a_pipeline_that_has_run(place):
    with pytest.raises(settings.SettingsError, match="no pipeline has run there"):
        variants.fit(variants.parse("mine=", BASE, "c"), place)


def test_a_fit_is_done_once_and_the_final_one_comes_after_it(place, change, ran, fits):
    place = change(train={"final": True})
    ran(place, "train", "eval", "recent", "catalogue")
    mine = variants.parse("mine=train.epochs=5", place.settings, "c")
    alone = variants.fit(mine, place, validation=True)
    both = variants.fit(mine, place)
    validation = {"final": False, "best_epoch": 3}
    assert fits == [(["Split-train"], None), (["Split-recent", "Split-train"], validation)]
    assert [servable.knows_validation(fit.path) for fit in (alone, both)] == [False, True]
    assert both.seconds > alone.seconds > 0  # the same numbers when they are found again, below
    assert variants.fit(mine, place, validation=True) == alone and variants.fit(mine, place) == both
    # The same settings without a final fit ask for what is there.
    assert variants.fit(variants.parse("m=train.epochs=5,train.final=false", place.settings, "c"), place) == alone
    assert len(fits) == 2
    # What is served along counts.
    served = dataclasses.replace(mine, settings=change(train={"final": True, "epochs": 5}, serve={"top_k": 7}).settings)
    assert variants.fit(served, place, validation=True) != alone


def test_a_final_fit_needs_its_split(place, ran, fits):
    ran(place, "train", "eval", "catalogue")
    variant = variants.parse("mine=train.final=true", place.settings, "c")
    with pytest.raises(settings.SettingsError, match=r"Split-recent/\*: is no file; .* only with `train.final`"):
        variants.fit(variant, place)
    assert [final for _, final in fits] == [None]


def test_examples_are_those_of_the_configuration(place, change, ran, fits, shop, monkeypatch):
    ran(place, "train", "eval", "catalogue")

    def fit(place):
        return variants.fit(variants.parse("mine=", place.settings, "c"), place)

    first = fit(place)
    fit(change(model={"dropout": 0.3}, train={"epochs": 1}, evaluate={"metrics": ["mrr"]}))
    for sections in (
        {"decisions": {"eval_until": "2020-03-02"}},
        {"data": {"max_reject_share": 0.5}},
        {"transform": {"title_length": 9}},
    ):
        with pytest.raises(settings.SettingsError, match=r"last_run\.json: .* have changed since that run; expected"):
            fit(change(**sections))
    with monkeypatch.context() as patched:
        patched.setattr(source_hash, "component_hash", lambda component, contents, more=(): component)
        with pytest.raises(settings.SettingsError, match="have changed since"):
            fit(place)
    schema_text = place.schema.read_text()
    place.schema.write_text(schema_text + "# by hand\n")
    with pytest.raises(settings.SettingsError, match="have changed since"):
        fit(place)
    place.schema.write_text(schema_text)
    assert fit(change()) == first
    tables = place.config.parent / "tables"
    shutil.copytree(shop.folder, tables)
    with pytest.raises(settings.SettingsError, match="have changed since"):
        fit(dataclasses.replace(place, data=tables))
