"""Canaries that are promoted or rolled back by themselves: planted bad ones, good ones, and nothing to say."""

import json
import time

import grpc
import numpy as np
import prometheus_client
import pytest
import yaml

from serving import protos
from serving.client.connection import Connection
from serving.experiment.exposure import Exposure
from serving.experiment.exposure_log import ExposureLog
from serving.experiment.outcome import Outcome
from serving.experiment.outcome_log import OutcomeLog
from serving.release import health
from serving.release.errors import ReleaseError
from serving.release.selector import Selector
from serving.release.state import State
from serving.release.traffic import Counts, Traffic, read_page
from serving.release.watch import Watch
from serving.release.watch_settings import ArmMetrics, WatchSettings

LIMITS = WatchSettings(least_requests=200)


class Gateway:
    """Asks the labels as a gateway does, and counts as it does, on a page for Prometheus."""

    def __init__(self, address):
        self.registry = prometheus_client.CollectorRegistry()
        self.answers = prometheus_client.Counter("gateway_answers_total", "", ("arm", "source"), registry=self.registry)
        self.seconds = prometheus_client.Histogram("gateway_seconds", "", ("arm",), registry=self.registry)
        self._channel, self._calls = Connection((address,)).open(grpc)
        self._server, self._thread = prometheus_client.start_http_server(0, "127.0.0.1", self.registry)
        self.page = f"http://127.0.0.1:{self._server.server_port}/metrics"

    def ask(self, requests, arms=("stable", "canary")):
        for arm in arms:
            question = protos.PredictRequest()
            question.model_spec.name, question.model_spec.version_label = "ranker", arm
            for _ in range(requests):
                source = "model"
                with self.seconds.labels(arm).time():
                    try:
                        self._calls["Predict"](question, timeout=20)
                    except grpc.RpcError:
                        source = "fallback"
                self.answers.labels(arm, source).inc()

    def close(self):
        self._channel.close()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def watched(shop):
    """A canary, a gateway that asks for it, and a watch whose pauses are traffic."""
    shop.experimented()
    release = shop.started(3, 5)
    gateway = Gateway(shop.servers[0].address)

    def metrics(arm):
        return {
            "pages": [gateway.page],
            "requests": f'gateway_answers_total{{arm="{arm}"}}',
            "errors": f'gateway_answers_total{{arm="{arm}",source!="model",source!="rules"}}',
            "latency": f'gateway_seconds{{arm="{arm}"}}',
        }

    def make(pause=lambda _: gateway.ask(50), **watch):
        limits = {"least_requests": 100, "max_latency_ratio": 100}  # of latency: the machine may be busy
        watch = {"stable": metrics("stable"), "canary": metrics("canary"), **limits, **watch}
        release = shop.release(watch=watch, winner_file="winner.yaml")
        release.canary(5, 0.5)
        return Watch(release, shop.said.append, pause)

    make.gateway, make.release = gateway, release
    yield make
    gateway.close()


def test_a_canary_that_fails_is_rolled_back(shop, watched):
    server = shop.servers[0]
    server.faults[5] = (grpc.StatusCode.INTERNAL, "planted")
    shop.ask(("stable",))
    verdict = watched().run()
    assert verdict.action == "rollback"
    assert verdict.reason == "100 of 100 requests to the canary failed, and 0 of 100 to stable"
    assert server.labels() == {"stable": 3, "canary": 3} and server.loaded() == [3]
    assert watched.release.steps.state() == State(3, 3, 0.0)
    last = watched.release.journal.read()[-1]
    assert (last.action, last.reason) == ("rollback", verdict.reason)
    assert last.details["canary"]["errors"] == 100 and last.details["stable"]["errors"] == 0
    assert shop.answered()[0] == []
    assert not (shop.home / "winner.yaml").exists()


def test_a_canary_that_fails_now_and_then_is_rolled_back(shop, watched):
    def pause(_):
        watched.gateway.ask(40)
        shop.servers[0].faults[5] = (grpc.StatusCode.INTERNAL, "planted")
        watched.gateway.ask(20, ("canary",))
        shop.servers[0].faults.clear()

    verdict = watched(pause).run()
    assert verdict.action == "rollback" and "requests to the canary failed" in verdict.reason


def test_a_slow_canary_is_rolled_back(shop, watched):
    shop.servers[0].delays[5] = 0.05
    verdict = watched(least_requests=50, max_latency_ratio=1.5).run()
    assert verdict.action == "rollback"
    assert "times as long as those to stable, over 50 requests; expected at most 1.5 times" in verdict.reason
    assert watched.release.steps.state() == State(3, 3)


def test_a_canary_that_a_server_cannot_load_is_rolled_back(shop, watched):
    watch = watched()
    server = shop.servers[0]
    server._states["ranker"][5][:3] = [50, 8, "no memory"]
    assert watch.run().reason == f"{server.address} cannot load version 5: no memory"
    assert watched.release.steps.state() == State(3, 3)


def write_logs(shop, experiment, rates, users=1500):
    """Users of each arm, a share of whom buys."""
    exposures, outcomes = ExposureLog(shop.home / "exposures"), OutcomeLog(shop.home / "outcomes")
    random, now = np.random.default_rng(1), time.time()
    for number in range(users):
        user = f"u{number}"
        arm = experiment.arm(user)
        exposures.write(Exposure(now, experiment.name, arm.name, user, f"r{number}", ("a",)))
        if random.random() < rates[arm.name]:
            outcomes.write(Outcome(now + 1, "purchase", user, f"r{number}", "a", 10.0))


LOGS = {"exposures": "exposures", "outcomes": "outcomes", "experiment_seconds": 0.01}


def test_a_winner_is_promoted_and_hands_on_its_settings(shop, watched):
    for version, rate in ((3, 0.001), (5, 0.003)):
        extra = shop.folder / str(version) / "assets.extra"
        extra.mkdir()
        (extra / "training.json").write_text(json.dumps({"settings": {"train": {"learning_rate": rate}}}))
    looks = []

    def pause(_):
        looks.append(shop.said[-1])
        watched.gateway.ask(50)
        if len(looks) == 2:
            write_logs(shop, watched.release.steps.experiment.read(), {"stable": 0.1, "canary": 0.4})

    write_logs(shop, watched.release.steps.experiment.read(), {"stable": 0.1, "canary": 0.4}, users=0)
    verdict = watched(pause, **LOGS).run()
    few = "Too few requests were counted to say whether any fail"
    assert looks == [
        f"wait: stable has 0 users; expected at least 100. {few} (stable 0, canary 0 of 100).",
        f"wait: stable has 0 users; expected at least 100. {few} (stable 50, canary 50 of 100).",
    ]
    assert verdict.action == "promote" and verdict.reason.startswith("conversion of canary is better: difference +0.")
    assert watched.release.steps.state() == State(5, 5, 0.0) and shop.servers[0].loaded() == [5]
    winner = shop.home / "winner.yaml"
    assert '# version: "5 of ranker, ' in winner.read_text()
    assert yaml.safe_load(winner.read_text()) == {"train": {"learning_rate": 0.003}}
    details = watched.release.journal.read()[-1].details
    assert details["evidence"]["conversion"]["low"] > 0 and sum(details["users"].values()) == 1500
    watched.release.settings = shop.settings(winner_file="winner.yaml")
    watched.release.rollback()
    assert yaml.safe_load(winner.read_text()) == {"train": {"learning_rate": 0.001}}


def test_a_winner_waits_until_its_requests_were_counted(shop, watched):
    (shop.home / "exposures").mkdir()
    (shop.home / "outcomes").mkdir()
    watch = watched(**LOGS)
    write_logs(shop, watched.release.steps.experiment.read(), {"stable": 0.1, "canary": 0.4})
    found = watch.look()
    assert found.action == "wait"
    assert found.reason.endswith("to say whether any fail (stable 0, canary 0 of 100).")
    watched.gateway.ask(100)
    assert watch.look().action == "promote"


def test_a_loser_is_rolled_back(shop, watched):
    (shop.home / "exposures").mkdir()
    (shop.home / "outcomes").mkdir()
    watch = watched(**LOGS)
    write_logs(shop, watched.release.steps.experiment.read(), {"stable": 0.4, "canary": 0.1})
    verdict = watch.run()
    assert verdict.action == "rollback" and verdict.reason.startswith("conversion of canary loses more than 0.0%")
    assert watched.release.steps.state() == State(3, 3, 0.0)


def test_what_ends_a_watch_besides(shop, watched):
    def pause(_):
        shop.release(by="ben").rollback()

    verdict = watched(pause).run()
    assert (verdict.action, verdict.reason) == ("gone", "there is no canary any more (stable 3)")
    with pytest.raises(ReleaseError, match="there is no canary to watch"):
        Watch(watched.release, print).run()
    watched.release.canary(5)
    with pytest.raises(ReleaseError, match="`watch` names neither metrics nor logs"):
        Watch(watched.release, print).run()


def test_a_rollback_that_a_server_misses_goes_on(shop, watched):
    server = shop.servers[0]
    server.faults[5] = (grpc.StatusCode.INTERNAL, "planted")
    pauses = []

    def pause(_):
        pauses.append(shop.said[-1])
        if len(pauses) == 1:
            watched.gateway.ask(100)
        elif len(pauses) == 2:  # the first rollback has failed
            shop.servers[0] = type(server)(shop.config, early_labels=True, port=server.port)

    watch = watched(pause)
    look = watch.look

    def closing():
        verdict = look()
        if verdict.action == "rollback":
            server.close()
        return verdict

    watch.look = closing
    assert watch.run().action == "rollback"
    assert pauses[1].startswith("wait: ") and "UNAVAILABLE" in pauses[1]
    assert watched.release.unfinished() is None and shop.servers[0].labels() == {"stable": 3, "canary": 3}


@pytest.mark.parametrize(
    ("stable", "canary", "found"),
    [
        ((1000, 0, 1.0), (199, 199, 9.0), None),
        ((199, 0, None), (1000, 0, None), None),
        ((1000, 0, 1.0), (1000, 0, 1.5), ""),
        ((1000, 0, 1.0), (1000, 0, 1.51), "1.51 times as long"),
        ((1000, 0, None), (1000, 0, 9.0), ""),
        ((1000, 10, None), (1000, 22, None), ""),
        ((1000, 100, None), (1000, 100, None), ""),
        ((10000, 100, None), (1000, 120, None), "120 of 1,000 requests to the canary failed, and 100 of 10,000"),
    ],
)
def test_what_is_wrong_with_a_canary(stable, canary, found):
    fault = health.fault(Counts(*stable), Counts(*canary), LIMITS)
    assert (fault or "x") == (found or "x") if not found else found in fault
    assert fault is not None or found is None


def test_canaries_that_are_no_worse_stay():
    """200 pairs of equal versions, of which 2% of the requests fail, looked at 50 times each."""
    random = np.random.default_rng(0)
    rolled_back = 0
    for _ in range(200):
        errors = random.binomial(100, 0.02, (2, 50)).cumsum(1)
        rolled_back += any(
            health.fault(Counts(100 * n, errors[0, n - 1], 1.0), Counts(100 * n, errors[1, n - 1], 1.0), LIMITS)
            for n in range(1, 51)
        )
    assert rolled_back <= 2


def test_counters_are_added_up_over_pages_and_restarts():
    pages = {"a": [], "b": []}
    metrics = ArmMetrics(("a", "b"), 'n{arm="x"}', 'n{arm="x",status!="OK"}', 't{arm="x"}')

    def read(page):
        if pages[page] is None:
            raise ReleaseError(f"{page} is away")
        return pages[page]

    def samples(ok, bad, seconds, count):
        return [
            ("n", {"arm": "x", "status": "OK"}, ok),
            ("n", {"arm": "x", "status": "INTERNAL"}, bad),
            ("n", {"arm": "y", "status": "INTERNAL"}, 1e6),
            ("t_sum", {"arm": "x"}, seconds),
            ("t_count", {"arm": "x"}, count),
            ("t_bucket", {"arm": "x"}, 1e6),
        ]

    traffic = Traffic(metrics, read)
    pages["a"] = samples(1000, 10, 50.0, 100)
    assert traffic.look() == Counts(0, 0, None)
    pages["a"], pages["b"] = samples(1005, 11, 53.0, 102), samples(2, 1, 2.0, 2)  # b had no series yet
    assert traffic.look() == Counts(9, 2, 1.25)
    pages["a"] = samples(3, 0, 0.0, 0)  # started anew
    assert traffic.look() == Counts(12, 2, 1.25)
    pages["a"] = None
    assert traffic.look() == Counts(12, 2, 1.25) and traffic.unread == ["a is away"]
    pages["a"] = samples(4, 0, 0.0, 0)
    assert traffic.look() == Counts(13, 2, 1.25) and traffic.unread == []
    pages["a"] = pages["b"] = None
    with pytest.raises(ReleaseError, match="b is away"):
        traffic.look()


TENSORFLOW_SERVING = """\
# TYPE :tensorflow:serving:request_count counter
:tensorflow:serving:request_count{model_name="ranker",status="OK"} 7
:tensorflow:serving:request_count{model_name="ranker",status="INTERNAL"} 2
:tensorflow:serving:request_count{model_name="other",status="INTERNAL"} 5
# TYPE :tensorflow:serving:request_latency histogram
:tensorflow:serving:request_latency_bucket{model_name="ranker",API="Predict",entrypoint="GRPC",le="10"} 1
:tensorflow:serving:request_latency_bucket{model_name="ranker",API="Predict",entrypoint="GRPC",le="+Inf"} 7
:tensorflow:serving:request_latency_sum{model_name="ranker",API="Predict",entrypoint="GRPC"} 700
:tensorflow:serving:request_latency_count{model_name="ranker",API="Predict",entrypoint="GRPC"} 7
"""


def test_tensorflow_servings_own_page_is_read(tmp_path):
    page = tmp_path / "metrics"
    page.write_text(TENSORFLOW_SERVING)
    samples = read_page(page.as_uri())

    def total(text):
        selector = Selector.parse(text)
        return sum(value for name, labels, value in samples if selector.matches(name, labels))

    assert total(':tensorflow:serving:request_count{model_name="ranker"}') == 9
    assert total(':tensorflow:serving:request_count{model_name="ranker",status!="OK"}') == 2
    assert total(':tensorflow:serving:request_latency_sum{model_name="ranker"}') == 700
    with pytest.raises(ReleaseError, match="holds no metrics that could be read"):
        read_page(f"{page.as_uri()}.gone")
    page.write_text("<html>no metrics</html>")
    with pytest.raises(ReleaseError, match="holds no metrics that could be read"):
        read_page(page.as_uri())


@pytest.mark.parametrize("text", ["", "a{", "a{b}", 'a{b="c"', 'a{b="c" d="e"}', "a{b='c'}", 'a{b=~"c"}', "a b"])
def test_what_selects_no_series(text):
    with pytest.raises(ValueError, match="selects no series"):
        Selector.parse(text)


def test_selectors():
    selector = Selector.parse(' a:b_total { x="1, 2}" , y != "\\"\\\\\\n", } ')
    assert selector == Selector("a:b_total", (("x", "1, 2}"),), (("y", '"\\\n'),))
    assert Selector.parse('a{b=""}').matches("a", {}) and not Selector.parse('a{b!=""}').matches("a", {})
    assert Selector.parse("a").matches("a_total", {"b": "c"}) and not Selector.parse("a").matches("ab", {})
