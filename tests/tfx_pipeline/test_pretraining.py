"""Pretraining of a text encoder on a handful of transformed records: what is read, what is learned, kills, replicas."""

import json
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from models import features, wordpiece
from models.profile_encoder import ProfileEncoder
from models.sizes import Sizes
from tfx_pipeline import pretraining, settings
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.pretraining import pretrain, read_texts
from tfx_pipeline.settings import SettingsError, TrainSettings
from tfx_pipeline.text_encoders import FOLDER, write_text_encoders
from tfx_pipeline.word_masking import with_masked_words

WORDS = [*wordpiece.RESERVED, *(f"w{place}" for place in range(15))]
LENGTH = 6
SPEC = {
    features.PROFILE_TOKENS_XF: tf.io.FixedLenFeature([LENGTH], tf.int64),
    features.QUERY_TOKENS_XF: tf.io.FixedLenFeature([LENGTH - 2], tf.int64),
}
TRANSFORM = types.SimpleNamespace(
    transformed_feature_spec=lambda: SPEC,
    vocabulary_by_name=lambda name: [word.encode() for word in WORDS],
)
SIZES = Sizes(3, 2, 2, 2, 2, 2, {}, len(WORDS), (0, 1, 2, 3, 4), LENGTH, 1)
# Two kinds of text: an even word is followed by the next one, so that a hidden one can be guessed.
TEXTS = [[2, 5 + 2 * (i % 7), 6 + 2 * (i % 7), 5 + 2 * (i // 7), 6 + 2 * (i // 7), 3] for i in range(49)]


class _Reader(tf.keras.Model):
    """A model that has a text encoder and says when it has read its items anew."""

    def __init__(self, mode="full", **sizes):
        super().__init__()
        sizes = {"hidden_size": 8, "layers": 1, "heads": 2, "intermediate_size": 16, **sizes}
        self.text_encoder = ProfileEncoder.from_scratch(
            len(WORDS), **sizes, max_length=16, dropout=0.0, dimension=4, fine_tuning=mode, name="text_encoder"
        )
        self.refreshed = 0

    def refresh_item_text(self):
        self.refreshed += 1


def _catalogue():
    tokens = np.array([[2, 5, 3, 0], [2, 7, 3, 0], [2, 9, 3, 0]])
    return types.SimpleNamespace(table=types.SimpleNamespace(tokens=tokens, servable=np.array([True, False, True])))


def _write(folder):
    path = str(folder / "train")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for place, text in enumerate(TEXTS):
            query = [2, 5, 3, 0] if place % 2 else [0] * 4
            values = {features.PROFILE_TOKENS_XF: text, features.QUERY_TOKENS_XF: query}
            found = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in values.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return [_write(tmp_path_factory.mktemp("records"))]


def _settings(**text):
    return settings.from_dict({"name": "n", "train": {"text": text, "warmup_share": 0.1}})


def _pretrain(model, chosen, files, folder, strategy=None):
    pretrain(
        model,
        chosen,
        SIZES,
        files,
        TRANSFORM,
        _catalogue(),
        strategy=strategy or tf.distribute.get_strategy(),
        folder=str(folder / "checkpoints"),
        log_dir=str(folder / "logs"),
    )


def _weights(model):
    return [weight.numpy() for weight in model.text_encoder.bert_weights]


def test_different_texts_of_decisions_and_items_that_may_be_known_are_read(files):
    found = read_texts(files, TRANSFORM, _catalogue(), 1000)
    expected = {tuple(text) for text in TEXTS} | {(2, 5, 3, 0, 0, 0), (2, 9, 3, 0, 0, 0)}
    assert {tuple(row) for row in found} == expected
    assert len(found) == len(expected)
    some = read_texts(files, TRANSFORM, _catalogue(), 20)
    np.testing.assert_array_equal(some, found[:20])


def test_no_text_is_one_sentence(tmp_path):
    empty = types.SimpleNamespace(table=types.SimpleNamespace(tokens=np.zeros([1, 3]), servable=np.array([True])))
    tf.io.TFRecordWriter(str(tmp_path / "empty"), "GZIP").close()
    with pytest.raises(ValueError, match="neither items nor train decisions have a text"):
        read_texts([str(tmp_path / "empty")], TRANSFORM, empty, 10)


MLM = {"pretraining": {"epochs": 3, "batch_size": 5, "learning_rate": 0.03, "mask_share": 0.3}}


@pytest.fixture(scope="module")
def pretrained(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlm")
    tf.keras.utils.set_random_seed(1)
    model = _Reader()
    _pretrain(model, _settings(**MLM), files, folder)
    return model, folder


def test_the_loss_is_in_tensorboard_and_falls(pretrained):
    model, folder = pretrained
    assert model.refreshed == 1
    losses = {}
    for file in sorted((folder / "logs/pretraining_0/train").glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag == "epoch_loss":
                    losses[event.step] = float(tf.make_ndarray(value.tensor))
    assert sorted(losses) == [0, 1, 2]
    assert losses[2] < losses[0] - 0.2


def test_a_killed_pretraining_goes_on_as_if_nothing_had_been(pretrained, files, tmp_path, monkeypatch):
    tf.keras.utils.set_random_seed(1)
    model = _Reader()
    real, calls = tf.train.CheckpointManager.save, []

    def save(manager, *arguments, **named):
        path = real(manager, *arguments, **named)
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    with pytest.raises(KeyboardInterrupt):
        _pretrain(model, _settings(**MLM), files, tmp_path)
    tf.keras.utils.set_random_seed(1)
    again = _Reader()
    _pretrain(again, _settings(**MLM), files, tmp_path)
    assert len(calls) == 3
    for found, expected in zip(_weights(again), _weights(pretrained[0]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A BERT with its vocabulary, as `write_text_encoders` leaves it."""
    folder = tmp_path_factory.mktemp("teacher")
    tf.keras.utils.set_random_seed(5)
    model = _Reader(hidden_size=12, layers=2, heads=3)
    write_text_encoders(model, _settings(), TRANSFORM, str(folder))
    return model, folder / FOLDER / "text_encoder"


def test_what_is_written_is_the_encoder_itself(teacher):
    model, folder = teacher
    tokens = tf.constant(TEXTS[:3])
    found = ProfileEncoder.from_pretrained(str(folder), dimension=4, fine_tuning="frozen")
    np.testing.assert_allclose(found.pool(tokens), model.text_encoder.pool(tokens), atol=1e-5)
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 12
    assert (folder / "vocab.txt").read_text().splitlines() == WORDS
    assert wordpiece.load_vocabulary(str(folder / "vocab.txt")) == WORDS


def test_a_student_comes_near_its_teacher(teacher, files, tmp_path):
    source, folder = teacher
    texts = tf.constant(TEXTS)

    def cosines(encoder):
        unit = tf.math.l2_normalize(encoder.pool(texts), -1).numpy()
        return unit @ unit.T

    tf.keras.utils.set_random_seed(2)
    model = _Reader("frozen")
    wanted, before = cosines(source.text_encoder), cosines(model.text_encoder)
    part = {"teacher": str(folder), "epochs": 12, "batch_size": 10, "learning_rate": 0.02, "relations": 10.0}
    _pretrain(model, _settings(distillation=part), files, tmp_path)
    after = cosines(model.text_encoder)
    assert np.abs(after - wanted).mean() < 0.5 * np.abs(before - wanted).mean()


def test_a_teacher_of_another_vocabulary_is_one_sentence(teacher, files, tmp_path):
    _, folder = teacher
    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "vocab.txt").write_text("\n".join(["[PAD]", "x", *WORDS[2:]]), encoding="utf-8")
    part = {"teacher": str(other), "epochs": 1}
    with pytest.raises(ValueError, match=r"has another vocab\.txt than Transform; expected `transform\.wordpiece`"):
        _pretrain(_Reader(), _settings(distillation=part), files, tmp_path)
    small = ProfileEncoder.from_scratch(9, 4, 1, 1, 4, dimension=4)
    small.save_pretrained(str(tmp_path / "small"))
    part = {"teacher": str(tmp_path / "small"), "epochs": 1}
    with pytest.raises(ValueError, match="knows 9 WordPieces; expected the 20 of Transform"):
        _pretrain(_Reader(), _settings(distillation=part), files, tmp_path)


def test_an_epoch_has_one_order_and_every_text_but_a_part_of_a_batch():
    texts = np.zeros([23, 8], np.int32)
    for row in range(23):
        texts[row, : 1 + row % 8] = row + 1

    def epochs(*wanted):
        batches = pretraining._batches((texts, np.zeros([23, 0], np.float32)), lambda t, _, s: (t, s), 5, 7, wanted)
        return [(tokens.numpy(), seed.numpy()) for tokens, seed in batches]

    both, second = epochs(0, 1), epochs(1)
    assert len(both) == 8
    for (tokens, seed), (same, same_seed) in zip(both[4:], second, strict=True):
        np.testing.assert_array_equal(tokens, same)
        np.testing.assert_array_equal(seed, same_seed)
    first = [row[0] for tokens, _ in both[:4] for row in tokens]
    assert len(set(first)) == 20
    assert first != [row[0] for tokens, _ in second for row in tokens]
    assert all(tokens.shape[1] == (tokens > 0).sum(1).max() for tokens, _ in both)


def test_words_are_masked_in_training_anew_each_time_and_nothing_else_is():
    profile = np.tile([2, 5, 1, 9, 3, 0], [300, 1])
    inputs = {features.PROFILE_TOKENS_XF: profile, features.QUERY_TOKENS_XF: profile[:, :4], "other": profile}
    decisions = tf.data.Dataset.from_tensors((inputs, np.ones([300, 2]))).repeat(2)
    assert with_masked_words(decisions, 0.0, TRANSFORM, _settings()) is decisions
    masked = with_masked_words(decisions, 0.4, TRANSFORM, _settings())
    (once, labels), (again, _) = masked
    found = once[features.PROFILE_TOKENS_XF].numpy()
    changed = found != profile
    assert (found[changed] == 4).all()
    assert changed[:, [1, 3]].mean() == pytest.approx(0.4, abs=0.06)
    assert not changed[:, [0, 2, 4, 5]].any()
    assert (once[features.QUERY_TOKENS_XF].numpy() == 4).any()
    assert (again[features.PROFILE_TOKENS_XF].numpy() != found).any()
    np.testing.assert_array_equal(once["other"], profile)
    assert labels.numpy().all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": {"text": {"distillation": {"epochs": 1}}}}, "teacher` is '' and `epochs` 1; expected both"),
        (
            {"train": {"text": {"mask_share": 0.1}}, "model": {"text_encoder": {"trainable": "frozen"}}},
            "expected 0 for",
        ),
        (
            {"train": {"text": {"pretraining": {"epochs": 1}}}, "model": {"entry": "sasrec"}},
            "expected a model that has",
        ),
        ({"model": {"text_encoder": {"trainable": "lora", "lora_rank": 65}}}, "`model.text_encoder.lora_rank` is 65"),
        ({"train": {"text": {"pretraining": {"epoch": 1}}}}, "unknown key `train.text.pretraining.epoch`"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(content, message):
    with pytest.raises(SettingsError, match=message):
        settings.from_dict({"name": "n", **content})


#: Each text weighs alike, and at this rate a weight whose gradient is rounding moves little.
DISTILLATION = {"epochs": 2, "batch_size": 26, "learning_rate": 0.0005, "relations": 0.0}


@pytest.mark.long
def test_two_replicas_learn_what_one_learns(teacher, files, tmp_path):
    """In another process with two logical CPUs; rates of layers too, whose weights have copies there."""
    _, folder = teacher
    one = _learn(str(folder), files[0], tmp_path)
    done = subprocess.run(
        [sys.executable, __file__, str(folder), files[0], str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["replicas"] == 2
    ours, theirs = (_means_of_gradients(tmp_path / replicas) for replicas in "12")
    assert len(ours) == len(theirs) > 20
    assert max(np.abs(value).max() for value in ours.values()) > 1e-3
    for name, value in ours.items():  # weights are no measure: Adam makes whole steps of rounding
        np.testing.assert_allclose(theirs[name], value, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(two["moved"], one["moved"], atol=1e-6)
    assert one["moved"] == pytest.approx([0.1 * 0.1, 0.1], abs=1e-4)


def _means_of_gradients(folder):
    checkpoint = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(folder / "checkpoints/distillation_0")))
    names = [name for name in checkpoint.get_variable_to_shape_map() if name.endswith("/m/.ATTRIBUTES/VARIABLE_VALUE")]
    return {name: checkpoint.get_tensor(name) for name in names}


def _learn(teacher_folder, file, folder):
    strategy = tf.distribute.get_strategy()
    if len(tf.config.list_logical_devices("CPU")) > 1:
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    tf.keras.utils.set_random_seed(3)
    with strategy.scope():
        model = _Reader()
    for weight in model.text_encoder.bert_weights[:3]:  # else gradients are clipped, by each replica for itself
        weight.assign(30.0 * weight)
    part = {**DISTILLATION, "teacher": teacher_folder}
    replicas = strategy.num_replicas_in_sync
    _pretrain(model, _settings(distillation=part), [file], folder / str(replicas), strategy)
    with strategy.scope():
        slow, fast = tf.Variable(1.0, name="slow"), tf.Variable(1.0, name="fast")
        rates = TrainSettings(learning_rate=0.1, warmup_share=0.0, weight_decay=0.0)
        optimizer = make_optimizer(rates, 1000, [(slow, 0.1)])

    @tf.function
    def step():
        strategy.run(lambda: optimizer.apply_gradients([(tf.constant(1.0), slow), (tf.constant(1.0), fast)]))

    step()
    return {"replicas": replicas, "moved": [1 - float(tf.identity(slow)), 1 - float(tf.identity(fast))]}


if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    where = pathlib.Path(sys.argv[3])
    (where / "two.json").write_text(json.dumps(_learn(sys.argv[1], sys.argv[2], where)), encoding="utf-8")
