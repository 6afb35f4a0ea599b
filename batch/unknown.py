"""Which tokens of the queries the model has never seen, found on a part of the rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from batch.counts import Counts
from topiccore import MAX_QUERY_BYTES, TopicModel
from topiccore._scoring import features, tokenize

FIRST = 10_000
"""So many rows at the beginning of a file are all looked at."""
STEP = 100
"""Of the rows behind these, every hundredth, which then counts a hundred times."""


class UnknownTokens:
    """Looks tokens up in the index of a model."""

    def __init__(self, model: TopicModel):
        index = model.artifact.index
        groups = np.repeat(np.arange(len(index.groups) - 1), np.diff(index.groups))
        self._known = groups.astype(np.uint32) << np.uint32(16) | index.keys
        self._known.sort()

    def count(self, column: pa.Array, first: int, counts: Counts) -> None:
        """Adds to ``counts`` the tokens of a column whose first row is row ``first`` of its file.

        Which rows are looked at follows from their place in the file alone.
        """
        near = max(0, min(len(column), FIRST - first))
        start = near + (FIRST - first - near) % STEP
        self._look_up(column.slice(0, near), 1, counts)
        self._look_up(column.take(np.arange(start, len(column), STEP)), STEP, counts)

    def _look_up(self, column: pa.Array, weight: int, counts: Counts) -> None:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        texts = [
            text
            for text in column.cast(pa.large_binary()).to_pylist()
            if text is not None and len(text) <= MAX_QUERY_BYTES
        ]
        offsets, buckets, tokens = features(texts)
        counts.examined += len(column)
        counts.tokens += weight * int(tokens.sum())
        if not len(buckets):
            return
        place = np.minimum(np.searchsorted(self._known, buckets), len(self._known) - 1)
        unknown = self._known[place] != buckets
        # A query's tokens come first, its pairs of neighbours behind them.
        rank = np.arange(len(buckets)) - np.repeat(offsets[:-1], np.diff(offsets))
        unknown &= rank < np.repeat(tokens, np.diff(offsets))
        counts.unknown += weight * int(np.count_nonzero(unknown))
        found: Counter[str] = Counter()
        rows = np.searchsorted(offsets, np.flatnonzero(unknown), side="right") - 1
        for row in np.unique(rows):
            words, _ = tokenize(texts[row])
            start = offsets[row]
            found.update(word for i, word in enumerate(words) if unknown[start + i])
        for word, times in found.items():
            counts.frequent[word] += weight * times
