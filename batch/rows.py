"""What scoring says of rows, in flat arrays that can be cut, put together and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.counts import Counts


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """The labels of rows and what is known of each."""

    offsets: NDArray[np.int32]
    """int32 [rows + 1]: row ``i`` has the labels ``offsets[i]`` up to ``offsets[i + 1]``."""
    labels: NDArray[np.int32]
    """int32 [emitted]: positions in the taxonomy."""
    scores: NDArray[np.float64]
    """float64 [emitted]"""
    missing: NDArray[np.bool_]
    """bool [rows]: null, or too long."""
    too_long: NDArray[np.bool_]
    """bool [rows]"""
    truncated: NDArray[np.bool_]
    """bool [rows]: only the first tokens were scored."""
    tokens: NDArray[np.uint16]
    """uint16 [rows]: tokens that were scored."""
    unknown: NDArray[np.uint16]
    """uint16 [rows]: those that the model has no row for."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def fitting(self, most: int) -> int:
        """How many of the first rows have no more than ``most`` labels together."""
        return int(np.searchsorted(self.offsets, most, side="right")) - 1

    def head(self, rows: int) -> ScoredRows:
        """The first rows; of cut arrays a copy, so that the others do not stay."""
        if rows >= len(self):
            return self
        end = int(self.offsets[rows])
        return ScoredRows(
            self.offsets[: rows + 1],
            self.labels[:end].copy(),
            self.scores[:end].copy(),
            *(column[:rows] for column in self._by_row()),
        )

    def take(self, places: NDArray[np.int64]) -> ScoredRows:
        """The rows at these places, in their order; a place may come again, -1 is a null."""
        starts = np.append(self.offsets[:-1], 0).astype(np.int64)[places]
        sizes = np.append(np.diff(self.offsets), 0).astype(np.int64)[places]
        offsets = offsets_of(sizes)
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        nulls = (True, False, False, 0, 0)
        columns = (
            np.append(column, column.dtype.type(null))[places]
            for column, null in zip(self._by_row(), nulls, strict=True)
        )
        return ScoredRows(offsets, self.labels[source], self.scores[source], *columns)

    def counts(self, labels: int) -> Counts:
        """What there is to count, of a taxonomy of so many labels."""
        return Counts(
            rows=len(self),
            nulls=int(np.count_nonzero(self.missing & ~self.too_long)),
            too_long=int(np.count_nonzero(self.too_long)),
            truncated=int(np.count_nonzero(self.truncated)),
            tokens=int(self.tokens.sum(dtype=np.int64)),
            unknown=int(self.unknown.sum(dtype=np.int64)),
            covered=int(np.count_nonzero(np.diff(self.offsets))),
            labels=np.bincount(self.labels, minlength=labels),
        )

    def _by_row(self) -> tuple[NDArray[Any], ...]:
        return self.missing, self.too_long, self.truncated, self.tokens, self.unknown


def joined(parts: Sequence[ScoredRows]) -> ScoredRows:
    """The rows of all parts, at least one."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = zip(*(part._by_row() for part in parts), strict=True)
    return ScoredRows(
        offsets_of(sizes.astype(np.int64)),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
        *map(np.concatenate, columns),
    )


def offsets_of(sizes: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32 [rows + 1]: where each row's labels begin; raises ``OverflowError``."""
    total = int(sizes.sum())
    if total > np.iinfo(np.int32).max:
        raise OverflowError(f"{total} labels are emitted, too many for one list array")
    return np.append(0, np.cumsum(sizes)).astype(np.int32)
