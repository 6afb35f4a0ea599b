"""Ends requests whose bodies come too slowly, where the server sets no time limit itself.

Nothing can interrupt a thread that waits in the server for a body.  But the connection is a socket
of this process: it is found (on Linux) and shut down for reading, and the wait is over.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECK_SECONDS = 1.0
_DESCRIPTORS = Path("/proc/self/fd")
_INFO_BYTES = 104
_ESTABLISHED = 1
_LAST_SENT = 44
"""Where the kernel's ``struct tcp_info`` has the milliseconds since data was sent last."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Reading:
    began: float
    host: str
    port: str
    """Of the peer; empty where the server does not tell (Granian)."""
    local_port: str
    late: bool = False


class BodyClock:
    """Knows which threads read a body and since when; threads may share it."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._reading: dict[int, _Reading] = {}

    def begin(self, environ: dict[str, Any]) -> None:
        """Tells that this thread begins to read the body of a request."""
        self._reading[threading.get_ident()] = _Reading(
            time.monotonic(),
            environ.get("REMOTE_ADDR", ""),
            environ.get("REMOTE_PORT", ""),
            environ.get("SERVER_PORT", ""),
        )

    def end(self) -> bool:
        """Tells that this thread has read it; returns whether it was too late."""
        return self._reading.pop(threading.get_ident()).late

    def start(self) -> None:
        """Starts the thread that looks at the clock; it ends with the process."""
        if _DESCRIPTORS.is_dir():
            threading.Thread(target=self._run, name="body clock", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(CHECK_SECONDS)
            try:
                self.check()
            except Exception:
                logger.exception("looking for slow bodies failed")

    def check(self) -> int:
        """Ends the reading of all bodies that are overdue; returns the connections shut down."""
        latest = time.monotonic() - self._seconds
        late = [one for one in list(self._reading.values()) if one.began < latest]
        for one in late:
            one.late = True
        return sum(self._shut_down(name, late) for name in os.listdir(_DESCRIPTORS)) if late else 0

    def _shut_down(self, name: str, late: list[_Reading]) -> bool:
        try:
            one = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            return False
        with one:
            try:
                if one.family not in (socket.AF_INET, socket.AF_INET6):
                    return False
                peer, local = one.getpeername(), one.getsockname()
                if not any(self._belongs(one, peer, local, reading) for reading in late):
                    return False
                # Writing stays open: the client is told why.
                one.shutdown(socket.SHUT_RD)
            except OSError:
                return False
        return True

    def _belongs(self, one: socket.socket, peer: Any, local: Any, reading: _Reading) -> bool:
        if str(local[1]) != reading.local_port:
            return False
        if reading.port:
            return (str(peer[0]), str(peer[1])) == (reading.host, reading.port)
        # Nothing was sent for as long as no answer is due.  A connection that merely waits for the
        # next request is closed far sooner, by the time limit on heads.
        info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        (silent,) = struct.unpack_from("=I", info, _LAST_SENT)
        return info[0] == _ESTABLISHED and silent >= 1000 * self._seconds
