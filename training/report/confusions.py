"""Which labels are emitted in place of which."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy

COMMONEST = 40
NONE = "-"
"""In place of a code: no label is right, or none is emitted."""


def confusions(
    emitted: NDArray[np.bool_], gold: NDArray[np.bool_], taxonomy: Taxonomy
) -> dict[str, Any]:
    """Counts from bool [queries, labels].

    ``matrix`` [topics + 1, topics + 1] has the gold topics as rows and the emitted ones as columns,
    ``NONE`` last in both.  On its diagonal stand the topics that were emitted and right; elsewhere
    a wrong topic counts for each gold topic that was missed in its place.  ``commonest`` has
    [gold, emitted, count] of labels of the same level.
    """
    topics = taxonomy.parents < 0
    own, right = emitted[:, topics].astype(int), gold[:, topics].astype(int)
    wrong, missed = own * (1 - right), right * (1 - own)
    nothing_right, nothing_emitted = (
        (x.sum(axis=1, keepdims=True) == 0).astype(int) for x in (right, own)
    )
    matrix = np.zeros((topics.sum() + 1,) * 2, int)
    matrix[:-1, :-1] = missed.T @ wrong + np.diag((own * right).sum(axis=0))
    matrix[-1, :-1] = (nothing_right * wrong).sum(axis=0)
    matrix[:-1, -1] = (nothing_emitted * missed).sum(axis=0)
    matrix[-1, -1] = int((nothing_right * nothing_emitted).sum())
    pairs: Counter[tuple[str, str]] = Counter()
    for row_emitted, row_gold in zip(emitted, gold, strict=True):
        extra, lacking = row_emitted & ~row_gold, row_gold & ~row_emitted
        for false in np.flatnonzero(extra).tolist():
            found = np.flatnonzero(lacking & (topics == topics[false])).tolist()
            names = [taxonomy[true].code for true in found]
            for name in names or ([] if row_gold.any() else [NONE]):
                pairs[name, taxonomy[false].code] += 1
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return {
        "topics": [label.code for label in taxonomy.topics],
        "matrix": matrix.tolist(),
        "commonest": [[*pair, count] for pair, count in ranked[:COMMONEST]],
    }
