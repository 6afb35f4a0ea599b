"""HAProxy in front of two services: shares of the requests, set while it runs."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tools.local.errors import LocalError

BACKEND = "topiccore"
SERVERS = ("stable", "canary")
PARTS = 100
"""Weights are per cent of the requests."""
DEADLINE = 30.0
_SOCKET = "haproxy.sock"
_LONGEST_SOCKET = 100

# The mesh retries as well: a request that no service answered is sent again, elsewhere if need be.
CONFIG = """\
global
    nbthread 1
    maxconn 4096
    stats socket unix@{socket} mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 10s
    timeout queue 5s
    http-reuse safe
    retries 2
    retry-on conn-failure empty-response
    option redispatch 1
frontend requests
    bind 127.0.0.1:{port}
    default_backend {backend}
backend {backend}
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 500ms fall 2 rise 1
    server stable 127.0.0.1:{stable} weight {parts}
    server canary 127.0.0.1:{canary} weight 0 disabled
"""


def write_config(folder: Path, port: int, stable: int, canary: int) -> Path:
    """The configuration file; its socket is in the same folder.  Raises ``LocalError``."""
    place = folder / _SOCKET
    if len(str(place)) > _LONGEST_SOCKET:
        raise LocalError(f"{folder}: the path is too long for a socket; choose a shorter one")
    path = folder / "haproxy.cfg"
    text = CONFIG.format(
        socket=place, port=port, stable=stable, canary=canary, backend=BACKEND, parts=PARTS
    )
    path.write_text(text, encoding="utf-8")
    return path


def program() -> str:
    """HAProxy's program; raises ``LocalError``."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if found is None:
        raise LocalError("haproxy is not installed (Debian: apt-get install haproxy)")
    return found


def start(config: Path, log: Path) -> int:
    """Starts HAProxy and waits until it takes commands; returns its process id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(), "-db", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    proxy = Proxy(config.parent)
    deadline = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            proxy.ask("show info")
        except LocalError:
            time.sleep(0.02)
        else:
            return process.pid
    process.kill()
    raise LocalError(f"haproxy did not start:\n{log.read_text(errors='replace')}")


class Proxy:
    """The commands of a running HAProxy that reach it by its socket."""

    def __init__(self, folder: Path):
        self._path = folder / _SOCKET

    def ask(self, command: str) -> str:
        """What HAProxy answers to a command; raises ``LocalError`` when it does not."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(DEADLINE)
                connection.connect(str(self._path))
                connection.sendall(command.encode() + b"\n")
                parts = []
                while part := connection.recv(65536):
                    parts.append(part)
        except OSError as error:
            raise LocalError(f"{self._path}: haproxy does not answer: {error}") from error
        return b"".join(parts).decode().strip()

    def statistics(self) -> dict[str, dict[str, str]]:
        """The columns of ``show stat``, by the servers' names."""
        header, *lines = self.ask("show stat").lstrip("# ").splitlines()
        names = header.split(",")
        rows = (dict(zip(names, line.split(","), strict=False)) for line in lines if line)
        return {row["svname"]: row for row in rows if row["pxname"] == BACKEND}

    def weights(self) -> dict[str, int]:
        """Per cent of the requests that each service gets."""
        found = self.statistics()
        return {name: _weight(found[name]) for name in SERVERS}

    def share(self, percent: int) -> None:
        """Gives the canary so many per cent of the requests and stable the others."""
        # The one that gains first: never is nobody there to answer.
        order = [("canary", percent), ("stable", PARTS - percent)]
        for name, weight in sorted(order, key=lambda one: -one[1]):
            self._set(f"set server {BACKEND}/{name} weight {weight}")

    def admit(self, name: str) -> None:
        """Lets a service get requests as its weight says, and waits until it is found ready."""
        self._set(f"set server {BACKEND}/{name} state ready")
        self._wait(name, lambda row: row["status"].startswith("UP"), "is not found ready")

    def bar(self, name: str) -> None:
        """Lets a service get no more requests, and waits until it has none under way."""
        self._set(f"set server {BACKEND}/{name} state maint")
        self._wait(name, lambda row: row["scur"] == "0", "still has requests under way")

    def _set(self, command: str) -> None:
        if answer := self.ask(command):
            raise LocalError(f"haproxy: {command}: {answer}")

    def _wait(self, name: str, good: Callable[[dict[str, str]], bool], problem: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not good(self.statistics()[name]):
            if time.monotonic() > deadline:
                raise LocalError(f"{name} {problem} after {DEADLINE:g} s")
            time.sleep(0.05)


def _weight(row: dict[str, str]) -> int:
    # One that is barred keeps its weight and gets nothing.
    return int(row["weight"] or 0) if row["status"].startswith("UP") else 0
