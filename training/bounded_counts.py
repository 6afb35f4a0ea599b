"""Counting what stands in more texts than fit into memory.

Lossy counting (Manku and Motwani 2002, doi:10.1016/B978-155860869-6/50038-X): when there are more
different things than allowed, ``floor`` rises, and what cannot have been seen more than ``floor``
times is forgotten.  For this, each thing keeps beside its count what may have been forgotten of it:
the floor when it came (again).  So counts are exact while everything fits; afterwards they are too
low by at most ``floor``, and whatever was seen more often than that is still there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

MOST_BUCKETS = 20_000_000
MOST_WORDS = 2_000_000
_TOGETHER = 4_000_000


class BucketCounts:
    """Counts of uint32 buckets, at most ``most`` of them after each merge: 16 bytes each."""

    def __init__(self, most: int = MOST_BUCKETS):
        self.most = most
        self.floor = 0
        self._buckets = np.zeros(0, np.uint32)
        self._counts = np.zeros(0, np.int64)
        self._missed = np.zeros(0, np.int32)
        self._waiting: list[NDArray[np.uint32]] = []
        self._size = 0

    def add(self, found: NDArray[np.uint32]) -> None:
        """Counts each bucket once for every time it stands in ``found``."""
        self._waiting.append(found)
        self._size += len(found)
        if self._size >= _TOGETHER:
            self._merge()

    def counts(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The sorted buckets and how often each was seen, at least."""
        self._merge()
        return self._buckets, self._counts

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
        found, times = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._size = [], 0
        place = np.searchsorted(self._buckets, found)
        known = np.zeros(len(found), bool)
        inside = place < len(self._buckets)
        known[inside] = self._buckets[place[inside]] == found[inside]
        self._counts[place[known]] += times[known]
        place, new = place[~known], found[~known]
        self._buckets = np.insert(self._buckets, place, new)
        self._counts = np.insert(self._counts, place, times[~known])
        self._missed = np.insert(self._missed, place, np.int32(self.floor))
        while len(self._buckets) > self.most:
            self.floor += 1
            kept = self._counts + self._missed > self.floor
            self._buckets = self._buckets[kept]
            self._counts, self._missed = self._counts[kept], self._missed[kept]


def count_bounded(
    batches: Iterable[Iterable[str] | Mapping[str, int]], most: int = MOST_WORDS
) -> Counter[str]:
    """How often each word stands in batches of words, or is counted in batches of counts.

    Beyond ``most`` words the rarest are forgotten after each batch.
    """
    counts: Counter[str] = Counter()
    missed: dict[str, int] = {}
    floor = 0
    for batch in batches:
        found = Counter(batch)
        if floor:
            missed.update((word, floor) for word in found if word not in counts)
        counts.update(found)
        while len(counts) > most:
            floor += 1
            counts = Counter({w: n for w, n in counts.items() if n + missed.get(w, 0) > floor})
            missed = {word: n for word, n in missed.items() if word in counts}
    return counts
