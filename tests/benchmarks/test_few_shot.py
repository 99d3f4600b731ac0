"""The few-shot benchmark: prompts as tokens, tasks from tables, and the interval."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import few_shot, few_shot_tasks
from models import wordpiece
from tfx_pipeline.raw_tables.rejects import DataError

SPECIAL = wordpiece.special_tokens(wordpiece.load_vocabulary(wordpiece.PACKAGED_MINILM))


def tokenize(text):
    return [SPECIAL.mask if word == "[MASK]" else 5000 + len(word) for word in text.split()]


def test_a_long_text_leaves_the_pattern_whole():
    short, long = few_shot.encode(["a bb", "a bb ccc dddd eeeee"], "{text} is a [MASK] thing", tokenize, 9)
    assert short.tolist() == [SPECIAL.cls, 5001, 5002, 5002, 5001, SPECIAL.mask, 5005, SPECIAL.sep, SPECIAL.pad]
    assert long.tolist() == [SPECIAL.cls, 5001, 5002, 5003, 5002, 5001, SPECIAL.mask, 5005, SPECIAL.sep]


def test_a_rare_class_keeps_enough_for_the_examples():
    labels = np.repeat([0, 1, 2], [90, 20, 10])
    test, pool = few_shot.parted(labels, 40, 9, np.random.default_rng(0))
    assert len(test) == 40 and sorted([*test, *pool]) == list(range(120))
    assert np.bincount(labels[pool]).min() >= 9
    assert np.bincount(labels[few_shot.parted(labels, 500, 9, np.random.default_rng(0))[0]]).sum() == 60


def test_the_interval_is_students():
    # t(0.975, 4) = 2.776, standard error of 1..5 = sqrt(2.5 / 5)
    low, high = few_shot.confidence([1.0, 2.0, 3.0, 4.0, 5.0])
    assert high - 3 == pytest.approx(2.776 * np.sqrt(0.5), abs=1e-3)
    assert 3 - low == pytest.approx(high - 3)


def test_reviews_are_liked_or_disliked(tmp_path):
    frame = pd.DataFrame({"rating": [5.0, 4, 3, 2, 1, 5], "text": ["a", "b", "c", "d", "e", "a"]})
    frame.to_parquet(tmp_path / "reviews.parquet")
    task = few_shot_tasks.read("sentiment", tmp_path)
    assert dict(zip(task.texts, task.labels.tolist(), strict=True)) == {"a": 1, "b": 1, "d": 0, "e": 0}


def test_titles_come_in_two_languages(tmp_path):
    titles = ["soft face cream · 柔软 面霜", "dog bed · 狗窝"]
    frame = pd.DataFrame({"title": titles, "category": ["Beauty > Skincare", "Pets > Pet Supplies"]})
    frame.to_parquet(tmp_path / "items.parquet")
    english, chinese = (few_shot_tasks.read(name, tmp_path) for name in ("category", "category_zh"))
    assert english.texts == ["soft face cream", "dog bed"]
    assert chinese.texts == ["柔软 面霜", "狗窝"]
    assert [english.words[label][0] for label in english.labels] == ["beauty", "pet"]


def test_a_console_is_told_by_one_name_and_without_it(tmp_path):
    file = tmp_path / "games.item"
    titles = ["Racing Wheel for Xbox 360", "Halo - PS3 and Xbox", "Kart Racing - Nintendo Wii", "Chess Set", "PS4"]
    lines = "".join(f"{row}\t{title}\n" for row, title in enumerate(titles))
    file.write_text(f"item_id:token\ttitle:token_seq\n{lines}", encoding="utf-8")
    task = few_shot_tasks.read("platform", file)
    assert task.texts == ["Racing Wheel for", "Kart Racing"]
    assert [task.words[label][0] for label in task.labels] == ["xbox", "nintendo"]


def test_what_cannot_be_read_is_one_sentence(tmp_path, capsys):
    with pytest.raises(DataError, match="holds no texts for the task category"):
        few_shot_tasks.read("category", tmp_path)
    assert few_shot.main(["--data", str(tmp_path), "--task", "sentiment"]) == 1
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("task", few_shot_tasks.TASKS)
def test_words_of_a_verbalizer_are_one_piece_each(task, tmp_path, monkeypatch):
    """A word of several pieces cannot stand at one [MASK]."""
    entries = set(wordpiece.load_vocabulary(wordpiece.PACKAGED_MINILM))
    frame = pd.DataFrame({"title": ["a · b"], "category": ["Pets"], "rating": [5.0], "text": ["x"]})
    frame.to_parquet(tmp_path / "items.parquet")
    frame.to_parquet(tmp_path / "reviews.parquet")
    (tmp_path / "games.item").write_text("item_id:token\ttitle:token_seq\n1\tA game for Xbox\n")
    data = tmp_path / "games.item" if task == "platform" else tmp_path
    for words in few_shot_tasks.read(task, data).words:
        assert set(words) <= entries
