"""The command: one JSON line per model on the standard output, the rankings in files, one sentence when it cannot."""

import json
import math
import os
import shutil

import pandas as pd
import pytest
import yaml

from benchmarks import predictions, quality
from benchmarks.search import Search
from serving import contract
from tfx_pipeline import local_runner, schema
from tfx_pipeline import settings as settings_lib

COLUMNS = ["user_id", "rank", "item_id", "score"]
TARGETS = {"u1": {"a", "c"}, "u2": {"b"}, "u5": {"f"}}
NOVEL_TARGETS = {"u1": {"c"}, "u5": {"f"}}
LOG3 = math.log2(3)
# u1 is answered a, b, z, c (z is not known), u2: c, f, b, z; u5: e, z, c, d; novel, u1: z, c, e, d; u5: z, c, d, f.
BY_HAND = {
    "n": 3,
    "n_novel": 2,
    "recall@10": 2 / 3,
    "ndcg@10": (1.5 / (1 + 1 / LOG3) + 0.5 + 0) / 3,
    "hr@10": 2 / 3,
    "novel_recall@10": 1,
    "novel_ndcg@10": (1 + 0.5) / 2,
    "novel_hr@10": 1,
}


@pytest.fixture
def command(place, tmp_path, capfd):
    """Runs the command on `place`; returns its exit code, its lines on the standard output, and the other output."""

    def run(*more):
        arguments = ["--config", str(place.config), "--task", "next_basket", "--data", str(place.data)]
        code = quality.main([*arguments, "--predictions", str(tmp_path / "out.parquet"), *map(str, more)])
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def test_a_servable_by_hand(shop, top4):
    line, rankings = quality.evaluate_servable(top4, shop.settings, shop.tables, shop.seconds("2020-03-01"))
    assert {name: line[name] for name in BY_HAND} == pytest.approx(BY_HAND)
    expected = {"model": "slice_ranker", "version": 7, "servable": str(top4 / "7"), "seed": 11, "parameters": 7}
    assert {name: line[name] for name in expected} == expected
    assert rankings[""].groupby("user_id")["item_id"].agg("".join).to_dict() == {
        "u1": "abc",
        "u2": "cfb",
        "u5": "ecd",
    }
    assert rankings["novel"].groupby("user_id")["item_id"].agg("".join).to_dict() == {"u1": "ced", "u5": "cdf"}
    assert rankings[""]["score"].tolist()[:3] == pytest.approx([2.1, 1.2, 0.6])


def test_the_window_can_end(shop, top4):
    window = shop.seconds("2020-02-01"), shop.seconds("2020-03-01")
    line, _ = quality.evaluate_servable(top4, shop.settings, shop.tables, *window)
    # Known are a, b, c, d. u1: a (1.1), z, c, e -> a, c of {a, b}; u4: c (1.6), z, e, d -> c, d of {d}.
    assert (line["n"], line["recall@10"]) == (2, pytest.approx(0.75))
    assert line["ndcg@10"] == pytest.approx((1 / (1 + 1 / LOG3) + 1 / LOG3) / 2)


def test_one_line_per_model_and_files_that_give_the_same_numbers(command, top4, tmp_path):
    code, lines, err = command("--servable", top4 / "7", "--baselines")
    assert code == 0
    assert [line["model"] for line in lines] == [
        "slice_ranker",
        "popularity",
        "recent_popularity",
        "frequency",
        "decayed_frequency",
    ]
    assert {name: lines[0][name] for name in BY_HAND} == pytest.approx(BY_HAND)
    assert "3 users, 2 of them for novel; 6 items to rank" in err
    every, novel = tmp_path / "out.parquet", tmp_path / "out_novel.parquet"
    assert pd.read_parquet(every).columns.tolist() == COLUMNS
    for name, value in predictions.score_predictions(every, TARGETS).items():
        assert lines[0][name] == value
    for name, value in predictions.score_predictions(novel, NOVEL_TARGETS).items():
        assert lines[0][f"novel_{name}"] == value
    low, high = lines[0]["ndcg@10_95"]
    assert 0 <= low <= lines[0]["ndcg@10"] <= high <= 1
    # Popularity ranks a, b, d, c, e, f for all.
    by_popularity = ((1 + 1 / math.log2(5)) / (1 + 1 / LOG3) + 1 / LOG3 + 1 / math.log2(7)) / 3
    assert lines[1]["ndcg@10"] == pytest.approx(by_popularity)
    assert lines[1]["novel_ndcg@10"] == pytest.approx((1 / LOG3 + 1 / math.log2(6)) / 2)
    assert lines[2]["novel_ndcg@10"] == pytest.approx((1 / 2 + 1 / math.log2(6)) / 2)


def left_one_out(place, shop):
    """Makes the configuration one that leaves one out."""
    content = {**shop.content, "decisions": {**shop.content["decisions"], "split": "leave_one_out"}}
    place.config.write_text(yaml.safe_dump(content))


def test_leave_one_out_by_hand(command, place, shop, top4, tmp_path):
    left_one_out(place, shop)
    code, (model, popularity, together), err = command("--task", "leave_one_out", "--servable", top4, "--baselines")
    # What is bought: u1 a, a, b, a, c; u2 b, b, z; u4 c, d; u5 e, f; u6 d, z; u3 a alone.
    assert code == 0 and "5 users; 7 items to rank" in err
    ranked = pd.read_parquet(tmp_path / "out.parquet").groupby("user_id")["item_id"].agg("".join).to_dict()
    # Of what was not had: z .9, c .6 (u2 saw it: 1.6), e .5, d .4, f .3 (u2: 1.3).
    assert ranked == {"u1": "zced", "u2": "cfze", "u4": "zedf", "u5": "zcdf", "u6": "zcef"}
    by_hand = (1 / math.log2(3) + 1 / 2 + 1 / 2 + 1 / math.log2(5) + 1) / 5
    assert (model["n"], model["recall@10"], model["ndcg@10"]) == (5, 1.0, pytest.approx(by_hand))
    assert (model["task"], model["version"], model["final"]) == ("leave_one_out", 7, False)
    # Fitted on a, a, b of u1 and b of u2; the others are in the order of their ids.
    assert (popularity["model"], together["model"], popularity["final"]) == ("popularity", "co_occurrence", False)
    ranks = {"u1": 1, "u2": 6, "u4": 3, "u5": 5, "u6": 6}
    assert popularity["ndcg@10"] == pytest.approx(sum(1 / math.log2(rank + 1) for rank in ranks.values()) / 5)
    assert together["decay"] in (0.3, 0.5, 0.7, 0.9)


def test_search_by_hand(command, place, shop, top4, tmp_path):
    left_one_out(place, shop)
    code, (line,), _ = command("--task", "search", "--servable", top4)
    assert code == 0 and (line["n"], line["n_no_history"]) == (5, 5)
    main, alone = (pd.read_parquet(tmp_path / name) for name in ("out.parquet", "out_no_history.parquet"))
    protocol = Search.build(settings_lib.load(place.config), shop.tables)
    weights, hits = shop.weights, []
    for request in protocol.parts()[0].requests:
        named = [item for item in weights if item in request.query.split()]
        rest = sorted(set(weights) - set(named), key=lambda item: -weights[item])
        assert alone[alone["user_id"] == request.user_id]["item_id"].tolist() == [*named, *rest][:4]
        had = [event[0] for event in request.history]
        rest.sort(key=lambda item: -weights[item] - had.count(item))
        assert main[main["user_id"] == request.user_id]["item_id"].tolist() == [*named, *rest][:4]
        (target,) = protocol.parts()[0].targets[request.user_id]
        hits.append(target in [*named, *rest][:4])
    assert line["recall@10"] == pytest.approx(sum(hits) / 5) and sum(hits) > 0
    assert (
        line["no_history_recall@10"] == predictions.score_predictions(alone, protocol.parts()[1].targets)["recall@10"]
    )


def test_a_task_wants_its_split(command, place, shop, top4):
    for task in ("leave_one_out", "search"):
        code, _, err = command("--task", task, "--servable", top4)
        assert code == 1 and "decisions.split is 'global_time'; expected 'leave_one_out'" in err
    left_one_out(place, shop)
    code, _, err = command("--servable", top4)
    assert code == 1 and "decisions.split is 'leave_one_out'; expected 'global_time'" in err


def test_what_libraries_print_is_not_on_the_standard_output(command, top4, monkeypatch):
    def noisy(*arguments, **keywords):
        print("a library speaks")
        os.write(1, b"so does its native code\n")
        return read(*arguments, **keywords)

    read = quality.read
    monkeypatch.setattr(quality, "read", noisy)
    code, lines, err = command("--servable", top4)
    assert (code, len(lines)) == (0, 1)
    assert "a library speaks" in err and "so does its native code" in err


def test_train_runs_the_pipeline_and_scores_what_it_pushed(command, place, top4, capfd):
    schema.main(["--config", str(place.config)])
    capfd.readouterr()
    shutil.copytree(top4, place.serving)
    # The pipeline finds that its last run had the same inputs, and that what it pushed stands.
    last = {
        "fingerprint": local_runner.fingerprint_of(place),
        "finished": "today",
        "blessed": True,
        "pushed": {"version": 7, "path": str(place.serving / "7")},
        "model_name": "ranker",
    }
    place.last_run.write_text(json.dumps(last))
    code, lines, err = command("--train")
    assert "Nothing is new: version 7 of ranker" in err
    assert code == 0 and lines[0]["servable"] == str(place.serving / "7")
    place.last_run.write_text(json.dumps({**last, "blessed": False}))
    code, lines, err = command("--train")
    assert (code, lines) == (1, []) and "was not blessed" in err


def test_what_cannot_be_scored_ends_in_a_sentence(command, place, top4, shop, tmp_path):
    for arguments, said in (
        ([], f"{place.serving}: holds no SavedModel"),
        (["--train"], "the pipeline ended with exit code 1"),  # there is no schema
        (["--train", "--servable", top4], "expected no --servable beside it"),
        (["--servable", top4, "--predictions", tmp_path / "gone" / "out.parquet"], "expected the folder"),
        (["--servable", top4, "--data", tmp_path / "gone"], "gone"),
    ):
        code, lines, err = command(*arguments)
        assert (code, lines) == (1, [])
        assert said in err.splitlines()[-1] and err.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.glob("*.parquet*"))


def test_a_model_that_was_fitted_on_the_validation_window_is_not_validated(command, place, export, top4, shop):
    """Whatever the configuration says, which may have changed since."""
    final = export(4, final=True)
    for setting in (False, True):
        place.config.write_text(yaml.safe_dump({**shop.content, "train": {"final": setting}}))
        code, lines, err = command("--validation", "--servable", final)
        assert (code, lines) == (1, []) and "does not say that the model was fitted without the validation" in err
        code, (line,), _ = command("--servable", final)
        assert (code, line["final"]) == (0, True)
        code, (line,), _ = command("--validation", "--servable", top4)
        assert (code, line["final"], line["n"], line["boundary"]) == (0, False, 2, "2020-02-01 00:00")
    code, lines, err = command("--validation", "--final", "--servable", top4)
    assert (code, lines) == (1, []) and "expected no --validation beside it" in err
    code, lines, err = command("--validation", "--train")
    assert (code, lines) == (1, []) and "expected --validation without --train" in err


def test_a_model_of_which_nothing_is_known_is_not_validated(command, top4, tmp_path):
    shutil.copytree(top4, tmp_path / "served")
    said = tmp_path / "served" / "7" / contract.RUN_FILE
    said.unlink()
    code, lines, err = command("--validation", "--servable", tmp_path / "served")
    assert (code, lines) == (1, []) and "does not say that the model was fitted without the validation" in err
    code, (line,), _ = command("--servable", tmp_path / "served")
    assert (code, line["final"]) == (0, None)
    said.write_text("{}")
    code, lines, err = command("--servable", tmp_path / "served")
    assert (code, lines) == (1, []) and f"{said}: cannot be read" in err


def test_with_validation_a_variant_is_left_at_its_validation_fit(command, change, ran, fits, top4):
    ran(change(train={"final": True}), "train", "eval", "recent", "catalogue")
    for more, final in (((), True), (("--held-out",), False), (("--validation",), False)):
        code, (_, line), err = command("--servable", top4, "--variant", "mine=train.epochs=3", *more)
        assert code == 0, err
        assert (line["variant"], line["final"], line["n"]) == ("mine", final, 2 if "--validation" in more else 3)
    assert [final for _, final in fits] == [None, {"final": False, "best_epoch": 3}]


def test_held_out_fits_again_what_was_pushed_with_the_validation_events(command, change, ran, fits, top4, tmp_path):
    ran(change(train={"final": True}), "train", "eval", "recent", "catalogue")
    shutil.copytree(top4, tmp_path / "served")
    for knows, names in ((False, []), (True, ["all_parts"])):
        (tmp_path / "served" / "7" / contract.RUN_FILE).write_text(json.dumps({"final": knows}))
        code, (first, *lines), err = command("--servable", tmp_path / "served", "--held-out")
        assert code == 0, err
        assert first["final"] == knows and [(line["variant"], line["final"]) for line in lines] == [
            (name, False) for name in names
        ]
    assert [final for _, final in fits] == [None]


def test_each_seed_is_fitted_and_with_final_each_twice(command, change, ran, fits, top4, tmp_path):
    ran(change(), "train", "eval", "recent", "catalogue")
    arguments = ("--servable", top4, "--variant", "mine=train.epochs=3", "--seed", 3, "--seed", 4, "--final")
    code, (pushed, *lines), err = command(*arguments)
    assert code == 0, err
    found = [(line["variant"], line["seed"], line["final"]) for line in lines]
    assert found == [
        (name, seed, final) for name in ("all_parts", "mine") for seed in (3, 4) for final in (False, True)
    ]
    assert [final is not None for _, final in fits] == [False, True] * 4
    assert all(line["ndcg@10"] == pushed["ndcg@10"] and line["seconds_to_fit"] >= 0 for line in lines)
    files = {file.stem for file in tmp_path.glob("out_mine_3*.parquet")}
    assert files == {"out_mine_3", "out_mine_3_novel", "out_mine_3_final", "out_mine_3_final_novel"}
    every = predictions.score_predictions(tmp_path / "out_mine_3_final.parquet", TARGETS)
    assert every["ndcg@10"] == lines[5]["ndcg@10"]


def test_a_fit_is_compared_with_the_configuration_of_the_same_seed(command, change, ran, fits, top4, shop, tmp_path):
    ran(change(), "train", "eval", "catalogue")
    arguments = ("--variant", "other=train.seed=4", "--variant", "mine=train.epochs=2")
    served = tmp_path / "served"
    shutil.copytree(top4, served)
    model = settings_lib.to_dict(shop.settings.model)
    for fitted, seed, compared in ((model, 11, [False, True]), (model, 4, [True, False]), ({**model, "a": 1}, 11, [])):
        (served / "7" / contract.RUN_FILE).write_text(json.dumps({"final": False, "seed": seed}))
        (served / "7" / contract.WARM_START_FILE).write_text(json.dumps({"model": fitted}))
        code, (pushed, other, mine), err = command("--servable", served, *arguments)
        assert code == 0, err
        assert pushed["seed"] == seed and "ndcg@10_more" not in pushed
        assert ["ndcg@10_more" in line for line in (other, mine)] == (compared or [False, False])
    _, (_, itself, mine), _ = command("--servable", top4, "--variant", "mine=train.epochs=2", "--seed", 4)
    for line in (itself, mine):
        assert (line["ndcg@10_more"], line["novel_ndcg@10_more_95"]) == (0, [0, 0])


def test_the_difference_of_two_rankings_by_hand(shop, top4):
    protocol = quality.checked(quality.NextBasket.build(shop.settings, shop.tables, shop.seconds("2020-03-01")))
    _, rankings = quality._evaluate_servable(top4, shop.settings, protocol)
    lost = {name: ranking[ranking["user_id"] != "u1"] for name, ranking in rankings.items()}
    found = quality._differences(protocol, rankings, lost)
    assert found["ndcg@10_more"] == pytest.approx(1.5 / (1 + 1 / LOG3) / 3)
    assert found["novel_ndcg@10_more"] == pytest.approx(1 / 2) and found["novel_ndcg@10_more_95"] == [0, 1]


def test_what_was_scored_is_not_scored_again(command, change, ran, fits, top4, tmp_path, monkeypatch):
    place = change()
    ran(place, "train", "eval", "catalogue")
    arguments = ("--servable", top4, "--variant", "mine=train.epochs=3")
    _, (_, first), _ = command(*arguments)
    asked = []
    evaluate = quality._evaluate_servable

    def counted(path, *rest):
        asked.append(path)
        return evaluate(path, *rest)

    monkeypatch.setattr(quality, "_evaluate_servable", counted)
    (tmp_path / "out_mine_11.parquet").unlink()
    code, (_, again), err = command(*arguments)
    assert (code, again) == (0, first), err
    assert asked == [top4 / "7"] and len(fits) == 1
    assert predictions.score_predictions(tmp_path / "out_mine_11.parquet", TARGETS)["ndcg@10"] == first["ndcg@10"]
    code, (_, line), _ = command(*arguments, "--validation")  # another question
    assert (len(asked), len(fits), line["boundary"]) == (3, 1, "2020-02-01 00:00")
