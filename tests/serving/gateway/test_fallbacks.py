"""What is answered when something is not there, and that all is well when it is back."""

import asyncio
import time

import fakeredis
import grpc
import pytest

from serving.store.async_redis_store import AsyncRedisStore
from serving.store.errors import StoreError

RULES = """
unknown_items: keep
lists:
  welcome: [i9, i8]
  down: [i5, i4, i3]
rules:
  - {name: hello, kind: fallback, on: new_user, list: welcome, when: {page: home}}
  - {name: lifeboat, kind: fallback, on: model_down, list: down, when: {page: home}}
"""


@pytest.fixture
def with_rules(make_shop, tmp_path):
    def make(text=RULES, **changes):
        (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "items.csv").write_text("item_id\n" + "".join(f"i{n}\n" for n in range(10)), encoding="utf-8")
        return make_shop(rules=str(tmp_path / "rules.yaml"), items=str(tmp_path / "items.csv"), **changes)

    return make


def click(shop, user="u1", item="i7"):
    response = shop.post("/v1/events", {"user_id": user, "item_id": item, "event_type": "click"})
    assert response.status_code == 200, response.text


def test_a_new_user_is_answered_by_the_rules_without_the_model(with_rules, model):
    shop = with_rules()
    asked = len(model.calls)
    answer = shop.recommend(user_id="u1", page="home")
    assert [item["item_id"] for item in answer["items"]] == ["i9", "i8"]
    assert (answer["fallback"], answer["model"]) == ("new_user", None)
    assert answer["items"][0] == {"item_id": "i9", "score": None, "position": 1, "reasons": ["hello"]}
    assert {"name": "hello", "kind": "fallback", "items": 2} in answer["rules"]
    assert len(model.calls) == asked
    assert shop.value("gateway_answers_total", arm="all", source="rules") == 1
    assert shop.value("gateway_answers_total", arm="all", source="fallback") is None
    click(shop)
    assert shop.recommend(user_id="u1", page="home")["fallback"] is None
    assert shop.recommend(user_id="u2", page="cart")["fallback"] is None


def test_the_rules_list_answers_when_the_model_is_down(with_rules, model):
    shop = with_rules()
    click(shop)
    model.close()
    answer = shop.recommend(user_id="u1", page="home", top=2)
    assert [item["item_id"] for item in answer["items"]] == ["i5", "i4"]
    assert (answer["fallback"], answer["model"]) == ("model_unavailable", None)
    # Elsewhere no rule holds: what the model recommended last to nobody.
    answer = shop.recommend(user_id="u1", page="cart", top=2)
    assert [item["item_id"] for item in answer["items"]] == ["i0", "i1"]
    assert answer["items"][0]["score"] is None
    assert shop.value("gateway_fallbacks_total", reason="model_unavailable") == 2


def test_the_model_comes_back_without_a_restart(make_shop, make_model, model):
    shop = make_shop()
    model.close()
    assert shop.recommend(user_id="u1")["fallback"] == "model_unavailable"
    again = make_model(8, port=model.port)

    def answers():
        for _ in range(300):
            yield shop.recommend(user_id="u1")
            shop.run(asyncio.sleep(0.05))  # gRPC connects again after a pause of its own

    found = next(answer for answer in answers() if answer["fallback"] is None)
    assert found["model"] == {"name": "toy", "version": again.number}


def test_a_model_that_hangs_costs_its_time_limit(make_shop, model):
    shop = make_shop(model={"timeout_ms": 1000})
    model.hold.clear()
    began = time.monotonic()
    assert shop.recommend(user_id="u1")["fallback"] == "model_timeout"
    assert 0.9 < time.monotonic() - began < 10
    assert model.given_up.wait(10)
    assert shop.value("gateway_model_errors_total", model="toy", code="DEADLINE_EXCEEDED") == 1
    model.hold.set()


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND])
def test_a_model_that_refuses_is_told_from_one_that_is_gone(shop, model, code):
    model.failures.append((code, "a text of the server's"))
    response = shop.post("/v1/recommend", {"user_id": "u1"})
    assert response.json()["fallback"] == "model_refused"
    assert "a text of the server" not in response.text


def test_without_anything_to_answer_one_sentence_says_so(make_shop, model):
    shop = make_shop(look=False)
    model.close()
    response = shop.post("/v1/recommend", {"user_id": "u1"})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    error = response.json()["error"]
    assert error["code"] == "unavailable" and "127.0.0.1" not in error["message"]


def test_popular_items_follow_their_file(make_shop, model, tmp_path):
    file = tmp_path / "popular.txt"
    file.write_text("i4\ni2\n", encoding="utf-8")
    shop = make_shop(fallback={"popular": str(file)})
    assert shop.value("gateway_popular_items") == 2
    model.close()
    assert shop.ids(user_id="u1") == ["i4", "i2"]
    file.write_text("i6\n", encoding="utf-8")
    shop.gateway.files.look()
    assert shop.ids(user_id="u1") == ["i6"]
    file.unlink()
    shop.gateway.files.look()
    assert shop.ids(user_id="u1") == ["i6"]


def test_popular_items_are_learned_from_the_model(make_shop, model):
    shop = make_shop(fallback={"learn_seconds": 0.05})
    assert shop.value("gateway_popular_items") == 10
    model.close()
    shop.run(shop.gateway.look())
    assert shop.value("gateway_popular_items") == 10
    assert shop.value("gateway_dependency_up", dependency="model") == 0


def test_forbidden_items_are_in_no_fallback(with_rules, model, tmp_path):
    forbidden = tmp_path / "forbidden.jsonl"
    forbidden.write_text('{"item_id": "i0"}\n', encoding="utf-8")
    shop = with_rules(RULES + "forbidden: [forbidden.jsonl]\ncheck_every_ms: 0\n")
    assert "i0" not in shop.ids(user_id="u1")
    model.close()
    assert shop.ids(user_id="u1", top=2) == ["i1", "i2"]
    forbidden.write_text('{"item_id": "i0"}\n{"item_id": "i5"}\n', encoding="utf-8")
    assert shop.ids(user_id="u1", page="cart", top=5) == ["i1", "i2", "i3", "i4", "i6"]
    # Whatever came from the model or in its place: ten to choose from in each of three answers.
    assert shop.value("gateway_items_ranked_total") == 30
    assert shop.value("gateway_items_rejected_total", rule="forbidden") == 1 + 1 + 2


def test_a_review_decision_changes_the_next_answer(with_rules, tmp_path):
    from serving.review.queue import ReviewQueue

    (tmp_path / "review").mkdir()
    shop = with_rules(RULES + "review: {dir: review, pending: hide}\ncheck_every_ms: 0\n")
    queue = ReviewQueue(tmp_path / "review")
    assert "i0" in shop.ids(user_id="u1")
    queue.flag("i0", "a copy", source="support")
    answer = shop.recommend(user_id="u1")
    assert "i0" not in [item["item_id"] for item in answer["items"]]
    assert {"name": "review", "kind": "review", "items": 1} in answer["rules"]
    queue.approve("i0", by="anna")
    assert "i0" in shop.ids(user_id="u1")
    queue.ban("i0", "it is one", by="anna")
    assert "i0" not in shop.ids(user_id="u1")
    assert shop.value("gateway_items_rejected_total", rule="forbidden") == 1


def test_the_region_is_for_the_rules(make_shop, model, tmp_path):
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  - {name: sold_here, kind: region, column: country, if_unknown: drop}\n", encoding="utf-8"
    )
    (tmp_path / "items.csv").write_text("item_id,regions\ni0,DE\ni1,FR\ni2,\n", encoding="utf-8")
    shop = make_shop(rules=str(tmp_path / "rules.yaml"), items=str(tmp_path / "items.csv"), region_column="country")
    assert shop.ids(user_id="u1", context={"country": "DE"}) == ["i0", "i2"]
    assert shop.ids(user_id="u1", context={"country": "DE"}, region="FR") == ["i1", "i2"]
    assert model.asked()["country"] == b"DE"


def test_a_pinned_item_that_is_excluded_costs_no_place(with_rules):
    pin = "\n  - {name: campaign, kind: pin, item: i9, position: 1}\n"
    shop = with_rules(RULES.rstrip() + pin)
    assert shop.ids(user_id="u1", top=3) == ["i9", "i0", "i1"]
    assert shop.ids(user_id="u1", top=3, exclude=["i9"]) == ["i0", "i1", "i2"]


class Broken:
    """A store that fails, or hangs, until it is mended."""

    def __init__(self, store, hangs=False):
        self.store, self.hangs, self.broken = store, hangs, False

    def __getattr__(self, name):
        call = getattr(self.store, name)

        async def tried(*arguments):
            if self.broken and name != "close":
                if self.hangs:
                    await asyncio.Event().wait()
                raise StoreError("Redis on redis:6379 cannot be used (gone).")
            return await call(*arguments)

        return tried


@pytest.mark.parametrize("hangs", [False, True])
def test_without_the_store_answers_go_on_without_history(with_rules, model, hangs):
    store = Broken(AsyncRedisStore(fakeredis.FakeAsyncRedis()), hangs)
    shop = with_rules(online=store, store={"timeout_ms": 300})
    click(shop)
    store.broken = True
    answer = shop.recommend(user_id="u1", page="home")
    # Somebody whose history is not known is not greeted as a new user.
    assert (answer["history_known"], answer["fallback"]) == (False, None)
    assert answer["items"][0]["item_id"] == "i0"
    assert shop.value("gateway_history_missing_total") == 1
    assert shop.value("gateway_store_errors_total", operation="read") == 1
    assert shop.value("gateway_dependency_up", dependency="store") == 0
    store.broken = False
    answer = shop.recommend(user_id="u1", page="home")
    assert (answer["history_known"], answer["items"][0]["item_id"]) == (True, "i7")
    assert shop.value("gateway_dependency_up", dependency="store") == 1


@pytest.mark.parametrize("hangs", [False, True])
def test_events_that_are_not_stored_are_refused_and_may_be_sent_again(make_shop, tmp_path, hangs):
    store = Broken(AsyncRedisStore(fakeredis.FakeAsyncRedis()), hangs)
    shop = make_shop(online=store, store={"write_timeout_ms": 300}, logs={"outcomes": str(tmp_path / "outcomes")})
    store.broken = True
    event = {"user_id": "u1", "item_id": "i7", "event_type": "click", "timestamp": 1_711_800_000}
    response = shop.post("/v1/events", event)
    assert response.status_code == 503 and response.headers["retry-after"] == "1"
    assert "redis" not in response.text.lower()
    shop.gateway.writer.flush()
    assert not list((tmp_path / "outcomes").iterdir())
    store.broken = False
    for _ in range(2):  # twice, as after an answer that was lost
        assert shop.post("/v1/events", event).json()["stored"] == 1
    assert len(shop.run(store.recent("u1"))) == 1


def test_a_redis_that_is_gone_is_no_error(make_shop):
    # Nobody listens there.
    shop = make_shop(store={"url": "redis://127.0.0.1:1/0"}, look=False)
    answer = shop.recommend(user_id="u1")
    assert answer["history_known"] is False and answer["items"][0]["item_id"] == "i0"
