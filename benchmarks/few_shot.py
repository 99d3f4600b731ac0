"""How well short texts are classified from k labelled examples a class: one JSON line per task, k and method.

    python -m benchmarks.few_shot --data runs/demo/data --task category [--shots 4 8 16] [--draws 5]
    python -m benchmarks.few_shot --data PATH/games.item.gz --task platform

Tasks: `sentiment` (reviews, English and Chinese), `category` and `category_zh` (titles) of the synthetic shop;
`platform` (titles of Amazon Video Games without the console's name). The encoder is the packaged all-MiniLM-L6-v2,
which brings no masked-language-model head: before prompting it is pretrained for `--pretrain-steps` on the task's texts
outside of the test, without their labels.

Methods: `prompt` asks which class' words are likely at the [MASK] of a pattern, less what they are over texts without
labels, with scale and biases from the k examples; `prompt_tuned` trains all weights through the same words; `head` is a
logistic regression on the frozen vectors; `full` trains a head and all weights, from the packaged ones;
`head_pretrained` and `full_pretrained` do so with the pretrained weights, by which prompts know the task's texts. All
trainings take the same steps. Macro-F1 on a test of at most `--test` texts, which no method sees; mean over the draws
of examples and a 95% t-interval of that mean.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.stats

from benchmarks import few_shot_tasks
from models import wordpiece
from tfx_pipeline.raw_tables.rejects import DataError

METHODS = ("prompt", "prompt_tuned", "head", "full", "head_pretrained", "full_pretrained")
_LENGTH, _BATCH = 32, 16
#: Share of the words that are hidden in pretraining.
_MASKED = 0.15


def confidence(values: Sequence[float]) -> list[float]:
    """95% interval of the mean of few values, by Student's t."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return [float(np.mean(values) - half), float(np.mean(values) + half)]


def encode(texts: Sequence[str], pattern: str, tokenize: Callable[[str], list[int]], length: int) -> np.ndarray:
    """[CLS] pattern [SEP] as ids [n, at most length]; the text is cut so that the pattern stays whole."""
    special = wordpiece.special_tokens(wordpiece.load_vocabulary(wordpiece.PACKAGED_MINILM))
    before, _, after = pattern.partition("{text}")
    first, last = [special.cls, *tokenize(before)], [*tokenize(after), special.sep]
    rows = np.full([len(texts), length], special.pad, np.int32)
    for row, text in enumerate(texts):
        ids = [*first, *tokenize(text)[: length - len(first) - len(last)], *last]
        rows[row, : len(ids)] = ids
    return rows[:, (rows != special.pad).any(0)]


def parted(labels: np.ndarray, test: int, keep: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(places of the test, places examples are drawn from); at most half is test, and `keep` of a class stay."""
    order = rng.permutation(len(labels))
    left = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        left[order[labels[order] == label][:keep]] = True
    free = order[~left[order]]
    chosen = free[: min(test, len(order) // 2)]
    return chosen, np.setdiff1d(order, chosen)


class Bench:
    """The methods on one task, from one pretrained encoder.

    Args:
      task: texts and classes.
      seed: of test, pretraining and training.
      test: texts of the test at most.
      keep: texts of each class that are left for examples at least.
      pretrain_steps: of the masked-language-model head.
      steps: of a training on the k examples.
    """

    def __init__(
        self, task: few_shot_tasks.TextTask, seed: int, test: int, keep: int, pretrain_steps: int, steps: int
    ) -> None:
        import tensorflow as tf
        import transformers

        from models import few_shot
        from models.masked_language_model import hide_words
        from models.masked_word_model import MaskedWordModel

        self._tf, self._few = tf, few_shot
        tf.keras.utils.set_random_seed(seed)
        self.task, self.seed, self.steps = task, seed, steps
        rng = np.random.default_rng(seed)
        self.test, self.pool = parted(task.labels, test, keep, rng)
        folder = wordpiece.packaged_minilm_folder()
        tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
        self._special = wordpiece.special_tokens(wordpiece.load_vocabulary(wordpiece.PACKAGED_MINILM))

        def tokenize(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        self._prompts = encode(task.texts, task.pattern, tokenize, _LENGTH)
        self._plain = encode(task.texts, "{text}", tokenize, _LENGTH)
        self._words = [[tokenize(word)[0] for word in words] for words in task.words]
        self.model = MaskedWordModel.from_pretrained(wordpiece.PACKAGED_MINILM, self._special.mask)
        self._packaged = self.model.get_weights()
        self._head = tf.keras.layers.Dense(len(task.words), kernel_initializer="zeros")
        self._head.build([None, self.model.network.config.hidden_size])
        self._call = tf.function(self.model, reduce_retracing=True)
        self._pool = tf.function(self.model.pool, reduce_retracing=True)
        self._vectors = {"head": self._in_batches(self._pool, self._plain)}
        self._steps: dict[str, Any] = {}
        self.pretrain_loss = self._pretrain(pretrain_steps, rng, hide_words)
        self._pretrained = self.model.get_weights()
        self._vectors["head_pretrained"] = self._in_batches(self._pool, self._plain)
        self._scores = self._in_batches(self._prompt_scores, self._prompts)

    def run(self, method: str, shots: int, draw: int) -> float:
        """Macro-F1 of a method on one draw of examples."""
        few, labels, classes = self._few, self.task.labels, len(self.task.words)
        rng = np.random.default_rng([self.seed, shots, draw])
        chosen = self.pool[few.draw_examples(labels[self.pool], shots, rng)]
        if method == "prompt":
            scores = few.without_prior(self._scores, self._scores[self.pool])
            scale, bias = few.fit_scale_and_bias(scores[chosen], labels[chosen])
            found = scale * scores[self.test] + bias
        elif method in self._vectors:
            vectors = self._vectors[method]
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            weights, bias = few.fit_logistic(unit[chosen], labels[chosen], classes, strength=0.1)
            found = unit[self.test] @ weights + bias
        else:
            found = self._fine_tuned(method, chosen, rng)
        return few.macro_f1(labels[self.test], found.argmax(1), classes)

    def _prompt_scores(self, tokens: Any) -> Any:
        return self._few.verbalizer_scores(self._call(tokens), self._words)

    def _fine_tuned(self, method: str, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        tf, prompted = self._tf, method == "prompt_tuned"
        self.model.set_weights(self._packaged if method == "full" else self._pretrained)
        self._head.set_weights([np.zeros_like(weight) for weight in self._head.get_weights()])
        tokens = self._prompts if prompted else self._plain
        prior = self._scores[self.pool].mean(0) if prompted else np.zeros(len(self._words), np.float32)

        def logits(ids: Any, training: bool) -> Any:
            if prompted:
                scores = self._few.verbalizer_scores(self.model(ids, training=training), self._words)
                return scores - tf.constant(prior, tf.float32)
            return self._head(self.model.pool(ids, training=training))

        if method not in self._steps:  # one trace a method; its rate and moments start anew below
            optimizer = tf.keras.optimizers.Adam(5e-5, global_clipnorm=1.0)
            variables = [*self.model.trainable_variables, *([] if prompted else self._head.trainable_variables)]
            optimizer.build(variables)

            @tf.function(reduce_retracing=True)
            def step(ids: Any, labels: Any) -> None:
                with tf.GradientTape() as tape:
                    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(ids, True))
                    loss = tf.reduce_mean(losses)
                found = zip(tape.gradient(loss, variables), variables, strict=True)
                optimizer.apply_gradients((g, v) for g, v in found if g is not None)

            evaluate = tf.function(lambda ids: logits(ids, False), reduce_retracing=True)
            self._steps[method] = step, optimizer, evaluate
        step, optimizer, evaluate = self._steps[method]
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(tf.zeros_like(variable))
        for batch in self._batches(chosen, rng):
            step(tf.constant(tokens[batch]), tf.constant(self.task.labels[batch]))
        return self._in_batches(evaluate, tokens[self.test])

    def _batches(self, chosen: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """`steps` batches, epoch after epoch."""
        waiting = np.empty(0, np.int64)
        for _ in range(self.steps):
            while len(waiting) < _BATCH:
                waiting = np.concatenate([waiting, rng.permutation(chosen)])
            batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
            yield batch

    def _pretrain(self, steps: int, rng: np.random.Generator, hide_words: Callable[..., Any]) -> float | None:
        """The mean masked-language-model loss of the last tenth of the steps."""
        tf, found = self._tf, []
        optimizer = tf.keras.optimizers.Adam(2e-4, global_clipnorm=1.0)
        special = dataclasses.astuple(self._special)

        @tf.function(reduce_retracing=True)
        def step(ids: Any, words: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = self.model.masked_loss(ids, words)
            variables = self.model.trainable_variables
            gradients = zip(tape.gradient(loss, variables), variables, strict=True)
            optimizer.apply_gradients((g, v) for g, v in gradients if g is not None)
            return loss

        for _ in range(steps):
            rows = self._plain[rng.choice(self.pool, 2 * _BATCH)]
            size = self.model.network.config.vocab_size
            seed = tf.constant(rng.integers(2**31 - 1, size=2), tf.int32)
            hidden = hide_words(
                tf.constant(rows, tf.int32), seed, _MASKED, special, size, self._special.mask, self._special.pad
            )
            found.append(float(step(*hidden)))
        return float(np.mean(found[-max(1, steps // 10) :])) if found else None

    def _in_batches(self, function: Callable[[Any], Any], tokens: np.ndarray) -> np.ndarray:
        parts = [function(self._tf.constant(tokens[i : i + 64])).numpy() for i in range(0, len(tokens), 64)]
        return np.concatenate(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_shot", description="Classes from few examples.")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="the synthetic shop's folder, or a .item file")
    parser.add_argument("--task", required=True, choices=few_shot_tasks.TASKS, help="what to classify")
    parser.add_argument("--shots", type=int, nargs="+", default=[4, 8, 16], help="labelled examples a class")
    parser.add_argument("--draws", type=int, default=5, help="of the examples, two at least")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS), help="all by default")
    parser.add_argument("--pretrain-steps", type=int, default=300, help="of 32 texts")
    parser.add_argument("--steps", type=int, default=60, help="of 16 examples, where all weights are trained")
    parser.add_argument("--test", type=int, default=400, help="texts of the test, at most half of all")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    if options.draws < 2:
        parser.error(f"--draws is {options.draws}; expected two at least, for an interval")
    try:
        bench = Bench(
            few_shot_tasks.read(options.task, options.data),
            options.seed,
            options.test,
            max(options.shots),
            options.pretrain_steps,
            options.steps,
        )
        for shots in options.shots:
            for method in options.method:
                started = time.monotonic()
                values = [bench.run(method, shots, draw) for draw in range(options.draws)]
                line = {
                    "task": options.task,
                    "method": method,
                    "shots": shots,
                    "macro_f1": float(np.mean(values)),
                    "macro_f1_95": confidence(values),
                    "draws": values,
                    "classes": len(bench.task.words),
                    "n": len(bench.test),
                    "seconds": round(time.monotonic() - started, 1),
                    "pretrain_steps": options.pretrain_steps,
                    "pretrain_loss": bench.pretrain_loss,
                    "seed": options.seed,
                }
                print(json.dumps(line), flush=True)
    except (DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
