"""Reads PromQL: an expression becomes a tree, or a PromqlError says where it is wrong.

The part of the language that the rules and the dashboard use: selectors, ranges and offsets, functions, aggregations,
operators with their precedence and matching. Subqueries, `@`, `bool` and selectors without a name are not. Of what else
test_promql.py has, Prometheus' promtool (2.42) takes and refuses the same, but for a range vector as the whole, which
it refuses only when it evaluates; and it finds the same in the scenarios.
"""

import re
from dataclasses import dataclass

SCALAR, VECTOR, RANGE, STRING = "scalar", "instant vector", "range vector", "string"

#: function -> (kinds of its arguments, kind of what it gives)
FUNCTIONS = {
    "abs": ((VECTOR,), VECTOR),
    "absent": ((VECTOR,), VECTOR),
    "changes": ((RANGE,), VECTOR),
    "histogram_quantile": ((SCALAR, VECTOR), VECTOR),
    "increase": ((RANGE,), VECTOR),
    "max_over_time": ((RANGE,), VECTOR),
    "min_over_time": ((RANGE,), VECTOR),
    "rate": ((RANGE,), VECTOR),
    "round": ((VECTOR, SCALAR), VECTOR),
    "time": ((), SCALAR),
}
AGGREGATIONS = {"sum", "min", "max", "count", "topk"}
COMPARISONS = ("==", "!=", ">=", "<=", ">", "<")
SET_OPERATORS = ("and", "or", "unless")
#: Loosest first; all but `^` bind to the left.
PRECEDENCE = (("or",), ("and", "unless"), COMPARISONS, ("+", "-"), ("*", "/", "%"), ("^",))
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}

_TOKEN = re.compile(
    r"""\s*(?:(?P<comment>\#[^\n]*)
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w:]))
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w:])|(?:[Ii]nf|[Nn]a[Nn])(?![\w:]))
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<symbol>=~|!~|==|!=|>=|<=|[-+*/%^(){}\[\],<>=]))""",
    re.VERBOSE,
)
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


class PromqlError(ValueError):
    """An expression that Prometheus would refuse."""


@dataclass(frozen=True)
class Number:
    value: float
    kind: str = SCALAR


@dataclass(frozen=True)
class Selector:
    """`name{matchers}[seconds] offset seconds`; a matcher is (label, operator, value); 0 seconds are no range."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    seconds: float
    offset: float

    @property
    def kind(self):
        return RANGE if self.seconds else VECTOR


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple

    @property
    def kind(self):
        return FUNCTIONS[self.function][1]


@dataclass(frozen=True)
class Aggregation:
    """`grouping` is "by" or "without"; `parameter` is topk's number."""

    operator: str
    operand: object
    grouping: str
    labels: tuple[str, ...]
    parameter: object = None
    kind: str = VECTOR


@dataclass(frozen=True)
class Binary:
    """`matching` is "on", "ignoring" or ""; `group` is "group_left" or ""."""

    operator: str
    left: object
    right: object
    matching: str = ""
    labels: tuple[str, ...] = ()
    group: str = ""

    @property
    def kind(self):
        return SCALAR if self.left.kind == self.right.kind == SCALAR else VECTOR


def seconds(text):
    """A duration such as 1h30m, in seconds."""
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise PromqlError(f"{text!r} is no duration")
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def parse(text):
    """The tree of an expression.

    Raises:
      PromqlError: for what Prometheus would refuse, and for parts of the language that are not read here.
    """
    return _Parser(text).whole()


def selectors(tree):
    """Every selector of a tree."""
    if isinstance(tree, Selector):
        yield tree
    for part in getattr(tree, "__dict__", {}).values():
        for child in part if isinstance(part, tuple) else (part,):
            yield from selectors(child)


def named_labels(tree):
    """Every label that a tree names outside of selectors: by, without, on, ignoring."""
    if isinstance(tree, (Aggregation, Binary)):
        yield from tree.labels
    for part in getattr(tree, "__dict__", {}).values():
        for child in part if isinstance(part, tuple) else (part,):
            if not isinstance(child, str):
                yield from named_labels(child)


class _Parser:
    def __init__(self, text):
        self._text, self._place, self._tokens = text, 0, []
        while self._place < len(text.rstrip()):
            match = _TOKEN.match(text, self._place)
            if not match:
                raise self._error("cannot be read")
            self._place = match.end()
            if match.lastgroup != "comment":
                self._tokens.append((match.lastgroup, match[match.lastgroup]))
        self._tokens.append(("end", ""))
        self._next = 0

    def whole(self):
        tree = self._operators(0)
        if self._peek != ("end", ""):
            raise self._error(f"{self._peek[1]!r} stands where an operator or the end is expected")
        if tree.kind == RANGE:
            raise self._error("the whole is a range vector")
        return tree

    @property
    def _peek(self):
        return self._tokens[self._next]

    def _take(self, *wanted):
        """The next token's text if it is one of `wanted`, else None."""
        kind, text = self._peek
        if kind in ("symbol", "name") and text in wanted:
            self._next += 1
            return text
        return None

    def _need(self, wanted):
        if not self._take(wanted):
            raise self._error(f"{self._peek[1] or 'the end'!r} stands where {wanted!r} is expected")

    def _need_kind(self, kind):
        found, text = self._peek
        if found != kind:
            raise self._error(f"{text or 'the end'!r} stands where a {kind} is expected")
        self._next += 1
        return text

    def _error(self, what):
        return PromqlError(f"{self._text!r}: {what}")

    def _operators(self, level):
        if level == len(PRECEDENCE):
            return self._unary()
        left = self._operators(level + 1)
        while operator := self._take(*PRECEDENCE[level]):
            if self._take("bool"):
                raise self._error("`bool` is not read here")
            matching = self._take("on", "ignoring") or ""
            labels = self._labels() if matching else ()
            group = (self._take("group_left") or "") if matching else ""
            # `^` binds to the right, so what follows may hold another one.
            right = self._operators(level if operator == "^" else level + 1)
            left = self._binary(operator, left, right, matching, labels, group)
        return left

    def _binary(self, operator, left, right, *matching):
        kinds = {left.kind, right.kind}
        if not kinds <= {SCALAR, VECTOR}:
            raise self._error(f"{operator!r} stands between {left.kind} and {right.kind}")
        if operator in SET_OPERATORS and kinds != {VECTOR}:
            raise self._error(f"{operator!r} stands between {left.kind} and {right.kind}; expected instant vectors")
        if operator in COMPARISONS and kinds == {SCALAR}:
            raise self._error(f"{operator!r} compares two scalars")
        if matching[0] and kinds != {VECTOR}:
            raise self._error(f"{matching[0]!r} stands beside a scalar")
        if matching[2] and operator in SET_OPERATORS:
            raise self._error(f"{matching[2]!r} stands beside {operator!r}")
        return Binary(operator, left, right, *matching)

    def _unary(self):
        if sign := self._take("-", "+"):
            operand = self._operators(len(PRECEDENCE) - 1)  # of `^`, which binds tighter
            return Binary("*", Number(-1.0), operand) if sign == "-" else operand
        kind, text = self._peek
        if kind == "number":
            self._next += 1
            return Number(float(text))
        if self._take("("):
            inner = self._operators(0)
            self._need(")")
            return inner
        if kind == "name" and text in AGGREGATIONS:
            return self._aggregation()
        if kind == "name" and self._tokens[self._next + 1] == ("symbol", "("):
            return self._call()
        if kind == "name":
            return self._selector()
        raise self._error(f"{text or 'the end'!r} stands where an expression is expected")

    def _aggregation(self):
        operator = self._need_kind("name")
        grouping = self._take("by", "without") or ""
        labels = self._labels() if grouping else ()
        self._need("(")
        parameter = None
        if operator == "topk":
            parameter = self._operators(0)
            self._need(",")
        operand = self._operators(0)
        self._need(")")
        if not grouping and (grouping := self._take("by", "without") or ""):
            labels = self._labels()
        if operand.kind != VECTOR or (parameter and parameter.kind != SCALAR):
            raise self._error(f"{operator!r} is given a {operand.kind}; expected an instant vector")
        return Aggregation(operator, operand, grouping or "by", labels, parameter)

    def _call(self):
        function = self._need_kind("name")
        if function not in FUNCTIONS:
            raise self._error(f"there is no function {function!r}")
        self._need("(")
        arguments = []
        while not self._take(")"):
            if arguments:
                self._need(",")
            arguments.append(self._operators(0))
        expected = FUNCTIONS[function][0]
        if tuple(argument.kind for argument in arguments) != expected:
            given = ", ".join(argument.kind for argument in arguments) or "nothing"
            raise self._error(f"{function!r} is given {given}; expected {', '.join(expected) or 'nothing'}")
        return Call(function, tuple(arguments))

    def _selector(self):
        name = self._need_kind("name")
        matchers = []
        if self._take("{"):
            while not self._take("}"):
                if matchers:
                    self._need(",")
                matchers.append(self._matcher())
        span = offset = 0
        if self._take("["):
            span = seconds(self._need_kind("duration"))
            self._need("]")
        if self._take("offset"):
            offset = seconds(self._need_kind("duration"))
        return Selector(name, tuple(matchers), span, offset)

    def _matcher(self):
        label = self._label()
        operator = self._take("=", "!=", "=~", "!~")
        if not operator:
            raise self._error(f"{self._peek[1]!r} stands where =, !=, =~ or !~ is expected")
        value = re.sub(r"\\(.)", r"\1", self._need_kind("string")[1:-1])
        if operator in ("=~", "!~"):
            try:
                re.compile(value)
            except re.error as error:
                raise self._error(f"the regular expression {value!r} is wrong ({error})") from None
        return label, operator, value

    def _labels(self):
        self._need("(")
        labels = []
        while not self._take(")"):
            if labels:
                self._need(",")
            labels.append(self._label())
        return tuple(labels)

    def _label(self):
        label = self._need_kind("name")
        if not _LABEL.fullmatch(label):
            raise self._error(f"{label!r} is no name of a label")
        return label
