"""How much each item speaks for each other one, all others of a user given: a linear regression in closed form."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.linalg
import scipy.sparse as sparse

#: Items of which a number per pair is held.
MOST_ITEMS = 30_000


def item_weights(sequences: Iterable[np.ndarray], items: int, regularisation: float) -> np.ndarray:
    """B minimising |X - X·B|² + λ|B|² with diag(B) = 0, X being which of the items each user had; float32 [V, V].

    B = I - P·diag(1/diag(P)) with P = (XᵀX + λI)⁻¹.

    Args:
      sequences: int [n] each, rows of the catalogue, one a user.
      items: V, at most `MOST_ITEMS`.
      regularisation: λ, above 0.

    Raises:
      ValueError: for a larger catalogue.

    Reference: Steck, Embarrassingly Shallow Autoencoders for Sparse Data (2019).
    """
    check_size(items)
    users, had = [], []
    for user, sequence in enumerate(sequences):
        distinct = np.unique(sequence)
        users.append(np.full(len(distinct), user))
        had.append(distinct)
    shape = (len(users), items)
    places = (np.concatenate([*users, np.empty(0, int)]), np.concatenate([*had, np.empty(0, int)]))
    chosen = sparse.csr_matrix((np.ones(len(places[0])), places), shape=shape)
    gram = (chosen.T @ chosen).toarray(order="F")
    gram[np.diag_indices(items)] += regularisation
    # In place where that can be: each of these is V² numbers of 8 bytes.
    weights = scipy.linalg.inv(gram, overwrite_a=True)
    weights /= -np.diag(weights).copy()
    weights[np.diag_indices(items)] = 0
    return weights.astype(np.float32, order="C")


def check_size(items: int) -> None:
    """Raises a ValueError of one sentence for a catalogue whose pairs are too many."""
    if items > MOST_ITEMS:
        raise ValueError(
            f"a linear regression between items holds a number for each pair of them; expected at most {MOST_ITEMS:,} "
            f"items, not {items:,}."
        )
