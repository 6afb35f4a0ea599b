"""Clients that are slow, and clients that are many."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException

from benchmarks.load import processes
from benchmarks.load.trial import RECOVERY_SECONDS, Bystanders, Trial, Verdict

SLOW = 300
MANY = 3000
PATIENCE = 30.0
"""Seconds in which a server must have given up on a client that sends no whole header."""
MEMORY = 200e6
"""Bytes by which a server may grow under clients that do not read."""

GET = b"GET /v1/topics?q=car HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b'{"query":"car"}'


def slow_headers(trial: Trial) -> list[Verdict]:
    """Clients that send a header of many bytes, one a second, as slowloris does."""
    test = "slow headers"
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        with _crowd(server.port, SLOW) as crowd:
            for one in crowd:
                _send(one, GET[:-2] + b"X-A: ")
            start = time.monotonic()
            open_ones = list(crowd)
            while open_ones and time.monotonic() - start < PATIENCE:
                time.sleep(1)
                open_ones = [one for one in open_ones if _send(one, b"a") and not _ended(one)]
            taken = time.monotonic() - start
        verdict = Verdict(
            test,
            f"every one of {SLOW} is closed within {PATIENCE:g} s",
            f"{len(open_ones)} open after {taken:.0f} s",
            not open_ones,
        )
        return [verdict, *bystanders.verdicts(test)]


def slow_bodies(trial: Trial) -> list[Verdict]:
    """Clients that send a body one byte a second, then leave."""
    test = "slow bodies"
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        head = b"POST /v1/topics HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        with _crowd(server.port, SLOW) as crowd:
            for one in crowd:
                _send(one, head + b"Content-Length: 1000\r\n\r\n")
            end = time.monotonic() + trial.seconds
            while time.monotonic() < end:
                time.sleep(1)
                for one in crowd:
                    _send(one, b" ")
            held = sum(not _ended(one) for one in crowd)
        posted = head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
        recovered = _within(
            RECOVERY_SECONDS,
            lambda: all(b" 200 " in server.raw(posted)[:16] for _ in range(100)),
        )
        verdict = Verdict(
            test,
            f"{RECOVERY_SECONDS:g} s after {SLOW} of them left, 100 POSTs in a row are answered",
            f"{held} were held for {trial.seconds:g} s; then {'all' if recovered else 'not all'}",
            recovered,
        )
        return [verdict, *bystanders.verdicts(test)]


def slow_readers(trial: Trial) -> list[Verdict]:
    """Clients that ask as much as they can and read nothing."""
    test = "slow readers"
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        before = processes.memory(server.processes()).private
        with _crowd(server.port, 100, receive_buffer=4096) as crowd:
            end = time.monotonic() + trial.seconds
            most = 0
            while time.monotonic() < end:
                for one in crowd:
                    _send(one, GET * 100)
                time.sleep(0.2)
                most = max(most, processes.memory(server.processes()).private - before)
        verdict = Verdict(
            test,
            f"the server grows by at most {MEMORY / 1e6:g} MB",
            f"by {most / 1e6:.0f} MB under 100 of them",
            most <= MEMORY,
        )
        return [verdict, *bystanders.verdicts(test)]


def idle_flood(trial: Trial) -> list[Verdict]:
    """Connections over which nothing is ever sent."""
    test = "flood of idle connections"
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        with _crowd(server.port, MANY) as crowd:
            during = _within(PATIENCE, lambda: server.get("/v1/topics?q=car")[0] == 200)
            left = sum(not _ended(one) for one in crowd)
        after = _within(RECOVERY_SECONDS, lambda: server.get("/v1/topics?q=car")[0] == 200)
        return [
            Verdict(
                test,
                f"a new client is answered within {PATIENCE:g} s beside {MANY} of them",
                f"{'answered' if during else 'not answered'}, {left} of them still open",
                during,
            ),
            Verdict(
                test,
                f"and within {RECOVERY_SECONDS:g} s when they have left",
                "answered" if after else "not answered",
                after,
            ),
            *bystanders.verdicts(test),
        ]


def short_flood(trial: Trial) -> list[Verdict]:
    """Connections of one request each, as fast as one client can make them."""
    test = "flood of short connections"
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        request = GET[:-2] + b"Connection: close\r\n\r\n"
        right = sum(b" 200 " in server.raw(request)[:16] for _ in range(MANY))
        verdict = Verdict(test, f"all {MANY} are answered", f"{right} are", right == MANY)
        return [verdict, *bystanders.verdicts(test)]


def reset_flood(trial: Trial) -> list[Verdict]:
    """Connections that are reset, before, within and after a request."""
    test = "flood of resets"
    linger = struct.pack("ii", 1, 0)
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        for number in range(MANY):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as one:
                one.sendall((b"", GET[:20], GET, GET * 3)[number % 4])
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return bystanders.verdicts(test)


@contextmanager
def _crowd(port: int, count: int, receive_buffer: int = 0) -> Iterator[list[socket.socket]]:
    # Sockets that connect without waiting for each other.
    crowd = []
    try:
        for number in range(count):
            one = socket.socket()
            crowd.append(one)
            if receive_buffer:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            if number % 100 == 99:
                time.sleep(0.01)
        time.sleep(0.5)
        yield crowd
    finally:
        for one in crowd:
            one.close()


def _send(one: socket.socket, data: bytes) -> bool:
    # Whether the connection is still good; a full buffer is.
    try:
        one.send(data)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def _ended(one: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ)
        while selector.select(0):
            try:
                if not one.recv(65536):
                    return True
            except OSError:
                return True
    return False


def _within(seconds: float, check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if check():
                return True
        except (OSError, HTTPException):
            pass
        time.sleep(0.2)
    return False
