"""Requests that are malformed, ambiguous or made to smuggle another, and what may come of each."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.load.trial import Bystanders, Trial, Verdict

QUIET_SECONDS = 1.5
"""How long a connection must be silent after an answer before no other is expected."""
HANG_SECONDS = 40.0
"""A connection that has neither an answer nor an end by then hangs: the service gives a body 30."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back over one connection."""

    statuses: tuple[int, ...]
    ended: bool
    """The server closed or reset the connection."""
    hung: bool

    def __str__(self) -> str:
        told = " ".join(map(str, self.statuses[:3])) or "no answer"
        if len(self.statuses) > 3:
            told = f"{len(self.statuses)} answers, the last {self.statuses[-1]}"
        return f"{told}, {'hangs' if self.hung else 'closed' if self.ended else 'open'}"


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a server may do with an input."""

    told: str
    statuses: frozenset[int]
    """Of the one answer, if there is one."""
    answers: int = 1
    """At most so many answers come; exactly so many where ``silent`` is not allowed."""
    silent: bool = True
    """Closing without a word will do."""
    closes: bool = False
    """The server must close in any case."""

    def met(self, outcome: Outcome) -> bool:
        if outcome.hung or not set(outcome.statuses) <= self.statuses:
            return False
        if self.closes and not outcome.ended:
            return False
        if not outcome.statuses:
            return self.silent and outcome.ended
        if self.silent:
            return len(outcome.statuses) <= self.answers
        return len(outcome.statuses) == self.answers


_REFUSALS = frozenset({*range(400, 500), 501, 505})
REFUSED = Criterion("refused: 4xx, 501, 505 or closed", _REFUSALS)
ONE_ANSWER = Criterion("200 or refused, nothing smuggled", _REFUSALS | {200})
TOO_LARGE = Criterion("400, 413, 414, 431 or closed", frozenset({400, 413, 414, 431}))


# RFC 9112, 8: what came may be answered or refused, but nothing more may follow it.
INCOMPLETE = Criterion("200 or refused, then closed", _REFUSALS | {200}, closes=True)


def answered(count: int = 1) -> Criterion:
    """The input is right, if unusual."""
    return Criterion(f"{count} x 200", frozenset({200}), count, silent=False)


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes to send; ``ends``: the client then ends its side of the connection."""

    name: str
    data: bytes
    criterion: Criterion = REFUSED
    ends: bool = False


def inputs() -> list[Input]:
    """All of them; "smuggled" stands where a second request must not be seen."""
    return [*_framing(), *_chunks(), *_lines(), *_request_lines(), *_sizes(), *_bodies()]


GET = b"GET /v1/topics?q=car HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
POST = b"POST /v1/topics HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
BODY = b'{"query":"car"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"f\r\n" + BODY + b"\r\n0\r\n\r\n"
SMUGGLED = b"GET /v1/topics?q=smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


def _framing() -> list[Input]:
    def post(headers: bytes, body: bytes) -> bytes:
        return POST + headers + b"\r\n" + body

    length = b"Content-Length: 15\r\n"
    # RFC 9112, 6.1 and 6.3: with both, a server may answer by the chunks, then must close.
    both = Criterion("200 or refused, then closed", _REFUSALS | {200}, closes=True)
    return [
        Input("Content-Length, then chunked", post(length + CHUNKED, CHUNKS + SMUGGLED), both),
        Input("chunked, then Content-Length", post(CHUNKED + length, CHUNKS + SMUGGLED), both),
        Input(
            "length of the chunks ends before a request",
            post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n" + SMUGGLED),
            both,
        ),
        Input("two different lengths", post(length + b"Content-Length: 3\r\n", BODY + SMUGGLED)),
        Input(
            "two equal lengths",
            post(length + length, BODY),
            ONE_ANSWER,
        ),
        Input("list of different lengths", post(b"Content-Length: 15, 3\r\n", BODY + SMUGGLED)),
        *(
            Input(f"length {text!r}", post(b"Content-Length: %s\r\n" % text.encode(), BODY), ends=e)
            for text, e in [
                *(("+15", False), ("-15", False), ("0xf", False), ("1e1", False), ("1 5", False)),
                *(("", True), ("15.0", False), ("1_5", False), ("18446744073709551631", False)),
            ]
        ),
        *(
            Input(f"coding {text!r}", post(b"Transfer-Encoding: %s\r\n" % text.encode(), CHUNKS))
            for text in (
                *("xchunked", "chunked, identity", "chunked, gzip", "\x0bchunked", "chunked;q=1"),
                *("'chunked'", "chunked chunked", "identity"),
            )
        ),
        Input(
            "coding and length, coding unknown", post(length + b"Transfer-Encoding: x\r\n", BODY)
        ),
        Input("blank before the colon", post(b"Transfer-Encoding : chunked\r\n", CHUNKS)),
        Input("blank before the colon of the length", post(b"Content-Length : 15\r\n", BODY)),
        Input(
            "chunked under HTTP/1.0",
            post(CHUNKED, CHUNKS + SMUGGLED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
            both,
        ),
        Input(
            "body of a GET is not the next request",
            GET + HOST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
            ONE_ANSWER,
        ),
    ]


def _chunks() -> list[Input]:
    def chunked(body: bytes) -> bytes:
        return POST + CHUNKED + b"\r\n" + body

    return [
        Input("chunk of size 'zz'", chunked(b"zz\r\n" + BODY + b"\r\n0\r\n\r\n")),
        Input("chunk of size -1", chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n")),
        Input("chunk of size 0xf", chunked(b"0xf\r\n" + BODY + b"\r\n0\r\n\r\n")),
        Input("chunk of 2^68 bytes", chunked(b"100000000000000000\r\n" + BODY + b"\r\n0\r\n\r\n")),
        Input("chunk longer than its size", chunked(b"3\r\n" + BODY + b"\r\n0\r\n\r\n")),
        Input(
            "chunk without an end of line, held open",
            chunked(b"f\r\n" + BODY + b"0\r\n\r\n" + SMUGGLED),
            INCOMPLETE,
        ),
        Input(
            "chunk without an end of line",
            chunked(b"f\r\n" + BODY + b"0\r\n\r\n"),
            INCOMPLETE,
            ends=True,
        ),
        Input("chunk size ends with a bare LF", chunked(b"f\n" + BODY + b"\r\n0\r\n\r\n")),
        Input("chunk size ends with a bare CR", chunked(b"f\r" + BODY + b"\r\n0\r\n\r\n")),
        Input(
            "chunk extension of 100 kB",
            chunked(b"f;" + b"a" * 100_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ),
        Input(
            "bare LF in a chunk extension hides a request",
            chunked(b"f;\n" + BODY + b"\r\n0\r\n\r\n" + SMUGGLED),
        ),
        Input("chunks end early", chunked(b"f\r\n" + BODY[:5]), ends=True),
        Input("no last chunk", chunked(b"f\r\n" + BODY + b"\r\n"), INCOMPLETE, ends=True),
        Input("chunked with an extension", chunked(b"f;a=b\r\n" + CHUNKS[3:]), answered()),
        Input(
            "chunked trailer",
            chunked(CHUNKS[:-2] + b"X-Trailer: 1\r\n\r\n"),
            answered(),
        ),
        Input(
            "chunked trailer, then a request",
            chunked(CHUNKS[:-2] + b"X-Trailer: 1\r\n\r\n") + GET + HOST + b"\r\n",
            answered(2),
        ),
        Input(
            "trailer with a length",
            chunked(CHUNKS[:-2] + b"Content-Length: 99\r\n\r\n"),
            ONE_ANSWER,
        ),
        Input(
            "trailer of 1 MB", chunked(CHUNKS[:-2] + b"X: %s\r\n\r\n" % (b"a" * 2**20)), ONE_ANSWER
        ),
    ]


def _lines() -> list[Input]:
    def get(headers: bytes) -> bytes:
        return GET + HOST + headers + b"\r\n"

    # RFC 9112, 2.2: a recipient may take a bare LF for the end of a line, also of the empty one.
    allowed = Criterion("200 to both requests or refused", _REFUSALS | {200}, answers=2)
    return [
        Input("bare LF ends every line", get(b"").replace(b"\r\n", b"\n"), ONE_ANSWER),
        Input("bare LF ends a header", get(b"X-A: 1\nX-B: 2\r\n"), ONE_ANSWER),
        Input("bare LF ends the headers", GET + HOST + b"X-A: 1\r\n\n" + SMUGGLED, allowed),
        Input("bare CR in a value", get(b"X-A: 1\rX-B: 2\r\n")),
        Input("line folded in a header", get(b"X-A: 1\r\n  2\r\n"), ONE_ANSWER),
        Input(
            "line folded in the coding",
            POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS + SMUGGLED,
            ONE_ANSWER,
        ),
        Input("first header is indented", GET + b" X: 1\r\n" + HOST + b"\r\n"),
        Input("NUL in a name", get(b"X\0A: 1\r\n")),
        Input("NUL in a value", get(b"X-A: 1\x002\r\n")),
        Input("NUL in the target", b"GET /v1/topics?q=a\0b HTTP/1.1\r\n" + HOST + b"\r\n"),
        Input("control character in a value", get(b"X-A: 1\x012\r\n"), ONE_ANSWER),
        Input("header without a colon", get(b"X-A\r\n")),
        Input("header without a name", get(b": 1\r\n")),
        Input("brackets in a name", get(b"X(A): 1\r\n")),
        Input("bytes above 127 in a name", get(b"X\xe9: 1\r\n")),
        Input("bytes above 127 in a value", get(b"X-A: \xe9\xff\r\n"), ONE_ANSWER),
    ]


def _request_lines() -> list[Input]:
    rest = HOST + b"\r\n"
    return [
        Input("no version", b"GET /v1/topics?q=car\r\n\r\n"),
        Input("HTTP/9.9", b"GET /v1/topics?q=car HTTP/9.9\r\n" + rest),
        Input("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Input("blanks in the target", b"GET /v1/topics?q=a b HTTP/1.1\r\n" + rest),
        Input("bytes above 127 in the target", b"GET /v1/topics?q=\xff HTTP/1.1\r\n" + rest),
        Input("no Host", GET + b"\r\n"),
        Input("two Hosts", GET + HOST + b"Host: b\r\n\r\n"),
        Input("unknown method", b"BREW /v1/topics?q=car HTTP/1.1\r\n" + rest),
        Input("CONNECT", b"CONNECT a:80 HTTP/1.1\r\n" + rest),
        Input("no target", b"GET  HTTP/1.1\r\n" + rest),
        Input("target without a slash", b"GET v1 HTTP/1.1\r\n" + rest),
        Input("random bytes", bytes(range(256)) + b"\r\n\r\n"),
        Input("a TLS hello", bytes.fromhex("160301020001fc0303") + bytes(507), ends=True),
        Input("nothing", b"", Criterion("closed", frozenset({408})), ends=True),
        Input("half a request line", b"GET /v1/to", ends=True),
        Input("half the headers", GET + b"Host: a", ends=True),
        Input("half the headers, held open", GET + b"Host: a"),
        Input(
            "upgrade to h2c",
            GET + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            ONE_ANSWER,
        ),
        Input(
            "upgrade to a WebSocket",
            GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            ONE_ANSWER,
        ),
        Input("empty line before", b"\r\n" + GET + rest, ONE_ANSWER),
        Input("50 requests at once", (GET + rest) * 50, answered(50)),
        Input(
            "20 POSTs at once",
            (POST + b"Content-Length: 15\r\n\r\n" + BODY) * 20,
            answered(20),
        ),
    ]


def _sizes() -> list[Input]:
    rest = HOST + b"\r\n"
    return [
        Input(
            "target of 1 MB",
            b"GET /v1/topics?q=" + b"a" * 2**20 + b" HTTP/1.1\r\n" + rest,
            TOO_LARGE,
        ),
        Input(
            "target of 20 kB",
            b"GET /v1/topics?q=" + b"a" * 20_000 + b" HTTP/1.1\r\n" + rest,
            TOO_LARGE,
        ),
        Input("header of 1 MB", GET + b"X-A: " + b"a" * 2**20 + b"\r\n" + rest, TOO_LARGE),
        Input("name of 1 MB", GET + b"a" * 2**20 + b": 1\r\n" + rest, TOO_LARGE),
        Input(
            "10,000 headers",
            GET + b"".join(b"X-%d: 1\r\n" % i for i in range(10_000)) + rest,
            TOO_LARGE,
        ),
        Input("method of 100 kB", b"G" * 100_000 + b" / HTTP/1.1\r\n" + rest),
        Input("body said to have 1 GB", POST + b"Content-Length: 1000000000\r\n\r\n{", TOO_LARGE),
        Input(
            "chunked body of 10 MB",
            POST + CHUNKED + b"\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 160 + b"0\r\n\r\n",
            TOO_LARGE,
        ),
    ]


def _bodies() -> list[Input]:
    def post(body: bytes, headers: bytes = b"") -> bytes:
        return POST + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body

    return [
        Input("body shorter than said", POST + b"Content-Length: 99\r\n\r\n" + BODY, ends=True),
        Input("NUL bytes for a body", post(bytes(64))),
        Input("NUL in the JSON", post(b'{"query":"a\0b"}')),
        Input("escaped NUL in the query", post(b'{"query":"a\\u0000b"}'), ONE_ANSWER),
        Input("half of a surrogate pair", post(b'{"query":"\\ud800"}')),
        Input("not UTF-8", post(b'{"query":"\xff\xfe"}')),
        Input("nested 10,000 times", post(b'{"query":' + b"[" * 10_000 + b"]" * 10_000 + b"}")),
        Input(
            "number of 15,000 digits", post(b'{"query":"a","max_labels":' + b"9" * 15_000 + b"}")
        ),
        Input("said to be gzip", post(BODY, b"Content-Encoding: gzip\r\n")),
        Input("expects something unknown", post(BODY, b"Expect: coffee\r\n"), ONE_ANSWER),
    ]


def exchange(port: int, one: Input) -> Outcome:
    """Sends an input over a connection of its own and listens to what comes back."""
    received = bytearray()
    ended = False
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
        deadline = time.monotonic() + HANG_SECONDS
        try:
            connection.settimeout(HANG_SECONDS)
            connection.sendall(one.data)
            if one.ends:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            # The server would not hear the rest; what it answered may still be read.
            ended = True
        while time.monotonic() < deadline:
            silent = QUIET_SECONDS if received else deadline - time.monotonic()
            connection.settimeout(max(silent, 0.01))
            try:
                part = connection.recv(65536)
            except TimeoutError:
                break
            except OSError:
                ended = True
                break
            if not part:
                ended = True
                break
            received += part
    # 100 Continue is no answer.
    statuses = tuple(int(text) for text in _STATUS.findall(received) if not text.startswith(b"1"))
    return Outcome(statuses, ended, not received and not ended)


def malformed(trial: Trial) -> list[Verdict]:
    """Every input once, several at a time."""
    test = "malformed"
    with trial.running() as server, Bystanders(trial, server) as bystanders:
        given = inputs()
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda one: exchange(server.port, one), given))
        verdicts = [
            Verdict(
                f"{test}: {one.name}", one.criterion.told, str(outcome), one.criterion.met(outcome)
            )
            for one, outcome in zip(given, outcomes, strict=True)
        ]
        return verdicts + bystanders.verdicts(test)
