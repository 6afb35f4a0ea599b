"""Files as blocks of rows: Arrow record batches of the text column and the kept ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from batch import delimited, json_lines
from batch.block import Block, Columns
from batch.errors import BatchError
from batch.inputs import Input
from batch.plain_text import read_lines
from batch.scoring import is_text
from batch.storage import foreign_errors, reason
from batch.streams import ByteStream, seekable, standard_input

ROWS = 65536
"""Rows of a block at most."""
BLOCK_BYTES = 8 << 20
"""Bytes of a block of text, and about the most that a block of Parquet holds."""
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which columns: ``text_column`` ``None`` takes ``query`` or the only one that can be meant.

    ``keep`` names columns of the output, ``None`` for all; ``header`` is false for CSV and TSV
    whose first line is a row (their columns are f0, f1 and so on).
    """

    text_column: str | None = None
    keep: Sequence[str] | None = ()
    header: bool = True


def read_blocks(source: Input, options: ReadOptions) -> Iterator[Block]:
    """The blocks of a file in order, at least one, all of one schema.

    Raises ``BatchError`` naming the file.
    """
    try:
        with foreign_errors(source.location):
            yield from _blocks(source, options)
    except BatchError as error:
        raise BatchError(f"{source}: {error}") from error
    except (OSError, pa.ArrowException, UnicodeError, EOFError) as error:
        raise BatchError(f"cannot read {source}: {reason(error)}") from error


def _blocks(source: Input, options: ReadOptions) -> Iterator[Block]:
    kind = source.format.kind
    columns = Columns(options.text_column, options.keep)
    if kind == "parquet":
        with _opened(source) as raw, seekable(raw) as stream:
            yield from _parquet(stream, columns)
        return
    with _opened(source) as raw:
        stream = ByteStream(raw, source.format.compression, BLOCK_BYTES)
        if kind == "txt":
            yield from read_lines(stream, columns)
        elif kind == "jsonl":
            yield from json_lines.read(stream, columns)
        else:
            delimiter = "," if kind == "csv" else "\t"
            yield from delimited.read(stream, columns, delimiter, options.header)


def _opened(source: Input) -> pa.NativeFile:
    return standard_input() if source.location is None else source.location.open()


def _parquet(stream: pa.NativeFile, columns: Columns) -> Iterator[Block]:
    size = stream.size()
    file = pq.ParquetFile(stream, buffer_size=_BUFFER, page_checksum_verification=True)
    schema = file.schema_arrow
    names = list(schema.names)
    text = columns.text_of(names, [field.name for field in schema if is_text(field.type)])
    kept = columns.kept_of(names)
    if not is_text(schema.field(text).type):
        raise BatchError(f"column {text!r} is of type {schema.field(text).type}, not of strings")
    wanted = list(dict.fromkeys([text, *kept]))
    rows = file.metadata.num_rows
    done = 0
    for batch in file.iter_batches(_batch_rows(file.metadata, set(wanted)), columns=wanted):
        done += len(batch)
        yield Block.of(batch, text, kept, consumed=size * done // max(rows, 1))
    if done != rows:
        raise BatchError(f"it has {done} rows, and says {rows}")
    if not rows:
        fields = [schema.field(name) for name in wanted]
        none = pa.RecordBatch.from_pylist([], schema=pa.schema(fields))
        yield Block.of(none, text, kept, consumed=size)


def _batch_rows(metadata: pq.FileMetaData, wanted: set[str]) -> int:
    # A block of long texts has fewer rows.
    size = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for place in range(row_group.num_columns):
            column = row_group.column(place)
            if column.path_in_schema.split(".")[0] in wanted:
                size += column.total_uncompressed_size
    per_row = size / max(metadata.num_rows, 1)
    return max(1, min(ROWS, int(4 * BLOCK_BYTES / max(per_row, 1))))
