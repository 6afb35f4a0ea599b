"""Which tokens the model has no row for, by name, on a part of the rows."""

from __future__ import annotations

from itertools import compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from batch.scoring import Emitted, with_offsets
from topiccore import TopicModel
from topiccore._scoring import features, tokenize

FIRST = 10_000
"""So many rows at the beginning of a file are all looked at."""
STEP = 100
"""Of the rows behind these, every hundredth."""


class UnknownTokens:
    """Looks tokens up in the index of a model.  Immutable: threads may share it."""

    def __init__(self, model: TopicModel):
        self._known = model.artifact.index.buckets()

    def count(self, column: pa.Array, first: int, emitted: Emitted) -> None:
        """Adds to the counts of ``emitted`` the unknown tokens of its column.

        ``first`` is the row of the file that the column begins with: which rows are looked at
        follows from their place in the file alone.
        """
        near = max(0, min(len(column), FIRST - first))
        start = near + (FIRST - first - near) % STEP
        rows = np.append(np.arange(near), np.arange(start, len(column), STEP))
        emitted.counts.examined += len(rows)
        texts = _texts(column, rows[emitted.unknown[rows] > 0])
        offsets, buckets, _ = features(texts)
        ends = np.searchsorted(self._known, buckets, side="right")
        unknown = ends == np.searchsorted(self._known, buckets, side="left")
        for text, start in zip(texts, offsets[:-1].tolist(), strict=True):
            # A query's tokens come first in its features, its pairs of neighbours behind them.
            words, _ = tokenize(text)
            emitted.counts.frequent.update(compress(words, unknown[start:]))


def _texts(column: pa.Array, rows: NDArray[np.int64]) -> list[bytes]:
    chosen = with_offsets(column).take(pa.array(rows))
    if pa.types.is_dictionary(chosen.type):
        chosen = chosen.cast(chosen.type.value_type)
    texts: list[bytes] = chosen.cast(pa.large_binary()).to_pylist()
    return texts
