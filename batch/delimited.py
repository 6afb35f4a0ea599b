"""CSV (RFC 4180) and TSV (no quoting), all columns as the bytes that stand there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from batch.block import Block, Columns
from batch.end_record import OPEN, EndRecord, WithEnd, up_to_end
from batch.errors import BatchError
from batch.streams import MARK, ByteStream


def read(stream: ByteStream, columns: Columns, delimiter: str, header: bool) -> Iterator[Block]:
    """A row for each record; an empty line is one only where there is a single column."""
    quoted = delimiter == ","
    names = _names(stream, delimiter, quoted, header)
    text = columns.text_of(names, names)
    kept = columns.kept_of(names)
    wanted = list(dict.fromkeys([text, *kept]))
    end = EndRecord(delimiter, len(names), names.index(text))
    source = WithEnd(stream, end.record)
    batches = _batches(source, end, names, wanted, delimiter, header)
    empty = True
    for batch in up_to_end(batches, end, wanted.index(text)):
        if len(batch) or empty:
            empty = False
            yield Block.of(batch, text, kept, stream.consumed, decode=True)


def _batches(
    source: WithEnd,
    end: EndRecord,
    names: list[str],
    wanted: list[str],
    delimiter: str,
    header: bool,
) -> Iterator[pa.RecordBatch]:
    # Numbers, because names may be there twice.
    numbers = [str(names.index(name)) for name in wanted]
    quoted = delimiter == ","
    rows = 0
    try:
        for batch in pa_csv.open_csv(
            source,
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=source.block_bytes,
                column_names=list(map(str, range(len(names)))),
                skip_rows_after_names=1 if header else 0,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                ignore_empty_lines=len(names) > 1,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pa.binary()),
                include_columns=numbers,
                strings_can_be_null=False,
                check_utf8=False,
            ),
        ):
            rows += len(batch)
            yield pa.RecordBatch.from_arrays(batch.columns, names=wanted)
    except pa.ArrowInvalid as error:
        straddles = "straddling object" in str(error)
        if end.is_in(str(error)) or (straddles and source.bytes <= source.block_bytes):
            raise BatchError(OPEN) from error
        if not straddles:
            raise
        size = f"{source.block_bytes / 2**20:g} MiB"
        doubt = ": an open quote?" if quoted else ""
        raise BatchError(f"a record after row {rows} is longer than {size}{doubt}") from error


def _names(stream: ByteStream, delimiter: str, quoted: bool, header: bool) -> list[str]:
    head = stream.peek().removeprefix(MARK)
    if not head.strip():
        raise BatchError("it is empty" + (", without even a header" if header else ""))
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    lines = io.StringIO(head.decode("utf-8", "replace"), newline="")
    # The limit is the process's: others of its readers rely on theirs.
    limit = csv.field_size_limit(stream.block_bytes)
    try:
        first = next(csv.reader(lines, delimiter=delimiter, quoting=quoting))
    except csv.Error as error:
        raise BatchError(f"its first line is no row of columns: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return first if header else [f"f{place}" for place in range(len(first))]
