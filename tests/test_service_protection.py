"""Tokens, bounds on what is under way, request ids and the headers that every answer has."""

from __future__ import annotations

import threading

import falcon.testing
import pytest
from service_support import Held, check_problem, post, save_tiny_artifact

from service.app import create_app
from service.gate import Gate
from service.live import LiveModel, prepare
from service.settings import Settings
from service.slots import Slots
from service.tokens import Tokens, TokensError
from topiccore import load

ONE, TWO = "a" * 16, "Zz09._~+/-" * 3 + "=="
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


# --- tokens -------------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# old\n{ONE}\n\n  {TWO} \r\n")
    return Tokens(path)


def test_tokens(tokens):
    for text in (f"Bearer {ONE}", f"bearer {TWO}", f"BEARER  {ONE} "):
        assert tokens.allow(text)
    for text in (
        None,
        "",
        ONE,
        "Bearer",
        "Bearer ",
        f"Basic {ONE}",
        f"Bearer {ONE}a",
        "Bearer # old",
    ):
        assert not tokens.allow(text)
    assert not tokens.allow(f"Bearer {ONE[:-1]}\xe9")


def test_tokens_are_exchanged(tokens, tmp_path):
    (tmp_path / "tokens").write_text(TWO)
    assert tokens.allow(f"Bearer {ONE}")
    tokens.read()
    assert tokens.allow(f"Bearer {TWO}")
    assert not tokens.allow(f"Bearer {ONE}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{ONE}\nshort\n", "line 2: no bearer token"),
        (f"{ONE} {TWO}", "line 1"),
        ("", "holds no token"),
        ("# nothing\n", "holds no token"),
    ],
)
def test_files_that_are_refused_leave_the_old_tokens(tokens, tmp_path, text, message):
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(TokensError, match=message) as error:
        tokens.read()
    assert ONE not in str(error.value)
    assert tokens.allow(f"Bearer {ONE}")
    (tmp_path / "tokens").unlink()
    with pytest.raises(TokensError, match="No such file"):
        tokens.read()
    assert tokens.allow(f"Bearer {ONE}")


def test_everything_but_health_needs_a_token(model, tokens):
    client = falcon.testing.TestClient(create_app(model, tokens=tokens))
    right, wrong = {"Authorization": f"Bearer {TWO}"}, {"Authorization": f"Bearer {TWO}x"}
    for path in ("/v1/topics?q=honda", "/v1/model", "/v1/taxonomy", "/openapi.json"):
        assert client.simulate_get(path, headers=right).status_code == 200
    for path in ("/v1/topics?q=honda", "/v1/model", "/openapi.json", "/nowhere"):
        for headers in (wrong, {}):
            result = client.simulate_get(path, headers=headers)
            check_problem(result, 401, None, "bearer token")
            assert result.headers["www-authenticate"] == "Bearer"
    check_problem(post(client, {"query": "honda"}), 401)
    for path in ("/healthz", "/readyz"):
        assert client.simulate_get(path).status_code == 200


# --- bounds -------------------------------------------------------------------------------------


def test_slots():
    slots = Slots(2)
    assert [slots.take() for _ in range(3)] == [True, True, False]
    slots.give()
    assert [slots.take() for _ in range(2)] == [True, False]


def holding(app, number):
    """So many requests that wait for their bodies, with what they get."""
    statuses = []

    def ask(body):
        environ = falcon.testing.create_environ("/v1/topics", method="POST") | {
            "wsgi.input": body,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": "17",
        }
        app(environ, lambda status, headers, exc_info=None: statuses.append(status))

    bodies = [Held(b'{"query":"honda"}') for _ in range(number)]
    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread, body in zip(threads, bodies, strict=True):
        thread.start()
        assert body.asked.wait(60)

    def end():
        for body in bodies:
            body.let_go.set()
        for thread in threads:
            thread.join(60)
        return statuses

    return end


def test_too_many_requests_under_way(model):
    client = falcon.testing.TestClient(create_app(model, Settings(max_in_flight=2)))
    end = holding(client.app, 2)
    result = client.simulate_get("/v1/topics", params={"q": "honda"})
    check_problem(result, 503, None, "under way")
    assert result.headers["retry-after"] == "1"
    assert client.simulate_get("/healthz").status_code == 200
    assert end() == ["200 OK"] * 2
    assert client.simulate_get("/v1/topics", params={"q": "honda"}).status_code == 200


def test_too_many_bodies(model):
    client = falcon.testing.TestClient(create_app(model, Settings(max_bodies=2)))
    end = holding(client.app, 2)
    result = post(client, {"query": "honda"})
    check_problem(result, 503, None, "bodies")
    assert result.headers["retry-after"] == "1"
    assert client.simulate_get("/v1/topics", params={"q": "honda"}).status_code == 200
    assert end() == ["200 OK"] * 2
    assert post(client, {"query": "honda"}).status_code == 200


def test_slots_are_given_back_whatever_happens(model):
    settings = Settings(max_in_flight=1, max_bodies=1)
    client = falcon.testing.TestClient(create_app(model, settings))
    for _ in range(3):
        assert post(client, b"{").status_code == 400
        assert client.simulate_get("/nowhere").status_code == 404
        assert client.simulate_get("/v1/topics?q=soup&explain=1").status_code == 200


# --- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/topics?q=a", "/v1/topics", "/v1/model", "/x", "/healthz"])
def test_every_answer_names_artifact_and_request(client, model, path):
    result = client.simulate_get(path)
    assert result.headers["x-topiccore-model"] == model.id
    assert result.headers["x-request-id"]
    if path != "/v1/topics?q=a":
        assert result.headers["x-content-type-options"] == "nosniff"
    assert "traceparent" not in result.headers


def test_request_ids_are_new(client):
    ids = {client.simulate_get("/healthz").headers["x-request-id"] for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize("text", ["a", "0b1c-2", "x" * 128, "a.b_c:d/e+f=g@h"])
def test_the_callers_id_is_taken_over(client, text):
    result = client.simulate_get("/v1/topics", headers={"X-Request-Id": text})
    assert result.headers["x-request-id"] == result.json["request_id"] == text


@pytest.mark.parametrize("text", ["", " ", "a b", "x" * 129, "<a>", 'a"', "a\r\nX: b", "é", "a\n"])
def test_what_is_no_id_is_not_taken_over(client, text):
    environ = falcon.testing.create_environ("/healthz") | {"HTTP_X_REQUEST_ID": text}
    start = falcon.testing.StartResponseMock()
    client.app(environ, start)
    assert start.headers_dict["x-request-id"] not in ("", text)


def test_the_trace_is_passed_on_and_names_the_request(client):
    result = client.simulate_get("/healthz", headers={"traceparent": TRACE})
    assert result.headers["traceparent"] == TRACE
    assert result.headers["x-request-id"] == TRACE[3:35]
    headers = {"traceparent": TRACE, "X-Request-Id": "mine"}
    result = client.simulate_get("/healthz", headers=headers)
    assert result.headers["x-request-id"] == "mine"


@pytest.mark.parametrize("path", ["/healthz", "/v1/topics?q=honda"])
@pytest.mark.parametrize(
    ("version", "flags", "sampled"),
    [
        ("01", "01-zz", "01"),
        ("01", "01", "01"),
        ("cc", "00-", "00"),
        ("fe", "ff-what-the future has", "01"),
        ("01", "fe", "00"),
    ],
)
def test_a_trace_of_a_higher_version_is_passed_on_as_version_0(
    client, path, version, flags, sampled
):
    header = version + TRACE[2:-2] + flags
    result = client.simulate_get(path, headers={"traceparent": header})
    assert result.headers["traceparent"] == "00" + TRACE[2:-2] + sampled
    assert result.headers["x-request-id"] == TRACE[3:35]


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE[:-1],
        TRACE.upper(),
        "ff" + TRACE[2:],
        TRACE[:3] + "0" * 32 + TRACE[35:],
        TRACE + "-00",
        TRACE + "-",
        "01" + TRACE[2:-1],
        "01" + TRACE[2:] + "0",
        "01" + TRACE[2:] + "+00",
        "01" + TRACE[2:3] + "0" * 32 + TRACE[35:],
        "01" + TRACE[2:36] + "0" * 16 + TRACE[52:],
        "1" + TRACE[2:] + "-0",
    ],
)
def test_a_broken_trace_is_not_passed_on(client, text):
    result = client.simulate_get("/healthz", headers={"traceparent": text})
    assert "traceparent" not in result.headers


def test_pages_let_nothing_in_from_elsewhere(model):
    def page(environ, start_response):
        headers = [("content-type", "text/html; charset=utf-8"), ("referrer-policy", "origin")]
        start_response("200 OK", headers)
        return [b"<p>"]

    gate = Gate(page, LiveModel(prepare(model)), Settings())
    found = falcon.testing.TestClient(gate).simulate_get("/").headers
    assert "default-src 'self'" in found["content-security-policy"]
    assert found["x-frame-options"] == "DENY"
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "origin"


def test_answers_that_are_no_pages_have_no_headers_of_pages(client):
    assert "content-security-policy" not in client.simulate_get("/v1/model").headers
