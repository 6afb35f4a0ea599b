"""Runs the application in Granian: one process per CPU behind one port."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.common import AbstractServer

from service import logs
from service.main_process import main_process
from service.options import ServerOptions, free_address
from service.settings import Settings

BACKLOG = 2048
"""Connections that the kernel keeps waiting for each worker."""
THREADS = 256
"""The least threads of a worker; they start on demand, and many only wait for bodies."""
STOP_SECONDS = 10
"""What a worker gets to finish its requests before it is killed."""


def serve(model: Path, options: ServerOptions, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; SIGHUP makes the workers look for a new artifact.

    Raises ``AddressError`` and ``MetricsError`` before any worker starts, and ``SystemExit`` with
    code 1 when workers fail again and again.
    """
    address = free_address(options.host, options.port)
    # Granian advises against more threads than CPUs; THREADS is meant, see build.
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.msg)
    # Until a worker sets handlers of its own it has Granian's of the main process, which would lose
    # a SIGTERM: the worker would be waited for in vain, then killed.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    with main_process(model, options, settings) as control:
        server = build(address, options, settings)
        # Granian would start new workers, and cut connections that clients keep open.
        setattr(server, "signal_handler_reload", lambda *_: control.call())  # noqa: B010
        server.respawned_wrks = Respawns()
        server.serve()


class Respawns(dict[int, float]):
    """When each worker was started again, as Granian keeps it; a few in a row are forgotten.

    Granian ends the server when a worker is lost within 5.5 s of its start, be it that someone
    kills workers.  This way it ends when ``MOST`` were lost within ``SECONDS``.
    """

    MOST = 6
    SECONDS = 30.0

    def __init__(self) -> None:
        super().__init__()
        self._times: list[float] = []

    def __setitem__(self, worker: int, when: float) -> None:
        self._times = [one for one in self._times if when - one < self.SECONDS] + [when]
        super().__setitem__(worker, when)

    def get(self, worker: int, default: Any = None) -> Any:
        """When the worker was started again, if that counts."""
        return super().get(worker, default) if len(self._times) >= self.MOST else default


def build(address: str, options: ServerOptions, settings: Settings) -> AbstractServer[Any]:
    """The configured server; ``address`` is a numeric IP address."""
    return Granian(
        "service.app:get_app",
        factory=True,
        address=address,
        port=options.port,
        interface=Interfaces.WSGI,
        workers=options.workers,
        # More than may be under way, so that there is one left to tell the others so.
        blocking_threads=max(THREADS, 2 * settings.max_in_flight),
        backlog=BACKLOG,
        backpressure=options.max_connections,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=65_536),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=logs.configuration(settings.log_format),
    )
