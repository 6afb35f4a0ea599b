"""Reads what an answer leaves unread of a request's body, or else the connection has to close.

The server may close a connection on which a body is still coming, and tells no client so; the
client's next request on it is lost then.
"""

from __future__ import annotations

from typing import Any

from service.body_clock import BodyClock
from service.environ import BODY_READ
from service.settings import Settings
from service.slots import Slots

THREADS = 16
"""Bodies read at a time to be thrown away; who has no token can hold no more threads by them."""
_PIECE = 65536


def has_body(environ: dict[str, Any]) -> bool:
    """Whether a request says that it has a body."""
    return bool(environ.get("CONTENT_LENGTH")) or "HTTP_TRANSFER_ENCODING" in environ


class Unread:
    """The bodies that nobody wants; threads may share it."""

    def __init__(self, settings: Settings, clock: BodyClock | None):
        self._most = settings.max_batch_bytes
        self._clock = clock
        self._slots = Slots(THREADS)

    def finish(self, environ: dict[str, Any]) -> bool:
        """Whether the body of a request is read to its end, the rest of it now, if it is small."""
        if BODY_READ in environ:
            return True
        length = self._length(environ)
        # A client that waits for 100 Continue had better not send the body at all.
        if length is None or "HTTP_EXPECT" in environ or not self._slots.take():
            return False
        if self._clock is not None:
            self._clock.begin(environ)
        try:
            whole = self._read(environ, length)
        except Exception:
            # Each server has its own for a body that breaks off or is not framed.
            whole = False
        finally:
            self._slots.give()
            late = self._clock is not None and self._clock.end()
        return whole and not late

    def _length(self, environ: dict[str, Any]) -> int | None:
        """Bytes to read at most; ``None`` where they would be too many or are not told."""
        if "HTTP_TRANSFER_ENCODING" in environ:
            return self._most if environ.get("wsgi.input_terminated") else None
        text = environ["CONTENT_LENGTH"]
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            return None
        return length if (length := int(text)) <= self._most else None

    def _read(self, environ: dict[str, Any], most: int) -> bool:
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        stream = environ["wsgi.input"]
        left = most
        while left > 0:
            part = stream.read(min(left, _PIECE))
            if not part:
                return chunked
            left -= len(part)
        return not chunked or not stream.read(1)
