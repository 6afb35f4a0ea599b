"""Bodies that come too slowly: told apart from other connections, and ended."""

from __future__ import annotations

import socket
import threading
import time

import falcon.testing
import pytest
from service_support import check_problem_content, post, save_tiny_artifact, wait_for

from service.app import create_app
from service.body_clock import BodyClock
from topiccore import load


@pytest.fixture
def pair():
    """Both ends of a TCP connection: the client's and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def environ_of(server, **more):
    return {
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PORT": str(server.getsockname()[1]),
        "REMOTE_PORT": str(server.getpeername()[1]),
    } | more


def is_shut(server):
    server.settimeout(0.05)
    try:
        return server.recv(1) == b""
    except TimeoutError:
        return False


def test_a_late_body_is_found_by_its_peer(pair):
    _, server = pair
    clock = BodyClock(0.1)
    clock.begin(environ_of(server))
    assert clock.check() == 0
    time.sleep(0.15)
    assert clock.check() == 1
    assert is_shut(server)
    assert clock.end() is True


def test_a_late_body_is_found_by_its_silence(pair):
    """Granian does not tell the port of the peer."""
    client, server = pair
    clock = BodyClock(0.3)
    clock.begin(environ_of(server, REMOTE_PORT=""))
    time.sleep(0.2)
    # This one was just answered: it is not the one that is late.
    server.sendall(b"x")
    time.sleep(0.15)
    assert clock.check() == 0
    assert not is_shut(server)
    client.sendall(b"a drop")
    time.sleep(0.25)
    assert clock.check() == 1
    assert clock.end() is True


def test_other_connections_are_left_alone(pair):
    _, server = pair
    clock = BodyClock(0.05)
    clock.begin(environ_of(server, REMOTE_PORT="1"))
    time.sleep(0.1)
    assert clock.check() == 0
    clock.begin(environ_of(server, SERVER_PORT="1"))
    time.sleep(0.1)
    assert clock.check() == 0
    assert not is_shut(server)


def test_a_body_that_was_read_is_forgotten(pair):
    _, server = pair
    clock = BodyClock(0.05)
    clock.begin(environ_of(server))
    assert clock.end() is False
    time.sleep(0.1)
    assert clock.check() == 0


def test_the_answer_is_408(pair, tmp_path):
    client, server = pair
    save_tiny_artifact(tmp_path / "tiny")
    clock = BodyClock(0.1)
    app = create_app(load(tmp_path / "tiny"), clock=clock)
    client.sendall(b"{")
    environ = falcon.testing.create_environ("/v1/topics", method="POST") | {
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "17",
        "wsgi.input": server.makefile("rb"),
    }
    environ |= environ_of(server)
    start = falcon.testing.StartResponseMock()
    found = []
    thread = threading.Thread(target=lambda: found.extend(app(environ, start)))
    thread.start()
    wait_for(lambda: clock.check() or not thread.is_alive())
    thread.join(60)
    environ["wsgi.input"].close()
    assert start.status == "408 Request Timeout"
    assert start.headers_dict["connection"] == "close"
    check_problem_content(b"".join(found), 408, None, "too long")
    assert post(falcon.testing.TestClient(app), {"query": "honda"}).status_code == 200
