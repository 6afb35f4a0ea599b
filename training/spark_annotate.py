"""A teacher annotates a Spark table: each Python worker process opens it once."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray
from pyspark import cloudpickle
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, FloatType, StringType, StructField

from topiccore.spark import append_columns, check_columns
from training.errors import TrainingError

Teach: TypeAlias = Callable[[list[str]], "sp.csr_matrix | NDArray[np.floating]"]
"""Texts to scores in [0, 1], [texts, labels], dense or CSR."""

CHUNK = 4096
"""At most so many texts are given to a teacher at once."""
CODES, SCORES = "codes", "scores"


def annotate_table(
    frame: DataFrame,
    text_column: str,
    open_teacher: Callable[[], Teach],
    codes: Sequence[str],
    *,
    least: float = 0.01,
) -> DataFrame:
    """The table with the columns ``codes`` and ``scores``: the likely labels of each text.

    With the texts in a column ``text``, that is what ``topiccore train`` learns from.

    Args:
        frame: any table whose columns Arrow can carry.
        text_column: its column of strings; a null is given no labels.
        open_teacher: returns the teacher; called once in each Python worker process, to which it
            is pickled.  It may close over a small teacher, or load a large one from a path.
        codes: the codes of the teacher's labels, in its order.
        least: labels with a lower score are left out; the others come best first.

    Raises ``BatchError`` for a wrong column, on the driver; ``TrainingError``, in a worker, for
    scores of another shape or out of range.
    """
    check_columns(frame, text_column, CODES, SCORES)
    fields = [
        StructField(CODES, ArrayType(StringType())),
        StructField(SCORES, ArrayType(FloatType())),
    ]
    annotate = _Annotate(cloudpickle.dumps(open_teacher), tuple(codes), least)
    return append_columns(frame, text_column, fields, annotate)


@dataclass(frozen=True, slots=True)
class _Annotate:
    teacher: bytes
    codes: tuple[str, ...]
    least: float

    def __call__(self, batches: Iterable[pa.RecordBatch], text: str) -> Iterator[pa.RecordBatch]:
        teach = _opened(self.teacher)
        for batch in batches:
            column = batch.column(batch.schema.names.index(text))
            known = np.flatnonzero(pc.is_valid(column).to_numpy(zero_copy_only=False))
            texts = [_as_text(value) for value in column.drop_null().to_pylist()]
            scores = self._scores(teach, texts)
            labels = np.zeros(len(batch), np.int64)
            labels[known] = np.diff(scores.indptr)
            offsets = pa.array(np.append(0, np.cumsum(labels)).astype(np.int32))
            codes = pa.array(self.codes, pa.string()).take(pa.array(scores.indices))
            columns = {
                CODES: pa.ListArray.from_arrays(offsets, codes),
                SCORES: pa.ListArray.from_arrays(offsets, pa.array(scores.data)),
            }
            schema = batch.schema
            for name, values in columns.items():
                schema = schema.append(pa.field(name, values.type))
            yield pa.RecordBatch.from_arrays([*batch.columns, *columns.values()], schema=schema)

    def _scores(self, teach: Teach, texts: list[str]) -> sp.csr_matrix:
        """float32 CSR [texts, labels], none below ``least``, the best of a row first."""
        parts = [sp.csr_matrix((0, len(self.codes)), dtype=np.float32)]
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            scores = sp.csr_matrix(teach(chunk), dtype=np.float32)
            if scores.shape != (len(chunk), len(self.codes)):
                raise TrainingError(
                    f"the teacher gives scores of shape {scores.shape} for {len(chunk)} texts and "
                    f"{len(self.codes)} labels"
                )
            if not ((scores.data >= 0) & (scores.data <= 1)).all():
                raise TrainingError("the teacher gives scores that are not in [0, 1]")
            parts.append(scores)
        found = sp.vstack(parts, format="coo")
        kept = found.data >= max(self.least, np.finfo(np.float32).tiny)
        rows, labels, data = found.row[kept], found.col[kept], found.data[kept]
        order = np.lexsort((labels, -data, rows))
        ends = np.cumsum(np.bincount(rows, minlength=len(texts)))
        return sp.csr_matrix(
            (data[order], labels[order], np.append(0, ends)), shape=(len(texts), len(self.codes))
        )


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


@lru_cache(maxsize=1)
def _opened(pickled: bytes) -> Teach:
    teach: Teach = pickle.loads(pickled)()
    return teach
