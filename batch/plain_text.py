"""Plain text: a query a line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from batch.block import DEFAULT_TEXT, Block, Columns
from batch.errors import BatchError
from batch.streams import ByteStream

_LF, _CR = 10, 13


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
    text = np.frombuffer(data, dtype=np.uint8)
    feeds = text == _LF
    drop = feeds.copy()
    drop[:-1] |= (text[:-1] == _CR) & feeds[1:]
    kept = np.cumsum(~drop)
    ends = np.append(0, kept[np.flatnonzero(feeds)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(text[~drop])]
    return pa.Array.from_buffers(pa.binary(), len(ends) - 1, buffers)
