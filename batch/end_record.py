"""A record behind the last one of a CSV file, which tells whether that is whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from batch.errors import BatchError
from batch.streams import ByteStream, Readable

OPEN = "it ends within a quoted field: is it cut off?"


@dataclass(slots=True)
class EndRecord:
    """A record with a token in the column ``place`` and nothing in the others.

    Arrow does not tell whether a file ends inside quotes.  If it does, this record is a part of the
    field that is open there.
    """

    delimiter: str
    columns: int
    place: int
    token: bytes = field(default_factory=lambda: secrets.token_hex(16).encode())

    @property
    def record(self) -> bytes:
        """Its bytes, without a line's end."""
        separator = self.delimiter.encode()
        return separator * self.place + self.token + separator * (self.columns - 1 - self.place)

    def is_in(self, message: str) -> bool:
        """Whether Arrow shows it in a message, as the end of a record that was left open."""
        token = self.token.decode()
        # Arrow shows the beginning of a long record only.
        shown = message.rstrip().removesuffix(" ...")
        return token in message or any(shown.endswith(token[:size]) for size in range(6, 32))


class WithEnd(Readable):
    """A stream with one more record, on a line of its own; ``bytes`` were read before that."""

    def __init__(self, stream: ByteStream, record: bytes):
        super().__init__(stream)
        self.block_bytes = stream.block_bytes
        self.bytes = 0
        self._record = record
        self._last = b"\n"
        self._pending: bytes | None = None
        # Arrow wants a line's end in the first block.
        head = len(stream.peek())
        self._whole = head if head < stream.block_bytes else None

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        size = self.block_bytes if size < 0 else size
        data = super().read(size) if self._pending is None else b""
        self._last = data[-1:] or self._last
        self.bytes += len(data)
        if self._pending is None and (not data or self.bytes == self._whole):
            line_end = b"" if self._last in (b"\n", b"\r") else b"\n"
            self._pending = line_end + self._record + b"\n"
        if self._pending:
            room = size - len(data)
            data, self._pending = data + self._pending[:room], self._pending[room:]
        return data


def up_to_end(
    batches: Iterator[pa.RecordBatch], end: EndRecord, place: int
) -> Iterator[pa.RecordBatch]:
    """The batches without the end record, whose column ``place`` is that of its token.

    Raises ``BatchError`` if it is not the last.
    """
    last: pa.RecordBatch | None = None
    for batch in batches:
        if len(batch):
            if last is not None:
                yield last
            last = batch
    if last is None or last.column(place)[-1].as_py() != end.token:
        raise BatchError(OPEN)
    yield last.slice(0, len(last) - 1)
