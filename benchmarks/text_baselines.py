"""What a search has to beat: BM25 over words, and tf-idf over character n-grams. They read the query alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sparse

from benchmarks import predictions
from benchmarks.search import SEED, all_words
from serving.requests import Request

_BATCH = 500
#: Lengths of the character n-grams, taken within words with a space at either end.
_GRAMS = (2, 3, 4)


class TextIndex:
    """Scores of a catalogue's titles for queries; items of equal score come in an order drawn once.

    Args:
      titles: item id -> title.
      name: `bm25`, Okapi's of the library rank-bm25 with its defaults (k1 1.5, b 0.75) over words, `\\w+`, in lower
        case, or `tfidf_characters`, the cosine of tf·idf vectors of the n-grams of 2 to 4 characters of each word.

    Attributes:
      ids: of the items, in the order of `scores`.

    Raises:
      ValueError: for another name.

    Reference: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009).
    """

    NAMES = ("bm25", "tfidf_characters")

    def __init__(self, titles: dict[str, str], name: str) -> None:
        if name not in self.NAMES:
            raise ValueError(f"there is no text baseline {name!r}; expected one of {', '.join(self.NAMES)}.")
        self.ids = np.array(sorted(titles), object)
        self._split = all_words if name == "bm25" else _grams
        documents = [self._split(titles[item]) for item in self.ids]
        self._terms = {
            term: place for place, term in enumerate(sorted({term for terms in documents for term in terms}))
        }
        self._matrix = self._bm25(documents) if name == "bm25" else self._tfidf(documents)
        self._among_equals = np.random.default_rng(SEED).permutation(len(self.ids)) * 1e-9 / len(self.ids)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Float [texts, V], what each item's title has of each text."""
        asked = self._counts([self._split(text) for text in texts])
        found: np.ndarray = (asked @ self._matrix).toarray()
        return found

    def rank(self, requests: Sequence[Request]) -> pd.DataFrame:
        """The table of `benchmarks.predictions`."""
        return predictions.to_frame(self._rankings(requests))

    def _rankings(self, requests: Sequence[Request]) -> Iterator[tuple[str, list, list]]:
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            scores = self.scores([request.query for request in batch]) + self._among_equals
            number = min(predictions.TOP, scores.shape[1])
            for request, row in zip(batch, scores, strict=True):
                best = np.argpartition(-row, number - 1)[:number]
                best = best[np.argsort(-row[best], kind="stable")]
                yield request.user_id, self.ids[best].tolist(), row[best].tolist()

    def _counts(self, documents: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """[documents, terms], how often each has each known term."""
        rows = [row for row, terms in enumerate(documents) for term in terms if term in self._terms]
        columns = [self._terms[term] for terms in documents for term in terms if term in self._terms]
        return sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(documents), len(self._terms)))

    def _bm25(self, documents: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """[terms, V], what the library adds to each item's score for each word of a query."""
        from rank_bm25 import BM25Okapi  # of the extra `search`; no other baseline needs it

        library = BM25Okapi(documents)
        holders = self._counts(documents).tocsc()
        rows, columns, values = [], [], []
        for term, place in self._terms.items():
            items = holders.indices[holders.indptr[place] : holders.indptr[place + 1]].tolist()
            values += library.get_batch_scores([term], items)
            rows += [place] * len(items)
            columns += items
        return sparse.csr_matrix((values, (rows, columns)), shape=(len(self._terms), len(documents)))

    def _tfidf(self, documents: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """[terms, V]; a query's own length changes no ranking, so only the items' is divided by."""
        counts = self._counts(documents)
        holders = np.asarray((counts > 0).sum(0)).ravel()
        idf = np.log((1 + len(documents)) / (1 + holders)) + 1
        weighed = counts @ sparse.diags(idf)
        lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
        return (sparse.diags(1 / np.maximum(lengths, 1e-12)) @ weighed @ sparse.diags(idf)).T.tocsr()


def _grams(text: str) -> list[str]:
    padded = [f" {word} " for word in all_words(text)]
    return [word[i : i + n] for word in padded for n in _GRAMS for i in range(len(word) - n + 1)]
