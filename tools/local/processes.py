"""Services as processes of their own, which go on when the command that started them ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from tools.local.errors import LocalError

READY_SECONDS = 60.0
STOP_SECONDS = 20.0


def start(command: Sequence[str], log: Path) -> dict[str, int]:
    """Starts a command in a session of its own; returns what finds the process again."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return mark(process.pid)


def mark(pid: int) -> dict[str, int]:
    """A process's id and start time: ids are given again, both together are not."""
    return {"pid": pid, "started": _started(pid) or 0}


def lives(process: dict[str, int]) -> bool:
    """Whether a marked process is still there."""
    return _started(process["pid"]) == process["started"]


def stop(process: dict[str, int]) -> None:
    """Sends SIGTERM and waits until the process is gone; kills it and its group if it stays."""
    if not lives(process):
        return
    os.kill(process["pid"], signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while lives(process):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process["pid"], signal.SIGKILL)
        # It may be a child of this very process.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process["pid"], os.WNOHANG)
        time.sleep(0.02)


def wait_until_ready(port: int, process: dict[str, int], log: Path) -> None:
    """Waits until the service at a port of this machine is ready; raises ``LocalError``."""
    deadline = time.monotonic() + READY_SECONDS
    while lives(process) and time.monotonic() < deadline:
        with contextlib.suppress(OSError, HTTPException):
            if ask(port, "/readyz")[0] == 200:
                return
        time.sleep(0.02)
    end = log.read_text(encoding="utf-8", errors="replace")[-1500:] if log.exists() else ""
    raise LocalError(f"the service at port {port} did not get ready:\n{end}")


def ask(port: int, path: str, timeout: float = 10.0) -> tuple[int, Any]:
    """Status and JSON of an answer; raises ``OSError`` and ``HTTPException``."""
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body) if response.status == 200 else None


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 at which nothing listens."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _started(pid: int) -> int | None:
    # The name in parentheses may hold anything; a zombie is gone for our purposes.
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] == b"Z" else int(fields[19])
    return None
