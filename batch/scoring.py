"""A column of queries in, a column of topics out: no file, no state, no Python object per row.

What every way of scoring offline shares: the command, DuckDB, Polars, workers of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batch.counts import Counts
from batch.errors import BatchError
from batch.rows import ScoredRows, joined, offsets_of
from topiccore import MAX_QUERY_BYTES, ArrowAnswers, TopicModel

TOPICS = pa.list_(pa.struct([("code", pa.string()), ("score", pa.float64())]))
"""The type of a result: the emitted labels of a query, best first."""
_FIRST_STEP, _STEP = 4096, 32768
"""Rows that are scored before it is seen how many labels they have: the first ones, then others."""
_BINARY = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What to emit: ``min_score`` and ``max_labels`` as in ``TopicModel.score``.

    ``topics_only`` leaves the subtopics out, before ``max_labels`` counts.
    """

    min_score: float | None = None
    max_labels: int | None = None
    topics_only: bool = False

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, not in [0, 1]")
        if self.max_labels is not None and self.max_labels < 0:
            raise ValueError(f"max_labels is {self.max_labels}, below 0")


@dataclass(frozen=True, slots=True)
class Emitted:
    """The emitted labels of rows in flat arrays, and what there is to count."""

    offsets: NDArray[np.int32]
    """int32 [rows + 1]: row ``i`` has the labels ``offsets[i]`` up to ``offsets[i + 1]``."""
    labels: NDArray[np.int32]
    """int32 [emitted]: positions in the taxonomy."""
    scores: NDArray[np.float64]
    """float64 [emitted]"""
    unknown: NDArray[np.uint16]
    """uint16 [rows]: tokens that the model has no row for."""
    counts: Counts


class Scorer:
    """A model with options, ready for columns.  Immutable: threads may share it.

    It pickles as its model does: other processes map the same artifact.
    """

    def __init__(self, model: TopicModel, options: Options | None = None):
        self.model = model
        self.options = options or Options()
        self.codes = pa.array([label.code for label in model.taxonomy], pa.string())
        self._is_topic = np.asarray(model.taxonomy.parents) < 0

    def __reduce__(self) -> tuple[type[Scorer], tuple[TopicModel, Options]]:
        return Scorer, (self.model, self.options)

    def score(self, column: pa.Array | pa.ChunkedArray, *, threads: int = 1) -> pa.Array:
        """``TOPICS`` [rows]: the topics of each row; a null's are empty.

        ``column`` holds strings or UTF-8 bytes in any Arrow layout, dictionaries of them, or
        nothing but nulls; a query above ``MAX_QUERY_BYTES`` is taken for a null.  Raises
        ``BatchError`` for a column of another type.
        """
        return self.as_array(self.emitted(column, threads=threads))

    def append(
        self, batch: pa.RecordBatch, text_column: str, result_column: str = "topics"
    ) -> pa.RecordBatch:
        """The batch with one more column, ``TOPICS``, at its end.

        Raises ``BatchError`` when there is no text column of that name, or already such a result
        column.
        """
        names = batch.schema.names
        if text_column not in names:
            raise BatchError(f"there is no column {text_column!r}; there are {listed(names)}")
        if result_column in names:
            raise BatchError(f"there is a column {result_column!r} already; name another result")
        topics = self.score(batch.column(names.index(text_column)))
        schema = batch.schema.append(pa.field(result_column, TOPICS))
        return pa.RecordBatch.from_arrays([*batch.columns, topics], schema=schema)

    def as_array(self, emitted: Emitted) -> pa.Array:
        """``TOPICS`` [rows] over the arrays of ``emitted``; scores are not copied."""
        codes = self.codes.take(pa.array(emitted.labels))
        fields = [TOPICS.value_type.field(i) for i in range(2)]
        items = pa.StructArray.from_arrays([codes, pa.array(emitted.scores)], fields=fields)
        return pa.ListArray.from_arrays(pa.array(emitted.offsets), items, type=TOPICS)

    def emitted(
        self, column: pa.Array | pa.ChunkedArray, *, threads: int = 1, most: int | None = None
    ) -> Emitted:
        """The same in flat arrays, with counts.

        ``most``: of the first rows only, as many as have no more than so many labels together, but
        one at least.
        """
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if pa.types.is_dictionary(column.type):
            rows = self._rows_of_dictionary(column, threads, most)
        else:
            rows = self._rows(column, threads, most)
        counts = rows.counts(len(self.codes))
        return Emitted(rows.offsets, rows.labels, rows.scores, rows.unknown, counts)

    def _rows_of_dictionary(
        self, column: pa.DictionaryArray, threads: int, most: int | None
    ) -> ScoredRows:
        values = column.dictionary
        if len(values) <= len(column):
            scored = self._rows(values, threads, most)
            if len(scored) == len(values):
                places = pc.fill_null(column.indices.cast(pa.int64()), -1).to_numpy()
                return scored.take(places[: _fitting(scored, places, most)])
        return self._rows(column.cast(column.type.value_type), threads, most)

    def _rows(self, column: pa.Array, threads: int, most: int | None) -> ScoredRows:
        if most is None or not len(column):
            return self._all_rows(column, threads)
        parts: list[ScoredRows] = []
        emitted = start = 0
        step = _FIRST_STEP
        while start < len(column):
            part = self._all_rows(column.slice(start, step), threads)
            emitted += len(part.labels)
            start += step
            step = _STEP
            if emitted > most:
                fitting = part.fitting(most - emitted + len(part.labels))
                parts.append(part.head(fitting if parts else max(fitting, 1)))
                break
            parts.append(part)
        return joined(parts)

    def _all_rows(self, column: pa.Array, threads: int) -> ScoredRows:
        column, too_long = self._scorable(column)
        answers = self._answers(column, threads)
        missing = column.is_null().to_numpy(zero_copy_only=False)
        return ScoredRows(
            *self._chosen(answers.offsets, answers.labels, answers.scores),
            missing=missing,
            too_long=np.zeros(len(missing), np.bool_) if too_long is None else too_long,
            truncated=answers.truncated,
            tokens=answers.tokens,
            unknown=answers.unknown,
        )

    def _answers(self, column: pa.Array, threads: int) -> ArrowAnswers:
        # With topics alone the limit can only be applied once subtopics are out.
        limit = None if self.options.topics_only else self.options.max_labels
        return self.model.score_arrow(
            column, min_score=self.options.min_score, max_labels=limit, threads=threads
        )

    def _scorable(self, column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_] | None]:
        """The column with nulls for what is too long, and where that is; ``None`` for nowhere."""
        kind = column.type
        if pa.types.is_null(kind):
            return column.cast(pa.string()), None
        if isinstance(kind, pa.BaseExtensionType):
            return self._scorable(column.storage)
        if not is_text(kind):
            raise BatchError(f"the text column is of type {kind}, not of strings")
        # No row is longer than all bytes together.
        if column.nbytes <= MAX_QUERY_BYTES:
            return column, None
        wrong = _too_long(column)
        if not wrong.any():
            return column, None
        kept = pc.if_else(pa.array(wrong), None, with_offsets(column))
        return kept, wrong

    def _chosen(
        self, offsets: NDArray[np.int32], labels: NDArray[np.int32], scores: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        if not self.options.topics_only:
            return offsets, labels, scores
        keep = self._is_topic[labels]
        offsets = np.append(0, np.cumsum(keep, dtype=np.int32))[offsets].astype(np.int32)
        labels, scores = labels[keep], scores[keep]
        if self.options.max_labels is None:
            return offsets, labels, scores
        sizes = np.diff(offsets)
        rank = np.arange(len(labels)) - np.repeat(offsets[:-1], sizes)
        keep = rank < self.options.max_labels
        return offsets_of(np.minimum(sizes, self.options.max_labels)), labels[keep], scores[keep]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of that type can be scored as it is or by its dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return is_text(kind.storage_type)
    return kind in _BINARY or kind in _BINARY.values() or pa.types.is_null(kind)


def listed(names: list[str]) -> str:
    """Column names for a message."""
    return ", ".join(map(repr, names)) or "none"


def _too_long(column: pa.Array) -> NDArray[np.bool_]:
    lengths = pc.fill_null(pc.binary_length(with_offsets(column)), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False) > MAX_QUERY_BYTES)


def with_offsets(column: pa.Array) -> pa.Array:
    """The column in a layout that Arrow can compute on, as bytes: text may be no UTF-8."""
    if isinstance(column.type, pa.BaseExtensionType):
        return with_offsets(column.storage)
    if column.type in (pa.string_view(), pa.binary_view()):
        return column.cast(pa.large_binary())
    return column.view(_BINARY[column.type]) if column.type in _BINARY else column


def _fitting(values: ScoredRows, places: NDArray[np.int64], most: int | None) -> int:
    """How many of the rows at these places have no more than ``most`` labels together."""
    if most is None:
        return len(places)
    sizes = np.append(np.diff(values.offsets), 0).astype(np.int64)[places]
    return max(1, int(np.searchsorted(np.cumsum(sizes), most, side="right")))
