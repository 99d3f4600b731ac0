"""A SavedModel asked through `recommend`."""

import json
import math
import shutil

import numpy as np
import pytest

from benchmarks import servable as servable_lib
from benchmarks.servable import Servable, ServableError
from serving import contract
from serving.requests import Request


def ask(item_ids):
    return tuple((item, "view", 1) for item in item_ids)


def test_answers_come_in_the_order_of_requests_and_do_not_depend_on_batches(top4, monkeypatch):
    servable = Servable(top4, ("country",))
    requests = [Request(user_id=str(length), history=ask("ab" * length)) for length in (5, 0, 3, 1, 4)]
    together = servable.ask(requests)
    assert [answer.item_ids for answer in together[:2]] == [["b", "a", "z", "c"], ["z", "c", "e", "d"]]
    assert together[0].scores == pytest.approx([5.2, 5.1, 0.9, 0.6])
    monkeypatch.setattr(servable_lib, "BATCH", 2)
    for one, other in zip(together, servable.ask(requests), strict=True):
        assert one.item_ids == other.item_ids
        np.testing.assert_array_equal(one.scores, other.scores)
    assert servable.seconds > 0
    assert (servable.version, servable.parameters) == (7, 7)  # the seven weights


def test_parameters_are_those_of_the_fit_where_it_says_so(top4, tmp_path):
    served = tmp_path / "served"
    shutil.copytree(top4, served)
    (served / "7" / contract.RUN_FILE).write_text(json.dumps({"final": False, "parameters": 5, "all_parameters": 1200}))
    assert Servable(served, ("country",)).parameters == 1200


def test_short_answers_end_at_their_padding(top4):
    (answer,) = Servable(top4, ("country",)).ask([Request(exclude=list("abcde"))])
    assert answer.item_ids == ["z", "f"]
    assert answer.scores == pytest.approx([0.9, 0.3])


def test_an_excluded_item_in_an_answer_is_an_error(export):
    careless = Servable(export(4, excludes=False), ("country",))
    with pytest.raises(ServableError, match="to user 'u', `recommend` answered item 'e', which the request excludes"):
        careless.ask([Request(user_id="u", exclude=["a", "e"])])


@pytest.mark.parametrize(
    ("items", "weights", "said"),
    [
        ("aabc", [3.0, 2.0, 1.0, 0.0], "answered item 'a' twice"),
        ("abcd", [1.0] * 3 + [math.nan], "gave item 'd' a score"),
    ],
)
def test_an_answer_that_is_no_ranking_is_an_error(export, items, weights, said):
    servable = Servable(export(4, items=list(items), weights=weights), ("country",))
    with pytest.raises(ServableError, match=said):
        servable.ask([Request()])


def test_a_broken_saved_model_is_an_error(tmp_path):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"not a SavedModel")
    with pytest.raises(ServableError, match="3: cannot be loaded; expected a whole SavedModel"):
        Servable(tmp_path)


def test_the_contract_is_checked(export, top4):
    with pytest.raises(ServableError, match="has `country`, which nobody declared, among its inputs"):
        Servable(top4)
    with pytest.raises(ServableError, match="lacks `country` among its inputs"):
        Servable(export(4, context=()), ("country",))


def test_the_newest_version_is_taken(top4, tmp_path):
    for name in ("9", "10", ".pushing-11", "12.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "13").mkdir()  # not whole
    assert servable_lib.newest_version(tmp_path) == tmp_path / "10"
    assert servable_lib.newest_version(top4 / "7") == top4 / "7"
    with pytest.raises(ServableError, match="holds no SavedModel and no version of one"):
        servable_lib.newest_version(tmp_path / "13")
