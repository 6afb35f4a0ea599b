"""Which bytes and cache lines of an artifact a query touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topiccore._scoring import features
from topiccore.artifact import Artifact

LINE = 64


@dataclass(frozen=True)
class Touched:
    """Means over queries of one array: ``bytes`` wanted, different cache ``lines`` they stand in.

    ``size`` is that of the whole array.
    """

    array: str
    size: int
    bytes: float
    lines: float


@dataclass(frozen=True)
class Footprint:
    """Means over queries."""

    tokens: float
    features: float
    found: float
    arrays: list[Touched]

    @property
    def lines(self) -> float:
        return sum(touched.lines for touched in self.arrays)

    @property
    def bytes(self) -> float:
        return sum(touched.bytes for touched in self.arrays)

    @property
    def size(self) -> int:
        return sum(touched.size for touched in self.arrays)


def footprint(artifact: Artifact, queries: Sequence[str]) -> Footprint:
    """Reads what the kernel reads, counting: the index, and the rows of the features found.

    What every query reads (bias, thresholds, sums, the folding table of ASCII) is left out: it
    stays in the nearest cache.
    """
    offsets, buckets, tokens = features(queries)
    index = artifact.index
    query = np.repeat(np.arange(len(queries)), np.diff(offsets))
    first = index.groups[buckets >> 16].astype(np.int64)
    last = index.groups[(buckets >> 16) + 1].astype(np.int64)
    place = _find(index.keys, buckets, first, last)
    found = place >= 0
    # The search reads the keys of a group up to the one it finds.
    searched = np.where(found, place + 1, last)
    record = _records(artifact, place[found])
    spans = {
        "groups": (query, (buckets >> 16).astype(np.int64) * 4, np.full(len(buckets), 8)),
        "keys": (query, first * 2, (searched - first) * 2),
        "entries": (query[found], place[found] * 4, np.full(int(found.sum()), record.entry_bytes)),
        "rows": (query[found], record.starts, record.sizes),
    }
    sizes = {name: artifact.array(name).nbytes for name in spans}
    return Footprint(
        tokens=float(tokens.mean()),
        features=len(buckets) / len(queries),
        found=float(found.sum()) / len(queries),
        arrays=[
            Touched(
                name,
                sizes[name],
                float(lengths.sum()) / len(queries),
                _lines(owner, starts, lengths) / len(queries),
            )
            for name, (owner, starts, lengths) in spans.items()
        ],
    )


@dataclass(frozen=True)
class _Records:
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    entry_bytes: int


def _records(artifact: Artifact, places: NDArray[np.int64]) -> _Records:
    # Where in ``rows`` the weights of features stand, in bytes.
    entries = artifact.index.entries.astype(np.int64)
    if artifact.encoding == "sparse8":
        starts, ends = entries[places], entries[places + 1]
        return _Records(starts * 2, (ends - starts) * 2, 8)
    row_bytes = artifact.rows.shape[1] * 4
    flags = entries[places] & 3
    return _Records((entries[places] >> 2) * row_bytes, ((flags & 1) + (flags >> 1)) * row_bytes, 4)


def _find(
    keys: NDArray[np.uint16],
    buckets: NDArray[np.uint32],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> NDArray[np.int64]:
    place = np.full(len(buckets), -1, dtype=np.int64)
    for number in np.flatnonzero(last > first):
        group = keys[first[number] : last[number]]
        hits = np.flatnonzero(group == (buckets[number] & 0xFFFF))
        if len(hits):
            place[number] = first[number] + hits[0]
    return place


def _lines(owner: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> int:
    # Different (query, line) pairs.
    used = lengths > 0
    owner, starts, lengths = owner[used], starts[used], lengths[used]
    first, last = starts // LINE, (starts + lengths - 1) // LINE
    counts = last - first + 1
    lines = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return len(np.unique(np.stack([np.repeat(owner, counts), lines]), axis=1).T)
