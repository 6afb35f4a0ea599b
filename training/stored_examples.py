"""Annotated texts in Parquet files, streamed: for pools that do not fit into memory.

A file has a column ``text`` (string) and either ``labels`` (list of structs of ``code``, string,
and ``score``, a number in [0, 1]) or two lists of equal length, ``codes`` and ``scores``; a column
``weight`` (a number, at least 0) may say how much each text counts.  A label that a text does not
list has the score 0.

Each pass over the examples takes the row groups in an order of its own and shuffles within a window
of ``WINDOW`` times ``ROWS`` texts.  Large row groups are read in pieces, so memory hangs neither on
how many texts there are nor on how a file was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from training.collections import normal_form
from training.errors import DataError
from training.files import replacing

ROWS = 65_536
"""Rows of a row group, as ``write_examples`` makes them, and of a piece that is read at once."""
WINDOW = 4
"""Pieces that are shuffled together."""
TOLD = 1_000_000
"""Texts between two lines of progress."""
_LABELS = pa.list_(pa.struct([("code", pa.string()), ("score", pa.float32())]))


class Batch(NamedTuple):
    """Some examples: texts, targets in [0, 1], float32 CSR [texts, labels], and weights."""

    texts: list[str]
    targets: sp.csr_matrix
    weights: NDArray[np.float32]


class Totals(NamedTuple):
    """How many examples there are, how many texts were held out, and sums over the examples.

    ``weight`` is the sum of their weights, ``targets`` that of each label's weighted targets,
    float64 [labels].
    """

    examples: int
    held_out: int
    weight: float
    targets: NDArray[np.float64]


@dataclass(frozen=True)
class StoredExamples:
    """The examples of ``paths``: every text but those of ``held_out``, in normal form.

    An example counts ``weight``, times its own weight where the file has one.  ``report`` is told
    of every ``TOLD`` texts.
    """

    paths: tuple[Path, ...]
    codes: tuple[str, ...]
    weight: float
    held_out: frozenset[str]
    report: Callable[[str], None] | None = None

    @cached_property
    def groups(self) -> list[tuple[Path, int]]:
        """Each row group as (file, number); raises ``DataError`` for what is no such file."""
        found = []
        for path in self.paths:
            try:
                with pq.ParquetFile(path) as file:
                    _check_columns(path, file.schema_arrow)
                    found += [(path, number) for number in range(file.num_row_groups)]
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path}: no Parquet file: {error}") from error
        return found

    @cached_property
    def totals(self) -> Totals:
        """Counts and sums, by a pass that checks every row."""
        examples, held_out, weight, targets = 0, 0, 0.0, np.zeros(len(self.codes))
        done = _Progress(self.report, "checked")
        for group in self.groups:
            for size, batch in self._read(*group):
                examples += len(batch.texts)
                held_out += size - len(batch.texts)
                weight += float(batch.weights.sum(dtype=float))
                targets += batch.targets.T @ batch.weights.astype(float)
                done.add(size)
        return Totals(examples, held_out, weight, targets)

    def __len__(self) -> int:
        return self.totals.examples

    def text_batches(self) -> Iterator[list[str]]:
        """All texts in order, at most ``ROWS`` at a time."""
        done = _Progress(self.report, "read")
        for path, number in self.groups:
            for place, _, rows in _pieces(path, number, ["text"]):
                texts = _texts(place, rows)
                done.add(len(texts))
                yield [text for text in texts if text not in self.held_out]

    def batches(self, seed: Sequence[int], size: int) -> Iterator[Batch]:
        """One pass, in an order fixed by ``seed``, in batches of at most ``size``."""
        random = np.random.default_rng(list(seed))
        done = _Progress(self.report, "learned from")
        window: list[Batch] = []
        for place in random.permutation(len(self.groups)).tolist():
            for count, batch in self._read(*self.groups[place]):
                window.append(batch)
                done.add(count)
                if sum(len(part.texts) for part in window) >= WINDOW * ROWS:
                    yield from _shuffled(window, random, size)
                    window = []
        if window:
            yield from _shuffled(window, random, size)

    def _read(self, path: Path, number: int) -> Iterator[tuple[int, Batch]]:
        """A row group in pieces, each with its rows, held-out ones included.

        Raises ``DataError`` that names the row (from 0, within the group) and what is wrong.
        """
        for place, columns, rows in _pieces(path, number, None):
            texts = _texts(place, rows)
            targets = self._targets(place, columns, rows)
            weights = np.full(len(texts), self.weight, np.float32)
            if "weight" in columns:
                weights *= _weights(place, rows.column("weight"))
            kept = [row for row, text in enumerate(texts) if text not in self.held_out]
            if len(kept) < len(texts):
                yield (
                    len(texts),
                    Batch([texts[row] for row in kept], targets[kept], weights[kept]),
                )
            else:
                yield len(texts), Batch(texts, targets, weights)

    def _targets(self, place: _Place, columns: Sequence[str], rows: pa.RecordBatch) -> Any:
        if "labels" in columns:
            sizes, entries = _list(place, rows.column("labels"), "labels")
            codes, found = pc.struct_field(entries, "code"), pc.struct_field(entries, "score")
        else:
            sizes, codes = _list(place, rows.column("codes"), "codes")
            others, found = _list(place, rows.column("scores"), "scores")
            place.refuse(sizes != others, lambda row: f"{sizes[row]} codes, {others[row]} scores")
        row_of = np.repeat(np.arange(len(sizes)), sizes)
        labels = pc.index_in(
            codes.cast(pa.string()), value_set=pa.array(self.codes, pa.string())
        ).to_numpy(zero_copy_only=False)
        unknown = np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(len(labels), bool)
        place.refuse(
            unknown, lambda at: f"label {codes[at].as_py()!r} is not in the taxonomy", row_of
        )
        scores = found.cast(pa.float64()).to_numpy(zero_copy_only=False)
        wrong = ~((scores >= 0) & (scores <= 1))
        place.refuse(wrong, lambda at: f"score {scores[at]} is not in [0, 1]", row_of)
        labels = labels.astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        targets = sp.csr_matrix(
            (scores.astype(np.float32), labels, offsets), shape=(len(sizes), len(self.codes))
        )
        targets.sum_duplicates()
        if targets.nnz < len(labels):
            twice = np.ones(len(labels), bool)
            twice[np.unique(row_of * len(self.codes) + labels, return_index=True)[1]] = False
            place.refuse(twice, lambda at: f"label {codes[at].as_py()!r} stands twice", row_of)
        return targets


@dataclass(frozen=True)
class _Place:
    """Rows of a row group, from ``first`` on: what an error names."""

    path: Path
    group: int
    first: int

    def refuse(
        self,
        wrong: NDArray[np.bool_],
        what: Callable[[int], str],
        row_of: NDArray[np.int64] | None = None,
    ) -> None:
        """Raises ``DataError`` for the first place that is wrong; ``row_of`` has each one's row."""
        if wrong.any():
            at = int(wrong.argmax())
            row = self.first + (at if row_of is None else int(row_of[at]))
            raise DataError(f"{self.path}, row group {self.group}, row {row}: {what(at)}")


class _Progress:
    """Tells of texts as they are done."""

    def __init__(self, report: Callable[[str], None] | None, verb: str):
        self.report = report
        self.verb = verb
        self.done = 0

    def add(self, count: int) -> None:
        before, self.done = self.done, self.done + count
        if self.report and before // TOLD < self.done // TOLD:
            self.report(f"annotated texts: {self.done:,} {self.verb}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_list(kind: pa.DataType, holds: Callable[[pa.DataType], bool]) -> bool:
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return listed and holds(kind.value_type)


def _is_label(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    parts = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
    return (
        {"code", "score"} <= parts.keys() and _is_text(parts["code"]) and _is_number(parts["score"])
    )


_KINDS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "text": (_is_text, "string"),
    "labels": (lambda kind: _is_list(kind, _is_label), "list<struct<code: string, score: float>>"),
    "codes": (lambda kind: _is_list(kind, _is_text), "list<string>"),
    "scores": (lambda kind: _is_list(kind, _is_number), "list<float>"),
    "weight": (_is_number, "float"),
}


def _check_columns(path: Path, schema: pa.Schema) -> None:
    columns = _columns(schema)
    if missing := [name for name in ("text", *columns) if name not in schema.names]:
        raise DataError(f"{path}: no column {missing[0]!r}")
    for name in columns:
        fits, wanted = _KINDS[name]
        kind = schema.field(name).type
        if not fits(kind):
            raise DataError(f"{path}: column {name!r} is {kind}, not {wanted}")


def _columns(schema: pa.Schema) -> list[str]:
    listed = "labels" not in schema.names and {"codes", "scores"} <= set(schema.names)
    columns = ["text", *(("codes", "scores") if listed else ("labels",))]
    return [*columns, "weight"] if "weight" in schema.names else columns


def _pieces(
    path: Path, number: int, columns: list[str] | None
) -> Iterator[tuple[_Place, list[str], pa.RecordBatch]]:
    first = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            columns = columns or _columns(file.schema_arrow)
            for rows in file.iter_batches(ROWS, row_groups=[number], columns=columns):
                rows.validate(full=True)
                yield _Place(path, number, first), columns, rows
                first += rows.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}, row group {number}: {error}") from error


def _texts(place: _Place, rows: pa.RecordBatch) -> list[str]:
    column = rows.column("text")
    if column.null_count:
        place.refuse(_nulls(column), lambda _: "no text")
    return [normal_form(text) for text in column.cast(pa.string()).to_pylist()]


def _weights(place: _Place, column: pa.Array) -> NDArray[np.float32]:
    weights = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    wrong = ~((weights >= 0) & np.isfinite(weights))
    place.refuse(wrong, lambda row: f"weight {weights[row]} is no number from 0 on")
    return np.asarray(weights, dtype=np.float32)


def _list(place: _Place, column: pa.Array, name: str) -> tuple[NDArray[np.int64], pa.Array]:
    if column.null_count:
        place.refuse(_nulls(column), lambda _: f"no {name}")
    sizes = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    return sizes.astype(np.int64), column.flatten()


def _nulls(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def _shuffled(window: list[Batch], random: np.random.Generator, size: int) -> Iterator[Batch]:
    texts = [text for batch in window for text in batch.texts]
    targets = sp.vstack([batch.targets for batch in window], format="csr")
    weights = np.concatenate([batch.weights for batch in window])
    order = random.permutation(len(texts))
    for first in range(0, len(order), size):
        chosen = order[first : first + size]
        yield Batch([texts[row] for row in chosen.tolist()], targets[chosen], weights[chosen])


def write_examples(
    path: Path, batches: Iterable[tuple[Sequence[str], sp.csr_matrix]], codes: Sequence[str]
) -> None:
    """Writes texts and their scores as such a file, in row groups of ``ROWS``, whole or not at all.

    Scores are float32 CSR [texts, labels], of the labels that ``codes`` names.  Batches of fewer
    than ``ROWS`` texts are put together.
    """
    schema = pa.schema([("text", pa.string()), ("labels", _LABELS)])
    waiting: list[pa.Table] = []
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for texts, targets in batches:
            waiting.append(_as_table(texts, targets, codes, schema))
            rows = sum(table.num_rows for table in waiting)
            if rows >= ROWS:
                table = pa.concat_tables(waiting)
                whole = rows // ROWS * ROWS
                writer.write_table(table.slice(0, whole).combine_chunks(), ROWS)
                waiting = [table.slice(whole)]
        if sum(table.num_rows for table in waiting):
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), ROWS)


def _as_table(
    texts: Sequence[str], targets: sp.csr_matrix, codes: Sequence[str], schema: pa.Schema
) -> pa.Table:
    code = pa.DictionaryArray.from_arrays(
        pa.array(targets.indices, pa.int32()), pa.array(codes, pa.string())
    ).cast(pa.string())
    entries = pa.StructArray.from_arrays(
        [code, pa.array(targets.data, pa.float32())], _LABELS.value_type.names
    )
    labels = pa.ListArray.from_arrays(pa.array(targets.indptr, pa.int32()), entries)
    return pa.table([pa.array(texts, pa.string()), labels.cast(_LABELS)], schema=schema)
