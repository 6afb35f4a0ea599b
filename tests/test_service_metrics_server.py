"""The server of the metrics: one path, few threads, no connection that lasts."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.client import HTTPConnection

import pytest
from service_support import DEADLINE, wait_for

from service import metrics_server
from service.metrics import MetricsError, serve_metrics
from service.metrics_server import THREADS


@pytest.fixture
def server(tmp_path):
    server = serve_metrics(tmp_path, "127.0.0.1", 0)
    yield server
    server.shutdown()
    server.server_close()


def ask(server, path, method="GET"):
    host, port = server.server_address[:2]
    with contextlib.closing(HTTPConnection(host, port, timeout=DEADLINE)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def connect(server):
    return socket.create_connection(server.server_address[:2], DEADLINE)


def is_closed(connection):
    """Waits until there is something to read, and tells whether that is the end."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(1) == b""
    return True


def answering():
    """The threads that have a connection to answer."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_only_one_path_has_metrics(server):
    status, text = ask(server, "/metrics")
    assert status == 200
    assert "topiccore_workers 0.0" in text
    assert ask(server, "/metrics?name[]=topiccore_workers")[0] == 200
    for path in ("/", "/x", "/metrics/", "/favicon.ico", "/metrics/../x"):
        assert ask(server, path) == (404, "The metrics are at /metrics.\n")
    assert ask(server, "/metrics", "POST")[0] == 405


def test_silent_connections_get_few_threads_and_an_end(server, monkeypatch):
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(THREADS)]
        wait_for(lambda: answering() == THREADS)
        # There is no thread left for these.
        for _ in range(3 * THREADS):
            assert is_closed(stack.enter_context(connect(server)))
        assert answering() == THREADS
        silent[0].sendall(b"GET /metrics HTTP/1.0\r\n")
        monkeypatch.setattr(metrics_server, "SECONDS", 0.0)
        assert all(is_closed(one) for one in silent)
        wait_for(lambda: answering() == 0)
    monkeypatch.undo()
    assert ask(server, "/metrics")[0] == 200


def test_a_client_that_does_not_read_its_answer_is_let_go(server, monkeypatch):

    def endless(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        while True:
            yield b"x" * 65536

    server.set_app(endless)
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_for(lambda: answering() == 1)
        monkeypatch.setattr(metrics_server, "SECONDS", 0.0)
        wait_for(lambda: answering() == 0)


def test_ipv6_and_addresses_that_are_none(tmp_path):
    if socket.has_ipv6:
        with contextlib.suppress(MetricsError):
            server = serve_metrics(tmp_path, "::1", 0)
            assert ask(server, "/metrics")[0] == 200
            server.shutdown()
            server.server_close()
    with pytest.raises(MetricsError, match=r"cannot give metrics at no\.such\.invalid:9"):
        serve_metrics(tmp_path, "no.such.invalid", 9)
