"""What every path has in common: unknown paths, methods, failures that nobody foresaw."""

from __future__ import annotations

import logging

import falcon.testing
import pytest
from service_support import call, check_problem, post, save_tiny_artifact

from service.app import create_app
from topiccore import load

PATHS = {
    "/v1/topics": {"GET", "HEAD", "POST", "OPTIONS"},
    "/v1/topics:batch": {"POST", "OPTIONS"},
    "/v1/model": {"GET", "HEAD", "OPTIONS"},
    "/v1/taxonomy": {"GET", "HEAD", "OPTIONS"},
    "/openapi.json": {"GET", "HEAD", "OPTIONS"},
    "/healthz": {"GET", "HEAD", "OPTIONS"},
    "/readyz": {"GET", "HEAD", "OPTIONS"},
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
SECRET = "zebrafish"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


class FailingModel:
    """A model that quotes the query in the error it fails with."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def json_writer(self, *_):
        return self

    def write(self, query, _):
        raise RuntimeError(f"cannot score {query!r}")


@pytest.fixture
def failing_client(model):
    return falcon.testing.TestClient(create_app(FailingModel(model)))


@pytest.mark.parametrize("path", [*PATHS, "/"])
def test_options_have_no_content_and_no_type(client, path):
    result = client.simulate_options(path)
    assert (result.status_code, result.content) == (204, b"")
    assert {"content-type", "content-length"} & set(result.headers) == set()
    assert "GET" in result.headers["allow"] or "POST" in result.headers["allow"]


def test_options_of_an_unknown_path_have_both(client):
    check_problem(client.simulate_options("/v1/nothing"), 404, None, "nothing at this path")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1", "/v1/", "/v1/topics/", "/v1/topics/x", "/V1/topics", "/v1//topics"),
        *("/v2/topics", "/healthz/", "/%00", "/%ff", "/..%2f..%2fetc/passwd", "/é", "/docs"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_path(client, path, method):
    check_problem(client.simulate_request(method, path), 404, None, "nothing at this path")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
def test_methods(client, path, method):
    result = client.simulate_request(method, path)
    if method not in PATHS[path]:
        assert result.status_code == 405
        if method != "HEAD":
            check_problem(result, 405, None, method)
    if method not in PATHS[path] or method == "OPTIONS":
        # RFC 9110 wants Allow to list what the path answers; listing OPTIONS itself is free.
        allowed = set(result.headers["allow"].split(", "))
        assert allowed | {"OPTIONS"} == PATHS[path]
    if method == "OPTIONS":
        assert (result.status_code, result.content) == (204, b"")


@pytest.mark.parametrize("method", ["FOO", "get", "WEBSOCKET"])
def test_unknown_method(client, method):
    check_problem(call(client, {"REQUEST_METHOD": method}), 400)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png", "nonsense", ""])
def test_problems_are_json_whatever_is_accepted(client, accept):
    for path in ("/nowhere", "/v1/topics"):
        result = client.simulate_get(path, headers={"Accept": accept})
        assert result.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unforeseen_failure(failing_client, method, caplog):
    with caplog.at_level(logging.DEBUG):
        if method == "GET":
            result = failing_client.simulate_get("/v1/topics", params={"q": SECRET})
        else:
            result = post(failing_client, {"query": SECRET})
    check_problem(result, 500, None, "log")
    assert "RuntimeError" not in result.text
    assert "write" not in result.text
    (record,) = caplog.records
    text = logging.Formatter().format(record)
    assert record.levelno == logging.ERROR
    for word in (method, "/v1/topics", "RuntimeError", "in write"):
        assert word in text


def test_no_query_in_the_log_of_an_unforeseen_failure(failing_client, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        failing_client.simulate_get("/v1/topics", params={"q": SECRET})
        post(failing_client, {"query": SECRET})
    assert len(caplog.records) == 2
    texts = [logging.Formatter().format(record) for record in caplog.records]
    assert not [text for text in (*texts, *capfd.readouterr()) if SECRET in text]


def test_a_model_that_fails_is_alive_but_not_ready(failing_client, caplog):
    result = failing_client.simulate_get("/readyz")
    check_problem(result, 503, None, "does not answer")
    assert result.headers["cache-control"] == "no-store"
    assert "warm-up" in caplog.text
    assert failing_client.simulate_get("/healthz").status_code == 200
    assert failing_client.simulate_get("/v1/model").status_code == 200


def test_nothing_is_logged_of_what_goes_well_or_is_refused(client, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        client.simulate_get("/v1/topics", params={"q": SECRET})
        client.simulate_get("/v1/topics", query_string=f"q={SECRET}%zz")
        client.simulate_get(f"/{SECRET}")
        post(client, {"query": SECRET})
        post(client, {"query": SECRET, SECRET: SECRET})
        post(client, SECRET.encode())
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
