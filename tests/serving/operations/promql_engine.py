"""Answers PromQL over samples that a test makes up, as Prometheus would."""

import bisect
import collections
import itertools
import math
import operator
import re

from promql import COMPARISONS, Aggregation, Binary, Call, Number, Selector

#: How old a sample may be to stand for now, in seconds.
LOOKBACK = 300
NAME, LE = "__name__", "le"
_ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right if right else math.nan if left == 0 or left != left else left * math.inf,
    "%": lambda left, right: math.fmod(left, right) if right else math.nan,
    "^": operator.pow,
}
_COMPARE = dict(
    zip(COMPARISONS, (operator.eq, operator.ne, operator.ge, operator.le, operator.gt, operator.lt), strict=True)
)
_GATHER = {
    "sum": sum,
    "min": min,
    "max": max,
    "count": len,
}


class Samples:
    """Series by name and labels, each a list of times in seconds, oldest first, and one of values."""

    def __init__(self):
        self._series = collections.defaultdict(lambda: collections.defaultdict(lambda: ([], [])))
        self._found = {}  # selector -> number of series of its name, and those it means

    def add(self, labels, time, value):
        """Adds a sample to the series of these labels, `__name__` among them."""
        times, values = self._series[labels[NAME]][frozenset(labels.items())]
        times.append(time)
        values.append(value)

    def window(self, selector, start, end):
        """(labels, [(time, value)]) of the series that a selector means, where they have samples from start to end."""
        for labels, (times, values) in self._matching(selector):
            first, behind = bisect.bisect_left(times, start), bisect.bisect_right(times, end)
            if first < behind:
                yield labels, list(zip(times[first:behind], values[first:behind], strict=True))

    def _matching(self, selector):
        series = self._series.get(selector.name, {})
        known, found = self._found.get(selector, (-1, []))
        if known != len(series):
            found = [each for each in series.items() if all(_holds(dict(each[0]), *one) for one in selector.matchers)]
            self._found[selector] = len(series), found
        return found

    def evaluate(self, tree, time):
        """What an expression says at a moment: a number, or {labels (as a frozenset of pairs): number}."""
        if isinstance(tree, Number):
            return tree.value
        if isinstance(tree, Selector):
            return self._instant(tree, time)
        if isinstance(tree, Call):
            return self._call(tree, time)
        if isinstance(tree, Aggregation):
            return self._aggregate(tree, time)
        if isinstance(tree, Binary):
            return _binary(tree, self.evaluate(tree.left, time), self.evaluate(tree.right, time))
        raise TypeError(tree)

    def _instant(self, selector, time):
        at = time - selector.offset
        return {labels: known[-1][1] for labels, known in self.window(selector, at - LOOKBACK, at)}

    def _windows(self, selector, time):
        """(labels without the name, samples in the window, its ends)"""
        end = time - selector.offset
        start = end - selector.seconds
        for labels, window in self.window(selector, start, end):
            yield _without(labels, NAME), window, start, end

    def _call(self, call, time):
        name, arguments = call.function, call.arguments
        if name == "time":
            return float(time)
        if name in ("rate", "increase"):
            found = {}
            for labels, window, start, end in self._windows(arguments[0], time):
                if len(window) > 1:
                    found[labels] = _increase(window, start, end) / (end - start if name == "rate" else 1)
            return found
        if name in ("max_over_time", "min_over_time", "changes"):
            gather = {"max_over_time": max, "min_over_time": min, "changes": _changes}[name]
            return {
                labels: gather([value for _, value in window])
                for labels, window, *_ in self._windows(arguments[0], time)
            }
        values = [self.evaluate(argument, time) for argument in arguments]
        if name == "absent":
            equal = {label: value for label, sign, value in arguments[0].matchers if sign == "="}
            return {} if values[0] else {frozenset(equal.items()): 1.0}
        if name == "histogram_quantile":
            return _quantiles(*values)
        one = {
            "abs": abs,
            "round": lambda value: math.floor(value / values[1] + 0.5) * values[1],
        }[name]
        return {_without(labels, NAME): one(value) for labels, value in values[0].items()}

    def _aggregate(self, tree, time):
        groups = collections.defaultdict(list)
        for labels, value in self.evaluate(tree.operand, time).items():
            if tree.grouping == "by":
                group = frozenset((name, text) for name, text in labels if name in tree.labels)
            else:
                group = _without(labels, NAME, *tree.labels)
            groups[group].append((value, labels))
        if tree.operator == "topk":
            most = int(self.evaluate(tree.parameter, time))
            best = [sorted(group, key=lambda each: -each[0])[:most] for group in groups.values()]
            return {labels: value for group in best for value, labels in group}
        return {group: float(_GATHER[tree.operator]([value for value, _ in each])) for group, each in groups.items()}


def _holds(labels, name, sign, value):
    own = labels.get(name, "")
    if sign in ("=~", "!~"):
        return bool(re.fullmatch(value, own)) == (sign == "=~")
    return (own == value) == (sign == "=")


def _without(labels, *names):
    return frozenset((name, text) for name, text in labels if name not in names)


def _changes(values):
    return float(sum(one != other for one, other in itertools.pairwise(values)))


def _increase(window, start, end):
    """What a counter rose by in a window, ends extrapolated as Prometheus does (promql/functions.go, 2.x)."""
    (first_time, first), (last_time, last) = window[0], window[-1]
    values = [value for _, value in window]
    resets = sum(before for before, after in itertools.pairwise(values) if after < before)
    result = last - first + resets
    sampled = last_time - first_time
    average = sampled / (len(window) - 1)
    to_start, to_end = first_time - start, end - last_time
    if result > 0 and first >= 0:
        to_start = min(to_start, sampled * first / result)
    reach = sampled + sum(gap if gap < average * 1.1 else average / 2 for gap in (to_start, to_end))
    return result * reach / sampled


def _quantiles(quantile, buckets):
    histograms = collections.defaultdict(list)
    for labels, count in buckets.items():
        limit = float(dict(labels)[LE].replace("+Inf", "inf"))
        histograms[_without(labels, NAME, LE)].append((limit, count))
    return {labels: _quantile(quantile, sorted(each)) for labels, each in histograms.items()}


def _quantile(quantile, buckets):
    """Linear within the bucket that holds the quantile; below the first limit from 0, above the last one it is that."""
    limits, counts = zip(*buckets, strict=True)
    if len(limits) < 2 or limits[-1] != math.inf or not counts[-1] > 0:
        return math.nan
    rank = quantile * counts[-1]
    place = next(number for number, count in enumerate(counts) if count >= rank)
    if place == len(limits) - 1:
        return limits[-2]
    if place == 0 and limits[0] <= 0:
        return limits[0]
    low, below = (limits[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return low + (limits[place] - low) * (rank - below) / (counts[place] - below)


def _binary(tree, left, right):
    if tree.operator in ("and", "or", "unless"):
        return _sets(tree, left, right)
    if isinstance(left, float) and isinstance(right, float):
        return _ARITHMETIC[tree.operator](left, right)
    if isinstance(left, float) or isinstance(right, float):
        return _with_scalar(tree.operator, left, right)
    partners = {}
    for labels, value in right.items():
        key = _key(tree, labels)
        if key in partners:
            raise ValueError(f"{tree.operator!r} finds several series for {dict(key)} on its `one` side")
        partners[key] = value
    found = {}
    for labels, value in left.items():
        key = _key(tree, labels)
        if key not in partners:
            continue
        pair = (value, partners[key])
        if tree.operator in _COMPARE:
            if not _COMPARE[tree.operator](*pair):
                continue
            result = pair[0]
        else:
            result = _ARITHMETIC[tree.operator](*pair)
        if tree.group:
            kept = _without(labels, NAME)
        else:
            kept = labels if tree.operator in _COMPARE and not tree.matching else key
        if kept in found:
            raise ValueError(f"{tree.operator!r} finds several series for {dict(key)}; expected group_left")
        found[kept] = result
    return found


def _key(tree, labels):
    if tree.matching == "on":
        return frozenset((name, text) for name, text in labels if name in tree.labels)
    return _without(labels, NAME, *(tree.labels if tree.matching == "ignoring" else ()))


def _sets(tree, left, right):
    keys = {_key(tree, labels) for labels in right}
    if tree.operator == "or":
        own = {_key(tree, labels) for labels in left}
        return {**left, **{labels: value for labels, value in right.items() if _key(tree, labels) not in own}}
    return {labels: value for labels, value in left.items() if (_key(tree, labels) in keys) == (tree.operator == "and")}


def _with_scalar(sign, left, right):
    vector, scalar = (right, left) if isinstance(left, float) else (left, right)
    found = {}
    for labels, value in vector.items():
        pair = (value, scalar) if vector is left else (scalar, value)
        if sign not in _COMPARE:
            found[_without(labels, NAME)] = _ARITHMETIC[sign](*pair)
        elif _COMPARE[sign](*pair):
            found[labels] = value
    return found
