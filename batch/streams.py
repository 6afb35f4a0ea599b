"""Bytes of a file or of standard input, decompressed, in pieces that end where lines end."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator

import pyarrow as pa

from batch.errors import BatchError

MARK = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8."""
LONGEST_LINE = 64 << 20
"""Bytes of a line of plain text or JSON at most: it is in memory several times."""
_PIECE = 1 << 20


class ByteStream:
    """The plain bytes of an Arrow file, with what was read ahead and how far reading has come.

    Raises ``EOFError`` for a compressed file without a byte.
    """

    def __init__(self, raw: pa.NativeFile, compression: str | None, block_bytes: int):
        self._raw = raw
        self._plain = raw
        self._counted: _Counted | None = None
        if compression is not None:
            # A pipe does not tell its size.
            self._counted = _Counted(raw)
            source = pa.PythonFile(self._counted, mode="r")
            self._plain = pa.CompressedInputStream(source, compression)
        self._ahead = b""
        self._told = 0
        self.block_bytes = block_bytes
        self.line = 1
        """The line in which the block begins that ``whole_lines`` has given."""

    @property
    def consumed(self) -> int:
        """Bytes of the file that have been read."""
        # A pipe has no position.
        with contextlib.suppress(OSError, ValueError):
            self._told = self._raw.tell()
        return self._told

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end only."""
        if self._ahead:
            head, self._ahead = self._ahead[:size], self._ahead[size:]
            return head
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = bytes(self._plain.read(size))
        if not data and self._counted is not None and not self._counted.bytes:
            raise EOFError("Truncated compressed stream: it is empty")
        return data

    def peek(self) -> bytes:
        """The beginning of the file, a block at most; stays to be read."""
        while len(self._ahead) < self.block_bytes:
            more = self._read(self.block_bytes - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead

    def whole_lines(self) -> Iterator[bytes]:
        """Blocks that end with a line's end, but for the last of a file that ends without one.

        A byte order mark at the beginning is left out.  Raises ``BatchError`` for a line that is
        longer than ``LONGEST_LINE``.
        """
        rest: list[bytes] = []
        following, length = 1, 0
        if self.peek().startswith(MARK):
            self._ahead = self._ahead[len(MARK) :]
        while piece := self.read(self.block_bytes):
            first, cut = piece.find(b"\n"), piece.rfind(b"\n") + 1
            length += first if cut else len(piece)
            if length > LONGEST_LINE:
                raise BatchError(f"line {following} is longer than {LONGEST_LINE >> 20} MiB")
            if not cut:
                rest.append(piece)
                continue
            self.line, following = following, following + piece.count(b"\n")
            yield b"".join([*rest, piece[:cut]])
            rest = [piece[cut:]] if cut < len(piece) else []
            length = len(piece) - cut
        if rest:
            self.line = following
            yield b"".join(rest)


class _Counted(io.RawIOBase):
    """An Arrow file as a Python file that counts the ``bytes`` read of it."""

    def __init__(self, raw: pa.NativeFile):
        self._raw = raw
        self.bytes = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        data: bytes = self._raw.read(size)
        self.bytes += len(data)
        return data


class Readable(io.RawIOBase):
    """A ``ByteStream`` as a Python file, for readers that want one."""

    def __init__(self, stream: ByteStream):
        self._stream = stream

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        return self._stream.read(self._stream.block_bytes if size < 0 else size)


def standard_input() -> pa.NativeFile:
    """Standard input as an Arrow file; raises ``BatchError`` when it is closed."""
    if sys.stdin is None:
        raise BatchError("it is closed")
    return pa.PythonFile(sys.stdin.buffer, mode="r")


@contextlib.contextmanager
def seekable(raw: pa.NativeFile) -> Iterator[pa.NativeFile]:
    """The same file, or a temporary copy of what comes from a pipe."""
    if _size(raw) is not None:
        yield raw
        return
    with tempfile.TemporaryFile() as copy:
        while piece := raw.read(_PIECE):
            copy.write(piece)
        copy.flush()
        yield pa.PythonFile(copy, mode="r")


def _size(raw: pa.NativeFile) -> int | None:
    """Bytes; ``None`` of a pipe, which Arrow calls seekable like every file that can be read."""
    try:
        return int(raw.size())
    except OSError:
        return None
