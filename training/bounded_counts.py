"""Counting what stands in more texts than fit into memory.

Lossy counting (Manku and Motwani 2002, doi:10.1016/B978-155860869-6/50038-X): when there are more
different things than allowed, the rarest are forgotten.  Counts are exact while everything fits;
afterwards they are too low by at most ``floor``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MOST_BUCKETS = 20_000_000
MOST_WORDS = 2_000_000
_TOGETHER = 4_000_000


class BucketCounts:
    """Counts of uint32 buckets, at most ``most`` of them after each merge."""

    def __init__(self, most: int = MOST_BUCKETS):
        self.most = most
        self.floor = 0
        self._buckets = np.zeros(0, np.uint32)
        self._counts = np.zeros(0, np.int64)
        self._waiting: list[NDArray[np.uint32]] = []
        self._size = 0

    def add(self, found: NDArray[np.uint32]) -> None:
        """Counts each bucket once for every time it stands in ``found``."""
        self._waiting.append(found)
        self._size += len(found)
        if self._size >= _TOGETHER:
            self._merge()

    def frequent(self, least: int, most: int) -> NDArray[np.uint32]:
        """The sorted buckets seen at least so often, and of these the ``most`` frequent."""
        self._merge()
        kept = np.flatnonzero(self._counts >= least)
        if len(kept) > most:
            kept = kept[np.argsort(-self._counts[kept], kind="stable")[:most]]
        return np.sort(self._buckets[kept])

    def _merge(self) -> None:
        if not self._waiting:
            return
        new, times = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._size = [], 0
        buckets, place = np.unique(np.concatenate([self._buckets, new]), return_inverse=True)
        counts = np.bincount(place, weights=np.concatenate([self._counts, times]))
        self._buckets, self._counts = buckets, counts.astype(np.int64)
        while len(self._buckets) > self.most:
            self.floor += 1
            kept = self._counts > self.floor
            self._buckets, self._counts = self._buckets[kept], self._counts[kept]


def count_bounded(words: Iterable[Iterable[str]], most: int = MOST_WORDS) -> Counter[str]:
    """How often each word stands in batches of words; the rarest are forgotten beyond ``most``."""
    counts: Counter[str] = Counter()
    floor = 0
    for batch in words:
        counts.update(batch)
        while len(counts) > most:
            floor += 1
            counts = Counter({word: n for word, n in counts.items() if n > floor})
    return counts
