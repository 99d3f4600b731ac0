"""A catalogue of the benchmark answers what its scores say, whatever the request leaves out or asks for."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import serving_catalogues
from benchmarks.serving_children import stacked
from models.zoo.two_tower import TwoTower
from serving import contract
from serving.client import build_inputs
from serving.requests import Request

ITEMS = 300


@pytest.fixture(scope="module")
def signatures(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("catalogue") / "1")
    traced, encode_user = [], TwoTower.encode_user

    def counted(self, *args, **kwargs):
        traced.append(self)
        return encode_user(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwoTower, "encode_user", counted)
        serving_catalogues.build(folder, str(ITEMS))
    loaded = tf.saved_model.load(folder)

    def ask(signature, requests):
        inputs = build_inputs(signature, requests, ())
        found = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in found.items()}

    ask.loaded, ask.traced = loaded, len(traced)
    return ask


def _named(*rows):
    return [serving_catalogues.item_id(row) for row in rows]


@pytest.mark.parametrize(
    "lists",
    [
        [{}],
        [{"exclude": _named(*range(250))}],
        [{"allow": _named(3, 7, 3, 299), "exclude": [*_named(7), "nobody"]}],
        [{}, {"allow": _named(*range(0, 300, 2))}, {"exclude": _named(*range(0, 300, 3))}, {"allow": ["nobody"]}],
    ],
)
def test_the_best_are_those_of_all_scores_that_may_be_answered(signatures, lists):
    every = [serving_catalogues.item_id(row) for row in range(ITEMS)]
    users = [{"history": [(every[7 * place], "purchase", 100)]} for place in range(len(lists))]
    scores = signatures(contract.RANK, [Request(candidates=every, **user) for user in users])[contract.SCORES]
    assert np.ptp(scores) > 0.1
    found = signatures(
        contract.RECOMMEND, [Request(**user, **wanted) for user, wanted in zip(users, lists, strict=True)]
    )
    for row, wanted in enumerate(lists):
        allowed, excluded = wanted.get("allow", every), wanted.get("exclude", [])
        places = [place for place, item in enumerate(every) if item in allowed and item not in excluded]
        best = sorted(places, key=lambda place: (-scores[row, place], place))[: serving_catalogues.TOP_K]
        short = serving_catalogues.TOP_K - len(best)
        assert [item.decode() for item in found[contract.ITEM_IDS][row]] == _named(*best) + [""] * short
        expected = [*scores[row, best], *[-np.inf] * short]
        np.testing.assert_array_equal(found[contract.SCORES][row], np.array(expected, np.float32))


def test_signatures_share_the_graph_of_what_they_have_in_common(signatures):
    assert set(signatures.loaded.signatures) == {contract.SERVING_DEFAULT, contract.RANK, contract.RECOMMEND}
    assert signatures.traced == 2  # one for candidates, one for the catalogue


def test_vectors_are_computed_at_export_alone(signatures):
    asked = {"history": [(serving_catalogues.item_id(4), "purchase", 100)]}
    before = signatures(contract.RECOMMEND, [Request(**asked)])[contract.SCORES]
    vectors = signatures.loaded.item_vectors
    assert vectors.shape == [ITEMS, serving_catalogues.DIMENSION]
    np.testing.assert_allclose(tf.norm(vectors, axis=1), 1, atol=1e-5)
    kept = vectors.numpy()
    vectors.assign(-kept)
    after = signatures(contract.RECOMMEND, [Request(**asked)])[contract.SCORES]
    vectors.assign(kept)
    assert np.abs(after - before).max() > 0.1


def test_requests_name_items_of_the_catalogue():
    made = [one.SerializeToString() for one in serving_catalogues.requests(ITEMS, 5, 3, "model")]
    signature, arrays = stacked(made)
    assert signature == contract.RECOMMEND
    assert arrays["history_item_ids"].shape == (3, 5)
    assert {one.decode() for one in arrays["history_item_ids"].ravel()} <= set(_named(*range(ITEMS)))


def test_numpy_searches_as_many_as_asked():
    assert len(serving_catalogues.reference(str(ITEMS))(calls=3)["seconds"]) == 3
