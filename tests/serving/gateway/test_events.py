"""What becomes of events: history, queries, outcomes."""

import pytest

from serving.experiment.log_reader import LogReader
from serving.experiment.outcome import Outcome
from serving.requests import Event

NOW = 1_711_800_000


def events(shop, *batch):
    response = shop.post("/v1/events", {"events": list(batch)} if len(batch) > 1 else batch[0])
    assert response.status_code == 200, response.text
    return response.json()["stored"], response.json()["skipped"]


def event(**more):
    return {"user_id": "u1", "item_id": "i1", "event_type": "view", "timestamp": NOW, **more}


@pytest.fixture
def store(shop):
    store = shop.gateway.shoppers.store
    return lambda call, *arguments: shop.run(getattr(store, call)(*arguments))


def test_a_batch_of_several_users_is_stored(shop, store):
    batch = [event(), event(user_id="u2", item_id="i2"), event(item_id="i3", timestamp=NOW - 5)]
    assert events(shop, *batch) == (3, 0)
    assert store("recent", "u1") == [Event("i3", "view", NOW - 5), Event("i1", "view", NOW)]
    assert store("recent", "u2") == [Event("i2", "view", NOW)]
    assert shop.value("gateway_events_total", result="stored") == 3


def test_what_is_no_history_is_skipped(shop, store):
    batch = [event(event_type="impression"), event(user_id="", session_id="s1"), event()]
    assert events(shop, *batch) == (1, 2)
    assert store("recent", "u1") == [Event("i1", "view", NOW)]
    assert shop.value("gateway_events_total", result="skipped") == 2


def test_a_query_goes_into_the_profile(shop, store):
    batch = [event(item_id="", event_type="search", query="hiking boots"), event(query="tea")]
    assert events(shop, *batch) == (2, 0)
    assert {query.text for query in store("profile", "u1").queries} == {"hiking boots", "tea"}
    assert store("recent", "u1") == [Event("i1", "view", NOW)]


def test_an_event_without_a_time_is_of_now(shop, store):
    import time

    before = int(time.time())
    taken = event()
    del taken["timestamp"]
    events(shop, taken)
    assert before <= store("recent", "u1")[0].timestamp <= time.time()


def test_clicks_and_purchases_are_outcomes(make_shop, tmp_path):
    folder = tmp_path / "outcomes"
    (tmp_path / "key").write_bytes(bytes(range(32)))
    shop = make_shop(logs={"outcomes": str(folder)}, privacy={"enabled": True, "key_file": str(tmp_path / "key")})
    bought = event(user_id="17850", event_type="purchase", price=4.5, quantity=3, request_id="r1")
    events(
        shop,
        event(),
        bought,
        event(event_type="click", price=9),
        event(user_id="", session_id="s1", event_type="click"),
    )
    shop.gateway.writer.flush()
    purchase, click, visitor = LogReader(folder, Outcome)
    assert purchase == Outcome(NOW, "purchase", "ps_dTv6zeFj51uWkPGALPNpboNOsT4qeRQO", "r1", "i1", 13.5)
    assert (click.kind, click.revenue, click.request_id) == ("click", 0, "")
    assert visitor.user_id.startswith("ps_")
    assert shop.value("gateway_outcomes_total", result="written") == 3


def test_logs_that_cannot_be_written_cost_no_answer(make_shop, tmp_path):
    folder = tmp_path / "exposures"
    shop = make_shop(logs={"exposures": str(folder)})
    folder.rmdir()
    folder.write_text("a file in its place", encoding="utf-8")
    for _ in range(3):
        shop.recommend(user_id="u1")
    shop.gateway.writer.flush()
    assert shop.value("gateway_exposures_total", result="dropped") == 3
    folder.unlink()
    folder.mkdir()
    shop.recommend(user_id="u1")
    shop.gateway.writer.flush()
    assert shop.value("gateway_exposures_total", result="written") == 1


def test_a_full_queue_drops_and_counts():
    import threading

    from serving.gateway import metrics as named
    from serving.gateway.log_writer import LogWriter
    from serving.gateway.metrics import Metrics

    metrics, begun, go_on, written = Metrics((-1.0,)), threading.Event(), threading.Event(), []
    writer = LogWriter(metrics, most_waiting=2)
    writer.put(named.EXPOSURES, lambda: (begun.set(), go_on.wait(30), written.append(0)))
    assert begun.wait(30)
    for number in (1, 2, 3):
        writer.put(named.EXPOSURES, lambda number=number: written.append(number))
    go_on.set()
    writer.flush()
    writer.close()
    assert written == [0, 1, 2]
    assert metrics.value("gateway_exposures_total", result="dropped") == 1
    assert metrics.value("gateway_exposures_total", result="written") == 3
