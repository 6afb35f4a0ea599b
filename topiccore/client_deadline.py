"""Connections on which a whole answer, not each read of it, has the time that is set."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any

import urllib3.connection

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Input(io.RawIOBase):
    # What comes from the socket until the deadline; ``TimeoutError`` after it.
    def __init__(self, sock: socket.socket, raw: io.RawIOBase):
        self._socket = sock
        self._raw = raw
        seconds = sock.gettimeout()
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any):
        super().__init__(sock, *arguments, **options)
        # Its socket has the time that is left of the attempt.
        self.fp = io.BufferedReader(_Input(sock, self.fp.detach()))


class HTTPConnection(urllib3.connection.HTTPConnection):
    """Gives up an answer that has not ended within the time that is left of an attempt."""

    response_class = _Response

    def connect(self) -> None:
        """Connects; what that took is not there for sending any more."""
        started = time.monotonic()
        super().connect()
        _spend(self, started)


class HTTPSConnection(urllib3.connection.HTTPSConnection):
    """The same over TLS."""

    response_class = _Response

    def connect(self) -> None:
        """Connects; what that took is not there for sending any more."""
        started = time.monotonic()
        super().connect()
        _spend(self, started)


def _spend(connection: urllib3.connection.HTTPConnection, started: float) -> None:
    if connection.timeout is not None:
        left = max(connection.timeout - (time.monotonic() - started), 0.001)
        connection.timeout = left
        connection.sock.settimeout(left)
