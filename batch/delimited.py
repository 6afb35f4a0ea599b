"""CSV (RFC 4180) and TSV (no quoting), all columns as the bytes that stand there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from batch.block import Block, Columns
from batch.errors import BatchError
from batch.streams import MARK, ByteStream, Readable


def read(stream: ByteStream, columns: Columns, delimiter: str, header: bool) -> Iterator[Block]:
    """A row for each record; an empty line is one only where there is a single column."""
    quoted = delimiter == ","
    names = _names(stream, delimiter, quoted, header)
    text = columns.text_of(names, names)
    kept = columns.kept_of(names)
    wanted = list(dict.fromkeys([text, *kept]))
    types = {name: pa.binary() for name in wanted}
    if header and not any(end in stream.peek() for end in (b"\n", b"\r")):
        # Nothing but a header; Arrow refuses a file without its line end.
        yield Block.of(_empty(types), text, kept, stream.consumed, decode=True)
        return
    quotes = _Quotes(delimiter)
    reader = pa_csv.open_csv(
        Readable(stream, quotes.see if quoted else None),
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            block_size=stream.block_bytes,
            column_names=names,
            skip_rows_after_names=1 if header else 0,
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
            ignore_empty_lines=len(names) > 1,
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=types,
            include_columns=wanted,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    empty = True
    for batch in reader:
        if len(batch):
            empty = False
            yield Block.of(batch, text, kept, stream.consumed, decode=True)
    if quoted and quotes.open:
        raise BatchError("it ends within a quoted field: is it cut off?")
    if empty:
        yield Block.of(_empty(types), text, kept, stream.consumed, decode=True)


def _names(stream: ByteStream, delimiter: str, quoted: bool, header: bool) -> list[str]:
    head = stream.peek().removeprefix(MARK)
    if not head.strip():
        raise BatchError("it is empty" + (", without even a header" if header else ""))
    quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    lines = io.StringIO(head.decode("utf-8", "replace"), newline="")
    try:
        first = next(csv.reader(lines, delimiter=delimiter, quoting=quoting))
    except csv.Error as error:
        raise BatchError(f"its first line is no row of columns: {error}") from error
    return first if header else [f"f{place}" for place in range(len(first))]


def _empty(types: dict[str, pa.DataType]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=pa.schema(list(types.items())))


class _Quotes:
    """Whether the text seen so far ends inside quotes, which Arrow does not tell."""

    def __init__(self, delimiter: str):
        self._before = delimiter.encode() + b"\n\r"
        self._odd = False
        self._opens = False
        self._last = b"\n"

    def see(self, data: bytes) -> None:
        self._odd ^= data.count(b'"') % 2 == 1
        place = data.rfind(b'"')
        if place >= 0:
            before = data[place - 1 : place] if place else self._last
            # A quote within an unquoted field is text, and may stand there alone.
            self._opens = before in (bytes([byte]) for byte in self._before)
        self._last = data[-1:] or self._last

    @property
    def open(self) -> bool:
        return self._odd and self._opens
