"""How much of a model's ranking is left when requests are damaged: JSON lines on the standard output.

    python -m benchmarks.robustness --config configs/online_retail.yaml --task next_basket --data PATH \
        [--servable DIR] [--variant NAME=KEY=VALUE[,…] …] [--validation] [--seed 1] [--users 2000]

The requests are those of `benchmarks.quality`'s main ranking, asked of the SavedModel's signature as they are and
damaged; which events and letters are hit follows from the seed and the user alone, so every model gets the same ones.

* `dropped`: each event of the history is left out with probability .1;
* `shuffled`: each event changes places with the next one with probability .1 (the times stay where they are);
* `spurious`: each event's item is another one of the catalogue, drawn evenly, with probability .1;
* `typos`: one word of the query, and one in ten words of the profile text (at least one), has a typo: two letters
  changed places, or one dropped, doubled or replaced.

A line says NDCG@10 with whole and with damaged requests, and `kept`, their ratio, with its 95% interval, by a bootstrap
over users. `changed` is the share of users whose request the damage changed at all.

Exits with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import predictions, quality, variants
from benchmarks.protocol import Part, Protocol
from benchmarks.servable import Servable, ServableError, check_held_out, newest_version
from serving.requests import Request
from tfx_pipeline import local_runner
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.raw_tables.read import read
from tfx_pipeline.raw_tables.rejects import DataError

SHARE = 0.1
NDCG = "ndcg@10"

Damage = Callable[[Request, np.random.Generator, Sequence[str]], Request]


def dropped(request: Request, rng: np.random.Generator, items: Sequence[str]) -> Request:
    """Without some events."""
    del items
    kept = rng.random(len(request.history)) >= SHARE
    return dataclasses.replace(
        request, history=tuple(e for e, stays in zip(request.history, kept, strict=True) if stays)
    )


def shuffled(request: Request, rng: np.random.Generator, items: Sequence[str]) -> Request:
    """With some neighbours the other way round; the times stay in order."""
    del items
    what = [event[:2] for event in request.history]
    for place in np.flatnonzero(rng.random(max(0, len(what) - 1)) < SHARE):
        what[place], what[place + 1] = what[place + 1], what[place]
    history = tuple((*pair, event[2]) for pair, event in zip(what, request.history, strict=True))
    return dataclasses.replace(request, history=history)


def spurious(request: Request, rng: np.random.Generator, items: Sequence[str]) -> Request:
    """With other items in some events."""
    hit = rng.random(len(request.history)) < SHARE
    drawn = rng.integers(len(items), size=len(request.history))
    history = tuple(
        (items[other], *event[1:]) if wrong else event
        for event, wrong, other in zip(request.history, hit, drawn, strict=True)
    )
    return dataclasses.replace(request, history=history)


def typos(request: Request, rng: np.random.Generator, items: Sequence[str]) -> Request:
    """With a typo in the query, and some in the profile text."""
    del items
    query = _mistyped(request.query, 1, rng)
    words = max(1, round(SHARE * len(request.profile_text.split())))
    return dataclasses.replace(request, query=query, profile_text=_mistyped(request.profile_text, words, rng))


DAMAGES: Mapping[str, Damage] = {"dropped": dropped, "shuffled": shuffled, "spurious": spurious, "typos": typos}


def _mistyped(text: str, number: int, rng: np.random.Generator) -> str:
    """A text with a typo in `number` of its words of two letters or more, as far as it has them."""
    words = text.split(" ")
    able = [place for place, word in enumerate(words) if len(word) > 1]
    for place in rng.permutation(able)[:number]:
        typos_of = (_typo(words[place], rng) for _ in range(20))
        # Some typos of some words, such as a swap within "aa", are no typos.
        words[place] = next((typo for typo in typos_of if typo != words[place]), words[place])
    return " ".join(words)


def _typo(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(word) - 1))
    kind = rng.integers(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[: at + 1] + word[at:]
    # A letter that the text has elsewhere: of the same script.
    return word[:at] + word[int(rng.integers(len(word)))] + word[at + 1 :]


def damage(name: str, requests: Sequence[Request], items: Sequence[str], seed: int) -> list[Request]:
    """Every request damaged in one of the ways of `DAMAGES`.

    Args:
      name: of the way.
      requests: to be damaged.
      items: ids of the catalogue, for spurious events.
      seed: with the user's id, what the drawing depends on.
    """
    found = []
    for request in requests:
        key = hashlib.blake2b(f"{seed}/{name}/{request.user_id}".encode(), digest_size=8).digest()
        found.append(DAMAGES[name](request, np.random.default_rng(int.from_bytes(key, "big")), items))
    return found


def kept_interval(whole: np.ndarray, damaged: np.ndarray, seed: int = 0, resamples: int = 2000) -> list[float]:
    """The 95% percentile bootstrap interval of mean(damaged) / mean(whole), users drawn in pairs.

    Args:
      whole, damaged: one value per user, in the same order.
      seed, resamples: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(whole), np.full(len(whole), 1 / len(whole)), size=resamples)
    below = counts @ whole
    ratios = (counts @ damaged)[below > 0] / below[below > 0]
    return [float(edge) for edge in np.percentile(ratios, [2.5, 97.5])] if len(ratios) else []


def evaluate(servable: Servable, protocol: Protocol, seed: int, users: int) -> Iterator[dict[str, Any]]:
    """What the JSON lines of a model say.

    Args:
      servable: to be asked.
      protocol: whose main part is asked.
      seed: of the damage.
      users: at most so many are asked, the first ones.
    """
    part = protocol.parts()[0]
    part = dataclasses.replace(part, requests=list(part.requests)[:users])
    asked = {request.user_id for request in part.requests}
    part = dataclasses.replace(part, targets={user: found for user, found in part.targets.items() if user in asked})
    whole = _ndcg(servable, protocol, part)
    items = sorted(protocol.known)
    for name in DAMAGES:
        requests = damage(name, part.requests, items, seed)
        changed = [one != other for one, other in zip(requests, part.requests, strict=True)]
        damaged = _ndcg(servable, protocol, dataclasses.replace(part, requests=requests)) if any(changed) else whole
        yield {
            "task": protocol.task,
            "damage": name,
            "n": len(whole),
            "changed": float(np.mean(changed)),
            NDCG: float(whole.mean()),
            f"{NDCG}_damaged": float(damaged.mean()),
            "kept": float(damaged.mean() / whole.mean()) if whole.any() else None,
            "kept_95": kept_interval(whole, damaged),
            "damage_seed": seed,
        }


def _ndcg(servable: Servable, protocol: Protocol, part: Part) -> np.ndarray:
    answers = zip(part.requests, servable.ask(part.requests), strict=True)
    frame = predictions.to_frame(quality.known_only(*pair, protocol.known) for pair in answers)
    return predictions.score_users(frame, part.targets)[NDCG].to_numpy()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description="Ranking of damaged requests.")
    parser.add_argument("--config", required=True, help="a runnable configuration")
    parser.add_argument("--data", required=True, help="the folder of the tables, or the one file of the data set")
    parser.add_argument("--task", required=True, choices=quality.TASKS, help="the protocol")
    parser.add_argument("--servable", help="a SavedModel, or a folder of versions; default: what was pushed last")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=KEY=VALUE[,…]", help="also ask these")
    parser.add_argument("--validation", action="store_true", help="ask for what `eval` decisions are about")
    parser.add_argument("--seed", type=int, default=1, help="of the damage; default %(default)s")
    parser.add_argument("--users", type=int, default=2000, help="at most so many are asked; default %(default)s")
    options = parser.parse_args(arguments)
    try:
        with quality.only_results_on_standard_output() as emit:
            _run(options, emit)
    except (settings_lib.SettingsError, DataError, ServableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, emit: Callable[[dict[str, Any]], None]) -> None:
    place = local_runner.Place.from_environment(
        {**os.environ, "PIPELINE_CONFIG": options.config, "PIPELINE_DATA": options.data}
    )
    settings = place.settings
    model = newest_version(options.servable or place.serving)
    if options.validation:
        check_held_out(model)
    protocol = quality.checked(
        quality.build_protocol(options.task, settings, read(settings.data, place.data), options.validation)
    )
    chosen = [variants.parse(text, settings, options.config) for text in options.variant]
    for variant in (None, *chosen):
        path = variants.fit(variant, place, validation=options.validation).path if variant else model
        own = variant.settings if variant else settings
        servable = Servable(path, own.data.context, protocol.signature)
        said = {"model": own.model.entry, "seed": own.train.seed, **({"variant": variant.name} if variant else {})}
        for line in evaluate(servable, protocol, options.seed, options.users):
            emit({**said, **line})


if __name__ == "__main__":
    sys.exit(main())
