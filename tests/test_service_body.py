"""The body of a POST as bytes: headers, limits, chunks, streams that end early."""

from __future__ import annotations

import json

import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_support import answer, check_problem, post, post_stream, save_tiny_artifact

from service.app import create_app
from service.settings import Settings
from topiccore import load

BODY = b'{"query":"used honda"}'
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
LIMIT = Settings().max_body_bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


class Stream:
    """``wsgi.input`` in pieces; counts the bytes taken, and may break off with an error."""

    def __init__(self, data, piece=1, error=None):
        self.data = data
        self.piece = piece
        self.error = error
        self.taken = 0

    def read(self, size=-1):
        assert size > 0, "a read without a limit could take any amount"
        part = self.data[self.taken : self.taken + min(size, self.piece)]
        if not part and self.error is not None:
            raise self.error
        self.taken += len(part)
        return part


def length(data):
    return {"CONTENT_LENGTH": str(len(data))}


# --- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json;",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json ; charset="utf-8"',
        "application/json; charset=utf8; profile=x",
    ],
)
def test_content_types_of_json(client, model, kind):
    assert post(client, BODY, Content_Type=kind).json == answer(model, "used honda")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        ";",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json\xe9",
    ],
)
def test_other_content_types(client, kind):
    check_problem(post(client, BODY, Content_Type=kind), 415, None, "application/json in UTF-8")


def test_no_content_type(client):
    result = post_stream(client, BODY, length(BODY) | {"CONTENT_TYPE": ""})
    check_problem(result, 415, None, "application/json")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
def test_compressed_body(client, coding):
    check_problem(post(client, BODY, Content_Encoding=coding), 415, None, "compressed")


@pytest.mark.parametrize("coding", ["identity", "Identity", "", " "])
def test_body_that_is_not_compressed(client, coding):
    assert post(client, BODY, Content_Encoding=coding).status_code == 200


@pytest.mark.parametrize("query_string", ["q=honda", "query=honda", "x", "min_score=0.5"])
def test_parameters_in_the_url(client, query_string):
    result = client.simulate_post(
        "/v1/topics",
        body=BODY,
        headers={"Content-Type": "application/json"},
        query_string=query_string,
    )
    check_problem(result, 400, None, "not from the URL")


# --- length -------------------------------------------------------------------------------------


def test_largest_body(client):
    padded = BODY + b" " * (LIMIT - len(BODY))
    assert post(client, padded).status_code == 200
    check_problem(post(client, padded + b" "), 413, None, f"{LIMIT} bytes")


def test_too_long_a_length_is_refused_unread(client):
    stream = Stream(b"x" * 100)
    result = post_stream(client, stream, {"CONTENT_LENGTH": str(10**15)})
    check_problem(result, 413)
    assert stream.taken == 0


@pytest.mark.parametrize("value", ["-1", "abc", "1.5"])
def test_length_that_is_no_number(client, value):
    check_problem(post_stream(client, BODY, {"CONTENT_LENGTH": value}), 400)


def test_more_than_the_length_stays_unread(client, model):
    stream = Stream(BODY + b"GET / HTTP/1.1\r\n", piece=100)
    assert post_stream(client, stream, length(BODY)).json == answer(model, "used honda")
    assert stream.taken == len(BODY)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_body_in_pieces(client, model, piece):
    for environ in (length(BODY), CHUNKED, CHUNKED | length(b"xx")):
        result = post_stream(client, Stream(BODY, piece), environ)
        assert result.json == answer(model, "used honda")


@pytest.mark.parametrize("size", range(len(BODY)))
def test_body_shorter_than_its_length(client, size):
    check_problem(post_stream(client, Stream(BODY[:size]), length(BODY)), 400, None, "shorter")


@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError(), TimeoutError()])
def test_body_that_breaks_off(client, error):
    for environ in (length(BODY), CHUNKED):
        result = post_stream(client, Stream(BODY[:9], error=error), environ)
        check_problem(result, 400, None, "ended early")


def test_body_that_the_server_cannot_read(client):
    """Servers have exceptions of their own for chunks that are none."""
    result = post_stream(client, Stream(BODY[:9], error=Exception("chunk")), CHUNKED)
    check_problem(result, 400, None, "framed")


def test_no_length_and_no_end(client):
    """A server that does not end its input is not asked for any: a read could wait for ever."""
    stream = Stream(BODY)
    check_problem(post_stream(client, stream, {}), 400, None, "empty")
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked"}
    check_problem(post_stream(client, stream, chunked), 411, None, "Content-Length")
    assert stream.taken == 0


# --- chunks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked "])
def test_chunked_body(client, model, coding):
    result = post_stream(client, BODY, CHUNKED | {"HTTP_TRANSFER_ENCODING": coding})
    assert result.json == answer(model, "used honda")


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""])
def test_other_transfer_codings(client, coding):
    result = post_stream(client, BODY, CHUNKED | {"HTTP_TRANSFER_ENCODING": coding})
    check_problem(result, 501, None, "chunked")


def test_largest_chunked_body(client):
    padded = BODY + b" " * (LIMIT - len(BODY))
    assert post_stream(client, Stream(padded, 1000), CHUNKED).status_code == 200
    check_problem(post_stream(client, Stream(padded + b" ", 1000), CHUNKED), 413)


def test_endless_chunks_are_read_no_further_than_a_batch(client):
    most = Settings().max_batch_bytes
    stream = Stream(b" " * 2 * most, piece=4096)
    result = post_stream(client, stream, CHUNKED)
    check_problem(result, 413)
    assert result.headers["connection"] == "close"
    assert LIMIT < stream.taken <= LIMIT + 1 + most + 1


def test_chunked_body_that_ends_early(client):
    for size in range(1, len(BODY)):
        result = post_stream(client, Stream(BODY[:size]), CHUNKED)
        check_problem(result, 400, None, "not JSON")
    check_problem(post_stream(client, b"", CHUNKED), 400, None, "empty")


@given(query=st.text(st.characters(exclude_categories=["Cs"]), max_size=30), data=st.data())
def test_any_body_in_any_pieces(client, model, query, data):
    body = json.dumps({"query": query}, ensure_ascii=data.draw(st.booleans())).encode()
    stream = Stream(body, data.draw(st.integers(1, len(body))))
    environ = data.draw(st.sampled_from([length(body), CHUNKED]))
    assert post_stream(client, stream, environ).json == answer(model, query)
