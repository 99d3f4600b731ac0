"""New users and new items: who is asked about, among what, and numbers by hand and from the generator."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import yaml

from benchmarks import cold_start, variants
from models.metrics import ranking_metric
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables import synthetic
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.synthetic_world import ShopSettings

SETTINGS = {
    "name": "cold",
    "data": {"context": ["country"], "users": {"path": "users.parquet"}},
    "decisions": {
        "kind": "session",
        "label_event_types": ["click"],
        "train_until": "0.4",
        "eval_until": "0.5",
        "candidates": 8,
        "negatives": 0,
    },
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A synthetic shop's folder, settings, tables, and its questions."""
    folder = tmp_path_factory.mktemp("shop")
    synthetic.write(ShopSettings(users=250, items=250, days=40, seed=2), folder)
    settings = settings_lib.from_dict(SETTINGS)
    tables = read(settings.data, folder)
    return folder, settings, tables, *cold_start.read_questions(settings, tables, validation=False)


def test_who_is_asked_about_and_among_what(asked):
    _, _, tables, questions, boundary = asked
    events = tables.events[tables.events["event_type"] != "impression"]
    first = tables.events.groupby("item_id")["timestamp"].min().to_dict()
    users, items = questions
    assert (
        (users.name, items.name) == ("new_users", "new_items") and len(users.requests) > 5 and len(items.requests) > 5
    )
    known = {item for item, time in first.items() if time < boundary and item}
    for request, targets in zip(users.requests, users.targets, strict=True):
        own = events[events["user_id"] == request.user_id]
        assert request.request_time >= boundary and not request.history
        assert (own["timestamp"] >= request.request_time).all()
        assert set(request.candidates) == known and targets <= known
    for request, targets in zip(items.requests, items.targets, strict=True):
        assert all(first.get(item, boundary) >= boundary for item in request.candidates)
        assert targets <= set(request.candidates) and all(request.candidate_text)


def test_baselines_know_what_they_should(asked):
    folder, settings, tables, questions, boundary = asked
    for question in questions:
        scores = dict(cold_start.baselines(settings, tables, folder, question, boundary))
        means = {name: question.ndcg(rows).mean() for name, rows in scores.items()}
        assert means["oracle"] > max(means["chance"], means["popularity"], means["text_knn"])
        assert means["text_knn"] > means["chance"]
        if question.name == "new_items":
            assert means["popularity"] == pytest.approx(means["chance"])
        # Ties count as their mean: chance is the expectation of a random order.
        labels = np.array([[item in question.targets[0] for item in question.requests[0].candidates]], np.float32)
        rng = np.random.default_rng(0)
        drawn = [ranking_metric("ndcg@10")(labels, rng.random(labels.shape))[0][0] for _ in range(3000)]
        assert question.ndcg(scores["chance"])[0] == pytest.approx(np.mean(drawn), abs=0.02)


def test_the_oracle_scores_what_was_clicked_higher(asked):
    folder, _, tables, questions, _ = asked
    scores = cold_start.oracle_scores(folder, tables, questions[0])
    gains = []
    for request, targets, row in zip(questions[0].requests, questions[0].targets, scores, strict=True):
        chosen = np.array([item in targets for item in request.candidates])
        gains.append(row[chosen].mean() - row[~chosen].mean())
    assert np.mean(gains) > 1


def test_the_command(asked, export, tmp_path, monkeypatch, capsys):
    folder, *_ = asked
    config = tmp_path / "cold.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    seen = []

    class Toy:
        def __init__(self, path, context, signature):
            assert signature == "rank"
            self.place, self.final = str(path), False

        def score(self, requests):
            seen.append(len(requests))
            return [-np.arange(len(request.candidates), dtype=float) for request in requests]

    monkeypatch.setattr(cold_start, "Servable", Toy)
    arguments = ["--config", str(config), "--data", str(folder), "--servable", str(export(4))]
    assert cold_start.main(arguments) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names, kinds = ["chance", "oracle", "popularity", "text_knn"], ("new_users", "new_items")
    expected = [(kind, name) for kind in kinds for name in names] + [(kind, "slice_ranker") for kind in kinds]
    assert [(line["question"], line["model"]) for line in lines] == expected
    assert [line["n"] for line in lines[-2:]] == seen == [lines[0]["n"], lines[4]["n"]]
    for line in lines:
        assert line["ndcg@10_95"][0] <= line["ndcg@10"] <= line["ndcg@10_95"][1]
    assert [line.get("share_of_oracle") for line in lines[:2]] == [None, 1] and lines[2]["share_of_oracle"] < 1


def test_variants_and_seeds_are_fitted_and_asked(asked, export, tmp_path, monkeypatch, capsys):
    folder, *_ = asked
    config = tmp_path / "cold.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    fitted = []

    class Toy:
        def __init__(self, path, context, signature):
            self.place, self.final = str(path), False

        def score(self, requests):
            # What was fitted knows the best order backwards.
            sign = 1.0 if self.place.startswith("fit") else -1.0
            return [sign * np.arange(len(request.candidates)) for request in requests]

    def fit(variant, place, *, validation):
        assert validation is False
        fitted.append((variant.name, variant.settings.train.seed, variant.settings.model.use_attributes))
        return variants.Fit(pathlib.Path(f"fit{len(fitted)}"), 2.04)

    monkeypatch.setattr(cold_start, "Servable", Toy)
    monkeypatch.setattr(variants, "fit", fit)
    arguments = ["--config", str(config), "--data", str(folder), "--servable", str(export(4))]
    arguments += ["--variant", "plain=model.use_attributes=false,train.seed=5"]
    assert cold_start.main(arguments) == 0
    assert fitted == [("plain", 5, False)]
    fitted.clear()
    capsys.readouterr()
    assert cold_start.main([*arguments, "--seed", "3", "--seed", "4"]) == 0
    assert fitted == [("all_parts", 3, True), ("all_parts", 4, True), ("plain", 3, False), ("plain", 4, False)]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    models = [line for line in lines if line["question"] == "new_items" and "servable" in line]
    said = [(line.get("variant"), line["seed"], line["servable"]) for line in models[1:]]
    assert said == [(name, seed, f"fit{n}") for n, (name, seed, _) in enumerate(fitted, 1)]
    assert models[0]["ndcg@10"] != models[1]["ndcg@10"] == models[4]["ndcg@10"] and models[1]["seconds_to_fit"] == 2.0


def test_it_needs_sessions_and_something_after_the_window(asked):
    _, settings, tables, *_ = asked
    for change, said in (
        ({"kind": "window"}, "expected kind `session`"),
        ({"eval_until": "1.0"}, "nothing comes after"),
    ):
        other = dataclasses.replace(settings, decisions=dataclasses.replace(settings.decisions, **change))
        with pytest.raises(settings_lib.SettingsError, match=said):
            cold_start.read_questions(other, tables, validation=False)
