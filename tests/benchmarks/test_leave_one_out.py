"""The protocols `leave_one_out` and `search`, and the baselines that read no query, by hand and by brute force."""

import collections
import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks import predictions, sequence_baselines
from benchmarks.leave_one_out import LeaveOneOut
from benchmarks.protocol import Case
from benchmarks.search import Search, draw_query, with_typo, words
from serving import contract
from serving.requests import Request
from tfx_pipeline import settings as settings_lib
from tfx_pipeline.example_gen.boundaries import DAY, TEST
from tfx_pipeline.example_gen.in_memory import prepare
from tfx_pipeline.raw_tables.read import read

SEQUENCES = {"1": "abcd", "2": "bcab", "3": "cabdae", "4": "ef", "5": "f"}
TITLES = {"a": "Red Kettle, red", "b": "Lamp", "c": "", "d": "Green tea set", "e": "水壶 XL", "f": "--"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    lines = [f"{user}\t{item}\t{place}" for user, items in SEQUENCES.items() for place, item in enumerate(items)]
    (folder / "x.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(lines) + "\n")
    titles = [f"{item}\t{title}" for item, title in {**TITLES, "g": "never had"}.items()]
    (folder / "x.item").write_text("item_id:token\ttitle:token_seq\n" + "\n".join(titles) + "\n")
    settings = settings_lib.from_dict(
        {
            "data": {"adapter": "recbole"},
            "decisions": {
                "split": "leave_one_out",
                "label_event_types": ["interaction"],
                "profile_text": {"sources": ["titles"]},
            },
        }
    )
    return settings, read(settings.data, folder)


def test_the_last_item_is_to_be_found_and_what_came_before_is_left_out(shop):
    protocol = LeaveOneOut.build(*shop)
    (part,) = protocol.parts()
    assert part.name == "" and protocol.known == set("abcdefg")
    # 5 has nothing before; b is among what 2 had, so it cannot be found
    assert part.targets == {"1": {"d"}, "2": {"b"}, "3": {"e"}, "4": {"f"}}
    assert [(r.user_id, "".join(r.exclude)) for r in part.requests] == [
        ("1", "abc"), ("2", "abc"), ("3", "abcd"), ("4", "e"),
    ]  # fmt: skip
    assert part.requests[0] == Request(
        user_id="1",
        profile_text="Lamp; Red Kettle, red",
        request_time=TEST,
        history=tuple((item, "interaction", TEST - (3 - place) * DAY) for place, item in enumerate("abc")),
        exclude=["a", "b", "c"],
    )
    assert ["".join(items) for items in protocol.fitted] == ["ab", "bc", "cabd", "", ""]


def test_validation_asks_for_the_item_before_and_has_not_heard_of_the_last(shop):
    protocol = LeaveOneOut.build(*shop, validation=True)
    (part,) = protocol.parts()
    assert part.targets == {"1": {"c"}, "2": {"a"}, "3": {"a"}}
    assert [("".join(event[0] for event in r.history), r.request_time) for r in part.requests] == [
        ("ab", TEST - DAY), ("bc", TEST - DAY), ("cabd", TEST - DAY),
    ]  # fmt: skip
    # a request is what ExampleGen writes for the same decision
    prepared = prepare(shop[1], shop[0])
    written = {d.user_id: d for log in prepared.logs() for d in prepared.builder.decisions(log) if d.split == "eval"}
    assert set(written) == set(part.targets)
    for request in part.requests:
        decision = written[request.user_id]
        assert (request.profile_text, request.request_time) == (decision.profile_text, decision.time)
        assert [event[2] for event in request.history] == decision.history_timestamps.tolist()
    assert protocol.fitted == LeaveOneOut.build(*shop).fitted


def test_other_splits_are_refused(shop):
    settings, tables = shop
    by_time = dataclasses.replace(settings, decisions=dataclasses.replace(settings.decisions, split="global_time"))
    with pytest.raises(settings_lib.SettingsError, match=r"split is 'global_time'; expected 'leave_one_out'"):
        LeaveOneOut.build(by_time, tables)


def test_queries_are_words_of_the_targets_title(shop):
    protocol = Search.build(*shop)
    main, alone, wrong, _ = protocol.parts()
    assert protocol.signature == contract.SEARCH and (main.name, alone.name) == ("", "no_history")
    # f, of 4, has a title without words
    assert main.targets == alone.targets == {"1": {"d"}, "2": {"b"}, "3": {"e"}}
    for request, bare in zip(main.requests, alone.requests, strict=True):
        (target,) = main.targets[request.user_id]
        assert request.query and set(request.query.split()) <= set(words(TITLES[target]))
        assert request.history and not request.exclude
        assert bare == Request(user_id=request.user_id, query=request.query, request_time=TEST)
    assert main.requests[1].query == "lamp"
    assert main.groups == {
        f"{n}_words": frozenset(r.user_id for r in main.requests if len(r.query.split()) == n)
        for n in {len(r.query.split()) for r in main.requests}
    }
    assert [(one.user_id, one.history) for one in wrong.requests] == [
        (one.user_id, one.history) for one in main.requests
    ]
    assert all(one.query == with_typo(r.query, r.user_id) for one, r in zip(wrong.requests, main.requests, strict=True))


def test_a_typo_is_one_of_four_in_one_word():
    kinds = collections.Counter()
    for user in range(2000):
        wrong = with_typo("red kettle a", str(user))
        assert wrong == with_typo("red kettle a", str(user))
        red, kettle, last = wrong.split()
        assert last == "a" and (red == "red") + (kettle == "kettle") == 1
        word, typed = ("red", red) if red != "red" else ("kettle", kettle)
        if len(typed) < len(word):
            kinds["dropped"] += 1
            assert typed in {word[:i] + word[i + 1 :] for i in range(len(word))}
        elif len(typed) > len(word):
            kinds["doubled"] += 1
            assert typed in {word[:i] + word[i] + word[i:] for i in range(len(word))}
        elif sorted(typed) == sorted(word):
            kinds["swapped"] += 1
        else:
            kinds["replaced"] += 1
            assert sum(a != b for a, b in zip(typed, word, strict=True)) == 1
    assert {"dropped", "doubled", "swapped", "replaced"} <= set(kinds)
    assert min(kinds.values()) > 350  # a swap of the two t is drawn again
    assert with_typo("a b", "u") == "a b"
    assert {len(with_typo("登山靴", str(user))) for user in range(50)} == {2, 3, 4}


def test_drawing_is_fair_and_always_the_same():
    title = "The Red Kettle of the sea"
    assert words(title) == ["the", "red", "kettle", "of", "sea"]
    drawn = [draw_query(title, str(user)) for user in range(3000)]
    assert drawn == [draw_query(title, str(user)) for user in range(3000)]
    lengths = collections.Counter(len(query.split()) for query in drawn)
    assert set(lengths) == {1, 2, 3} and min(lengths.values()) > 900
    first = collections.Counter(query for query in drawn if " " not in query)
    assert len(first) == 5 and min(first.values()) > 150
    places = [[words(title).index(word) for word in query.split()] for query in drawn]
    assert all(one == sorted(set(one)) for one in places)
    assert (draw_query("--", "u"), draw_query("two words", "u", seed=1).count(" ") <= 1) == ("", True)
    assert drawn != [draw_query(title, str(user), seed=1) for user in range(3000)]


# --- baselines ---------------------------------------------------------------------------------------------------


def lists(frame: pd.DataFrame) -> dict[str, str]:
    return frame.groupby("user_id")["item_id"].agg("".join).to_dict()


def test_popularity_by_hand(shop):
    # a 2, b 3, c 2, d 1 events in ab, bc, cabd
    ((_, ranking),) = sequence_baselines.rankings(LeaveOneOut.build(*shop), None)
    assert lists(ranking) == {"1": "defg", "2": "defg", "3": "efg", "4": "bacdfg"}
    assert ranking["score"].tolist()[:2] == pytest.approx([1 / 8, 0], abs=1e-8)
    assert predictions.score_predictions(ranking, LeaveOneOut.build(*shop).parts()[0].targets)["recall@10"] == 0.75


def test_co_occurrence_against_a_loop(shop):
    """A random data set, scored pair by pair."""
    rng = np.random.default_rng(3)
    items = np.array(list("abcdefghijklmnop"))
    fitted = tuple(tuple(rng.choice(items, rng.integers(0, 9)).tolist()) for _ in range(40))
    requests = [
        Request(
            user_id=str(user),
            history=[(item, "view", place) for place, item in enumerate(rng.choice(items, user % 5))],
            exclude=sorted(set(rng.choice(items, 3).tolist())),
        )
        for user in range(12)
    ]
    protocol = LeaveOneOut(TEST, (), frozenset(items.tolist()), fitted)
    together: dict[tuple[str, str], float] = collections.defaultdict(float)
    events = collections.Counter(item for sequence in fitted for item in sequence)
    for sequence in fitted:
        for b in range(len(sequence)):
            for a in range(b):
                together[sequence[a], sequence[b]] += 1 / (b - a) ** 0.5
                together[sequence[b], sequence[a]] += 0.5 / (b - a) ** 0.5
    found = sequence_baselines.Counts(protocol).rank(requests, 0.7)
    for request in requests:
        expected = {}
        for j in items:
            score = sum(
                0.7 ** (len(request.history) - 1 - place) * together[i, j]
                / ((1 + events[i]) ** 0.5 * (1 + events[j]) ** 0.25)
                for place, (i, *_) in enumerate(request.history)
            )  # fmt: skip
            if j not in request.exclude:
                expected[j] = score
        mine = found[found["user_id"] == request.user_id]
        order = sorted(expected, key=lambda item: (-round(expected[item], 9), -events[item], item))
        assert mine["item_id"].tolist() == order
        assert mine["score"].tolist() == pytest.approx([expected[item] for item in order], abs=1e-8)


@pytest.mark.parametrize("best", [0.3, 0.9])
def test_the_decay_is_chosen_by_validation_ndcg(best):
    """p, had last, gives x 1 / (2 * 2^.5)^.5 = .59, and q, had before, gives y d * 2 / (4 * 3^.5)^.5 = .76 d."""
    fitted = (("p", "x"), ("q", "y"), ("q", "y"), ("q",))
    history = [("q", "view", 1), ("p", "view", 2)]
    target = frozenset("x" if best == 0.3 else "y")
    protocol = LeaveOneOut(TEST, (), frozenset("pqxy"), fitted)
    case = Case(Request(user_id="u", history=history), frozenset("pq"), target)
    assert sequence_baselines.best_decay(dataclasses.replace(protocol, cases=(case,))) == best
