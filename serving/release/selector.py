"""Series of Prometheus' metrics, as its query language selects them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?\s*")
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=|!=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
#: The reader of pages may call a counter so that is not called so there.
_TOTAL = "_total"


@dataclass(frozen=True)
class Selector:
    """Series of one name whose labels have, or have not, certain values.

    Attributes:
      name: of the series.
      equal: label -> value that it has ("" also where there is no such label).
      unequal: (label, value) pairs that it has not.

    Example:
      >>> selector = Selector.parse('requests_total{arm="canary", status!="OK"}')
      >>> selector.matches("requests_total", {"arm": "canary", "status": "INTERNAL"})
      True
      >>> selector.matches("requests_total", {"arm": "canary", "status": "OK"})
      False
    """

    name: str
    equal: tuple[tuple[str, str], ...] = ()
    unequal: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Reads name{label="value", label!="value"}.

        Raises:
          ValueError: for anything else.
        """
        match = _SELECTOR.fullmatch(text)
        rest = (match[2] or "") if match else "?"
        found: dict[str, list[tuple[str, str]]] = {"=": [], "!=": []}
        while rest.strip():
            pair = _MATCHER.match(rest)
            if not match or not pair:
                raise ValueError(f'{text!r} selects no series; expected one such as requests_total{{arm="canary"}}.')
            value = re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], pair[3])
            found[pair[2]].append((pair[1], value))
            rest = rest[pair.end() :]
        assert match
        return cls(match[1], tuple(found["="]), tuple(found["!="]))

    def part(self, ending: str) -> Selector:
        """The same of another part of a histogram, such as "_sum"."""
        return Selector(self.name + ending, self.equal, self.unequal)

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a series is among them."""
        return (
            name in (self.name, self.name + _TOTAL)
            and all(labels.get(label, "") == value for label, value in self.equal)
            and all(labels.get(label, "") != value for label, value in self.unequal)
        )
