"""Tokens, limits, sentences: what applications meet before and beside answers."""

import json
import re

import hypothesis
import pytest
from hypothesis import strategies as st

from serving.gateway import asgi, tokens
from serving.gateway.messages import EventsBody, RecommendBody, SearchBody

RECOMMEND, SEARCH, EVENTS = "/v1/recommend", "/v1/search", "/v1/events"


@pytest.fixture
def token(tmp_path):
    return tokens.add_token(tmp_path / "tokens.yaml", "shop")


@pytest.fixture
def guarded(make_shop, token, tmp_path):
    """A gateway that asks for tokens; its requests have the right one."""

    def make(**changes):
        access = {"tokens": str(tmp_path / "tokens.yaml"), **changes.pop("access", {})}
        shop = make_shop(access=access, **changes)
        shop.headers = {"authorization": f"Bearer {token}"}
        return shop

    return make


def refused(response, status, code):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["x-request-id"]
    assert re.fullmatch(r"[^\n]+\.", error["message"])
    return error["message"]


def test_a_token_lets_in(guarded):
    shop = guarded()
    assert shop.post(RECOMMEND, {"user_id": "u1"}).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x", "Bearer {hash}"])
@pytest.mark.parametrize("path", [RECOMMEND, SEARCH, EVENTS])
def test_nothing_else_does(guarded, token, header, path):
    shop = guarded()
    hashed = tokens.Tokens.read(shop.gateway.settings.access.tokens).tokens[0].sha256
    shop.headers = {"authorization": header.format(token=token, hash=hashed)} if header else {}
    response = shop.post(path, {"user_id": "u1", "query": "q", "item_id": "i", "event_type": "view"})
    refused(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


def test_tokens_come_and_go_while_it_runs(guarded, tmp_path):
    shop = guarded()
    file = tmp_path / "tokens.yaml"
    second = tokens.add_token(file, "app")
    shop.gateway.files.look()
    assert shop.post(RECOMMEND, {}, headers={"authorization": f"Bearer {second}"}).status_code == 200
    file.write_text("tokens: []\n", encoding="utf-8")
    shop.gateway.files.look()
    refused(shop.post(RECOMMEND, {}), 401, "unauthenticated")
    file.write_text("tokens: broken\n", encoding="utf-8")
    shop.gateway.files.look()
    refused(shop.post(RECOMMEND, {}), 401, "unauthenticated")


def test_a_token_has_its_rate(guarded):
    shop = guarded(access={"rate": 0.5, "burst": 3})
    statuses = [shop.post(RECOMMEND, {}).status_code for _ in range(3)]
    response = shop.post(RECOMMEND, {})
    assert statuses == [200] * 3
    refused(response, 429, "rate_limited")
    assert response.headers["retry-after"] in ("1", "2")
    assert shop.value("gateway_rate_limited_total", token="shop") == 1
    assert shop.value("gateway_requests_total", route=RECOMMEND, status="429") == 1


def test_probes_need_no_token(guarded, model):
    shop = guarded()
    assert shop.get("/healthz").json() == {"status": "ok"}
    assert shop.get("/readyz").json() == {"ready": True, "model": True, "store": True}
    model.close()
    shop.run(shop.gateway.look())
    response = shop.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"ready": False, "model": False, "store": True})
    assert shop.get("/healthz").status_code == 200


def test_metrics_are_a_page_for_prometheus(shop):
    shop.recommend(user_id="u1", top=2)
    page = shop.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = page.text.splitlines()
    assert 'gateway_requests_total{route="/v1/recommend",status="200"} 1.0' in lines
    assert 'gateway_answers_total{arm="all",source="model"} 1.0' in lines
    assert 'gateway_model_version{label="newest",model="toy"} 7.0' in lines
    assert 'gateway_score_count{label="newest",model="toy"} 2.0' in lines
    assert 'gateway_score_bucket{label="newest",le="5.0",model="toy"} 0.0' in lines
    assert 'gateway_score_bucket{label="newest",le="10.0",model="toy"} 2.0' in lines
    assert "gateway_items_ranked_total 10.0" in lines
    assert "u1" not in page.text.split()


@pytest.mark.parametrize(
    "path", ["/v1/recommend%0A", "/v1/recommend/", "/v1//recommend", "/v1/Recommend", "/healthz%0A"]
)
def test_a_path_that_is_almost_a_call_is_no_way_past_the_token(guarded, path):
    shop = guarded()
    shop.headers = {}
    refused(shop.post(path, {"user_id": "u1"}), 404, "not_found")


def test_paths_that_are_tried_do_not_fill_the_metrics(shop):
    for path in ("/", "/v1/recommend/", "/admin.php", "/v1/../etc/passwd", "/%00"):
        refused(shop.get(path), 404, "not_found")
    refused(shop.get(RECOMMEND), 405, "method_not_allowed")
    assert shop.value("gateway_requests_total", route="other", status="404") == 5


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_of_another_type_is_refused(shop, kind):
    refused(shop.post(RECOMMEND, content=b"{}", headers={"content-type": kind}), 415, "unsupported_media_type")


def test_a_compressed_body_is_refused(shop):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    refused(shop.post(RECOMMEND, content=b"{}", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"top": ' + b"9" * 5000 + b"}", b"nul"])
def test_what_is_no_json_is_refused(shop, body):
    response = shop.post(RECOMMEND, content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    refused(response, response.status_code, {400: "invalid_json", 422: "invalid_request"}[response.status_code])


JSON = {"content-type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (RECOMMEND, {"user": "u"}, "Unknown field `user`; expected one of user_id, session_id, top, context, exclude, "
         "region, age, page, placement."),
        (RECOMMEND, {"top": 0}, "`top` is below the limit; expected at least 1."),
        (RECOMMEND, {"top": 101}, "`top` is above the limit; expected at most 100."),
        (RECOMMEND, {"top": "5"}, "`top` is no whole number; expected one without quotes."),
        (RECOMMEND, {"top": 1.5}, "`top` is no whole number; expected one without quotes."),
        (RECOMMEND, {"top": True}, "`top` is no whole number; expected one without quotes."),
        (RECOMMEND, {"user_id": 17850}, "`user_id` is no text; expected one in quotes."),
        (RECOMMEND, {"user_id": None}, "`user_id` is null; expected a value, or no such field."),
        (RECOMMEND, {"user_id": "a" * 257}, "`user_id` is too long; expected at most 256 characters."),
        (RECOMMEND, {"user_id": "a\0b"}, "`user_id` has a control character; expected an id without one."),
        (RECOMMEND, {"user_id": "\ud800"}, "`user_id` has half a surrogate pair; expected Unicode."),
        (RECOMMEND, {"exclude": "i1"}, "`exclude` is no list; expected one."),
        (RECOMMEND, {"exclude": ["i1", ""]}, "`exclude[1]` is empty; expected a text."),
        (RECOMMEND, {"exclude": ["i"] * 1001}, "`exclude` is too long; expected at most 1000 elements."),
        (RECOMMEND, {"context": {"colour": "red"}}, "Unknown field `colour` in `context`; expected one of country."),
        (RECOMMEND, {"context": {"country": 5}}, "`context.country` is no text; expected one in quotes."),
        (RECOMMEND, {"region": "DE"}, "`region` is given, and no column is declared for it; expected none."),
        (RECOMMEND, {"age": -1}, "`age` is below the limit; expected at least 0."),
        (RECOMMEND, [], "The body is no object; expected one."),
        (SEARCH, {}, "`query` is missing."),
        (SEARCH, {"query": "  "}, "`query` is empty; expected a text."),
        (EVENTS, {}, "`events` is missing."),
        (EVENTS, {"events": []}, "`events` is empty; expected at least 1 element."),
        (EVENTS, {"events": [{"user_id": "u", "item_id": "i", "event_type": "view"}] * 501},
         "`events` is too long; expected at most 500 elements."),
        (EVENTS, {"user_id": "u", "item_id": "i"}, "`events[0].event_type` is missing."),
        (EVENTS, {"user_id": "u", "event_type": "view"},
         "`events[0]` has neither `item_id` nor `query`; expected one of them."),
        (EVENTS, {"item_id": "i", "event_type": "view"},
         "`events[0]` has no `user_id`, `session_id` or `request_id`; expected one of them."),
        (EVENTS, {"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": 10**11},
         "`events[0].timestamp` lies more than 300 seconds ahead; expected seconds since 1970-01-01 UTC."),
        (EVENTS, {"user_id": "u", "item_id": "i", "event_type": "purchase", "price": -1},
         "`events[0].price` is no amount; expected a number from 0 to 1e+09."),
        (EVENTS, {"events": [{"user_id": "u", "item_id": "i", "event_type": "view", "colour": "red"}]},
         "Unknown field `colour` in `events[0]`; expected one of user_id, session_id, item_id, event_type, timestamp, "
         "query, request_id, quantity, price."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(shop, path, body, sentence):
    response = shop.post(path, content=json.dumps(body), headers=JSON)
    assert refused(response, 422, "invalid_request") == sentence


def test_a_sentence_repeats_no_value(shop):
    secret = "anna@example.com"
    for body in ({"user_id": secret * 20}, {"context": {"country": [secret]}}, {"top": secret}, {"exclude": secret}):
        response = shop.post(RECOMMEND, body)
        assert response.status_code == 422 and secret not in response.text


def test_a_long_name_of_a_field_is_cut(shop):
    message = refused(shop.post(RECOMMEND, {"\u0000" + "a" * 5000: 1}), 422, "invalid_request")
    assert message.startswith("Unknown field `\\x00aaa") and len(message) < 200


def test_not_a_number_is_no_price(shop):
    body = '{"user_id": "u", "item_id": "i", "event_type": "purchase", "price": NaN}'
    message = refused(shop.post(EVENTS, content=body, headers=JSON), 422, "invalid_request")
    assert message.startswith("`events[0].price` is no amount")


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(shop):
    async def body():
        raise AssertionError("the body was read")
        yield b""

    headers = {**JSON, "content-length": "262145"}
    refused(shop.post(RECOMMEND, content=body(), headers=headers), 413, "too_large")


def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_large(make_shop):
    shop, sent = make_shop(limits={"body_bytes": 10_000}), []

    async def body():
        for _ in range(100):
            sent.append(1)
            yield b" " * 1000

    refused(shop.post(RECOMMEND, content=body(), headers=JSON), 413, "too_large")
    assert len(sent) <= 12


def test_too_many_at_once_are_refused(make_shop, model):
    import asyncio

    shop = make_shop(limits={"in_flight": 2})
    model.hold.clear()

    async def five():
        calls = [asyncio.ensure_future(shop._client.post(RECOMMEND, json={})) for _ in range(5)]
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 3:
            done, _ = await asyncio.wait(calls, timeout=0.05)
        model.hold.set()
        return await asyncio.gather(*calls)

    statuses = sorted(response.status_code for response in shop.run(five()))
    assert statuses == [200, 200, 503, 503, 503]
    assert shop.post(RECOMMEND, {}).status_code == 200
    assert shop.value("gateway_requests_in_progress") == 0


def test_what_goes_wrong_inside_is_told_to_nobody(shop, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("user 17850 at /srv/secret/path")

    monkeypatch.setattr(shop.gateway.shoppers, "known", broken)
    response = shop.post(RECOMMEND, {"user_id": "17850"})
    assert refused(response, 500, "internal") == "Something went wrong here."
    failed = [record for record in caplog.records if record.getMessage() == "a request failed"]
    assert failed[0].fields["error"] == "KeyError"
    assert any("gateway.py" in place for place in failed[0].fields["at"])
    assert "17850" not in str(failed[0].fields)


def test_request_ids_are_the_gateways_own(shop):
    first, second = (shop.post(RECOMMEND, {}, headers={"x-request-id": "anna@example.com"}) for _ in range(2))
    assert len({first.headers["x-request-id"], second.headers["x-request-id"]}) == 2
    assert re.fullmatch("[0-9a-f]{32}", first.headers["x-request-id"])


# --- the document ---------------------------------------------------------------------------------------------------


def test_the_document_has_every_call_with_an_example_that_holds(shop):
    document = shop.get("/openapi.json").json()
    bodies = {RECOMMEND: RecommendBody, SEARCH: SearchBody, EVENTS: EventsBody}
    for path, model in bodies.items():
        call = document["paths"][path]["post"]
        assert call["security"] == [{"bearer": []}]
        assert set(call["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "429", "503"}
        for status, response in call["responses"].items():
            schema = response["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            assert ("Error" in schema) == (status != "200")
        name = call["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        assert name == model.__name__
    schemas = document["components"]["schemas"]
    for name, body in (("RecommendBody", RecommendBody), ("SearchBody", SearchBody)):
        assert schemas[name]["additionalProperties"] is False
        body(**schemas[name]["example"])
    event, batch = schemas["EventsBody"]["anyOf"]
    assert event == {"$ref": "#/components/schemas/EventBody"}
    assert batch["properties"]["events"]["maxItems"] == 500
    EventsBody(**schemas["EventBody"]["example"])
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


# --- any body at all -------------------------------------------------------------------------------------------------

names = st.sampled_from(
    ["user_id", "session_id", "top", "context", "exclude", "region", "age", "page", "query", "events", "item_id",
     "event_type", "timestamp", "price", "quantity", "request_id", "country"]
)  # fmt: skip
texts = st.text(st.characters(), max_size=20) | st.sampled_from(["\ud800", "\0", "a" * 300, "💥", "NaN"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | texts, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(names | texts, values, max_size=6) | values


@hypothesis.settings(max_examples=100, suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
@hypothesis.given(st.sampled_from([RECOMMEND, SEARCH, EVENTS]), bodies)
def test_any_body_is_answered_or_refused_with_a_sentence(shop, path, body):
    response = shop.post(path, content=json.dumps(body), headers=JSON)
    if response.status_code != 200:
        assert response.status_code in (400, 422), response.text
        error = response.json()["error"]
        assert set(error) == {"code", "message", "request_id"}
        assert "\n" not in error["message"] and len(error["message"]) < 400


@hypothesis.settings(max_examples=100, suppress_health_check=list(hypothesis.HealthCheck), deadline=None)
@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_answered(shop, body):
    assert shop.post(EVENTS, content=body, headers=JSON).status_code in (200, 400, 422)


def test_the_routes_are_those_of_the_application(shop):
    document = shop.get("/openapi.json").json()
    assert set(document["paths"]) == {*asgi.CALLS, asgi.HEALTH, asgi.READY, asgi.METRICS}
