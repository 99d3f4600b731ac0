"""What an application is answered: items, and where they are from."""

import json

import pytest

from serving import contract
from serving.experiment.exposure import Exposure
from serving.experiment.log_reader import LogReader
from serving.requests import Event
from serving.store.profile import Profile, Query

NOW = 1_711_800_000


def test_the_model_ranks_for_a_user(shop, model):
    answer = shop.recommend(user_id="u1", top=3)
    assert [item["item_id"] for item in answer["items"]] == ["i0", "i1", "i2"]
    assert [item["score"] for item in answer["items"]] == [10, 9, 8]
    assert [item["position"] for item in answer["items"]] == [1, 2, 3]
    assert answer["model"] == {"name": "toy", "version": 7}
    assert (answer["fallback"], answer["arm"], answer["experiment"]) == (None, "all", "none")
    assert answer["history_known"] is True
    assert model.asked()["user_id"] == b"u1"


def test_an_event_counts_in_the_very_next_request(shop, model):
    assert shop.ids(user_id="u1")[0] == "i0"
    taken = shop.post("/v1/events", {"user_id": "u1", "item_id": "i7", "event_type": "click", "timestamp": NOW})
    assert taken.json() == {"request_id": taken.headers["x-request-id"], "stored": 1, "skipped": 0}
    answer = shop.recommend(user_id="u1")
    assert answer["items"][0] == {"item_id": "i7", "score": 103.0, "position": 1, "reasons": []}
    asked = model.asked()
    assert asked["history_item_ids"] == [b"i7"]
    assert asked["history_event_types"] == [b"click"]
    assert asked["history_timestamps"] == [NOW]
    assert shop.ids(user_id="u2")[0] == "i0"


def test_the_model_is_asked_with_all_that_is_known(make_shop, model):
    shop = make_shop(profile_text={"sources": ("free_text", "queries"), "max_chars": 20})
    store = shop.gateway.shoppers.store
    profile = Profile("likes tea", {"country": "FR", "old_column": "x"}, (Query("boots", 5), Query("a long query", 4)))
    shop.run(store.set_profile("u1", profile))
    shop.run(store.append("u1", [Event("i1", "view", 10), Event("i2", "cart", 20)]))
    shop.recommend(user_id="u1", exclude=["i0"])
    asked = model.asked()
    assert asked["profile_text"] == b"likes tea; boots; a "
    assert asked["country"] == b"FR"
    assert asked["history_item_ids"] == [b"i1", b"i2"]
    assert asked["exclude_item_ids"] == [b"i0"]
    assert asked["request_time"] > NOW
    shop.recommend(user_id="u1", context={"country": "DE"})
    assert model.asked()["country"] == b"DE"


def test_the_history_is_never_after_the_request(shop, model):
    import time

    ahead = int(time.time()) + 200  # the clock of who sent it
    shop.post("/v1/events", {"user_id": "u1", "item_id": "i7", "event_type": "click", "timestamp": ahead})
    shop.recommend(user_id="u1")
    assert model.asked()["request_time"] == ahead


def test_search_asks_with_the_query(shop, model):
    response = shop.post("/v1/search", {"user_id": "u1", "query": " 防水登山靴 ", "top": 2})
    assert [item["item_id"] for item in response.json()["items"]] == ["i0", "i1"]
    assert model.asked()["query"].decode() == "防水登山靴"
    assert model.calls[-1][1].model_spec.signature_name == contract.SEARCH


def test_a_context_column_that_the_model_has_not_is_left_out(make_shop, model):
    shop = make_shop(context_columns=("country", "language"))
    shop.recommend(user_id="u1", context={"country": "DE", "language": "de"})
    assert model.asked()["country"] == b"DE"


def test_a_version_with_fewer_context_columns_is_asked_without_them_at_once(shop, model):
    assert shop.recommend(user_id="u1", context={"country": "DE"})["fallback"] is None
    model.columns, model.number = (), 8
    answer = shop.recommend(user_id="u1", context={"country": "DE"})
    assert answer["model"]["version"] == 8 and answer["fallback"] is None
    assert "country" not in model.asked()


def test_what_must_not_be_answered_is_not_even_by_a_fallback(make_shop, model, tmp_path):
    (tmp_path / "popular.txt").write_text("i3\ni4\ni5\n", encoding="utf-8")
    shop = make_shop(fallback={"popular": str(tmp_path / "popular.txt")})
    assert "i1" not in shop.ids(user_id="u1", exclude=["i1"])
    model.close()
    answer = shop.recommend(user_id="u1", exclude=["i3"])
    assert [(item["item_id"], item["position"]) for item in answer["items"]] == [("i4", 1), ("i5", 2)]


def test_exposures_are_logged_without_personal_data(make_shop, tmp_path):
    (tmp_path / "key").write_bytes(bytes(range(32)))
    folder = tmp_path / "exposures"
    shop = make_shop(logs={"exposures": str(folder)}, privacy={"enabled": True, "key_file": str(tmp_path / "key")})
    answer = shop.recommend(user_id="17850", top=2)
    visitor = shop.recommend(session_id="s1", top=1)
    shop.recommend(top=1)  # nobody, whom nothing can be told from
    shop.gateway.writer.flush()
    logged = list(LogReader(folder, Exposure))
    # The pseudonym is that of the docstring of `Pseudonyms`.
    assert logged[0].user_id == "ps_dTv6zeFj51uWkPGALPNpboNOsT4qeRQO"
    assert logged[0].request_id == answer["request_id"]
    assert (logged[0].experiment, logged[0].arm, logged[0].item_ids) == ("none", "all", ("i0", "i1"))
    assert logged[1].request_id == visitor["request_id"] and logged[1].user_id.startswith("ps_")
    assert len(logged) == 2
    assert shop.value("gateway_exposures_total", result="written") == 2


def test_ids_and_texts_are_protected_before_anything_else_sees_them(make_shop, model, tmp_path):
    (tmp_path / "key").write_bytes(bytes(range(32)))
    shop = make_shop(privacy={"enabled": True, "key_file": str(tmp_path / "key")})
    event = {"user_id": "17850", "item_id": "i7", "event_type": "click", "query": "call 415-555-2671"}
    shop.post("/v1/events", event)
    shop.post("/v1/search", {"user_id": " 17850 ", "query": "a gift for anna@example.com"})
    asked = model.asked()
    assert asked["user_id"] == b"ps_dTv6zeFj51uWkPGALPNpboNOsT4qeRQO"
    assert asked["query"] == b"a gift for [email]"
    assert asked["profile_text"] == b"call [phone]"
    assert asked["history_item_ids"] == [b"i7"]
    store = shop.gateway.shoppers.store
    assert shop.run(store.recent("17850")) == []


def test_an_answer_is_as_the_document_says(shop):
    from serving.gateway.messages import RecommendAnswer

    answer = shop.recommend(user_id="u1")
    assert json.loads(RecommendAnswer(**answer).json()) == answer


def test_scores_that_are_no_numbers_are_a_refusal_of_the_model(make_shop, model, tmp_path):
    (tmp_path / "popular.txt").write_text("i9\n", encoding="utf-8")
    shop = make_shop(fallback={"popular": str(tmp_path / "popular.txt")})
    model.scores = [float("nan")] * 10
    answer = shop.recommend(user_id="u1")
    assert answer["fallback"] == "model_refused" and answer["model"] is None
    assert answer["items"] == [{"item_id": "i9", "score": None, "position": 1, "reasons": []}]


@pytest.mark.parametrize("top", [1, 10, 100])
def test_top_bounds_the_answer(shop, top):
    assert len(shop.ids(user_id="u1", top=top)) == min(top, 10)
