"""What text encoders learn from the shop's texts before the fit: hidden words, the vectors of another BERT."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import features, wordpiece
from models.catalogue_model import CatalogueModel
from models.masked_language_model import MaskedLanguageModel, hide_words
from models.profile_encoder import ProfileEncoder, text_encoders
from models.sizes import Sizes
from models.text_distiller import TextDistiller
from models.text_learner import TextLearner
from tfx_pipeline.inputs import Catalogue
from tfx_pipeline.optimizer import make_optimizer
from tfx_pipeline.settings import Settings
from tfx_pipeline.text_encoders import vocabulary

#: Batches whose texts are sorted by length together, so that little is padding.
_POOL = 50

Map = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def pretrain(
    model: CatalogueModel,
    settings: Settings,
    sizes: Sizes,
    train_files: Sequence[str],
    transform: tft.TFTransformOutput,
    catalogue: Catalogue,
    *,
    strategy: tf.distribute.Strategy,
    folder: str,
    log_dir: str,
) -> None:
    """Does what `train.text` says of pretraining and distillation to each text encoder of a model.

    A run that was killed goes on after its last whole epoch with the weights, the optimizer and the texts of an
    uninterrupted one; only dropout draws other numbers.

    Args:
      model: its item texts are encoded anew at the end.
      settings: of the pipeline.
      sizes: of the shop.
      train_files: TFRecord files (gz) of transformed decisions whose texts may be known.
      transform: Transform's output.
      catalogue: as far as it may be known.
      strategy: of the training.
      folder: of checkpoints.
      log_dir: of TensorBoard.

    Raises:
      ValueError: if there is no text, or the teacher reads other WordPieces.
    """
    text, done = settings.train.text, False
    for place, encoder in enumerate(text_encoders(model)):
        for name, part, make in (
            ("pretraining", text.pretraining, _word_guesser),
            ("distillation", text.distillation, _distiller),
        ):
            if part.epochs:
                texts = read_texts(train_files, transform, catalogue, part.max_texts)
                print(f"  {name} of {encoder.name} on {len(texts):,} texts", flush=True)
                learner, targets, finish = make(encoder, part, texts, settings, sizes, transform, strategy)
                subfolder = f"{name}_{place}"
                _fit(
                    learner,
                    part,
                    (texts, targets),
                    finish,
                    settings,
                    strategy,
                    f"{folder}/{subfolder}",
                    f"{log_dir}/{subfolder}",
                )
                done = True
    if done:
        model.refresh_item_text()


def read_texts(
    train_files: Sequence[str], transform: tft.TFTransformOutput, catalogue: Catalogue, most: int
) -> np.ndarray:
    """Different texts of items, profiles and queries, int32 [n, L]; of more than `most` those of the smallest hashes.

    Raises:
      ValueError: if there is none.
    """
    names = (features.PROFILE_TOKENS_XF, features.QUERY_TOKENS_XF)
    spec = {name: transform.transformed_feature_spec()[name] for name in names}
    found: set[bytes] = set()

    def add(rows: np.ndarray) -> None:
        found.update(row[: int(row.astype(bool).sum())].tobytes() for row in rows.astype(np.int32))

    add(catalogue.table.tokens[catalogue.table.servable])
    records = tf.data.TFRecordDataset(list(train_files), compression_type="GZIP").batch(512)
    for batch in records.map(lambda chunk: tf.io.parse_example(chunk, spec)):
        for name in names:
            add(batch[name].numpy())
    found.discard(b"")
    if not found:
        raise ValueError("neither items nor train decisions have a text; expected one to learn from.")
    chosen = heapq.nsmallest(most, found, key=lambda row: hashlib.blake2b(row, digest_size=16).digest())
    texts = np.zeros([len(chosen), max(len(row) for row in chosen) // 4], np.int32)
    for place, row in enumerate(chosen):
        values = np.frombuffer(row, np.int32)
        texts[place, : len(values)] = values
    return texts


def _word_guesser(
    encoder: ProfileEncoder,
    part: Any,
    texts: np.ndarray,
    settings: Settings,
    sizes: Sizes,
    transform: tft.TFTransformOutput,
    strategy: tf.distribute.Strategy,
) -> tuple[TextLearner, np.ndarray, Map]:
    del settings, transform
    mask_id = sizes.special_tokens[-1]
    with strategy.scope():
        learner = MaskedLanguageModel(encoder)

    def hide(tokens: tf.Tensor, nothing: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        del nothing
        special, share = sizes.special_tokens, part.mask_share
        return hide_words(tokens, seed, share, special, sizes.wordpieces, mask_id, encoder.pad_id)

    return learner, np.zeros([len(texts), 0], np.float32), hide


def _distiller(
    encoder: ProfileEncoder,
    part: Any,
    texts: np.ndarray,
    settings: Settings,
    sizes: Sizes,
    transform: tft.TFTransformOutput,
    strategy: tf.distribute.Strategy,
) -> tuple[TextLearner, np.ndarray, Map]:
    teacher = ProfileEncoder.from_pretrained(part.teacher, dimension=1, pooling=encoder.pooling, fine_tuning="frozen")
    _check_vocabulary(part.teacher, teacher, vocabulary(settings, transform), sizes)
    run = tf.function(teacher.pool, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    vectors = np.zeros([len(texts), teacher.hidden_size], np.float32)
    lengths = (texts != 0).sum(1)
    for rows in np.array_split(np.argsort(lengths, kind="stable"), -(-len(texts) // part.batch_size)):
        vectors[rows] = tf.cast(run(tf.constant(texts[rows, : lengths[rows].max()])), tf.float32)
    with strategy.scope():
        learner = TextDistiller(encoder, teacher.hidden_size, part.relations)
    return learner, vectors, lambda tokens, targets, seed: (tokens, targets)


def _check_vocabulary(name: str, teacher: ProfileEncoder, entries: list[str], sizes: Sizes) -> None:
    """Raises a ValueError of one sentence where a teacher is known to read other WordPieces."""
    known = teacher.bert_config["vocab_size"]
    if known < sizes.wordpieces:
        raise ValueError(
            f"the teacher {name!r} knows {known} WordPieces; expected the {sizes.wordpieces} of Transform."
        )
    file = wordpiece.packaged_minilm_folder() if name == wordpiece.PACKAGED_MINILM else pathlib.Path(name)
    if (file / "vocab.txt").is_file():
        theirs = (file / "vocab.txt").read_text(encoding="utf-8").splitlines()
        if theirs[: len(entries)] != entries:
            raise ValueError(
                f"the teacher {name!r} has another vocab.txt than Transform; expected `transform.wordpiece` to name it."
            )


def _fit(
    learner: TextLearner,
    part: Any,
    data: tuple[np.ndarray, np.ndarray],
    finish: Map,
    settings: Settings,
    strategy: tf.distribute.Strategy,
    folder: str,
    log_dir: str,
) -> None:
    """Trains a learner, from where a checkpoint in `folder` ends."""
    train = dataclasses.replace(
        settings.train, learning_rate=part.learning_rate, averaging="none", optimizer="adamw", weight_decay=0.01
    )
    batch_size = min(part.batch_size, len(data[0]))
    replicas = strategy.num_replicas_in_sync
    batch_size -= batch_size % replicas if batch_size > replicas else 0
    steps = len(data[0]) // batch_size
    with strategy.scope():
        optimizer = make_optimizer(train, steps * part.epochs)
        learner.compile(optimizer=optimizer)
        optimizer._create_all_weights(learner.learned)
    done = tf.Variable(0, trainable=False, dtype=tf.int64)
    weights = {str(place): weight for place, weight in enumerate(learner.learned)}
    checkpoint = tf.train.Checkpoint(weights=weights, optimizer=optimizer, done=done)
    manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).expect_partial()
    first = int(done)

    def keep(epoch: int, logs: dict[str, float]) -> None:
        print(f"    epoch {epoch + 1}/{part.epochs}  loss {logs['loss']:.4f}", flush=True)
        if not np.isfinite(logs["loss"]):
            raise ValueError("the loss of the texts is not finite; expected a lower learning_rate.")
        done.assign(epoch + 1)
        manager.save()

    if first < part.epochs:
        learner.fit(
            _batches(data, finish, batch_size, train.seed, range(first, part.epochs)),
            epochs=part.epochs,
            initial_epoch=first,
            steps_per_epoch=steps,
            callbacks=[
                tf.keras.callbacks.LambdaCallback(on_epoch_end=keep),
                tf.keras.callbacks.TensorBoard(log_dir, write_graph=False, profile_batch=0),
            ],
            verbose=0,
        )


def _batches(
    data: tuple[np.ndarray, np.ndarray], finish: Map, batch_size: int, seed: int, epochs: Iterable[int]
) -> tf.data.Dataset:
    """Batches of (tokens, targets) of equal size, in an order that depends on seed and epoch alone."""
    texts, targets = data
    lengths = (texts != 0).sum(1)

    def generate() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for epoch in epochs:
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(len(texts))[: len(texts) // batch_size * batch_size]
            for start in range(0, len(order), _POOL * batch_size):
                pool = order[start : start + _POOL * batch_size]
                pool = pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, batch_size)
                for rows in pool[rng.permutation(len(pool))]:
                    draw = rng.integers(2**31, size=2, dtype=np.int32)
                    yield texts[rows, : lengths[rows].max()], targets[rows], draw

    specs = (
        tf.TensorSpec([batch_size, None], tf.int32),
        tf.TensorSpec([batch_size, targets.shape[1]], tf.float32),
        tf.TensorSpec([2], tf.int32),
    )
    return tf.data.Dataset.from_generator(generate, output_signature=specs).map(finish, tf.data.AUTOTUNE).prefetch(2)
