"""Every kind of rule on a shop of eight items, by hand."""

import numpy as np
import pytest

from serving.rules.engine import Engine

ALL = "tea matcha pot mug knife wine foodie book"
NOW, DAY = 1732881600, 86400


def fired(answer):
    return {rule.name: rule.items for rule in answer.fired}


def answered(engine, text, ranking, shopper, ids=ALL, scores=None, **options):
    return engine(text).apply(ranking(ids, scores) if ids is not None else None, shopper, **options)


def test_without_rules_the_ranking_is_the_answer(engine, ranking, shopper):
    answer = answered(engine, "{rules: []}", ranking, shopper(), scores=[9, 8, 8, 7, 5, 4, 3, -np.inf])
    assert answer.item_ids == ALL.split() and not answer.fired
    assert [item.position for item in answer.items] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [item.score for item in answer.items] == [9, 8, 8, 7, 5, 4, 3, -np.inf]
    assert {item.reasons for item in answer.items} == {()}


def test_the_better_score_comes_first_and_equal_ones_keep_their_order(engine, ranking, shopper):
    answer = answered(engine, "{rules: []}", ranking, shopper(), "tea pot wine book", [1, 2, 1, 3])
    assert answer.item_ids == ["book", "pot", "tea", "wine"]


def test_a_limit_cuts_the_answer(engine, ranking, shopper):
    answer = answered(engine, "{rules: []}", ranking, shopper(), limit=2)
    assert answer.item_ids == ["tea", "matcha"]


def test_what_a_request_excludes_takes_no_place_and_fires_no_rule(engine, ranking, shopper):
    text = (
        "lists: {popular: [book, mug, pot, wine]}\nrules:\n"
        "  - {name: ahead, kind: pin, item: knife, position: 1}\n"
        "  - {name: one_each, kind: cap, by: brand, at_most: 1, within: 3}\n"
        "  - {name: fill, kind: fallback, on: too_few, least: 4, list: popular}\n"
    )
    answer = answered(engine, text, ranking, shopper(), "tea matcha", exclude=["knife", "tea", "book", "no such item"])
    assert answer.item_ids == ["matcha", "mug", "wine", "pot"]
    assert fired(answer) == {"fill": ("mug", "wine", "pot")}
    assert answer.ranked == 2 + 4
    assert answered(engine, text, ranking, shopper(), "tea matcha").item_ids[0] == "knife"


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([1.0], r"the ranking has 2 items and scores of shape \(1,\); expected one each"),
        ([1.0, np.nan], "the score of item 'pot' is nan; expected a number"),
        ([np.inf, 1.0], "the score of item 'tea' is inf; expected a number"),
    ],
)
def test_rankings_that_are_none(engine, ranking, shopper, scores, says):
    with pytest.raises(ValueError, match=says):
        answered(engine, "{rules: []}", ranking, shopper(), "tea pot", scores)


def test_an_item_that_is_ranked_twice_is_answered_once(engine, ranking, shopper):
    answer = answered(engine, "{rules: []}", ranking, shopper(), "tea pot tea wine pot", [1, 2, 3, 0, 5])
    assert answer.item_ids == ["pot", "tea", "wine"] and fired(answer) == {"duplicates": ("pot", "tea")}
    assert [item.score for item in answer.items] == [5, 3, 0]


def test_unknown_items_are_dropped_or_kept_as_configured(engine, ranking, shopper):
    ids = "tea newcomer pot"
    answer = answered(engine, "{unknown_items: drop}", ranking, shopper(), ids)
    assert answer.item_ids == ["tea", "pot"] and fired(answer) == {"unknown_items": ("newcomer",)}
    text = (
        "unknown_items: keep\nrules:\n  - {name: stock, kind: out_of_stock}\n  - {name: sold, kind: region}\n"
        "  - {name: age, kind: age_limit}\n  - {name: no_tea, kind: block, where: {category: Food}}\n"
    )
    answer = answered(engine, text, ranking, shopper(), ids)
    assert answer.item_ids == ["newcomer", "pot"]
    by_id = "unknown_items: keep\nrules: [{name: no, kind: block, where: {item_id: newcomer}}]"
    assert answered(engine, by_id, ranking, shopper(), ids).item_ids == ["tea", "pot"]


# --- filters: rule, what is known of the shopper, what it rules out --------------------------------------------------

FILTERS = [
    ("kind: out_of_stock", {}, "mug"),
    ("kind: out_of_stock, where: {category: Food}", {}, ""),
    ("kind: region", {}, "book"),
    ("kind: region", {"context": {"country": "US"}}, "matcha knife"),
    ("kind: region", {"context": {"country": "JP"}}, "matcha knife wine book"),
    ("kind: region", {"context": {}}, "matcha knife wine book"),
    ("kind: region, if_unknown: keep", {"context": {}}, ""),
    ("kind: region, column: gender", {"context": {"country": "DE", "gender": "FR"}}, "knife book"),
    ("kind: region, where: {category: Food}, allowed: [DE, FR]", {}, ""),
    ("kind: region, where: {category: Food}, allowed: [FR, AT]", {}, "tea matcha wine"),
    ("kind: region, where: {category: Food}, allowed: [FR]", {"context": {}}, "tea matcha wine"),
    ("kind: region, where: {category: Food}, allowed: [FR], if_unknown: keep", {"context": {}}, ""),
    ("kind: age_limit", {"age": 15.9}, "knife wine"),
    ("kind: age_limit", {"age": 16}, "knife"),
    ("kind: age_limit", {"age": 18}, ""),
    ("kind: age_limit", {"age": None}, "knife wine"),
    ("kind: age_limit, if_unknown: keep", {"age": None}, ""),
    ("kind: age_limit, where: {category: Food > Wine}", {"age": None}, "wine"),
    ("kind: age_limit, min_age: 21, where: {category: Kitchen}", {"age": 20}, "pot mug knife"),
    ("kind: age_limit, min_age: 21, where: {category: Kitchen}", {"age": 21}, ""),
    ("kind: age_limit, min_age: 21, where: {category: Kitchen}", {"age": None}, "pot mug knife"),
    ("kind: block, where: {item_id: [tea, wine, gone]}", {}, "tea wine"),
    ("kind: block, where: {brand: [Clay, Steel]}", {}, "pot mug knife"),
    ("kind: block, where: {category: Food}", {}, "tea matcha wine"),  # and not Foodie
    ("kind: block, where: {category: [Food > Tea, Foodie]}", {}, "tea matcha foodie"),
    ("kind: block, where: {category: Kitchen, brand: Clay, price: {max: 20}}", {}, "mug"),
    ("kind: block, where: {price: {min: 12, max: 19}}", {}, "matcha wine book"),  # the foodie's price is not known
    ("kind: block, where: {price: {min: 0}}", {}, "tea matcha pot mug knife wine book"),
    ("kind: block, where: {age_days: {max: 10}}", {}, "matcha knife"),
    ("kind: block, where: {age_days: {min: 401}}", {}, "foodie"),  # always there
    ("kind: block, where: {min_age: {min: 16}}", {}, "knife wine"),
    ("kind: block, where: {item_type: content}", {}, "book"),
]


@pytest.mark.parametrize(("rule", "known", "out"), FILTERS)
def test_filters(engine, ranking, shopper, rule, known, out):
    answer = answered(engine, f"rules: [{{name: r, {rule}}}]", ranking, shopper(**known))
    assert answer.item_ids == [item_id for item_id in ALL.split() if item_id not in out.split()]
    assert fired(answer) == ({"r": tuple(out.split())} if out else {})
    # What a filter is against is no pin and no fallback, either.
    for item_id in out.split():
        text = (
            f"lists: {{popular: [{ALL.replace(' ', ', ')}]}}\nrules:\n  - {{name: r, {rule}}}\n"
            f"  - {{name: pin, kind: pin, item: {item_id}}}\n"
            "  - {name: fill, kind: fallback, on: too_few, list: popular, least: 8}\n"
            "  - {name: down, kind: fallback, on: model_down, list: popular}\n"
        )
        assert item_id not in answered(engine, text, ranking, shopper(**known), "").item_ids
        assert item_id not in answered(engine, text, ranking, shopper(**known), None).item_ids


def test_what_was_bought_lately(engine, ranking, shopper):
    history = [
        ("tea", "purchase", NOW - 31 * DAY),
        ("matcha", "purchase", NOW - 30 * DAY),
        ("pot", "view", NOW - 2 * DAY),
        ("book", "refund", NOW - DAY),
        ("wine", "purchase", NOW - 1),
    ]
    rule = "rules: [{name: r, kind: already_bought, within_days: 30}]"
    answer = answered(engine, rule, ranking, shopper(history=history))
    assert fired(answer) == {"r": ("matcha", "wine")}
    rule = (
        "rules:\n  - {name: r, kind: already_bought, within_days: 40, event_types: [purchase, refund], "
        "where: {price: {max: 15}}}"
    )
    assert fired(answered(engine, rule, ranking, shopper(history=history))) == {"r": ("tea", "wine", "book")}
    assert not answered(engine, rule, ranking, shopper(history=[])).fired


def test_an_item_is_ruled_out_by_the_first_filter_only(engine, ranking, shopper):
    text = "rules:\n  - {name: a, kind: block, where: {brand: Clay}}\n  - {name: b, kind: out_of_stock}\n"
    assert fired(answered(engine, text, ranking, shopper())) == {"a": ("pot", "mug")}


# --- boosts ----------------------------------------------------------------------------------------------------------


def test_boosts_on_each_scale(engine, ranking, shopper):
    # Standard deviations: the scores 4, 2, 0 are ±sqrt(1.5) and 0; the third needs more than 1.2247 to pass the second.
    rule = "rules: [{name: r, kind: boost, where: {item_id: wine}, add: %s}]"
    order = {
        add: answered(engine, rule % add, ranking, shopper(), "tea pot wine", [4, 2, 0]).item_ids
        for add in (1.2, 1.3, 2.5)
    }
    assert order == {1.2: ["tea", "pot", "wine"], 1.3: ["tea", "wine", "pot"], 2.5: ["wine", "tea", "pot"]}
    # Three times as likely: .2 becomes .6 beside .5 and .3.
    rule = "scale: log_probability\nrules: [{name: r, kind: boost, where: {item_id: wine}, multiply: %s}]"
    scores = np.log([0.5, 0.3, 0.2])
    order = {b: answered(engine, rule % b, ranking, shopper(), "tea pot wine", scores).item_ids for b in (1.4, 1.6, 3)}
    assert order == {1.4: ["tea", "pot", "wine"], 1.6: ["tea", "wine", "pot"], 3: ["wine", "tea", "pot"]}
    # Ranks: 1, .75, .5, .25.
    rule = "scale: rank\nrules: [{name: r, kind: boost, where: {brand: Chateau}, add: 0.3}]"
    assert answered(engine, rule, ranking, shopper(), "tea pot book wine").item_ids == ["tea", "pot", "wine", "book"]
    rule = "scale: rank\nrules: [{name: r, kind: boost, where: {brand: Leaf}, multiply: 0.6}]"
    assert answered(engine, rule, ranking, shopper(), "tea pot book wine").item_ids == ["pot", "tea", "book", "wine"]


def test_boosts_add_up_and_say_so(engine, ranking, shopper):
    text = (
        "rules:\n  - {name: a, kind: boost, where: {category: Food}, add: 0.8}\n"
        "  - {name: b, kind: boost, where: {brand: Chateau}, multiply: 1.6}\n"
        "  - {name: c, kind: boost, where: {brand: Nobody}, add: 9}\n"
    )
    answer = answered(engine, text, ranking, shopper(), "pot book wine", [4, 2, 0])
    # −1.2247 + .8 + ln 1.6 = .0453, just before the second's 0.
    assert answer.item_ids == ["pot", "wine", "book"]
    assert fired(answer) == {"a": ("wine",), "b": ("wine",)}
    assert answer.items[1] == ("wine", 0.0, 2, ("a", "b"))


def test_only_what_the_filters_left_makes_the_scale(engine, ranking, shopper):
    text = (
        "rules:\n  - {name: out, kind: block, where: {item_id: book}}\n"
        "  - {name: r, kind: boost, where: {item_id: wine}, add: 1.3}\n"
    )
    assert answered(engine, text, ranking, shopper(), "tea pot wine book", [4, 2, 0, -90]).item_ids == [
        "tea",
        "wine",
        "pot",
    ]


# --- diversity -------------------------------------------------------------------------------------------------------


def test_caps_by_category_brand_and_further_columns(engine, ranking, shopper):
    for by, expected in {
        "category": "tea pot mug knife matcha wine foodie book",
        "brand": "tea pot knife wine matcha mug foodie book",
        "item_type": "tea book matcha pot mug knife wine foodie",
    }.items():
        within = 2 if by == "item_type" else 4
        answer = answered(
            engine, f"rules: [{{name: r, kind: cap, by: {by}, at_most: 1, within: {within}}}]", ranking, shopper()
        )
        assert " ".join(answer.item_ids) == expected, by
    assert fired(answer) == {"r": ("matcha", "pot", "mug", "knife", "wine", "foodie")}
    assert answer.items[2].reasons == ("r",) and answer.items[0].reasons == ()


def test_mmr_with_and_without_vectors(engine, ranking, shopper, catalogue):
    text = "rules: [{name: r, kind: mmr, weight: 0.5, within: 3, pool: 4}]"
    # Relevance 1, 2/3, 1/3, 0. Matcha is tea again (likeness 1), pot and book are not: .1667 for pot, −.1667 for it.
    answer = answered(engine, text, ranking, shopper(), "tea matcha pot book")
    assert answer.item_ids == ["tea", "pot", "book", "matcha"]
    assert fired(answer) == {"r": ("pot", "book")}
    made = engine(text)
    catalogue.set_vectors(["tea", "matcha", "pot"], np.array([[2.0, 0], [0, 1], [0, 3]]))
    # Now matcha and pot are the same, and unlike tea; the book has no vector.
    assert made.apply(ranking("tea matcha pot book"), shopper()).item_ids == ["tea", "matcha", "book", "pot"]
    text = "rules: [{name: r, kind: mmr, weight: 1, within: 3, pool: 4}]"
    assert not answered(engine, text, ranking, shopper(), "tea matcha pot book").fired


def test_the_first_mmr_that_holds_counts(engine, ranking, shopper):
    text = (
        "rules:\n  - {name: a, kind: mmr, weight: 1, within: 3, pool: 4, when: {page: home}}\n"
        "  - {name: b, kind: mmr, weight: 0.5, within: 3, pool: 4}\n"
    )
    assert not answered(engine, text, ranking, shopper(page="home"), "tea matcha pot book").fired
    assert "b" in fired(answered(engine, text, ranking, shopper(), "tea matcha pot book"))


# --- pins, fallbacks -------------------------------------------------------------------------------------------------


def test_pins_of_the_ranking_and_from_outside(engine, ranking, shopper):
    text = (
        "rules:\n  - {name: a, kind: pin, item: book, position: 2}\n  - {name: b, kind: pin, item: wine, position: 1}\n"
    )
    answer = answered(engine, text, ranking, shopper(), "tea pot book")
    assert answer.item_ids == ["wine", "book", "tea", "pot"]
    assert answer.items[0] == ("wine", None, 1, ("b",)) and answer.items[1] == ("book", 1.0, 2, ("a",))
    assert fired(answer) == {"a": ("book",), "b": ("wine",)}


def test_a_pin_behind_the_limit_has_not_fired(engine, ranking, shopper):
    text = "rules: [{name: a, kind: pin, item: wine, position: 3}]"
    assert fired(answered(engine, text, ranking, shopper(), "tea pot book", limit=3)) == {"a": ("wine",)}
    assert not answered(engine, text, ranking, shopper(), "tea pot book", limit=2).fired


def test_pins_hold_in_their_time_and_under_their_condition(engine, ranking, shopper):
    when = "{from: 2024-11-29T12:00:00Z, until: 2024-11-30, country: [DE, FR]}"
    text = f"rules: [{{name: a, kind: pin, item: wine, when: {when}}}]"
    first = {
        (time, country): answered(engine, text, ranking, shopper(time=time, context={"country": country})).item_ids[0]
        for time in (NOW - 1, NOW, NOW + DAY)
        for country in ("DE", "US")
    }
    assert [key for key, item_id in first.items() if item_id == "wine"] == [(NOW, "DE")]


LISTS = "lists: {starters: [book, wine, mug, gone], popular: [pot, tea, wine]}\nrules:\n"


def test_a_new_shopper_gets_the_list_in_place_of_the_ranking(engine, ranking, shopper):
    text = LISTS + (
        "  - {name: stock, kind: out_of_stock}\n"
        "  - {name: welcome, kind: fallback, on: new_user, list: starters, when: {page: home}}\n"
        "  - {name: down, kind: fallback, on: model_down, list: popular}\n"
    )
    answer = answered(engine, text, ranking, shopper(history=[], page="home"))
    assert answer.item_ids == ["book", "wine"]
    assert answer.items[0] == ("book", None, 1, ("welcome",))
    assert fired(answer) == {
        "welcome": ("book", "wine", "mug", "gone"),
        "unknown_items": ("gone",),
        "stock": ("mug",),
    }
    assert answered(engine, text, ranking, shopper(history=[], page="home"), None).item_ids == ["book", "wine"]
    assert answered(engine, text, ranking, shopper(history=[])).item_ids == [i for i in ALL.split() if i != "mug"]
    assert answered(engine, text, ranking, shopper(page="home")).item_ids[0] == "tea"
    assert answered(engine, text, ranking, shopper(page="home", is_new=True)).item_ids[0] == "book"


def test_the_list_is_boosted_and_shared_out_like_a_ranking(engine, ranking, shopper):
    text = LISTS + (
        "  - {name: welcome, kind: fallback, on: new_user, list: starters}\n"
        "  - {name: boost, kind: boost, where: {item_id: wine}, add: 5}\n"
    )
    answer = answered(engine, text, ranking, shopper(history=[]))
    assert answer.item_ids == ["wine", "book", "mug"] and answer.items[0].reasons == ("welcome", "boost")


def test_without_a_model_there_is_what_is_popular(engine, ranking, shopper):
    text = LISTS + "  - {name: down, kind: fallback, on: model_down, list: popular}\n"
    answer = answered(engine, text, ranking, shopper(), None)
    assert answer.item_ids == ["pot", "tea", "wine"] and fired(answer) == {"down": ("pot", "tea", "wine")}
    assert answered(engine, text, ranking, shopper(), "").item_ids == []  # it answered, and had nothing
    assert answered(engine, "{rules: []}", ranking, shopper(), None).items == []


def test_too_few_items_are_filled_up(engine, ranking, shopper):
    text = LISTS + (
        "  - {name: stock, kind: out_of_stock}\n"
        "  - {name: fill, kind: fallback, on: too_few, list: popular, least: 3}\n"
    )
    answer = answered(engine, text, ranking, shopper(), "mug tea")
    assert answer.item_ids == ["tea", "pot", "wine"]
    assert fired(answer) == {"stock": ("mug",), "fill": ("pot", "wine")}
    assert answer.items[1] == ("pot", None, 2, ("fill",))
    assert not answered(engine, text, ranking, shopper(), "tea book wine").fired
    # Nothing of the list that the ranking has, and a filter was against, comes back.
    text = text.replace("[pot, tea, wine]", "[mug, pot]")
    assert answered(engine, text, ranking, shopper(), "mug tea").item_ids == ["tea", "pot"]


def test_the_first_fallback_that_holds_counts(engine, ranking, shopper):
    text = LISTS + (
        "  - {name: de, kind: fallback, on: model_down, list: starters, when: {country: DE}}\n"
        "  - {name: all, kind: fallback, on: model_down, list: popular}\n"
    )
    assert answered(engine, text, ranking, shopper(), None).item_ids == ["book", "wine", "mug"]
    assert answered(engine, text, ranking, shopper(context={}), None).item_ids == ["pot", "tea", "wine"]


def test_what_fired_is_in_the_order_of_the_stages_when_filters_meet_fallback_items_late(engine, ranking, shopper):
    text = LISTS + (
        "  - {name: fill, kind: fallback, on: too_few, list: popular, least: 3}\n"
        "  - {name: boost, kind: boost, where: {item_id: tea}, add: 5}\n"
        "  - {name: no_wine, kind: block, where: {item_id: wine}}\n"
        "  - {name: pin, kind: pin, item: knife}\n"
    )
    answer = answered(engine, text, ranking, shopper(), "tea")
    assert answer.item_ids == ["knife", "tea", "pot"]
    assert list(fired(answer).items()) == [
        ("no_wine", ("wine",)), ("boost", ("tea",)), ("pin", ("knife",)), ("fill", ("pot",)),
    ]  # fmt: skip


def test_mmr_counts_fallback_items(engine, ranking, shopper, catalogue):
    text = LISTS.replace("popular: [pot, tea, wine]", "popular: [pot]") + (
        "  - {name: few, kind: cap, by: item_type, at_most: 1, within: 2}\n"
        "  - {name: fill, kind: fallback, on: too_few, list: popular, least: 2}\n"
        "  - {name: varied, kind: mmr, weight: 0.5, within: 4, pool: 9}\n"
    )
    # The cap leaves the second place to the fallback item. Then there is .5 · .5 − .5 · likeness for the mug and 0 for
    # the wine: the mug is half of what the pot is (its brand), and as good and first, and then all of it.
    catalogue.update("pot", item_type="other")
    made = engine(text)
    assert made.apply(ranking("tea mug wine"), shopper()).item_ids == ["tea", "pot", "mug", "wine"]
    catalogue.update("mug", category="Kitchen > Pots")
    assert made.apply(ranking("tea mug wine"), shopper()).item_ids == ["tea", "pot", "wine", "mug"]


def test_caps_of_fallback_items_that_no_rule_knows(engine, ranking, shopper):
    """Fallback items bring columns of their own into the caps."""
    text = LISTS.replace("popular: [pot, tea, wine]", "popular: [matcha, pot]") + (
        "  - {name: few, kind: cap, by: category, at_most: 1, within: 3}\n"
        "  - {name: fill, kind: fallback, on: too_few, list: popular, least: 3}\n"
    )
    answer = answered(engine, text, ranking, shopper(), "tea")
    assert answer.item_ids == ["tea", "pot"] and fired(answer) == {"fill": ("pot",)}


# --- conditions, overlays --------------------------------------------------------------------------------------------


def test_an_arm_has_the_rules_of_its_overlay(engine, ranking, shopper):
    text = (
        "rules:\n  - {name: pin, kind: pin, item: wine}\n"
        "  - {name: arm_c, kind: pin, item: tea, when: {arm: c}, position: 3}\n"
        "overlays:\n  b:\n    change: {pin: {position: 2}}\n"
        "    add: [{name: no_book, kind: block, where: {item_id: book}}]\n"
    )
    made = engine(text)
    answers = {arm: made.apply(ranking("pot tea book"), shopper(arm=arm)).item_ids for arm in ("", "b", "c")}
    assert answers == {
        "": ["wine", "pot", "tea", "book"],
        "b": ["pot", "wine", "tea"],
        "c": ["wine", "pot", "tea", "book"],
    }
    assert fired(made.apply(ranking("pot tea book"), shopper(arm="c")))["arm_c"] == ("tea",)


def test_a_rule_for_shoppers_of_unknown_age(engine, ranking, shopper):
    text = (
        "rules: [{name: r, kind: block, where: {category: Food > Wine}, when: {age: unknown, placement: [top, side]}}]"
    )
    out = [
        (age, placement)
        for age in (None, 17)
        for placement in ("", "top", "side")
        if "wine" not in answered(engine, text, ranking, shopper(age=age, placement=placement)).item_ids
    ]
    assert out == [(None, "top"), (None, "side")]


# --- the catalogue lives ---------------------------------------------------------------------------------------------


def test_an_update_counts_in_the_next_answer(engine, ranking, shopper, catalogue):
    made = engine(
        "rules:\n  - {name: stock, kind: out_of_stock}\n  - {name: block, kind: block, where: {brand: Leaf}}\n"
        "  - {name: new_name, kind: block, where: {brand: Fresh}}\n"
    )
    assert fired(made.apply(ranking(ALL), shopper())) == {"stock": ("mug",), "block": ("tea", "matcha")}
    catalogue.update("mug", in_stock=True)
    catalogue.update("tea", brand="Other")
    catalogue.update("pot", brand="Fresh", in_stock=False)
    catalogue.update("wine", brand="Fresh")
    assert fired(made.apply(ranking(ALL), shopper())) == {
        "stock": ("pot",), "block": ("matcha",), "new_name": ("wine",),
    }  # fmt: skip


def test_engine_and_answer_of_the_clients_results(load, catalogue, ranking):
    """`serving.results.Ranking` is in the request's order; both results go in as they are."""
    from serving.results import Ranking
    from serving.rules.shopper import Shopper

    result = Ranking(["tea", "pot"], np.array([0.5, 2.0], np.float32), 3)
    answer = Engine(load("{rules: []}"), catalogue).apply(result, Shopper())
    assert answer.item_ids == ["pot", "tea"] and isinstance(answer.items[0].score, float)
