"""Whole refreshes, asked as a server asks them: what is new, what is gone, and that all else is the same."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from models import features
from serving import contract
from serving.refresh_catalogue.errors import RefreshError
from serving.refresh_catalogue.items_table import read_items_table
from serving.refresh_catalogue.record import CatalogueRecord
from serving.refresh_catalogue.refresh import refresh
from serving.warmup import WARMUP_FILE

#: A title alone is all that `rank` can be told of an item that a catalogue lacks.
BARE = {"item_id": "bare", "title": "Green boots for two"}
FULL = {"item_id": "full", "title": "Garden pan", "category": "Kitchen", "brand": "Alpa", "price": 31.0}
CHANGED = {"item_id": "pan", "title": "Frying pan, large", "category": "Kitchen", "brand": "", "price": 44.0}
SAME = ["boots", "trail", "clogs", "green", "black", "pot"]


class Case:
    """An entry's version 1, and version 2 with two new items, a changed one, one sold out, one gone, one forbidden."""

    def __init__(self, shop, tools, entry, base):
        self.base, self.entry, self.tools = shop.export(entry, base), entry, tools
        self.table = tools.table(base.parent, BARE, FULL, CHANGED, without=["tent"], knife=0)
        self.found = refresh(base, read_items_table(self.table), frozenset(["stove", "never seen"]))
        self.before, self.after = tools.Version(base / "1"), tools.Version(base / "2")


LARGE = [pytest.param(entry, marks=pytest.mark.long) for entry in ("query_recommender", "slice_ranker")]


@pytest.fixture(scope="module", params=["popularity", "sasrec", "two_tower", *LARGE])
def case(request, shop, tools, tmp_path_factory):
    made = Case(shop, tools, request.param, tmp_path_factory.mktemp(request.param) / "served")
    yield made
    made.before.close()
    made.after.close()


def test_it_says_what_it_did(case):
    reads = case.entry not in ("popularity", "sasrec")
    found = case.found
    assert (found.source, found.version) == (1, 2)
    # The two, and the lamp that was first seen after the model's cut.
    assert (found.added, found.changed, found.left_out, found.removed) == (3, 1 if reads else 0, 0, 1)
    assert found.forbidden == 2
    assert found.answered == 10 + 3 - 3  # sold out, gone, forbidden
    assert found.spare == 6 - 3


def test_what_is_not_about_a_changed_item_is_the_same_to_the_last_bit(case):
    requests = [{}, {"history": []}, {"query": "green tea"}, {"request_time": 0, "profile_text": ""}]
    candidates = list(SAME)
    if case.entry in ("sasrec", "popularity", "slice_ranker"):  # others put what they do not know below the last one
        candidates += ["unknown", "with text"]
    texts = [""] * (len(candidates) - 1) + ["Camping tea" if "unknown" in candidates else ""]
    for request in requests:
        before = case.before.rank(candidates, texts, **request)
        after = case.after.rank(candidates, texts, **request)
        if case.entry != "slice_ranker":
            assert after == before
            continue
        # Its scores are log-probabilities: the changed item moves those of all that is not repeated, but no two apart.
        repeated = {item for item, _, _ in request.get("history", case.tools.shopper["history"])}
        moved = np.array([after[item] - before[item] for item in candidates if item not in repeated])
        assert np.ptp(moved) < 1e-4 and 0 < np.abs(moved).max() < 0.5


def test_prices_and_stock_alone_move_no_other_score(case, tmp_path, shop, tools):
    base = shop.export(case.entry, tmp_path / "served")
    table = tools.table(tmp_path, BARE, without=["tent"], knife=0)
    found = refresh(base, read_items_table(table))
    assert (found.added, found.changed, found.removed) == (2, 0, 1)
    after = tools.Version(base / "2")
    candidates = [item for item in tools.items["item_id"] if item != "late"]
    for request in ({}, {"query": "pan"}):
        assert after.rank(candidates, **request) == case.before.rank(candidates, **request)
    before, now = case.before.recommend(), after.recommend()
    assert set(now) == set(before) - {"tent", "knife"} | {"bare", "late"}
    assert {item: score for item, score in now.items() if item in before} == {
        item: score for item, score in before.items() if item in now
    }
    after.close()


def test_new_items_are_answered_and_scored_as_by_their_text(case):
    texts = {row["item_id"]: row["title"] for row in (BARE, FULL)}
    asked = {"query": "green boots"} if case.entry in ("query_recommender", "slice_ranker") else {}
    told = case.before.rank(["bare", "full", *SAME], [*texts.values(), *[""] * len(SAME)], **asked)
    found = case.after.rank(["bare", "full", *SAME], **asked)
    signature = contract.SEARCH if asked else contract.RECOMMEND
    answered = case.after.recommend(signature, **asked)
    for item in ("bare", "full", "late"):
        assert answered[item] == pytest.approx(case.after.rank([item], **asked)[item], abs=1e-4)
    if case.entry == "slice_ranker":
        moved = found["trail"] - told["trail"]
        assert found["bare"] == pytest.approx(told["bare"] + moved, abs=1e-4)
        assert abs(found["full"] - told["full"] - moved) > 1e-3  # category, brand and price, which no request tells
    elif case.entry in ("popularity", "sasrec"):
        trained = case.before.rank(case.tools.items["item_id"][:10])
        assert found["bare"] == found["full"] <= min(trained.values()) - 1 + 1e-5
    else:
        assert found["bare"] != found["full"] and found["bare"] > told["bare"]


def test_what_is_sold_out_gone_or_forbidden_is_in_no_answer(case):
    hidden = {"knife", "tent", "stove"}
    signatures = [
        contract.RECOMMEND,
        *([contract.SEARCH] if case.entry in ("query_recommender", "slice_ranker") else []),
    ]
    everything = [*case.tools.items["item_id"], "bare", "full"]
    for signature in signatures:
        for request in (
            {},
            {"history": []},
            {"query": "camping stove"},
            {"allow": everything},
            {"allow": sorted(hidden)},
        ):
            found = set(case.after.recommend(signature, **request))
            assert not found & hidden
            assert found == set() if request.get("allow") == sorted(hidden) else found == set(everything) - hidden
    ranked = case.after.rank([*everything, "never seen"], [""] * len(everything) + ["Camping stove"])
    assert {item for item, score in ranked.items() if score == -np.inf} == {"stove", "never seen"}


def test_new_items_count_in_histories(case):
    if case.entry in ("popularity", "sasrec"):
        return  # which know nothing of them
    known, unknown = (
        case.after.rank(SAME, history=[(item_id, "click", case.tools.now - 60)]) for item_id in ("full", "nobody")
    )
    assert max(abs(known[item] - unknown[item]) for item in SAME) > 1e-4


def test_a_second_refresh_of_the_same_is_none_and_what_was_left_out_comes_back(case, tmp_path):
    base = tmp_path / "served"
    shutil.copytree(case.base, base)
    table = read_items_table(case.table)
    again = refresh(base, table)
    assert again.version is None and (again.added, again.changed) == (0, 0)
    assert sorted(path.name for path in base.iterdir() if path.is_dir()) == ["1", "2"]
    first = read_items_table(case.tools.table(tmp_path))
    found = refresh(base, first, frozenset())
    assert (found.version, found.source, found.added, found.forbidden) == (3, 2, 0, 0)
    assert found.changed == case.found.changed and found.removed == 2
    back, original = case.tools.Version(base / "3"), case.tools.Version(base / "1")
    trained = case.tools.items["item_id"][:10].tolist()
    # What changed and changed back is as it was, but for the last bits of what was computed twice.
    expected, ranked = original.rank(trained), back.rank(trained)
    np.testing.assert_allclose(list(ranked.values()), list(expected.values()), rtol=1e-5, atol=1e-5)
    assert set(back.recommend()) == {*trained, "late"}
    back.close()
    original.close()


def test_files_are_those_of_the_version_before(case):
    files = {path.relative_to(case.base / "1") for path in (case.base / "1").rglob("*") if path.is_file()}
    others = {path.relative_to(case.base / "2") for path in (case.base / "2").rglob("*") if path.is_file()}
    assert files - others == {pathlib.Path("fingerprint.pb")} and not others - files
    for name in ("saved_model.pb", WARMUP_FILE):
        assert (case.base / "1" / name).read_bytes() == (case.base / "2" / name).read_bytes()
    assert json.loads((case.base / "2" / contract.CATALOGUE_FILE).read_text())["refreshed_from"] == 1
    assert not [path for path in case.base.iterdir() if path.name.startswith(".refreshing")]


def test_the_new_version_loads_as_any(case):
    loaded = tf.saved_model.load(str(case.base / "2"))
    assert set(loaded.signatures) == set(tf.saved_model.load(str(case.base / "1")).signatures)
    if case.entry not in ("popularity", "sasrec"):
        assert refresh(case.base / "2", read_items_table(case.table)).version is None


# --- what a fit on the larger catalogue would have made of it ---------------------------------------------------------


def test_rows_are_those_that_the_pipeline_would_have_written(shop, tools, tmp_path):
    """Texts and attributes of known items, read out of the raw table by the SavedModel, are Transform's own."""
    base = shop.export("slice_ranker", tmp_path / "served")
    loaded = tf.saved_model.load(str(base / "1"))
    table = read_items_table(tools.table(tmp_path))
    columns = (table.texts, table.categories, table.brands)
    tokens, *others = loaded.item_rows.read(*map(tf.constant, columns), tf.constant(table.prices))
    rows = [shop.catalogue.item_ids.index(item_id) for item_id in table.item_ids]
    expected = shop.catalogue.table
    np.testing.assert_array_equal(tokens, expected.tokens[rows])
    categories, brands, buckets, prices = others
    for found, name in ((categories, "categories"), (brands, "brands"), (prices, "prices")):
        np.testing.assert_allclose(found, getattr(expected, name)[rows], atol=1e-6, err_msg=name)
    # Of eleven prices most are a border themselves, and a logarithm's last bit says on which side of it they lie.
    assert np.abs(buckets - expected.price_buckets[rows]).max() <= 1
    assert table.searched == [expected.texts[row] for row in rows]
    unknown = loaded.item_rows.read(*map(tf.constant, (["x"], ["Boats"], ["Nobody"])), tf.constant([np.nan]))
    assert [int(value[0]) for value in unknown[1:]] == [0, 0, 0, 0]


@pytest.mark.long
def test_fewer_bits_are_written_as_they_are_read(shop, tools, tmp_path):
    base = shop.export("slice_ranker", tmp_path / "served", export={"spare_items": 0.5, "weights": "int8"}, model={
        "entry": "slice_ranker", "dimension": 64, "code_dimension": 4, "max_history": 4, "slice_length": 2,
        "text_encoder": {"hidden_size": 64, "layers": 1, "intermediate_size": 8},
    })  # fmt: skip
    types = tf.train.load_checkpoint(str(base / "1/variables/variables")).get_variable_to_dtype_map().values()
    assert tf.int8 in types
    refresh(base, read_items_table(tools.table(tmp_path, BARE)))
    before, after = tools.Version(base / "1"), tools.Version(base / "2")
    known = tools.items["item_id"][:10].tolist()
    assert after.rank(known) == before.rank(known)
    told = before.rank(["bare"], [BARE["title"]])["bare"]
    assert after.rank(["bare"])["bare"] == pytest.approx(told, abs=0.05)
    before.close()
    after.close()


def test_a_click_is_predicted_of_new_items_and_never_of_forbidden_ones(shop, tools, tmp_path):
    base = shop.export("click_classifier", tmp_path / "served")
    refresh(base, read_items_table(tools.table(tmp_path, BARE, knife=0)), frozenset(["pot"]))
    before, after = tools.Version(base / "1"), tools.Version(base / "2")
    known = [item for item in tools.items["item_id"][:10] if item != "pot"]
    assert after.rank(known) == before.rank(known)
    told = before.rank(["bare"], [BARE["title"]], history=[])["bare"]
    assert after.rank(["bare"], history=[])["bare"] == pytest.approx(told, abs=1e-4)
    assert after.rank(["pot"])["pot"] == -np.inf and np.isfinite(before.rank(["pot"])["pot"])
    before.close()
    after.close()


def test_a_list_is_in_force_from_the_first_version_on(shop, tools, tmp_path):
    (tmp_path / "list.csv").write_text("item_id,reason\npot,recalled\nnever seen,fake\n", encoding="utf-8")
    serve = {"forbidden": str(tmp_path / "list.csv"), "top_k": 30}
    base = shop.export("popularity", tmp_path / "served", serve=serve)
    version = tools.Version(base / "1")
    assert "pot" not in version.recommend(allow=["pot", "pan"])
    found = version.rank(["pot", "pan", "never seen"])
    assert [item for item, score in found.items() if score == -np.inf] == ["pot", "never seen"]
    version.close()
    # A table does not take it out, another list does.
    assert refresh(base, read_items_table(tools.table(tmp_path, without=["late"]))).version is None
    assert refresh(base, None, frozenset()).version == 2
    version = tools.Version(base / "2")
    assert "pot" in version.recommend()
    version.close()


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_version_without_spare_rows_or_with_too_few_is_refused(shop, tools, tmp_path):
    base = shop.export("popularity", tmp_path / "none", export={"spare_items": 0})
    with pytest.raises(RefreshError, match=r"none/1: was exported without spare rows .*`export.spare_items` above 0"):
        refresh(base, read_items_table(tools.table(tmp_path)))
    base = shop.export("popularity", tmp_path / "few", export={"spare_items": 0.1})
    added = [{**BARE, "item_id": f"new{number}"} for number in range(3)]
    with pytest.raises(RefreshError, match=r"has 3 new items and the version 2 spare rows left"):
        refresh(base, read_items_table(tools.table(tmp_path, *added, without=["late"])))
    assert sorted(path.name for path in base.iterdir() if path.is_dir()) == ["1"]


def test_files_that_do_not_belong_together_are_refused(shop, tools, tmp_path):
    base = shop.export("popularity", tmp_path / "served")
    with (base / "1" / "assets" / features.ITEM_VOCABULARY).open("a", encoding="utf-8") as file:
        file.write("one more\n")
    with pytest.raises(RefreshError, match=r"has 12 lines and the record 11 rows"):
        refresh(base, read_items_table(tools.table(tmp_path)))
    path = base / "1" / contract.CATALOGUE_FILE
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'), encoding="utf-8")
    with pytest.raises(RefreshError, match="is of format 2; expected 1"):
        CatalogueRecord.read(base / "1")


@pytest.mark.parametrize(
    "name", [contract.CATALOGUE_FILE, contract.CATALOGUE_ARRAYS_FILE, "variables/variables.index", "saved_model.pb"]
)
def test_files_that_are_cut_short_are_refused(shop, tools, tmp_path, name):
    base = shop.export("two_tower", tmp_path / "served")
    path = base / "1" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RefreshError, match=r"cannot be (read|loaded); expected a version as it was written"):
        refresh(base, read_items_table(tools.table(tmp_path, BARE)))
    assert sorted(path.name for path in base.iterdir() if path.is_dir()) == ["1"]
