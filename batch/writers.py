"""Results as files: Parquet, JSON lines, TSV.

Blocks are rendered by many threads and written by one, in order.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from batch import as_text
from batch.errors import BatchError
from batch.formats import Format
from batch.scoring import TOPICS, Emitted, Scorer


class Renderer:
    """Turns scored rows into what a writer of the same format takes.  Threads may share it."""

    def __init__(self, scorer: Scorer, kind: str, result_column: str):
        self._scorer = scorer
        self._kind = kind
        self._result_column = result_column
        self._labels = as_text.LabelText(scorer.codes)

    def render(self, kept: pa.RecordBatch, emitted: Emitted) -> pa.RecordBatch | pa.Buffer:
        """A record batch for Parquet, the text of the rows for the others.

        Raises ``BatchError`` when a kept column has the name of the result.
        """
        if self._result_column in kept.schema.names:
            raise BatchError(
                f"a kept column is called {self._result_column!r}; "
                "name the result otherwise (--result-column)"
            )
        if self._kind == "parquet":
            fields = [field.remove_metadata() for field in kept.schema]
            schema = pa.schema([*fields, pa.field(self._result_column, TOPICS)])
            topics = self._scorer.as_array(emitted)
            return pa.RecordBatch.from_arrays([*kept.columns, topics], schema=schema)
        if self._kind == "jsonl":
            labels = self._labels.json(emitted)
            return as_text.json_lines(kept, self._result_column, labels)
        return as_text.tsv_lines(kept, self._labels.tsv(emitted))


class Writer:
    """Writes the rendered blocks of one output; the first one tells its columns."""

    def __init__(self, sink: BinaryIO, kind: Format, result_column: str):
        self._sink = sink
        self._format = kind
        self._result_column = result_column
        self._schema: pa.Schema | None = None
        self._writer: Any = None

    def write(self, kept: pa.Schema, rendered: pa.RecordBatch | pa.Buffer) -> None:
        """Raises ``BatchError`` when its columns are not those of the first block."""
        parquet = self._format.kind == "parquet"
        schema = rendered.schema if parquet else pa.schema([(n, pa.null()) for n in kept.names])
        if self._schema is None:
            self._schema = schema
            self._writer = self._parquet() if parquet else self._text(kept)
        elif schema != self._schema:
            raise BatchError(
                "its kept columns differ from those of the files before it: "
                f"{_told(schema)}, not {_told(self._schema)}"
            )
        if parquet:
            self._writer.write_batch(rendered)
        else:
            self._writer.write(rendered)

    def _parquet(self) -> pq.ParquetWriter:
        code = f"{self._result_column}.list.element.code"
        kept = [field.name for field in self._schema or () if field.type != TOPICS]
        return pq.ParquetWriter(
            self._sink,
            self._schema,
            compression="zstd",
            # Hardly a score stands twice: a dictionary of them costs time and space.
            use_dictionary=[code, *kept],
            store_schema=True,
        )

    def _text(self, kept: pa.Schema) -> Any:
        sink: Any = self._sink
        if self._format.compression is not None:
            sink = pa.PythonFile(_LeftOpen(sink), "w")
            sink = pa.CompressedOutputStream(sink, self._format.compression)
        if self._format.kind == "tsv":
            sink.write(as_text.tsv_header(kept, self._result_column))
        return sink

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is None or self._writer is self._sink:
            return
        try:
            self._writer.close()
        except (OSError, ValueError):
            # The first error tells more than that of a file which is given up.
            if error is None:
                raise


class _LeftOpen:
    """A file that stays open when Arrow closes it: who opened it has still to do with it."""

    closed = False

    def __init__(self, sink: BinaryIO):
        self.write = sink.write
        self.flush = sink.flush

    def close(self) -> None:
        """Does nothing."""


def _told(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema) or "none"
