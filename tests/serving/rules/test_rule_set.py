"""What rules may say, and the sentence for what they may not."""

import pathlib

import pytest

from serving.rules.catalogue import Catalogue
from serving.rules.engine import Engine
from serving.rules.kinds import KINDS, Boost, Cap, Pin
from serving.rules.reader import RulesError
from serving.rules.rule_set import RuleSet
from serving.rules.snapshot import Snapshot

ROOT = pathlib.Path(__file__).parents[3]


#: What a file holds -> what the error says behind its path.
FILES = {
    "rules: [": "line 1: expected the node content, but found '<stream end>'; expected valid YAML.",
    "- a\n- b": "holds no mapping; expected keys such as `rules`.",
    "": "holds no mapping; expected keys such as `rules`.",
    "scale: rank\nscale: rank": "line 2: `scale` is there twice (first in line 1); expected valid YAML.",
    "[a, b]: c": "line 1: a key is no text; expected valid YAML.",
    "rulez: []": "line 1: unknown key `rulez`; expected one of lists, rules, overlays, review_if, unknown_items, "
    "scale, forbidden, review, check_every_ms.",
    "scale: logit": "line 1: `scale` is 'logit'; expected one of standard, log_probability, rank.",
    "unknown_items: hide": "line 1: `unknown_items` is 'hide'; expected one of drop, keep.",
    "check_every_ms: -1": "line 1: `check_every_ms` is '-1'; expected a number from 0 to 60000.",
    "review: {dir: r, pending: maybe}": "line 1: `review`: `pending` is 'maybe'; expected one of hide, show.",
    "rules: {}": "line 1: `rules` is {}; expected a list.",
    "rules:\n  - tea": "line 1: `rules` is 'tea'; expected a mapping.",
    "lists: {a: tea}": "line 1: `lists.a` is 'tea'; expected a list.",
    "lists: {a: []}": "line 1: `lists.a` is empty; expected at least one text.",
    "lists: {a: [tea, pot, tea]}": "line 1: `lists.a` has 'tea' twice; expected each once.",
    "lists: {a: {path: x}}": "line 1: `lists.a` has the keys path; expected a list of items or `file`.",
    "rules:\n  - {kind: cap}": "line 2: a rule has no `name`; expected one.",
    "rules:\n  - {name: r}": "line 2: a rule has no `kind`; expected one.",
    "rules:\n  - name: r\n    kind: x": f"line 3: rule `r`: `kind` is 'x'; expected one of {', '.join(KINDS)}.",
    "rules:\n  - {name: r, kind: region}\n  - {name: r, kind: mmr}": "line 3: rule `r`: the name is there already "
    "(line 2); expected each name once.",
    "rules:\n  - {name: forbidden, kind: mmr}": "line 2: rule `forbidden`: answers say this name of something else; "
    "expected another name.",
    "overlays: {b: {drop: [a]}}": "line 1: overlay `b`: unknown key `drop`; expected one of change, remove, add.",
    "overlays: {'': {}}": "line 1: overlay ``: has no name; expected that of an arm.",
    "overlays: {b: {remove: [a]}}": "line 1: overlay `b`: `remove` names the rule 'a'; expected one of none.",
    "review_if: [{name: w}]": "line 1: review rule `w`: has neither `where` nor `words`; expected one of the two.",
    "review_if: [{name: w, words: {fr: [a]}}]": "line 1: review rule `w`: `words`: unknown key `fr`; expected one of "
    "en, zh.",
    "review_if: [{name: w, words: {en: ['!?']}}]": "line 1: review rule `w`: `words` has '!?'; expected letters or "
    "digits in it.",
}

ITEM_FIELDS = "item_id, category, brand, item_type, price, min_age, age_days"
FACTS = "country, gender, arm, page, placement, user, age, from, until"
#: What a rule says -> what the error says behind the place.
RULES = {
    "kind: cap, at_least: 3, by: brand": "unknown key `at_least`; expected one of kind, name, when, by, at_most, "
    "within, if_short.",
    "kind: pin": "`item` is missing; expected a value for it.",
    "kind: pin, item: tea, position: 0": "`position` is '0'; expected a number from 1 to 1000.",
    "kind: pin, item: tea, position: first": "`position` is 'first'; expected a number from 1 to 1000.",
    "kind: pin, item: tea, position: 1.5": "`position` is '1.5'; expected a whole number.",
    "kind: pin, item: [tea]": "`item` is ['tea']; expected a text.",
    "kind: already_bought, within_days: nan": "`within_days` is 'nan'; expected a number from 0 to 36500.",
    "kind: age_limit, if_unknown: ask": "`if_unknown` is 'ask'; expected one of drop, keep.",
    "kind: block": "`where` is missing; expected a value for it.",
    "kind: block, where: {}": "`where` is empty; expected at least one field.",
    "kind: block, where: {colour: red}": f"unknown field `where.colour`; expected one of {ITEM_FIELDS}.",
    "kind: block, where: {brand: [a, a]}": "`where.brand` has 'a' twice; expected each once.",
    "kind: block, where: {price: 3}": "`where.price` is '3'; expected a mapping.",
    "kind: block, where: {price: {min: 3, max: 2}}": "`where.price` is {'min': '3', 'max': '2'}; expected a min, a max "
    "no smaller than it, or both.",
    "kind: block, where: {price: {from: 3}}": "unknown key `where.price.from`; expected min or max.",
    "kind: region, when: {city: Bonn}": f"unknown condition `when.city`; expected one of {FACTS}.",
    "kind: region, when: {age: 18}": "`when.age` is '18'; expected one of known, unknown.",
    "kind: region, when: {user: [new, old]}": "`when.user` is 'old'; expected one of new, known.",
    "kind: region, when: {from: tomorrow}": "`when.from` is 'tomorrow'; expected a date or time such as "
    "2024-11-29T08:00:00Z.",
    "kind: region, when: {from: 2024-12-01, until: 2024-11-30}": "`when` is from 2024-12-01 until 2024-11-30; expected "
    "an end after its start.",
    "kind: region, column: city": "`column` is 'city'; expected a declared context column: country, gender.",
    "kind: boost, where: {brand: a}": "has `multiply` and `add` or neither; expected one of the two.",
    "kind: boost, where: {brand: a}, multiply: 2, add: 1": "has `multiply` and `add` or neither; expected one of the "
    "two.",
    "kind: boost, where: {brand: a}, multiply: 1": "changes no score; expected a `multiply` other than 1 or an `add` "
    "other than 0.",
    "kind: boost, where: {brand: a}, multiply: -2": "`multiply` is '-2'; expected a number from 1e-06 to 1e+06.",
    "kind: mmr, within: 30, pool: 20": "`within` is 30 and `pool` 20; expected a pool no smaller than that.",
    "kind: mmr, weight: 2": "`weight` is '2'; expected a number from 0 to 1.",
    "kind: cap, by: price": "`by` is 'price'; expected one of category, brand, item_type.",
    "kind: cap, by: brand, at_most: 0": "`at_most` is '0'; expected a number from 1 to 1000.",
    "kind: cap, by: brand, at_most: 5, within: 5": "allows 5 of the first 5 items and so all of them; expected an "
    "`at_most` below `within`.",
    "kind: fallback, on: too_few, least: 3, list: best": "`list` is 'best'; expected one of `lists`: popular.",
    "kind: fallback, on: too_few, list: popular": "is on too_few with `least` 0; expected a `least` from 1 with "
    "too_few only.",
    "kind: fallback, on: model_down, list: popular, least: 3": "is on model_down with `least` 3; expected a `least` "
    "from 1 with too_few only.",
}

#: The same for rules that do not go together, and what overlays do to them.
TOGETHER = {
    """
  - {name: a, kind: pin, item: tea, position: 2, when: {country: [DE, FR]}}
  - {name: b, kind: pin, item: pot, position: 2, when: {page: home, country: FR}}
""": "line 3: rule `b`: pins 'pot' to position 2, where `a` pins 'tea' for some of the same requests; expected another "
    "position, or conditions that exclude each other.",
    """
  - {name: a, kind: pin, item: tea, position: 2}
  - {name: b, kind: pin, item: tea, position: 3}
""": "line 3: rule `b`: pins 'tea' to position 3, and `a` to position 2 for some of the same requests; expected one "
    "position.",
    """
  - {name: a, kind: pin, item: tea}
overlays:
  arm:
    add: [{name: b, kind: pin, item: pot}]
""": "line 2: rule `a`: in overlay `arm` pins 'tea' to position 1, where `b` pins 'pot' for some of the same requests; "
    "expected another position, or conditions that exclude each other.",
    """
  - {name: a, kind: mmr}
overlays:
  arm: {add: [{name: a, kind: mmr}]}
""": "line 2: rule `a`: the name is there already (line 4); expected each name once.",
    """
  - {name: a, kind: mmr}
overlays:
  arm:
    change: {a: {weight: 3}}
""": "line 5: overlay `arm`: rule `a`: `weight` is '3'; expected a number from 0 to 1.",
    """
  - {name: a, kind: mmr}
overlays:
  arm:
    change: {a: {kind: cap}}
""": "line 5: overlay `arm`: rule `a`: `kind` cannot be changed; expected `remove` and `add`.",
    """
  - {name: a, kind: mmr}
overlays:
  arm: {change: {a: {weight: 1}}, remove: a}
""": "line 4: overlay `arm`: rule `a` is both changed and removed; expected one of the two.",
}

BAD = {
    **FILES,
    **{
        f"lists: {{popular: [tea]}}\nrules:\n  - {{name: r, {text}}}": f"line 3: rule `r`: {says}"
        for text, says in RULES.items()
    },
    **{f"rules:{text}": says for text, says in TOGETHER.items()},
}


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_used_ends_in_a_sentence(load, tmp_path, text):
    with pytest.raises(RulesError) as error:
        load(text)
    assert str(error.value) == f"{tmp_path / 'rules.yaml'}: {BAD[text]}"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(RulesError, match=r"none\.yaml: cannot be read \(No such file or directory\); expected a YAML"):
        RuleSet.load(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("rules: [é]".encode("latin-1"))
    with pytest.raises(RulesError, match=r"latin\.yaml: is not UTF-8; expected a YAML file in UTF-8\."):
        RuleSet.load(tmp_path / "latin.yaml")
    (tmp_path / "deep.yaml").write_text("[" * 600)
    with pytest.raises(RulesError, match=r"deep\.yaml: is nested too deeply; expected a mapping with keys such as"):
        RuleSet.load(tmp_path / "deep.yaml")


def test_values_are_what_is_written(load):
    text = (
        "lists: {a: [0123, 85123A, 1e3, 'true', 12:30]}\n"
        "rules:\n  - {name: r, kind: region, allowed: [NO, SE, on], when: {country: [NO, ~]}}\n"
    )
    rules = load(text)
    assert rules.lists["a"] == ("0123", "85123A", "1e3", "true", "12:30")
    assert rules.rules[0].allowed == ("NO", "SE", "on")
    assert rules.rules[0].when.facts == {"country": {"NO", "~"}}


def test_pins_that_exclude_each_other_may_share_a_position(load):
    rules = load(
        "rules:\n"
        "  - {name: a, kind: pin, item: tea, when: {country: DE}}\n"
        "  - {name: b, kind: pin, item: pot, when: {country: FR, until: 2024-12-01}}\n"
        "  - {name: c, kind: pin, item: pot, when: {country: FR, from: 2024-12-01}}\n"
    )
    assert [(rule.item, rule.position) for rule in rules.rules] == [("tea", 1), ("pot", 1), ("pot", 1)]


def test_overlays_change_remove_and_add_rules(load):
    rules = load(
        "rules:\n"
        "  - {name: cap, kind: cap, by: brand, at_most: 2, within: 8}\n"
        "  - {name: pin, kind: pin, item: tea}\n"
        "  - {name: boost, kind: boost, where: {brand: Leaf}, add: 1}\n"
        "overlays:\n"
        "  b:\n"
        "    change: {cap: {at_most: 1, when: {country: DE}}, boost: {add: 2}}\n"
        "    remove: pin\n"
        "    add: [{name: new, kind: pin, item: pot}]\n"
        "  same: {}\n"
    )
    assert rules.rules_of("b") == rules.overlays["b"] != rules.rules
    new, cap, boost = rules.rules_of("b")
    assert (new.item, boost.add, boost.where.texts) == ("pot", 2, {"brand": ("Leaf",)})
    assert (cap.by, cap.at_most, cap.within, cap.when.facts) == ("brand", 1, 8, {"country": {"DE"}})
    assert rules.rules_of("same") == rules.rules_of("of another experiment") == rules.rules_of("") == rules.rules
    assert [type(rule) for rule in rules.rules] == [Cap, Pin, Boost]
    assert rules.rules[0].at_most == 2


def test_pins_must_not_exceed_a_cap_by_themselves(load, catalogue):
    text = (
        "rules:\n"
        "  - {name: few, kind: cap, by: category, at_most: 1, within: 4, when: {page: home}}\n"
        "  - {name: a, kind: pin, item: tea, position: 1}\n"
        "  - {name: b, kind: pin, item: matcha, position: POSITION, when: {page: PAGE}}\n"
    )
    with pytest.raises(RulesError) as error:
        Engine(load(text.replace("POSITION", "4").replace("PAGE", "home")), catalogue)
    assert str(error.value).endswith(
        "rules.yaml: rule `few`: allows 1 of category 'Food > Tea' within the first 4 items, and `a`, `b` pin 2 there; "
        "expected room for the pins."
    )
    Engine(load(text.replace("POSITION", "5").replace("PAGE", "home")), catalogue)
    Engine(load(text.replace("POSITION", "4").replace("PAGE", "search")), catalogue)


def test_pins_that_only_two_by_two_hold_together_do_not_exceed_a_cap(load, catalogue):
    text = (
        "rules:\n"
        "  - {name: few, kind: cap, by: item_type, at_most: 2, within: 4}\n"
        "  - {name: a, kind: pin, item: tea, position: 1, when: {country: [DE, FR]}}\n"
        "  - {name: b, kind: pin, item: pot, position: 2, when: {country: [FR, US]}}\n"
        "  - {name: c, kind: pin, item: mug, position: 3, when: {country: [US, COUNTRY]}}\n"
    )
    Engine(load(text.replace("COUNTRY", "DE")), catalogue)
    with pytest.raises(RulesError, match="and `a`, `b`, `c` pin 3 there"):
        Engine(load(text.replace("COUNTRY", "FR")), catalogue)


def test_many_pins_are_checked_at_once(load):
    """Of 30 pins 15 hold at a time; there are 145 million ways to choose 16 of them."""
    ids = [f"i{at}" for at in range(30)]
    catalogue = Catalogue(Snapshot.of(ids, {"brand": ["x"] * 30}))
    pins = "".join(
        f"  - {{name: p{at}, kind: pin, item: i{at}, position: {at + 1}, "
        f"when: {{country: [C{at % 3}, D], page: {'home' if at < 15 else 'search'}}}}}\n"
        for at in range(30)
    )
    text = f"rules:\n  - {{name: few, kind: cap, by: brand, at_most: AT_MOST, within: 40}}\n{pins}"
    Engine(load(text.replace("AT_MOST", "15")), catalogue)
    with pytest.raises(RulesError, match=r"allows 14 of brand 'x' within the first 40 items, and `p0`, .*`p14` pin 15"):
        Engine(load(text.replace("AT_MOST", "14")), catalogue)


def test_a_column_that_the_catalogue_lacks(tmp_path, catalogue):
    path = tmp_path / "rules.yaml"
    path.write_text("rules: [{name: r, kind: block, where: {colour: red}}]")
    rules = RuleSet.load(path, (*catalogue.fields, "colour"))
    with pytest.raises(
        RulesError, match="rule `r`: the catalogue has no column `colour`; expected one of category, brand"
    ):
        Engine(rules, catalogue)


def test_the_example_has_every_kind():
    rules = RuleSet.load(ROOT / "configs" / "serving" / "rules.yaml")
    assert {rule.KIND for rule in rules.rules} == set(KINDS)
    assert len(rules.overlays) == 2 and len(rules.review_if) == 2
