"""What shoppers call products otherwise than the catalogue does, learned from what they choose after saying it."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from models import text_words
from tfx_pipeline.tagging.lexicon import PRODUCT, Lexicon, Phrase, Term
from tfx_pipeline.tagging.weak_labels import Labeller

#: Mean share of the items chosen after a synonym that are of its product, at least; no other product has half of it.
_SHARE = 0.6


@dataclass
class Usage:
    """What users chose after phrases that the catalogue does not know.

    Attributes:
      users: phrase -> how many said it, and chose something, in a text that names no product.
      chosen: phrase -> product -> sum over these users of its share of the items chosen.
    """

    users: collections.Counter[Phrase] = field(default_factory=collections.Counter)
    chosen: dict[Phrase, dict[str, float]] = field(default_factory=dict)

    def add(self, phrase: Phrase, shares: Mapping[str, float]) -> None:
        """Adds a user."""
        self.users[phrase] += 1
        self._chose(phrase, shares)

    def _chose(self, phrase: Phrase, shares: Mapping[str, float]) -> None:
        of_phrase = self.chosen.setdefault(phrase, collections.defaultdict(float))
        for product, share in shares.items():
            of_phrase[product] += share

    @classmethod
    def merged(cls, parts: Iterable[Usage]) -> Usage:
        """The usage of different users."""
        total = cls()
        for part in parts:
            total.users.update(part.users)
            for phrase, shares in part.chosen.items():
                total._chose(phrase, shares)
        return total


def usage(texts: Iterable[tuple[str, str, Sequence[int]]], labeller: Labeller) -> Usage:
    """Counts texts of users.

    Each user counts once for a phrase, by the first of their texts: nobody's habit makes a synonym.

    Args:
      texts: (user, text, codes of the items chosen after it, each once; negative ones are not known).
      labeller: that knows the catalogue's own names.
    """
    found, seen = Usage(), set()
    for user, text, chosen in texts:
        known = [code for code in chosen if code >= 0]
        for phrase in unnamed(text_words.split(text), labeller.lexicon) if known else ():
            if (user, phrase) not in seen:
                seen.add((user, phrase))
                shares: dict[str, float] = collections.defaultdict(float)
                for product in (product for code in known for product in labeller.products(code)):
                    shares[product] += 1 / len(known)
                found.add(phrase, shares)
    return found


def unnamed(words: Sequence[str], lexicon: Lexicon) -> list[Phrase]:
    """The runs of words that are no name, in lower case; none where a product is named already.

    Example:
      >>> lexicon = Lexicon({("acme",): Term("brand", "Acme"), ("kettle",): Term(PRODUCT, "kettle")})
      >>> unnamed(["Acme", "water", "boiler"], lexicon), unnamed(["big", "kettle"], lexicon)
      ([('water', 'boiler')], [])
    """
    matches = lexicon.matches(words)
    if any(match.term.kind == PRODUCT for match in matches):
        return []
    lowered = tuple(word.casefold() for word in words)
    starts, ends = [0, *(match.end for match in matches)], [*(match.start for match in matches), len(words)]
    return [lowered[start:end] for start, end in zip(starts, ends, strict=True) if start < end]


def learn(found: Usage, lexicon: Lexicon, min_users: int) -> dict[Phrase, Term]:
    """Phrases that stand for a product.

    Args:
      found: of all users.
      lexicon: the catalogue's names.
      min_users: that must have said a phrase; 0 learns none.
    """
    if not min_users:
        return {}
    products = {term.tag: term for term in lexicon.terms.values() if term.kind == PRODUCT and term.tag}
    terms = {}
    for phrase, users in found.users.items():
        ranked = sorted(((share / users, tag) for tag, share in found.chosen[phrase].items()), reverse=True)
        if users < min_users or not ranked or ranked[0][0] < _SHARE or (ranked[1:] and ranked[1][0] > _SHARE / 2):
            continue
        best = products.get(ranked[0][1])
        if best:
            terms[phrase] = best
    return terms
