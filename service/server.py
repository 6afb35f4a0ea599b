"""Runs the application in Granian: one process per CPU behind one port."""

from __future__ import annotations

import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.common import AbstractServer

from service.settings import Settings, to_environment
from service.shared import FOLDER_VARIABLE, Control, make_folder, remove_folder
from topiccore import TopiccoreError

BACKLOG = 2048
"""Connections that the kernel keeps waiting for each worker."""
CONNECTIONS = 1024
"""Open connections that each worker takes on."""
THREADS = 256
"""Requests that each worker has under way; threads start on demand."""
STOP_SECONDS = 10
"""What a worker gets to finish its requests before it is killed."""


class AddressError(TopiccoreError):
    """The service cannot listen at an address: unknown, in use or not allowed."""


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(model: Path, host: str, port: int, workers: int, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; SIGHUP makes the workers look for a new artifact.

    Raises ``AddressError`` before any worker starts, and ``SystemExit`` with code 1 when workers
    fail again and again.
    """
    address = free_address(host, port)
    # Granian advises against more threads than CPUs; THREADS is meant, see build.
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.msg)
    # Until a worker sets handlers of its own it has Granian's of the main process, which would lose
    # a SIGTERM: the worker would be waited for in vain, then killed.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    folder = make_folder()
    try:
        control = Control(folder)
        os.environ.update(to_environment(model, settings) | {FOLDER_VARIABLE: str(folder)})
        server = build(address, port, workers)
        # Granian would start new workers, and cut connections that clients keep open.
        setattr(server, "signal_handler_reload", lambda *_: control.call())  # noqa: B010
        server.respawned_wrks = Respawns()
        server.serve()
    finally:
        remove_folder(folder)


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


def build(address: str, port: int, workers: int) -> AbstractServer[Any]:
    """The configured server; ``address`` is a numeric IP address."""
    return Granian(
        "service.app:get_app",
        factory=True,
        address=address,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        # A body that comes slowly holds its thread, and Granian sets it no time limit.
        blocking_threads=THREADS,
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=65_536),
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
    )


def free_address(host: str, port: int) -> str:
    """The numeric address of ``host``, at which nothing listens; raises ``AddressError``.

    Granian shares a port (SO_REUSEPORT) with any other server that does so, and would get half of
    its requests without a word.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise AddressError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    except UnicodeError as error:
        raise AddressError(f"cannot listen at {host}:{port}: not a host name") from error
    return str(address[0])
