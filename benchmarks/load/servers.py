"""The servers under load: the service in three ways, and others beside it.

A server is a command line with places to fill in: ``{python}``, ``{model}``, ``{port}``,
``{workers}`` and ``{extra}``, where arguments of one test go.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.load import processes
from benchmarks.load.compiled import program
from benchmarks.machine import ROOT

START_SECONDS = 120
_SERVE = (
    "{python} -m topiccore.cli serve --model {model} --port {port} --workers {workers} --server "
)
WAYS = {way: f"{_SERVE}{way} {{extra}}" for way in ("granian", "gunicorn", "meinheld")}
"""How the service is run."""
_GUNICORN = (
    "{python} -m gunicorn --bind 127.0.0.1:{port} --workers {workers} --keep-alive 75 "
    "--worker-connections 1024 --http-parser python --no-control-socket --log-level warning "
)
_CONSTANT = "benchmarks.load.constant_app:get_app()"
CONSTANT_WAYS = {
    "granian": "{python} -m granian --interface wsgi --factory --http 1 --no-ws --host 127.0.0.1 "
    "--port {port} --workers {workers} --blocking-threads 256 --backlog 2048 --backpressure 1024 "
    "--respawn-failed-workers --log-level warning benchmarks.load.constant_app:get_app",
    "gunicorn": f"{_GUNICORN}--worker-class gthread --threads 64 {_CONSTANT}",
    "meinheld": f"{_GUNICORN}--worker-class service.meinheld_worker.MeinheldWorker {_CONSTANT}",
}
"""A Falcon application that returns a constant, on the same servers with the same settings."""


class ServerError(Exception):
    """A server did not start; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to start a server, and where it answers when it is ready."""

    name: str
    command: str
    ready: str = "/readyz"
    environment: Mapping[str, str] = field(default_factory=dict)

    def words(self, **places: object) -> list[str]:
        """The command line with all places filled in."""
        filled = {"python": sys.executable, "extra": "", **places}
        return [
            word
            for part in shlex.split(self.command)
            # What fills a place may be several words, or none.
            for word in (
                shlex.split(str(filled["extra"]))
                if part == "{extra}"
                else [part.format_map(filled)]
            )
        ]


def service(way: str, command: str | None = None) -> Server:
    """The service, run in one of ``WAYS`` or by a command of one's own."""
    return Server(way, command or WAYS[way])


class Running:
    """A server that answers, in a process group of its own."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int, log: Path):
        self.server = server
        self.process = process
        self.port = port
        self.log = log

    @property
    def alive(self) -> bool:
        """Whether its main process lives."""
        return self.process.poll() is None

    def processes(self) -> list[int]:
        """Its main process, then all others."""
        return processes.family(self.process.pid)

    def workers(self) -> list[int]:
        """The processes that hold a socket which listens at the port, without the main one."""
        return [one for one in self.processes()[1:] if processes.listens(one, self.port)]

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        return processes.cpu_seconds(self.processes())

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, bytes]:
        """Status and body, over a connection of its own; raises ``OSError``, ``HTTPException``."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as one:
            one.request("GET", path, headers={"Connection": "close"})
            response = one.getresponse()
            return response.status, response.read()

    def raw(self, request: bytes) -> bytes:
        """All bytes of the answer to one request that closes its connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def wait_until_ready(self, seconds: float) -> bool:
        """Whether it answers its ready path with 200 before the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.alive:
            with contextlib.suppress(OSError, HTTPException):
                if self.get(self.server.ready, 5)[0] == 200:
                    return True
            time.sleep(0.05)
        return False


@contextlib.contextmanager
def running(
    server: Server,
    model: Path,
    folder: Path,
    workers: int,
    extra: str = "",
    prefix: tuple[str, ...] = (),
) -> Iterator[Running]:
    """Starts a server and waits until all of it is ready; no process is left afterwards.

    ``prefix`` are words before its command line.  Raises ``ServerError``.
    """
    port = free_port()
    log = folder / f"{server.name}-{port}.log"
    words = server.words(model=model, port=port, workers=workers, extra=extra)
    environment = {**os.environ, "TOPICCORE_MODEL": str(model), **server.environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        found = Running(server, process, port, log)
        if not found.wait_until_ready(START_SECONDS):
            end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise ServerError(f"{server.name} did not get ready\n{' '.join(words)}\n{end}")
        _settle(found)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


@contextlib.contextmanager
def null_server(response: bytes, folder: Path) -> Iterator[int]:
    """The C server that gives ``response`` for everything; yields its port."""
    path = folder / "response.http"
    path.write_bytes(response)
    port = free_port()
    process = subprocess.Popen([str(program("null_server")), str(port), str(path)])
    try:
        deadline = time.monotonic() + 10
        while not _accepts(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise ServerError("the null server did not start")
            time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _settle(server: Running) -> None:
    # One worker that answers does not tell whether the others do: start is over when the server
    # has used next to no CPU time for a while.
    deadline = time.monotonic() + START_SECONDS
    used = server.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(0.5)
        before, used = used, server.cpu_seconds()
        if used - before < 0.03:
            return
