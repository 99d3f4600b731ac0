"""The demo without its pipeline: who asks, what is judged, what is shown, and that nothing is left running."""

import dataclasses
import io
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from models import features
from serving import contract
from serving.results import UserProfile
from tfx_pipeline import demo, demo_questions, demo_screen, local_runner
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables import read as raw_tables
from tfx_pipeline.raw_tables import synthetic
from tfx_pipeline.raw_tables.rejects import DataError
from tfx_pipeline.raw_tables.synthetic_world import ShopSettings

CONTEXT = synthetic.CONTEXT_COLUMNS


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A small shop and the demo's settings."""
    data = tmp_path_factory.mktemp("shop") / "data"
    synthetic.write(ShopSettings(users=200, items=300, days=60), data)
    settings = settings_lib.load(demo.CONFIG)
    return prepare(raw_tables.read(settings.data, data), settings)


# --- who asks, and what ------------------------------------------------------------------------------------------
def test_every_category_asked_for_is_one_of_the_shop(shop):
    for queries in demo_questions.QUERIES.values():
        assert set(queries.values()) <= set(shop.builder.table.categories)
    assert list(demo_questions.QUERIES) == list(demo_questions.LANGUAGES) == list(demo_questions.SENTENCES)


def test_shoppers_with_a_past_and_without_in_both_languages(shop):
    shoppers = demo_questions.find_shoppers(shop)
    assert shoppers == demo_questions.find_shoppers(shop)
    assert [shopper.language for shopper in shoppers] == ["en", "zh", "en", "zh"]
    events = shop.tables.events
    for shopper in shoppers[:2]:
        request = shopper.request
        own = events[(events["user_id"] == request.user_id) & (events["item_id"] != "")]
        own = own[own["event_type"] != "impression"].sort_values("timestamp", kind="stable")
        assert sorted(request.history) == sorted(zip(own["item_id"], own["event_type"], own["timestamp"], strict=True))
        assert request.request_time > max(when for _, _, when in request.history)
        row = shop.tables.users.set_index("user_id").loc[request.user_id]
        assert demo_questions.language_of(row["free_text"]) == shopper.language
        assert shopper.sentence == row["free_text"] and request.profile_text.startswith(row["free_text"])
        assert request.context == {column: row[column] for column in CONTEXT}
    for shopper in shoppers[2:]:
        request = shopper.request
        assert (request.user_id, request.history, dict(request.context)) == ("", (), {})
        assert request.profile_text == shopper.sentence == demo_questions.SENTENCES[shopper.language]


def test_candidates_mix_the_category_with_others(shop):
    items = shop.tables.items.set_index("item_id")
    seen = shop.tables.events[shop.tables.events["timestamp"] < shop.builder.boundaries.train_until]["item_id"]
    ids = demo_questions.candidates(shop, "Outdoor > Hiking")
    assert ids == demo_questions.candidates(shop, "Outdoor > Hiking") and len(set(ids)) == len(ids) == 30
    asked = [place for place, item in enumerate(ids) if items.loc[item, "category"] == "Outdoor > Hiking"]
    assert len(asked) == 6 and asked != list(range(6))
    assert set(ids) <= set(seen)
    with pytest.raises(DataError, match="Outdoor > Sailing"):
        demo_questions.candidates(shop, "Outdoor > Sailing")


def test_titles_come_in_the_language_of_the_shopper(shop):
    row = shop.tables.items[shop.tables.items["title"].str.contains("登山靴")].iloc[0]
    english, chinese = row["title"].split(" · ")
    for language, title in (("en", english), ("zh", chinese)):
        assert demo_questions.item_of(shop, row["item_id"], language) == demo_questions.Item(
            row["item_id"], title, row["category"]
        )
    for unknown in ("", "i9999999", "nothing"):
        with pytest.raises(DataError, match="expected one of the shop"):
            demo_questions.item_of(shop, unknown, "en")


# --- what is judged ----------------------------------------------------------------------------------------------
HIKING, TEA = (demo_questions.Item(i, t, c) for i, t, c in (("1", "boots", "Out"), ("2", "tea", "Food")))


def answers_of(hits, version=7):
    """An answer to every query of both languages, with `hits` of the first five right."""
    found = []
    for language, queries in demo_questions.QUERIES.items():
        shopper = demo_questions.Shopper("A", language, "", demo_questions.Request())
        for query in queries:
            for signature in ("search", "rank"):
                items = (HIKING,) * hits + (TEA,) * (5 - hits)
                scores = (5.0, 4.0, 3.0, 2.0, 1.0)
                found.append(demo_questions.Answer(shopper, signature, query, "Out", 300, items, scores, version))
    return found


def profile(version=7):
    return UserProfile(np.zeros(2), ["Out"], np.array([0.5]), version)


@pytest.mark.parametrize(("hits", "complaints"), [(5, 0), (3, 0), (2, 12), (0, 12)])
def test_three_of_five_are_needed(hits, complaints):
    found = demo_questions.complaints(answers_of(hits), [profile()], 7)
    assert len(found) == complaints
    assert all(f"{hits} of the first 5" in complaint for complaint in found)


def test_one_bad_answer_is_enough_to_fail():
    good = answers_of(3)
    bad = dataclasses.replace(good[-1], items=(TEA,) * 5)
    (complaint,) = demo_questions.complaints([*good[:-1], bad], [profile()], 7)
    assert complaint == "rank for '有机绿茶': 0 of the first 5 lie in 'Out'; expected at least 3."


def test_another_version_than_the_pushed_one_fails():
    for answers, profiles in ((answers_of(5, 6), []), (answers_of(5), [profile(6)])):
        (complaint,) = demo_questions.complaints(answers, profiles, 7)
        assert "expected version 7" in complaint


def test_a_language_that_was_not_asked_fails():
    english = [answer for answer in answers_of(5) if answer.shopper.language == "en"]
    found = demo_questions.complaints(english, [], 7)
    assert len(found) == 6 and all("was not asked" in complaint and "Chinese" in complaint for complaint in found)


# --- what is shown -----------------------------------------------------------------------------------------------
def screen():
    return Console(file=io.StringIO(), width=120, highlight=False)


def test_a_shopper_and_their_past_are_readable(shop):
    console = screen()
    for shopper in demo_questions.find_shoppers(shop):
        demo_screen.show_shopper(console, shop, shopper)
    shown = console.file.getvalue()
    english, chinese, *_ = demo_questions.find_shoppers(shop)
    for shopper in (english, chinese):
        assert shopper.sentence in shown and shopper.request.context["age_band"] in shown
        for item_id, kind, _ in shopper.request.history[-6:]:
            item = demo_questions.item_of(shop, item_id, shopper.language)
            line = next(line for line in shown.splitlines() if item.title in line)
            assert item.category in line and kind in shown
            assert item_id not in shown
    assert "nothing else is known" in shown


def test_a_ranking_shows_titles_categories_scores_and_what_fits():
    console = screen()
    demo_screen.show_answer(console, answers_of(2)[0])
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["1", "boots", "Out", "✓", "5.000"] in lines and ["5", "tea", "Food", "1.000"] in lines
    assert "search “waterproof hiking boots”, the first 5 of 300" in console.file.getvalue()


REPORT = {
    "blessed": True,
    "failures": [],
    "metrics": {"ndcg@10": 0.4321, "auc": None},
    "pushed": {"version": 7, "path": "/runs/demo/serving/ranker/7", "anew": True},
    "model": "/runs/demo/artifacts/Trainer/model/3",
    "tensorboard": "/runs/demo/artifacts/Trainer/model_run/3",
    "log": "/runs/demo/logs/1.log",
    "finished": "2024-04-01T00:00:00+00:00",
    "seconds": 187.5,
    "peak_bytes": {"self": 2_500_000_000, "largest_child": 100},
}


def end(report, answers, complaints):
    console = screen()
    demo_screen.show_end(console, report, answers, complaints, "/runs/demo/logs/server.log", 200.0, 3_100_000_000)
    return console.file.getvalue()


def test_the_last_screen_has_it_all():
    shown = end(REPORT, answers_of(3), [])
    for part in (
        *("Blessed", "ndcg@10 0.4321", "auc none", "version 7", "12 of 12", "3.1 GB", "2.5 GB", "3 min 07 s"),
        *(REPORT["pushed"]["path"], REPORT["tensorboard"], REPORT["log"], "server.log", "The demo succeeded"),
    ):
        assert part in shown
    assert "failed" not in shown


def test_the_last_screen_says_what_failed():
    refused = {**REPORT, "blessed": False, "pushed": None, "failures": ["ndcg@10 overall is 0.1; at least 0.2."]}
    shown = end(refused, [], ["no model was pushed."])
    for part in ("Not blessed", refused["failures"][0], REPORT["model"], "The demo failed", "no model was pushed."):
        assert part in shown
    assert "succeeded" not in shown and "/7" not in shown


# --- the tfx commands --------------------------------------------------------------------------------------------
FAKE_TFX = """
import os, pathlib, sys
print("shown by", *sys.argv[1:3]); print("noise", file=sys.stderr)
pathlib.Path(os.environ["LOCAL_HOME"], "demo").mkdir(parents=True, exist_ok=True)
if sys.argv[1] == os.environ.get("FAILS"):
    print(os.environ["SAYS"] + "\\nError while running", file=sys.stderr)
    sys.exit(3)
"""


@pytest.fixture
def tfx(tmp_path, monkeypatch):
    script = tmp_path / "tfx.py"
    script.write_text(FAKE_TFX)
    monkeypatch.setattr(demo, "tfx_command", lambda: (sys.executable, str(script)))
    return {"LOCAL_HOME": str(tmp_path / "home")}


def test_the_pipeline_is_created_then_updated_and_its_noise_goes_to_the_log(tfx, tmp_path, capfd):
    log = tmp_path / "log"
    for verb in ("create", "update"):
        console = screen()
        demo.run_pipeline(console, "demo", tfx, log)
        assert f"$ tfx pipeline {verb} --engine local --pipeline_path {demo.RUNNER}" in console.file.getvalue()
        assert "$ tfx run create --engine local --pipeline_name demo" in console.file.getvalue()
        assert log.read_text().splitlines() == [f"shown by pipeline {verb}", "noise", "noise"]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("shown by run create\n" * 2, "")


@pytest.mark.parametrize(
    ("command", "says", "cause"),
    [
        ("pipeline", "error: the shop is closed.", "the shop is closed."),
        ("run", "error: the shop is closed.", "the shop is closed."),
        ("run", "a component failed", "see above"),
    ],
)
def test_a_command_that_fails_is_one_sentence_with_its_log(tfx, tmp_path, command, says, cause):
    with pytest.raises(demo.DemoError) as error:
        demo.run_pipeline(screen(), "demo", {**tfx, "FAILS": command, "SAYS": says}, tmp_path / "log")
    text = str(error.value)
    assert f"`tfx {command} create` ended with status 3 ({cause})" in text and str(tmp_path / "log") in text


# --- nothing is left running -------------------------------------------------------------------------------------
FAMILY = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time, signal; {deaf}; time.sleep(60)"])
time.sleep(0.5)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""
RUN = """
import pathlib, signal, sys
from tfx_pipeline import demo
# A shell that runs tests in the background hands down that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, demo._interrupt)
demo.GRACE_SECONDS = 1.0
try:
    demo.run_command((sys.executable, *sys.argv[2:]), {}, pathlib.Path(sys.argv[1]), show=False)
except KeyboardInterrupt:
    sys.exit(130)
"""


def is_running(pid: int) -> bool:
    stat = pathlib.Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("deaf", ["pass", "signal.signal(signal.SIGINT, signal.SIG_IGN)"])
def test_an_interrupt_ends_a_command_and_what_it_started(tmp_path, number, deaf):
    family, told = tmp_path / "family.py", tmp_path / "pid"
    family.write_text(FAMILY.format(deaf=deaf))
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / "log"), str(family), str(told)])
    try:
        until = time.monotonic() + 60
        while not (told.exists() and told.read_text()):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        grandchild = int(told.read_text())
        assert is_running(grandchild)
        process.send_signal(number)
        assert process.wait(60) == 130
        # Killed, it is gone when it is next scheduled; left alone, it would stay for 60 s.
        until = time.monotonic() + 20
        while is_running(grandchild):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.kill()


# --- over gRPC ---------------------------------------------------------------------------------------------------
class WordModel(tf.Module):
    """Prefers the category that a query asks for."""

    def __init__(self, shop):
        super().__init__()
        table = shop.builder.table
        asked = {query: category for queries in demo_questions.QUERIES.values() for query, category in queries.items()}
        likes = [[float(category == wanted) for category in table.categories] for wanted in asked.values()]
        self.likes = tf.constant([*likes, [0.0] * len(table.ids)])
        self.ids = tf.constant(list(table.ids))

        def place(keys, missing):
            values = tf.range(len(keys), dtype=tf.int64)
            return tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(tf.constant(list(keys)), values), missing
            )

        self.query_place, self.item_place = place(asked, len(asked)), place(table.ids, -1)

    def scores(self, inputs):
        # Scores fall a little with the place, so that the order is decided.
        rows = tf.gather(self.likes, self.query_place.lookup(inputs[features.QUERY]))
        return rows - 1e-4 * tf.range(tf.size(self.ids), dtype=tf.float32)

    def rank(self, **inputs):
        places = self.item_place.lookup(inputs[features.CANDIDATE_ITEM_IDS])
        return {contract.SCORES: tf.gather(self.scores(inputs), places, batch_dims=1)}

    def best(self, **inputs):
        best, places = tf.math.top_k(self.scores(inputs), 10)
        return {contract.ITEM_IDS: tf.gather(self.ids, places), contract.SCORES: best}

    def profile(self, **inputs):
        scores = tf.cast(inputs[contract.HISTORY_LENGTH], tf.float32)[:, None]
        tags = tf.strings.as_string(inputs[features.REQUEST_TIME])[:, None]
        return {contract.VECTOR: scores, contract.TAGS: tags, contract.TAG_SCORES: scores}

    def save(self, folder):
        kinds = {"string": tf.string, "int64": tf.int64}
        parts = {contract.RANK: self.rank, contract.RECOMMEND: self.best, contract.SEARCH: self.best}
        made = {}
        for name, function in {**parts, contract.PROFILE: self.profile}.items():
            inputs = contract.signature_inputs(name, CONTEXT)
            specs = {part.name: tf.TensorSpec([None] * part.rank, kinds[part.dtype], part.name) for part in inputs}
            made[name] = tf.function(function).get_concrete_function(**specs)
        tf.saved_model.save(self, str(folder), signatures=made)


def test_a_served_model_is_asked_in_both_languages_and_judged(shop, tmp_path):
    environment = {"PIPELINE_CONFIG": str(demo.CONFIG), "PIPELINE_DATA": "unused", "PIPELINE_ROOT": str(tmp_path)}
    place = local_runner.Place.from_environment(environment)
    WordModel(shop).save(place.serving / "7")
    console = screen()
    with demo.start_server(place, tmp_path / "server.log") as server:
        answers, profiles = demo._converse(console, shop, server.address, place)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)
    assert demo_questions.complaints(answers, profiles, 7) == []
    assert len(demo_questions.complaints(answers, profiles, 8)) == 1
    assert [len(p.tags) for p in profiles] == [1] * 4 and len(answers) == 4 + 12
    assert [p.tag_scores[0] for p in profiles[2:]] == [0.0, 0.0]
    shown = console.file.getvalue()
    assert "search “waterproof hiking boots”" in shown and "rank “防水登山靴”" in shown
    assert not any(item in shown for item in shop.builder.table.ids)
    assert {answer.hits for answer in answers if answer.category} == {5}


def test_a_server_that_cannot_serve_is_one_sentence_with_its_log(tmp_path, monkeypatch):
    def refuse(*arguments, log_file, **others):
        raise RuntimeError("The server of model `ranker` in X ended with status 255: no versions")

    monkeypatch.setattr(demo, "ServerProcess", refuse)
    environment = {"PIPELINE_CONFIG": str(demo.CONFIG), "PIPELINE_DATA": "unused", "PIPELINE_ROOT": str(tmp_path)}
    with pytest.raises(demo.DemoError) as error:
        demo.start_server(local_runner.Place.from_environment(environment), tmp_path / "server.log")
    assert "no versions" in str(error.value) and str(tmp_path / "server.log") in str(error.value)
