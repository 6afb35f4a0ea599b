"""Bodies that an answer leaves unread: read to the end where that is cheap, else a close."""

from __future__ import annotations

import threading
from io import BytesIO

import falcon.testing
import pytest
from service_support import Held, call, check_problem, save_tiny_artifact

from service.app import create_app
from service.body_clock import BodyClock
from service.settings import Settings
from service.unread import THREADS
from topiccore import load

PLAIN = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "text/plain"}
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
MOST = 5000


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    settings = Settings(max_batch_bytes=MOST, max_in_flight=2 * THREADS)
    return falcon.testing.TestClient(create_app(load(path), settings, clock=BodyClock(30)))


class Broken:
    """A body that breaks off."""

    def read(self, size=-1):
        raise RuntimeError("no chunk")


def refused(client, stream, environ):
    """Whether a body of the wrong type closes the connection."""
    result = call(client, PLAIN | {"wsgi.input": stream} | environ)
    check_problem(result, 415)
    return result.headers.get("connection") == "close"


@pytest.mark.parametrize("size", [1, MOST - 1, MOST])
def test_a_small_rest_is_read(client, size):
    for environ in ({"CONTENT_LENGTH": str(size)}, CHUNKED):
        stream = BytesIO(b" " * size)
        assert not refused(client, stream, environ)
        assert stream.read() == b""


def test_of_a_body_with_a_length_no_more_is_read(client):
    stream = BytesIO(b" " * 30 + b"GET")
    assert not refused(client, stream, {"CONTENT_LENGTH": "30"})
    assert stream.read() == b"GET"


def test_a_large_rest_closes_the_connection(client):
    stream = BytesIO(b" " * (MOST + 1))
    assert refused(client, stream, {"CONTENT_LENGTH": str(MOST + 1)})
    assert stream.tell() == 0
    assert refused(client, BytesIO(b" " * (MOST + 1)), CHUNKED)


@pytest.mark.parametrize(
    "environ",
    [
        {"CONTENT_LENGTH": "-5"},
        {"CONTENT_LENGTH": "five"},
        {"CONTENT_LENGTH": "9" * 5000},
        {"CONTENT_LENGTH": "5", "HTTP_EXPECT": "100-continue"},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
    ],
)
def test_a_body_without_an_end_or_that_does_not_come_is_not_read(client, environ):
    stream = BytesIO(b" " * 5)
    assert refused(client, stream, environ)
    assert stream.tell() == 0


def test_a_body_that_breaks_off_closes_the_connection(client):
    for environ in ({"CONTENT_LENGTH": "5"}, CHUNKED):
        assert refused(client, Broken(), environ)
    assert refused(client, BytesIO(b"  "), {"CONTENT_LENGTH": "5"})


def test_a_request_without_a_body_keeps_the_connection(client):
    for environ in ({}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}):
        assert not refused(client, Broken(), environ)
    assert "connection" not in client.simulate_get("/nowhere").headers


def test_few_threads_wait_for_what_nobody_wants(client):
    bodies = [Held() for _ in range(THREADS)]
    found = []

    def ask(body):
        found.append(refused(client, body, {"CONTENT_LENGTH": "5"}))

    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread, body in zip(threads, bodies, strict=True):
        thread.start()
        assert body.asked.wait(60)
    assert refused(client, BytesIO(b" " * 5), {"CONTENT_LENGTH": "5"})
    for body in bodies:
        body.let_go.set()
    for thread in threads:
        thread.join(60)
    assert found == [False] * THREADS
    assert not refused(client, BytesIO(b" " * 5), {"CONTENT_LENGTH": "5"})


def test_an_overloaded_server_leaves_no_body(client, tmp_path):
    save_tiny_artifact(tmp_path / "tiny")
    client = falcon.testing.TestClient(
        create_app(load(tmp_path / "tiny"), Settings(max_in_flight=1))
    )
    body = Held()
    environ = PLAIN | {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "5"}
    thread = threading.Thread(target=call, args=(client, environ | {"wsgi.input": body}))
    thread.start()
    assert body.asked.wait(60)
    stream = BytesIO(b" " * 5)
    result = call(client, environ | {"wsgi.input": stream})
    body.let_go.set()
    thread.join(60)
    check_problem(result, 503, None, "under way")
    assert "connection" not in result.headers
    assert stream.tell() == 5


def test_a_get_with_a_body_leaves_none(client):
    stream = BytesIO(b" " * 5)
    environ = {"QUERY_STRING": "q=honda", "CONTENT_LENGTH": "5", "wsgi.input": stream}
    assert call(client, environ).status_code == 200
    assert stream.tell() == 5
