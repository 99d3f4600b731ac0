"""The reader of PromQL that the other tests rely on."""

import math

import promql
import pytest
from promql_engine import Samples


def value(text, samples=None, time=0):
    return (samples or Samples()).evaluate(promql.parse(text), time)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ^ 3 ^ 2", 512),  # to the right
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("10 - 2 - 3", 5),
        ("7 % 4 * 2", 6),
        ("1e3 + .5 # and a comment", 1000.5),
        ("time() - 2", 98),
    ],
)
def test_numbers(text, expected):
    assert value(text, time=100) == expected


@pytest.mark.parametrize(
    "text",
    [
        "up{job='a', instance=~\"b.*\"}",
        "sum by (a, b) (rate(x_total[1h30m] offset 1d))",
        "sum(rate(x_total[5m])) without (instance)",
        "a / ignoring (le) group_left b",
        "a and on (x) b or c unless d",
        ":tensorflow:serving:request_count",
        "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))",
    ],
)
def test_expressions_without_a_mistake(text):
    assert promql.parse(text).kind == promql.VECTOR


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "'the end' stands where an expression is expected"),
        ("sum(rate(x[5m])", r"'the end' stands where '\)' is expected"),
        ("rate(x[5m]))", r"'\)' stands where an operator or the end is expected"),
        ("a b", "'b' stands where an operator"),
        ("a +", "'the end' stands where an expression"),
        ("a{job='x'", "'the end' stands where ',' is expected"),
        ("a{job=x}", "'x' stands where a string is expected"),
        ("a{job 'x'}", "stands where =, !=, =~ or !~"),
        ("a{job='x}", "cannot be read"),
        ("a{job=~'('}", "the regular expression '[(]' is wrong"),
        ("a{le:x='y'}", "'le:x' is no name of a label"),
        ("a[5]", "'5' stands where a duration"),
        ("a[5 m]", "'5' stands where a duration"),
        ("a[5m", r"stands where '\]'"),
        ("a[5m]", "the whole is a range vector"),
        ("a offset x", "'x' stands where a duration"),
        ("a ! b", "cannot be read"),
        ("rate(a)", "'rate' is given instant vector; expected range vector"),
        ("abs(a[5m])", "'abs' is given range vector"),
        ("histogram_quantile(a, b)", "is given instant vector, instant vector"),
        ("time(a)", "'time' is given instant vector; expected nothing"),
        ("rates(a[5m])", "there is no function 'rates'"),
        ("sum(1)", "'sum' is given a scalar"),
        ("sum by a (x)", "'a' stands where '[(]'"),
        ("topk(x)", "stands where ','"),
        ("topk(a, x)", "'topk' is given"),
        ("a and 1", "expected instant vectors"),
        ("1 > 2", "'>' compares two scalars"),
        ("a > bool 1", "`bool` is not read here"),
        ("a + on (x) 1", "'on' stands beside a scalar"),
        ("a or on (x) group_left b", "'group_left' stands beside 'or'"),
        ("a + b[5m]", "stands between instant vector and range vector"),
    ],
)
def test_mistakes(text, error):
    with pytest.raises(promql.PromqlError, match=error):
        promql.parse(text)


def test_what_an_expression_names():
    tree = promql.parse("sum by (a) (rate(x{b='c'}[5m])) / on (a) group_left max without (d) (y offset 1m) > 3")
    assert {(each.name, each.matchers, each.seconds, each.offset) for each in promql.selectors(tree)} == {
        ("x", (("b", "=", "c"),), 300, 0),
        ("y", (), 0, 60),
    }


@pytest.fixture
def samples():
    """Counter x: 10 a minute from 0, back to 0 after 5 minutes; y: two series of 1 and 3."""
    made = Samples()
    for minute in range(10):
        made.add({"__name__": "x"}, minute * 60, 10 * (minute % 5) + 10)
        made.add({"__name__": "y", "a": "1", "b": "1"}, minute * 60, 1)
        made.add({"__name__": "y", "a": "1", "b": "2"}, minute * 60, 3)
    return made


def labels(**names):
    return frozenset(names.items())


def test_counters(samples):
    # From 10 to 50, then 10 and 20: 40 and 20 more in 6 minutes, nothing to extrapolate.
    assert value("increase(x[6m])", samples, 360) == {frozenset(): 60}
    assert value("rate(x[6m])", samples, 360) == {frozenset(): pytest.approx(60 / 360)}
    # 10 to 30 in the 2 minutes seen of 2.5; the start is nearer than 1.1 intervals, so all of it is filled up.
    assert value("increase(x[150s])", samples, 120) == {frozenset(): pytest.approx(20 * 150 / 120)}
    assert value("changes(y[5m])", samples, 300)[labels(a="1", b="2")] == 0
    assert value("max_over_time(x[9m])", samples, 540) == {frozenset(): 50}


def test_a_value_stands_for_five_minutes(samples):
    assert value("x", samples, 540 + 300)
    assert value("x", samples, 540 + 301) == {}
    assert value("absent(x{job='z'})", samples, 540) == {labels(job="z"): 1}
    assert value("x offset 9m", samples, 540) == {labels(__name__="x"): 10}


def test_groups_and_matching(samples):
    assert value("sum by (a) (y)", samples) == {labels(a="1"): 4}
    assert value("max without (b) (y)", samples) == {labels(a="1"): 3}
    assert value("y / ignoring (b) group_left sum by (a) (y)", samples) == {
        labels(a="1", b="1"): 0.25,
        labels(a="1", b="2"): 0.75,
    }
    with pytest.raises(ValueError, match="several series"):
        value("sum by (a) (y) / on (a) y", samples)
    assert value("topk(1, y)", samples) == {labels(__name__="y", a="1", b="2"): 3}
    assert value("y > 2", samples) == {labels(__name__="y", a="1", b="2"): 3}
    assert value("2 > y", samples) == {labels(__name__="y", a="1", b="1"): 1}
    assert value("y unless y > 2 or z", samples) == {labels(__name__="y", a="1", b="1"): 1}
    assert value("z or y and on (b) (y == 1)", samples) == {labels(__name__="y", a="1", b="1"): 1}
    assert math.isnan(value("0 * sum(y) / 0", samples)[frozenset()])


def test_quantiles():
    made = Samples()
    for limit, count in (("0.1", 40), ("0.2", 80), ("+Inf", 100)):
        made.add({"__name__": "b", "le": limit}, 0, count)
    assert value("histogram_quantile(0.2, b)", made) == {frozenset(): pytest.approx(0.05)}
    assert value("histogram_quantile(0.5, b)", made) == {frozenset(): pytest.approx(0.125)}
    assert value("histogram_quantile(0.9, b)", made) == {frozenset(): 0.2}
