"""Annotated texts in Parquet files, streamed: for pools that do not fit into memory.

A file has the columns ``text`` (string) and ``labels`` (list of structs of ``code``, string, and
``score``, a number in [0, 1]).  Each pass over the examples reads the row groups in an order of its
own and shuffles within a window of a few of them, so memory does not hang on how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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
"""Rows of a row group, as ``write_examples`` makes them."""
WINDOW = 4
"""Row groups that are shuffled together."""
_LABELS = pa.list_(pa.struct([("code", pa.string()), ("score", pa.float32())]))
Batch = tuple[list[str], sp.csr_matrix]
"""Texts, and their targets in [0, 1], float32 CSR [texts, labels]."""


@dataclass(frozen=True)
class StoredExamples:
    """The examples of ``paths``: every text but those of ``held_out``, each with ``weight``."""

    paths: tuple[Path, ...]
    codes: tuple[str, ...]
    weight: float
    held_out: frozenset[str]

    @cached_property
    def groups(self) -> list[tuple[Path, int]]:
        """Each row group as (file, number); raises ``DataError`` for what is no such file."""
        found = []
        for path in self.paths:
            try:
                with pq.ParquetFile(path) as file:
                    names = file.schema_arrow.names
                    if missing := [x for x in ("text", "labels") if x not in names]:
                        raise DataError(f"{path}: no column {missing[0]!r}")
                    found += [(path, number) for number in range(file.num_row_groups)]
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path}: no Parquet file: {error}") from error
        return found

    @cached_property
    def totals(self) -> tuple[int, NDArray[np.float64]]:
        """How many examples there are, and the sum of each label's targets, [labels]."""
        count, sums = 0, np.zeros(len(self.codes))
        for group in self.groups:
            texts, targets = self.read(*group)
            count += len(texts)
            sums += np.asarray(targets.sum(axis=0)).ravel()
        return count, sums

    def __len__(self) -> int:
        return self.totals[0]

    def text_batches(self) -> Iterator[list[str]]:
        """All texts, a row group at a time."""
        for group in self.groups:
            yield self.read(*group)[0]

    def batches(self, seed: Sequence[int], size: int) -> Iterator[Batch]:
        """One pass, in an order fixed by ``seed``, in batches of at most ``size``."""
        random = np.random.default_rng(list(seed))
        order = random.permutation(len(self.groups)).tolist()
        for start in range(0, len(order), WINDOW):
            parts = [self.read(*self.groups[place]) for place in order[start : start + WINDOW]]
            texts = [text for part in parts for text in part[0]]
            targets = sp.vstack([part[1] for part in parts], format="csr")
            mixed = random.permutation(len(texts))
            for first in range(0, len(mixed), size):
                chosen = mixed[first : first + size]
                yield [texts[row] for row in chosen.tolist()], targets[chosen]

    def read(self, path: Path, number: int) -> Batch:
        """One row group; raises ``DataError`` that names it and what is wrong."""
        place = f"{path}, row group {number}"
        try:
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(number, ["text", "labels"]).combine_chunks()
                texts = table.column("text").cast(pa.string()).to_pylist()
                labels = table.column("labels").cast(_LABELS).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{place}: {error}") from error
        if isinstance(labels, pa.ChunkedArray):
            labels = labels.chunk(0) if labels.num_chunks else pa.array([], _LABELS)
        if None in texts:
            raise DataError(f"{place}: row {texts.index(None)} has no text")
        if labels.null_count:
            raise DataError(
                f"{place}: row {labels.is_null().to_pylist().index(True)} has no labels"
            )
        indptr = np.asarray(labels.offsets)
        entries = labels.values
        code, score = pc.struct_field(entries, "code"), pc.struct_field(entries, "score")
        columns = pc.index_in(code, value_set=pa.array(self.codes, pa.string()))
        if columns.null_count:
            unknown = code[columns.is_null().to_pylist().index(True)]
            raise DataError(f"{place}: label {unknown.as_py()!r} is not in the taxonomy")
        scores = score.to_numpy(zero_copy_only=False).astype(np.float32)
        if not ((scores >= 0) & (scores <= 1)).all():
            wrong = scores[~((scores >= 0) & (scores <= 1))][0]
            raise DataError(f"{place}: score {wrong} is not in [0, 1]")
        targets = sp.csr_matrix(
            (scores, columns.to_numpy(), indptr), shape=(len(texts), len(self.codes))
        )
        texts = [normal_form(text) for text in texts]
        free = [row for row, text in enumerate(texts) if text not in self.held_out]
        if len(free) < len(texts):
            texts, targets = [texts[row] for row in free], targets[free]
        return texts, targets


def write_examples(path: Path, batches: Iterator[Batch], codes: Sequence[str]) -> None:
    """Writes annotated texts as such a file, whole or not at all."""
    schema = pa.schema([("text", pa.string()), ("labels", _LABELS)])
    names = np.array(codes, dtype=object)
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        for texts, targets in batches:
            entries = pa.StructArray.from_arrays(
                [
                    pa.array(names[targets.indices], pa.string()),
                    pa.array(targets.data, pa.float32()),
                ],
                ["code", "score"],
            )
            labels = pa.ListArray.from_arrays(pa.array(targets.indptr, pa.int32()), entries)
            writer.write_table(
                pa.table([pa.array(texts, pa.string()), labels.cast(_LABELS)], schema=schema),
                row_group_size=ROWS,
            )
