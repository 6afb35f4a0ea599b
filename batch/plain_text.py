"""Plain text: a query a line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from batch.block import DEFAULT_TEXT, Block, Columns
from batch.errors import BatchError
from batch.streams import ByteStream

_LF = 10


def read_lines(stream: ByteStream, columns: Columns) -> Iterator[Block]:
    """A row for each line, without its end (LF or CR LF), in one column of bytes.

    Raises ``BatchError`` for lines that end with CR alone.
    """
    head = stream.peek()
    if b"\n" not in head and b"\r" in head[:-1]:
        raise BatchError("its lines end with CR alone; LF or CR LF is needed (tr '\\r' '\\n')")
    name = columns.text or DEFAULT_TEXT
    kept = columns.kept_of([name])
    empty = True
    for data in stream.whole_lines():
        empty = False
        batch = pa.record_batch([lines(data)], names=[name])
        yield Block.of(batch, name, kept, stream.consumed, decode=True)
    if empty:
        yield Block.of(
            pa.record_batch([lines(b"")], names=[name]), name, kept, stream.consumed, decode=True
        )


def lines(data: bytes) -> pa.Array:
    """binary [lines]: the lines of some text."""
    if data and not data.endswith(b"\n"):
        data += b"\n"
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    feeds = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _LF)
    # As many bytes less as there were lines before.
    ends = np.append(0, feeds - np.arange(len(feeds))).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data.replace(b"\n", b""))]
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, buffers)
