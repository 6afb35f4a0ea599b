"""The load generator counts what a tiny server really did."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.load import servers
from benchmarks.load.compiled import program
from benchmarks.load.generator import Generator, GeneratorError, Load, send

QUERIES = ["honda", "red+dress", "cr%C3%A8me", "soup"]
ID = "a" * 64
HEADER = "x-model"


def answer(query: bytes, model: str = ID) -> bytes:
    # Numbers and blanks are written unlike in the expected file: they mean the same.
    return b'{"q": "%s", "score": 0.5000, "model": "%s"}' % (query, model.encode())


def response(body: bytes, status: bytes = b"200 OK", model: str = ID, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nX-Model: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status,
        model.encode(),
        more,
        len(body),
        body,
    )


class TinyServer:
    """Answers each request with what ``reply(number, target, body)`` gives; ``None`` hangs up."""

    def __init__(self, reply: Callable[[int, bytes, bytes], bytes | None]):
        self._reply = reply
        self._lock = threading.Lock()
        self.requests: list[tuple[bytes, bytes]] = []
        self.accepted = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while (header := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = stream.read(length)
                target = line.split()[1]
                with self._lock:
                    number = len(self.requests)
                    self.requests.append((target, body))
                if (reply := self._reply(number, target, body)) is None:
                    return
                connection.sendall(reply)
                if b"Connection: close" in reply:
                    return


@contextlib.contextmanager
def serving(reply: Callable[[int, bytes, bytes], bytes | None]) -> Iterator[TinyServer]:
    server = TinyServer(reply)
    try:
        yield server
    finally:
        # Shutting down first wakes the thread that accepts.
        with contextlib.suppress(OSError):
            server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()


@pytest.fixture
def urls(tmp_path: Path) -> Path:
    path = tmp_path / "urls.txt"
    path.write_text("".join(f"{query}\n" for query in QUERIES), encoding="ascii")
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.txt"
    lines = [json.dumps({"q": q, "score": 0.5, "model": ID}) for q in QUERIES]
    path.write_text("\n".join([ID, *lines]) + "\n", encoding="ascii")
    return path


def load(urls: Path, **options: object) -> Load:
    chosen: dict[str, object] = {"rate": 200, "seconds": 0.5, "warm_up": 0, "connections": 4}
    return Load(urls, **(chosen | {"target": "/ask?q="} | options))  # type: ignore[arg-type]


def right_reply(_: int, target: bytes, __: bytes) -> bytes:
    return response(answer(target.removeprefix(b"/ask?q=")))


def test_counts_right_answers(urls: Path, answers: Path) -> None:
    with serving(right_reply) as server:
        found = send(load(urls, warm_up=0.1, expect=[answers], id_header=HEADER), server.port)
    assert (found.issued, found.answered, found.right, found.failed) == (100, 100, 100, 0)
    assert found.statuses == {"200": 100}
    # With the warm-up, each request was sent once.
    assert found.models == {ID: 120}
    assert len(server.requests) == 120
    assert {target for target, _ in server.requests} == {
        f"/ask?q={query}".encode() for query in QUERIES
    }
    assert server.accepted == found.connects == 4
    assert found.latency_us["count"] == 100
    assert found.latency_us["p50"] <= found.latency_us["p99.9"] <= found.latency_us["max"]


def test_tells_what_was_answered_when(tmp_path: Path, urls: Path, answers: Path) -> None:
    path = tmp_path / "counts"
    before = time.monotonic()

    def reply(number: int, target: bytes, _: bytes) -> bytes | None:
        # The model that no file of answers is of is an error from its first answer on.
        return right_reply(number, target, b"") if number < 50 else response(answer(b"x", "b" * 64))

    with serving(reply) as server:
        wanted = load(urls, expect=[answers], rate=200, seconds=0.6, counts=path)
        found = send(wanted, server.port)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) >= 3
    times = [line["time"] for line in lines]
    assert before < times[0]
    assert times == sorted(times)
    assert times[-1] < time.monotonic()
    assert lines[-1]["models"] == found.models
    assert lines[-1]["answered"] == found.answered
    assert lines[-1]["failed"] == found.failed > 0
    assert lines[0]["answered"] < lines[-1]["answered"]


def test_posts_bodies(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies.txt"
    lines = [json.dumps({"query": query}) for query in QUERIES]
    bodies.write_text("\n".join(lines) + "\n", encoding="ascii")
    with serving(lambda *_: response(answer(b"x"))) as server:
        found = send(load(bodies, target="/ask", post=True, check=True), server.port)
    assert (found.right, found.failed) == (100, 0)
    assert {target for target, _ in server.requests} == {b"/ask"}
    assert {body.decode() for _, body in server.requests} == set(lines)


def test_closed_loop_answers_as_often_as_asked(urls: Path) -> None:
    with serving(right_reply) as server:
        found = send(load(urls, rate=None, seconds=0.3, check=True), server.port)
    assert found.failed == 0
    assert found.answered == found.issued == len(server.requests) > 4


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("status", lambda body: response(body, b"503 Service Unavailable")),
        ("status", lambda body: response(body, b"404 Not Found")),
        ("wrong_answer", lambda body: response(body.replace(b"0.5000", b"0.5002"))),
        ("wrong_answer", lambda body: response(body.replace(b'"q": "', b'"q": "no'))),
        ("model_missing", lambda body: response(body.replace(b'"model"', b'"other"'))),
        ("model_missing", lambda body: response(body).replace(b"X-Model", b"X-Other")),
        ("model_mismatch", lambda body: response(body, model="b" * 64)),
        (
            "unknown_model",
            lambda body: response(body.replace(ID.encode(), b"c" * 64), model="c" * 64),
        ),
        ("malformed", lambda body: b"SMTP ready\r\n\r\n"),
        ("malformed", lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n" + body),
        ("timeout", lambda body: response(body)[:-3]),
        ("closed", lambda body: None),
        ("unsolicited", lambda body: 2 * response(body)),
    ],
)
def test_notices(
    urls: Path, answers: Path, kind: str, reply: Callable[[bytes], bytes | None]
) -> None:
    # The tenth request is answered badly, all others rightly.
    def answer_all(number: int, target: bytes, _: bytes) -> bytes | None:
        body = answer(target.removeprefix(b"/ask?q="))
        return reply(body) if number == 9 else response(body)

    with serving(answer_all) as server:
        chosen = load(urls, expect=[answers], id_header=HEADER, timeout=3)
        found = send(chosen, server.port)
    assert found.issued == 100
    assert {name: count for name, count in found.errors.items() if count} == {kind: 1}
    assert found.right == (100 if kind == "unsolicited" else 99)
    assert found.examples[0]["kind"] == kind


def test_survives_closed_connections(urls: Path, answers: Path) -> None:
    # Every fifth answer ends its connection, with and without a word of warning.
    def reply(number: int, target: bytes, body: bytes) -> bytes | None:
        if number % 10 == 4:
            return None
        right = right_reply(number, target, body)
        if number % 10 == 9:
            right = right.replace(b"X-Model", b"Connection: close\r\nX-Model")
        return right

    with serving(reply) as server:
        found = send(load(urls, expect=[answers], id_header=HEADER), server.port)
    assert (found.issued, found.right, found.errors["closed"]) == (100, 90, 10)
    assert found.failed == 10
    # The last ones need not have connected again.
    assert 20 <= found.connects == server.accepted <= 24


def test_reads_chunks_and_interim_answers(urls: Path, answers: Path) -> None:
    def reply(_: int, target: bytes, __: bytes) -> bytes:
        body = answer(target.removeprefix(b"/ask?q="))
        chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(p), p) for p in (body[:7], body[7:]))
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
        return head + b"X-Model: %s\r\n\r\n" % ID.encode() + chunks + b"0\r\nX-T: 1\r\n\r\n"

    with serving(reply) as server:
        found = send(load(urls, expect=[answers], id_header=HEADER), server.port)
    assert (found.right, found.failed) == (100, 0)


def test_waiting_counts_from_when_a_request_was_due(urls: Path) -> None:
    # One connection, and its first request is never answered: those behind it wait for its timeout,
    # and their latency has the wait.
    gate = threading.Event()

    def reply(number: int, target: bytes, body: bytes) -> bytes | None:
        if number == 0:
            gate.wait(30)
            return None
        return right_reply(number, target, body)

    with serving(reply) as server:
        found = send(load(urls, connections=1, timeout=0.5, seconds=0.4), server.port)
        gate.set()
    assert found.issued == 80
    assert found.errors["timeout"] >= 1
    assert found.answered + found.errors["timeout"] == 80
    # All were due within the 0.4 s in which the connection was held for 0.5 s.
    assert found.latency_us["p50"] > 100_000
    assert found.latency_us["count"] == 80


def test_stops_when_told(urls: Path) -> None:
    with serving(right_reply) as server, Generator(load(urls, seconds=600), server.port) as one:
        while len(server.requests) < 20:
            assert one.running
        found = one.stop()
    assert found.right >= 10
    assert found.answered + found.errors["unfinished"] == found.issued < 600 * 200


def test_null_server_answers_as_given(tmp_path: Path, urls: Path) -> None:
    with servers.null_server(response(answer(b"x")), tmp_path) as port:
        found = send(load(urls, check=True, id_header=HEADER), port)
        assert (found.right, found.failed) == (100, 0)
        bodies = send(load(urls, target="/ask", post=True, check=True), port)
        assert (bodies.right, bodies.failed) == (100, 0)


def test_refuses_what_it_cannot_send(tmp_path: Path, urls: Path, answers: Path) -> None:
    port = servers.free_port()
    with pytest.raises(GeneratorError, match="cannot connect"):
        send(load(urls, timeout=0.2), port)
    with pytest.raises(GeneratorError, match="No such file"):
        send(load(tmp_path / "missing"), port)
    answers.write_text(ID + "\n{}\n", encoding="ascii")
    with pytest.raises(GeneratorError, match="as many expected answers"):
        send(load(urls, expect=[answers]), port)
    with pytest.raises(GeneratorError, match="--rate"):
        send(load(urls, rate=-1), port)


def test_is_compiled_once(tmp_path: Path) -> None:
    first = program("null_server", tmp_path)
    changed = first.stat().st_mtime_ns
    assert program("null_server", tmp_path) == first
    assert first.stat().st_mtime_ns == changed
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert subprocess.run([str(first)], capture_output=True).returncode == 2
