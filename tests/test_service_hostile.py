"""Requests that break HTTP, over raw sockets: the right 4xx or a closed connection, no harm."""

from __future__ import annotations

import contextlib
import re
import socket

import pytest
from service_support import (
    DEADLINE,
    answers_over_one_connection,
    running_server,
    save_tiny_artifact,
)

BODY = b'{"query":"honda"}'
POST = b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
LAST = b"GET /v1/model HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""A well-formed request after which the server closes the connection."""
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
TOKEN = b"a-token-for-the-tests"
CHUNKS = b"11\r\n" + BODY + b"\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    with running_server(path, path.parent) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that asks for a token."""
    path = tmp_path_factory.mktemp("guarded") / "tiny"
    save_tiny_artifact(path)
    tokens = path.with_name("tokens")
    tokens.write_bytes(TOKEN)
    with running_server(path, path.parent, "--tokens", str(tokens)) as server:
        yield server


def exchange(server, data, *, half_close=False, piece=None):
    """The status codes of all answers until the server closes the connection.

    A connection that the server resets counts as closed, with what came before the reset.
    """
    received = b""
    connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
    with connection, contextlib.suppress(ConnectionResetError):
        with contextlib.suppress(OSError):
            step = piece or len(data)
            for start in range(0, len(data), step):
                connection.sendall(data[start : start + step])
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            received += part
    # Bodies hold no line that looks like this one.
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n", received)]


def test_the_exchange_sees_every_answer(server):
    assert exchange(server, GET + b"\r\n" + GET + b"\r\n" + LAST) == [200, 200, 200]
    assert exchange(server, CHUNKED + b"\r\n" + CHUNKS + LAST) == [200, 200]


# --- no request at all --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\1\2\3\r\n\r\n", id="bytes"),
        pytest.param(bytes.fromhex("16030100a5010000a10303"), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"GET /healthz\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET /healthz HTTP/3.0\r\n\r\n", id="HTTP/3.0"),
        pytest.param(b"GET  HTTP/1.1\r\n\r\n", id="no target"),
        pytest.param(b"GET /healthz x HTTP/1.1\r\n\r\n", id="blank in the target"),
        pytest.param(b"GET /v1/topics?q=a\0b HTTP/1.1\r\nHost: x\r\n\r\n", id="NUL in the target"),
        pytest.param(b"GET /v1/topics?q=\xe9 HTTP/1.1\r\nHost: x\r\n\r\n", id="latin-1 target"),
        pytest.param(b"G\0T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="NUL in the method"),
        pytest.param(GET + b"X: a\0b\r\n\r\n", id="NUL in a header"),
        pytest.param(GET + b"X\0Y: a\r\n\r\n", id="NUL in a header's name"),
        pytest.param(GET + b"X : a\r\n\r\n", id="blank before the colon"),
        pytest.param(GET + b"X: a\r\n b\r\n\r\n", id="folded header"),
        pytest.param(GET + b"no colon\r\n\r\n", id="no colon"),
        pytest.param(b"GET /healthz HTTP/1.1\rHost: x\r\r", id="bare CR"),
    ],
)
def test_malformed_head(server, data):
    assert exchange(server, data + LAST) in ([400], [])
    assert exchange(server, LAST) == [200]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(GET + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n", 431, id="long header"),
        pytest.param(GET + b"X: a\r\n" * 5000 + b"\r\n", 431, id="many headers"),
        pytest.param(GET + b"X" * 2_000_000 + b": a\r\n\r\n", 431, id="long name"),
        pytest.param(
            b"GET /v1/topics?q=" + b"a" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            414,
            id="long target",
        ),
    ],
)
def test_huge_head(server, data, status):
    """The limit on the buffer may be met before the server knows which part is too long."""
    assert exchange(server, data + LAST) in ([status], [431], [400], [])
    assert exchange(server, LAST) == [200]


@pytest.mark.parametrize("piece", [65_536, 20_000, 3_000])
def test_a_head_of_64_kib_passes_and_twice_that_does_not(server, piece):
    """Between the two it depends on how much of it the server finds at a time."""
    for size, statuses in ((65_536, [200]), (131_073, [431])):
        head = LAST.replace(b"\r\n\r\n", b"\r\nX: \r\n\r\n")
        data = head.replace(b"X: ", b"X: " + b"a" * (size - len(head)))
        assert len(data) == size
        assert exchange(server, data, piece=piece) == statuses
    assert exchange(server, LAST) == [200]


def test_what_the_server_refuses_itself_has_no_body(server):
    """The documented exception: these answers are not the application's."""
    for data, status in (
        (b"GET /healthz x HTTP/1.1\r\n\r\n", b"400"),
        (GET + b"X: " + b"a" * 140_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 65_535 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
    ):
        received = b""
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as connection:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    received += part
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == status
        assert (body, b"x-topiccore-model" in head.lower()) == (b"", False)


def test_bare_line_feeds_end_lines_or_are_refused(server):
    """RFC 9112 2.2 lets a server take a bare LF for the end of a line; nothing may hide in it."""
    data = b"GET /healthz HTTP/1.1\nHost: x\nConnection: close\n\n"
    assert exchange(server, data) in ([200], [400], [])
    assert exchange(server, data + GET + b"\r\n") in ([200], [400], [])


@pytest.mark.parametrize("path", [b"/v1/topics?q=honda", b"/v1/model", b"/healthz"])
def test_a_request_has_one_host(server, path):
    """RFC 9112 3.2: 400 for none and for several; HTTP/1.0 has none."""
    line = b"GET " + path
    assert exchange(server, line + b" HTTP/1.1\r\n\r\n" + LAST) in ([400], [400, 200])
    two = line + b" HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"
    assert exchange(server, two + LAST) in ([400], [400, 200])
    assert exchange(server, line + b" HTTP/1.0\r\n\r\n") == [200]


@pytest.mark.parametrize("target", [b"v1", b"a:80", b"v1/topics?q=honda", b"?q=honda"])
def test_a_target_is_a_path(server, target):
    """RFC 9112 3.2: what only CONNECT may ask for, and what is no target at all."""
    data = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert exchange(server, data) in ([400], [404], [])


# --- where a body ends --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", id="length first"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", id="length last"),
    ],
)
def test_both_length_and_chunks(server, head):
    """RFC 9112 6.1: the chunks count or the request is refused, and then the connection closes."""
    assert exchange(server, POST + head + b"\r\n" + CHUNKS + LAST) in ([200], [400], [])
    assert exchange(server, LAST) == [200]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 17\r\nContent-Length: 5\r\n",
        b"Content-Length: 17, 5\r\n",
        b"Content-Length: -17\r\n",
        b"Content-Length: +17\r\n",
        b"Content-Length: 0x11\r\n",
        b"Content-Length: 1e1\r\n",
        b"Content-Length: abc\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
def test_lengths_and_codings_that_tell_no_end(server, head):
    assert exchange(server, POST + head + b"\r\n" + BODY + LAST) in ([400], [])
    assert exchange(server, LAST) == [200]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"zz\r\n" + BODY + b"\r\n0\r\n\r\n", id="size is no number"),
        pytest.param(b"-11\r\n" + BODY + b"\r\n0\r\n\r\n", id="negative size"),
        pytest.param(b"0x11\r\n" + BODY + b"\r\n0\r\n\r\n", id="0x"),
        pytest.param(b"f" * 17 + b"\r\n" + BODY + b"\r\n0\r\n\r\n", id="size overflows"),
        pytest.param(b"\r\n" + BODY + b"\r\n0\r\n\r\n", id="no size"),
        pytest.param(b"11\n" + BODY + b"\n0\n\n", id="bare LF"),
        pytest.param(b"11;" + b"x" * 100_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n", id="extension"),
    ],
)
def test_bad_chunks(server, chunks):
    assert exchange(server, CHUNKED + b"\r\n" + chunks + LAST) in ([400], [])
    assert exchange(server, LAST) == [200]


def test_bad_chunks_behind_a_whole_body(server):
    """The object was complete, so it may be answered; what follows it may not be."""
    for chunks in (b"11\r\n" + BODY + b"XX0\r\n\r\n", b"11\r\n" + BODY + b"\r\nzz\r\n\r\n"):
        assert exchange(server, CHUNKED + b"\r\n" + chunks + LAST) in ([200], [400], [])
    assert exchange(server, LAST) == [200]


def test_chunked_trailers_and_extensions(server):
    chunks = b'11;a=b;c="d"\r\n' + BODY + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"
    assert exchange(server, CHUNKED + b"\r\n" + chunks + LAST) == [200, 200]


def test_other_transfer_coding(server):
    head = POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    assert exchange(server, head + CHUNKS + LAST) == [501, 200]


def test_body_longer_than_declared(server):
    """The rest is read as the next request, and that it is not."""
    assert exchange(server, POST + b"Content-Length: 5\r\n\r\n" + BODY + LAST) == [400, 400]
    assert exchange(server, LAST) == [200]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(POST + b"Content-Length: 50\r\n\r\n" + BODY, id="length"),
        pytest.param(POST + b"Content-Length: 50\r\n\r\n", id="length and no body"),
        pytest.param(CHUNKED + b"\r\n11\r\n" + BODY[:9], id="chunk"),
        pytest.param(CHUNKED + b"\r\n", id="no chunk"),
    ],
)
def test_body_shorter_than_declared(server, data):
    assert exchange(server, data, half_close=True) in ([400], [])
    assert exchange(server, LAST) == [200]


def test_bodies_that_are_refused_unread_leave_the_connection_in_step(server):
    large = POST + b"Content-Length: 100000\r\n\r\n" + b" " * 100_000
    assert exchange(server, large + LAST) in ([413, 200], [413], [])
    plain = b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n" + BODY
    assert exchange(server, plain + LAST) == [415, 200]
    get = b"GET /v1/topics?q=honda HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n" + BODY
    assert exchange(server, get + LAST) == [200, 200]
    endless = CHUNKED + b"\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 20 + b"0\r\n\r\n"
    assert exchange(server, endless + LAST) in ([413, 200], [413], [])
    assert exchange(server, LAST) == [200]


KINDS = {
    "401": (b"/v1/topics", b"application/json", 401),
    "404": (b"/nowhere", b"application/json", 404),
    "405": (b"/v1/model", b"application/json", 405),
    "413": (b"/v1/topics", b"application/json", 413),
    "415": (b"/v1/topics", b"text/plain", 415),
}


@pytest.mark.parametrize("size", [20, 40_000, 900_000, 1_100_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_is_lost_where_a_body_is_left_unread(guarded, kind, chunked, size):
    """A small body is read after all; with a large one the answer says that the end has come."""
    path, media, status = KINDS[kind]
    if kind == "413" and size < 10_000:
        pytest.skip("not too large")
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n" % (path, media)
    if kind != "401":
        head += b"Authorization: Bearer %s\r\n" % TOKEN
    body = b" " * size
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"".join(b"4e20\r\n" + body[:20000] + b"\r\n" for _ in range(size // 20000))
        body += b"0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % size
    answers, lost = answers_over_one_connection(guarded, head, body, 15)
    assert (answers, lost) == ([(status, size > 1_048_576)] * 15, 0)


def test_a_body_behind_a_get_costs_no_later_answer(guarded):
    head = b"GET /v1/topics?q=honda HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % TOKEN
    head += b"Content-Length: 300000\r\n\r\n"
    assert answers_over_one_connection(guarded, head, b" " * 300_000, 15) == (
        [(200, False)] * 15,
        0,
    )


def test_who_waits_for_leave_to_send_a_body_is_not_asked_for_it(guarded):
    head = b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Expect: 100-continue\r\nContent-Length: 17\r\n\r\n"
    assert answers_over_one_connection(guarded, head, b"", 3) == ([(401, True)] * 3, 0)


@pytest.mark.parametrize("name", [b"Content_Length", b"Transfer_Encoding", b"Content_Type"])
def test_names_with_underscores_do_not_move_the_end_of_a_body(server, name):
    """WSGI cannot tell them from the names with hyphens; the server can."""
    head = POST + name + b": 5\r\nContent-Length: 17\r\n\r\n"
    assert exchange(server, head + BODY + LAST) in ([200, 200], [501, 200])


# --- other clients ------------------------------------------------------------------------------


def test_unfinished_requests_keep_nobody_else_waiting(server):
    unfinished = [
        b"",
        b"GET /healthz HT",
        GET,
        POST + b"Content-Length: 17\r\n\r\n" + BODY[:9],
        CHUNKED + b"\r\n11\r\n" + BODY[:9],
    ]
    with contextlib.ExitStack() as stack:
        for data in unfinished * 8:
            connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
            stack.enter_context(connection)
            connection.sendall(data)
        for _ in range(10):
            assert exchange(server, LAST) == [200]
            assert exchange(server, CHUNKED + b"\r\n" + CHUNKS + LAST) == [200, 200]
    assert exchange(server, LAST) == [200]


def test_clients_that_vanish_after_asking(server):
    for data in (LAST, POST + b"Content-Length: 17\r\n\r\n" + BODY, CHUNKED + b"\r\n"):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), DEADLINE) as connection:
                connection.sendall(data)
    assert exchange(server, LAST) == [200]


def test_nothing_of_this_file_left_a_trace(server):
    """The same workers still answer, and none of them had anything to complain of."""
    assert server.process.poll() is None
    assert server.ask("/readyz")[0] == 200
    assert "Traceback" not in server.log
    assert "Unexpected exit" not in server.log
