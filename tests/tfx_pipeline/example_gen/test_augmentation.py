"""Train decisions in other words, by a dictionary and by a hook that stands for a translator."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen import report, stages
from tfx_pipeline.example_gen.augmentation import Augmenter, read_synonyms
from tfx_pipeline.example_gen.boundaries import Boundaries
from tfx_pipeline.example_gen.decision import Decision
from tfx_pipeline.example_gen.item_table import ItemStats, ItemTable
from tfx_pipeline.settings import SettingsError
from tfx_pipeline.text_settings import AugmentationSettings

DECISION = Decision(
    split="train",
    user_id="u",
    time=100,
    profile_text="Red trousers; 防水登山靴",
    query="red jeans",
    context={},
    history_item_ids=np.array(["a"], object),
    history_event_types=np.array(["click"], object),
    history_timestamps=np.array([5]),
    candidate_item_ids=["a", "b"],
    candidate_text=["", ""],
    labels=np.array([1.0, 0.0], np.float32),
    slices={},
)


def there_and_back(text):
    """A toy translator: it reverses the order of the words, and has a second opinion."""
    words = text.split(" ")
    return [" ".join(reversed(words)), text.upper()]


@pytest.fixture
def synonyms(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text("red, crimson\ntrousers, pants\njeans, trousers\n登山靴, 徒步鞋\nalone\n", encoding="utf-8")
    return str(path)


def test_a_dictionary_has_each_phrase_with_all_of_its_groups(synonyms):
    assert read_synonyms(synonyms) == {
        "red": ["crimson"],
        "crimson": ["red"],
        "trousers": ["pants", "jeans"],
        "pants": ["trousers"],
        "jeans": ["trousers"],
        "登山靴": ["徒步鞋"],
        "徒步鞋": ["登山靴"],
    }


def test_words_are_replaced_whole_and_the_same_way_each_time(synonyms):
    augmenter = Augmenter(AugmentationSettings(synonyms=synonyms, share=1.0))
    assert augmenter.variants("Red, reduced: infrared red") == ["crimson, reduced: infrared crimson"]
    assert augmenter.variants("买防水登山靴") == ["买防水徒步鞋"]
    (copy,) = augmenter.copies(DECISION)
    assert copy.profile_text in ("crimson pants; 防水徒步鞋", "crimson jeans; 防水徒步鞋")
    assert copy.query == "crimson trousers"
    same = dataclasses.replace(copy, profile_text=DECISION.profile_text, query=DECISION.query)
    assert same.__dict__ == DECISION.__dict__
    assert [c.profile_text for c in augmenter.copies(DECISION)] == [copy.profile_text]


def test_a_share_of_the_words_is_replaced(synonyms):
    augmenter = Augmenter(AugmentationSettings(synonyms=synonyms, share=0.3))
    (text,) = augmenter.variants(" ".join(["red"] * 2000))
    assert text.split().count("crimson") == pytest.approx(600, abs=80)


def test_a_hook_says_it_in_its_own_words():
    settings = AugmentationSettings(hook=f"{__name__}.there_and_back", copies=2)
    found = list(Augmenter(settings).copies(DECISION))
    assert [copy.query for copy in found] == ["jeans red", "RED JEANS"]
    assert found[0].profile_text == "防水登山靴 trousers; Red"
    one = list(Augmenter(dataclasses.replace(settings, copies=1)).copies(DECISION))
    assert [copy.query for copy in one] == ["jeans red"]


def test_what_says_nothing_new_is_no_copy(synonyms):
    nothing = dataclasses.replace(DECISION, profile_text="", query="green")
    assert list(Augmenter(AugmentationSettings(synonyms=synonyms, copies=3)).copies(nothing)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synonyms": "no such file"}, r"no such file cannot be read .*expected a text file"),
        ({"hook": "no_such.function"}, r"hook: no_such\.function cannot be imported .*expected module\.function"),
        ({"hook": "math.no_such"}, r"hook: math\.no_such cannot be imported"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(changes, message):
    with pytest.raises(SettingsError, match=message):
        Augmenter(AugmentationSettings(**changes))


def test_a_dictionary_without_a_pair_is_one_sentence(tmp_path):
    (tmp_path / "alone.txt").write_text("alone\n\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="has no group of two"):
        read_synonyms(str(tmp_path / "alone.txt"))


@pytest.mark.parametrize("hook", ["function", "a.", "a b.c"])
def test_a_hook_without_a_dotted_name_is_refused_in_settings(hook):
    with pytest.raises(SettingsError, match=r"`decisions\.augmentation\.hook` is '.*'; expected module\.function"):
        settings_lib.from_dict({"name": "n", "decisions": {"augmentation": {"hook": hook}}})


def test_only_train_decisions_are_copied_and_counted(shop, synonyms):
    events = [
        (user, item, "buy", time, f"s{time}", "red shoes")
        for user in "uv"
        for item, time in (("a", 10), ("b", 50), ("c", 150))
    ]
    events += [(user, "", "search", time, f"s{time}", "red shoes") for user in "uv" for time in (10, 50, 150)]
    plain = settings_lib.DecisionSettings(label_event_types=("buy",), candidates=4, negatives=1)
    boundaries, table = Boundaries(0, 100, 200), ItemTable(shop.items("abc"))
    frame = shop.events(events)
    stats = ItemStats.combine([ItemStats.partial(frame, table, ("buy",), boundaries)], 3)

    def built(augmentation):
        stage = stages.BuildExamples(dataclasses.replace(plain, augmentation=augmentation), ())
        stage.setup()
        *outputs, counts = stage.process((0, {"events": frame}), table, boundaries, stats)
        queries = [
            (one.tag, tf.train.Example.FromString(one.value).features.feature["query"].bytes_list.value[0])
            for one in outputs
        ]
        return queries, counts.value

    before, counts = built(AugmentationSettings())
    after, more = built(AugmentationSettings(synonyms=synonyms, share=1.0))
    assert sorted(tag for tag, _ in before) == ["eval"] * 2 + ["recent"] * 2 + ["train"] * 4
    assert {query for _, query in before} == {b"red shoes"}
    added = [pair for pair in after if pair[1] != b"red shoes"]
    assert added == [("train", b"crimson shoes")] * 4
    assert [pair for pair in after if pair[1] == b"red shoes"] == before
    for name in (report.DECISIONS, report.POSITIVES):
        assert more[f"{name}train"] == 2 * counts[f"{name}train"]
        assert more[f"{name}eval"] == counts[f"{name}eval"]
