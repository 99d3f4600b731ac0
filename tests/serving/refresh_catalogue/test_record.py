"""What a version knows of its items: read as it was written, and every change is seen where it is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import features
from models.item_encoder import ItemTable
from serving import contract
from serving.refresh_catalogue.errors import RefreshError
from serving.refresh_catalogue.record import CatalogueRecord, Fingerprints, fitted_version, listed

NUMBER = 4


def described(**changed):
    values = {
        "tokens": np.arange(12).reshape(NUMBER, 3),
        "categories": np.array([2, 3, 0, 2]),
        "brands": np.array([0, 2, 2, 3]),
        "price_buckets": np.array([1, 2, 0, 1]),
        "prices": np.array([0.5, -1, 0, 2], np.float32),
        "texts": ["tea", "pot", "茶", ""],
    }
    return {**values, **changed}


@given(st.sampled_from(sorted(described())), st.integers(0, NUMBER - 1))
def test_a_change_is_seen_in_its_item_and_its_part(name, row):
    values = described()[name]
    changed = [*values] if name == "texts" else values.copy()
    changed[row] = "other" if name == "texts" else changed[row] + 7
    texts, attributes = Fingerprints.of(**described()).differ(Fingerprints.of(**described(**{name: changed})))
    expected = np.arange(NUMBER) == row
    of_text = name in ("tokens", "texts")
    assert texts.tolist() == (expected & of_text).tolist()
    assert attributes.tolist() == (expected & (not of_text)).tolist()


def test_what_training_did_not_meet_is_none():
    unknown = described(categories=np.array([2, 3, features.UNKNOWN_ID, 2]))
    texts, attributes = Fingerprints.of(**described()).differ(Fingerprints.of(**unknown))
    assert not texts.any() and not attributes.any()


def test_some_are_put_in_the_place_of_others():
    one = Fingerprints.of(**described())
    other = one.at(np.array([3, 0]))
    found = one.put(np.array([1, 4]), other, NUMBER + 1)
    texts, attributes = found.at(np.array([0, 2, 3])).differ(one.at(np.array([0, 2, 3])))
    assert not texts.any() and not attributes.any()
    texts, attributes = found.at(np.array([1, 4])).differ(other)
    assert not texts.any() and not attributes.any()


def test_it_is_read_as_it_was_written(tmp_path):
    servable = np.array([1, 0, 1, 1], bool)
    table = ItemTable(**described(), trained=servable, servable=servable)
    for reads in (True, False):
        folder = tmp_path / str(reads)
        record = CatalogueRecord.of(table, 3, reads)
        record.write(str(folder))
        found = CatalogueRecord.read(folder)
        assert (found.trained, found.spare, found.refreshed_from) == (NUMBER, 3, None)
        assert found.fitted.tolist() == found.offered.tolist() == servable.tolist()
        assert (found.fingerprints is None) == (not reads)
        if reads:
            texts, attributes = found.fingerprints.differ(Fingerprints.of(**described()))
            assert not texts.any() and not attributes.any()
        assert listed(found, ["a", "b", "c", "d"], {"c", "x"}).tolist() == [True, False, False, True]


def test_a_folder_without_it_or_of_another_format_is_refused(tmp_path):
    with pytest.raises(RefreshError, match="was exported without spare rows"):
        CatalogueRecord.read(tmp_path)
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / contract.CATALOGUE_FILE).write_text(json.dumps({"format": 9}), encoding="utf-8")
    with pytest.raises(RefreshError, match="is of format 9; expected 1"):
        CatalogueRecord.read(tmp_path)


def test_refreshes_lead_back_to_what_was_fitted(tmp_path):
    for version, before in ((5, None), (6, 5), (9, 6)):
        path = tmp_path / str(version) / contract.CATALOGUE_FILE
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"refreshed_from": before}), encoding="utf-8")
    assert [fitted_version(tmp_path, version) for version in (5, 6, 9, 4)] == [5, 5, 5, 4]
