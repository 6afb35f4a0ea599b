"""From float32 rows to small ones: encoding ``sparse8``.

Most weights of a feature are too small to matter.  They are left out, the others become an int8
times a step of their row, and rows that stay full are kept dense (the format:
``topiccore.artifact``).  What matters is how much the loss grows without a weight: the weight
squared times half the loss's second derivative (LeCun, Denker and Solla 1990, Optimal Brain
Damage).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.artifact import Artifact, Index, group_keys
from topiccore.errors import ArtifactError
from topiccore.reference import GROUPS, SCALED

MAX_BYTES = 24_000_000
"""What ``compact`` makes the arrays fit into: 25 MB with room for the manifest."""
PRUNE = 0.1
_GAP = 255
_MAX_COUNT = (1 << 14) - 1
_CHUNK = 4096
_SAMPLE = 16_384
_CLOSE_ENOUGH = 0.003
_LEAST = 1e-38
"""Nothing stays that is 0 or next to it."""


def compact(
    artifact: Artifact,
    *,
    prune: float = PRUNE,
    max_bytes: int = MAX_BYTES,
    importance: NDArray[np.floating[Any]] | None = None,
) -> Artifact:
    """The same model with rows of encoding ``sparse8``, in memory; ``save`` writes it.

    Args:
        artifact: one of encoding ``float32``.
        prune: weights nearer to 0 than this are left out, in logits.
        max_bytes: where the arrays would be larger, ``prune`` is raised until they fit.
        importance: what a weight of 1 counts, at least 0, [features, labels] in the order of
            ``index.keys``, or [features, 1]; left out below ``prune`` is a weight times its
            importance.  ``training.importance`` finds it from texts.

    ``training["compact"]`` of the result tells what was done.  Features with no weight left are
    dropped, unless there are n-grams.  Raises ``ArtifactError`` when the rows are not float32 and
    finite or cannot fit, ``ValueError`` when the importance is not such.
    """
    rows = artifact.rows
    if artifact.encoding != "float32" or not np.isfinite(rows).all():
        raise ArtifactError("only an artifact of finite float32 rows can be made compact")
    is_scaled, feature = _rows_of(artifact.index)
    if importance is not None:
        _check_importance(importance, len(artifact.index.keys), rows.shape[1])
    weights = _Weights(rows, importance, feature)
    prune = _fitting(artifact, prune, weights, max_bytes)
    cells, sizes = [], np.zeros(len(rows), dtype=np.int64)
    for chunk in _chunks(len(rows)):
        kept = np.where(weights.matter(chunk, prune), rows[chunk], np.float32(0))
        encoded, sizes[chunk] = _encode(kept, is_scaled[chunk])
        cells.append(encoded)
    per_feature = np.bincount(feature, weights=sizes, minlength=len(artifact.index.keys))
    # A word that is dropped would have n-grams in place of its row.
    kept = (per_feature > 0) | (artifact.ngrams != (0, 0))
    ends = np.cumsum(per_feature[kept].astype(np.int64))
    all_cells = np.concatenate(cells) if cells else np.zeros(0, np.uint16)
    if len(all_cells) >= 1 << 32:
        raise ArtifactError(f"{len(all_cells)} cells; an entry can name {1 << 32}")
    index = Index(
        *group_keys(artifact.index.buckets()[kept]),
        np.concatenate([[0], ends]).astype(np.uint32),
    )
    figures = {
        "pruned_below": prune,
        "features": int(kept.sum()),
        "features_before": len(kept),
        "cells_per_row": len(all_cells) / max(len(rows), 1),
    }
    return replace(
        artifact,
        index=index,
        rows=all_cells,
        encoding="sparse8",
        training=dict(artifact.training) | {"compact": figures},
        id="",
        path=None,
    )


def _chunks(rows: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, rows)) for start in range(0, rows, _CHUNK))


def _rows_of(index: Index) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """For each row whether it is scaled, bool [rows], and its feature, int64 [rows]."""
    flags = index.entries & 3
    sizes = (flags & 1) + (flags >> 1)
    if not np.array_equal(index.entries >> 2, np.cumsum(sizes) - sizes):
        raise ArtifactError("the rows do not stand in the order of their features")
    feature = np.repeat(np.arange(len(flags)), sizes)
    second = np.append(False, feature[1:] == feature[:-1])[: len(feature)]
    return (flags[feature] == SCALED) | second, feature


def _check_importance(importance: NDArray[np.floating[Any]], features: int, labels: int) -> None:
    if importance.shape not in ((features, labels), (features, 1)):
        raise ValueError(f"importance is {importance.shape}, not ({features}, {labels} or 1)")
    if not (np.isfinite(importance).all() and importance.min(initial=0) >= 0):
        raise ValueError("importance is not finite and at least 0 everywhere")


@dataclass(frozen=True)
class _Weights:
    """Rows, and what their weights count; ``feature`` is each row's place in ``importance``."""

    rows: NDArray[np.float32]
    importance: NDArray[np.floating[Any]] | None
    feature: NDArray[np.int64]

    def every(self, step: int) -> _Weights:
        """Each ``step``-th row alone."""
        return replace(self, rows=self.rows[::step], feature=self.feature[::step])

    def matter(self, chunk: slice, prune: float) -> NDArray[np.bool_]:
        """Whether each weight of some rows stays, [rows, labels]."""
        counting = np.abs(self.rows[chunk])
        if self.importance is not None:
            counting *= self.importance[self.feature[chunk]]
        return counting >= max(prune, _LEAST)

    def bytes_at(self, prune: float) -> int:
        """At most so many bytes of cells: steps over many labels are counted as often as can be."""
        labels = self.rows.shape[1]
        total = 0
        for chunk in _chunks(len(self.rows)):
            kept = np.count_nonzero(self.matter(chunk, prune), axis=1)
            cells = np.minimum(kept + (labels - 1) // _GAP, (labels + 1) // 2) + 2
            total += int(cells[kept > 0].sum())
        return 2 * total

    def largest(self) -> float:
        """No weight stays beyond this."""
        most = 1.0 if self.importance is None else float(self.importance.max(initial=0))
        return float(np.abs(self.rows).max(initial=0)) * most * 1.01


def _fitting(artifact: Artifact, prune: float, weights: _Weights, max_bytes: int) -> float:
    """The least threshold, at least ``prune``, whose arrays fit ``max_bytes``."""
    room = max_bytes - 4 * (GROUPS + 2) - 6 * len(artifact.index.keys) - 40 * len(artifact.bias)
    if room <= 0:
        raise ArtifactError(f"{len(artifact.index.keys)} features do not fit {max_bytes} bytes")
    if weights.bytes_at(prune) <= room:
        return prune
    # Some of the rows tell nearly where it is; all of them are read a few times only.
    step = max(len(weights.rows) // _SAMPLE, 1)
    few, room_of_few = weights.every(step), room / step
    low, high = prune, weights.largest()
    while high - low > _CLOSE_ENOUGH * high:
        middle = (low + high) / 2
        fits = few.bytes_at(middle) <= room_of_few
        low, high = (low, middle) if fits else (middle, high)
    found = max(low, prune)
    while weights.bytes_at(found) > room:
        found *= 1 + _CLOSE_ENOUGH
    return found


def _encode(
    kept: NDArray[np.float32], is_scaled: NDArray[np.bool_]
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The records of rows, one after the other, and how many cells each has (0: no record)."""
    labels = kept.shape[1]
    steps, step_bits = _steps(np.abs(kept).max(axis=1, initial=0))
    values = np.rint(kept / steps[:, None]).astype(np.int8)
    row, label = np.nonzero(values)
    first = np.append(True, row[1:] != row[:-1])[: len(row)]
    gaps = np.where(first, label, np.diff(label, prepend=0))
    leaps = np.maximum(gaps - 1, 0) // _GAP
    counts = np.bincount(row, minlength=len(kept))
    sparse = counts + np.bincount(row, weights=leaps, minlength=len(kept)).astype(np.int64)
    dense = (sparse > (labels + 1) // 2) & ((labels + 1) // 2 <= _MAX_COUNT)
    length = np.where(dense, (labels + 1) // 2, sparse)
    if length.max(initial=0) > _MAX_COUNT:
        raise ArtifactError(f"a row has {length.max()} cells, at most {_MAX_COUNT}; prune more")
    sizes = np.where(counts > 0, length + 2, 0)
    starts = np.cumsum(sizes) - sizes
    cells = np.zeros(int(sizes.sum()), dtype=np.uint16)
    used = counts > 0
    cells[starts[used]] = (length << 2 | dense << 1 | is_scaled)[used]
    cells[starts[used] + 1] = step_bits[used]
    for place in np.flatnonzero(used & dense):
        padded = np.zeros(2 * length[place], dtype=np.int8)
        padded[:labels] = values[place]
        cells[starts[place] + 2 : starts[place] + 2 + length[place]] = padded.view("<u2")
    # Sparse cells: every value behind as many empty leaps of 255 labels as it takes to reach it.
    chosen = ~dense[row]
    row, label, gaps, leaps = row[chosen], label[chosen], gaps[chosen], leaps[chosen]
    place = np.arange(len(row)) + np.cumsum(leaps)
    before = np.cumsum(np.where(dense, 0, sparse)) - np.where(dense, 0, sparse)
    place += (starts + 2 - before)[row]
    cells[place] = (gaps - _GAP * leaps) | (values[row, label].astype(np.uint8).astype(int) << 8)
    for leap in range(1, int(leaps.max(initial=0)) + 1):
        cells[place[leaps >= leap] - leap] = _GAP
    return cells, sizes


def _steps(largest: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Steps of which 127 reach ``largest``, as float32 and as bfloat16 bits, rounded up to those.

    A row of zeros has step 1.
    """
    exact = np.where(largest > 0, np.maximum(largest / np.float32(127), 1e-37), 1)
    bits = exact.astype(np.float32).view(np.uint32)
    bits = (bits + np.uint32(0xFFFF)) >> np.uint32(16)
    return (bits << np.uint32(16)).view(np.float32), bits.astype(np.uint16)
