"""The same application in gunicorn, and metrics, tokens and logs of a server that runs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidHeader
from service_support import (
    COMMAND,
    DEADLINE,
    Askers,
    answer,
    answers_over_one_connection,
    check_problem_content,
    children,
    free_port,
    link,
    running_server,
    save_tiny_artifact,
    wait_for,
)

from service.gunicorn_server import THREADS, configuration, within_threads
from service.gunicorn_worker import QuietWorker
from service.options import ServerOptions
from service.settings import Settings
from topiccore import load

JSON = {"Content_Type": "application/json"}
TOKEN = "a-token-for-the-tests"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return path


@pytest.fixture(scope="module")
def gunicorn(path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gunicorn")
    options = ("--server", "gunicorn", "--log-format", "text", "--max-query-bytes", "100")
    with running_server(path, folder, *options) as server:
        yield server


def metrics(port):
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        return response.read().decode()


# --- gunicorn -----------------------------------------------------------------------------------


def test_configuration():
    settings = within_threads(Settings(max_in_flight=1000, max_bodies=1000))
    assert settings.max_bodies < settings.max_in_flight < THREADS
    assert within_threads(Settings(max_in_flight=3)).max_in_flight == 3
    found = configuration("::1", ServerOptions(port=9, server="gunicorn"), settings)
    assert found["bind"] == ["[::1]:9"]
    assert (found["http_parser"], found["control_socket_disable"]) == ("python", True)
    assert found["preload_app"] is False


def test_answers(gunicorn, path):
    model = load(path)
    status, headers, body = gunicorn.ask("/v1/topics?q=used+honda")
    assert (status, headers["x-topiccore-model"]) == (200, model.id)
    assert json.loads(body) == answer(model, "used honda")
    for body in (b'{"query":"custard"}', iter([b'{"query":', b'"custard"}'])):
        status, _, found = gunicorn.ask("/v1/topics", "POST", body, **JSON)
        assert (status, json.loads(found)) == (200, answer(model, "custard"))
    assert gunicorn.ask("/v1/topics?q=honda", "HEAD")[2] == b""


@pytest.mark.parametrize(
    ("target", "method", "body", "status", "field"),
    [
        ("/nowhere", "GET", None, 404, None),
        ("/v1/topics", "GET", None, 400, "q"),
        ("/v1/topics?q=" + "a" * 101, "GET", None, 413, "q"),
        ("/v1/topics", "POST", b'{"query":5}', 400, "query"),
        ("/v1/topics", "POST", b" " * 100_000, 413, None),
    ],
)
def test_problems(gunicorn, target, method, body, status, field):
    found, headers, content = gunicorn.ask(target, method, body, **JSON)
    assert (found, headers["content-type"]) == (status, "application/problem+json")
    check_problem_content(content, status, field)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\nHost: x\n\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n",
        b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(
            b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"\r\n0\r\n\r\n"
            for chunks in (b"zz\r\n{}", b"-1\r\n{}", b"1\r\n{}", b"2;\n{}")
        ),
        b"GET /v1/topics?q=a HTTP/1.1\r\n\r\n",
        b"GET /v1/topics?q=a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"\0\1\2\r\n\r\n",
    ],
)
def test_malformed_requests(gunicorn, data):
    with socket.create_connection(("127.0.0.1", gunicorn.port), 30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    assert received == b"" or b" 400 " in received.split(b"\r\n")[0]
    assert gunicorn.ask("/healthz")[0] == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /v1/topics?q=zebrafish\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/topics?q=zebrafish\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/topics?q=the zebrafish HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/topics?q=zebrafish HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET /v1/topics?q=zebrafish HTTP/1.1\r\nHost: x\r\nzebrafish\r\n\r\n", 400),
        (b"zebrafish /v1/topics HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n{"query":"zebrafish"}\r\n\r\n', 400),
        (b"GET /v1/topics?q=zebrafish" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: zebrafish" + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: zebrafish\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zebrafish\r\n\r\n", 501),
    ],
)
def test_what_is_no_request_is_neither_logged_nor_sent_back(gunicorn, data, status):
    lines = gunicorn.log.count("\n")
    with socket.create_connection(("127.0.0.1", gunicorn.port), 30) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    *_, head, body = received.split(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(status).encode()
    assert b"\r\nconnection: close" in head
    assert b"\r\ncontent-type: application/problem+json" in head
    problem = json.loads(body)
    phrase = head.split(b"\r\n")[0].partition(b" ")[2][4:].decode()
    assert (problem["status"], problem["title"]) == (status, phrase)
    assert b"zebrafish" not in received.lower()
    wait_for(lambda: gunicorn.log.count("\n") == lines + 1)
    assert "refused what is no request: " in gunicorn.log.splitlines()[-1]
    assert "zebrafish" not in gunicorn.log.lower()


@pytest.mark.parametrize("size", [40_000, 900_000, 1_100_000])
@pytest.mark.parametrize("media", [b"text/plain", b"application/json"])
def test_no_answer_is_lost_where_a_body_is_left_unread(gunicorn, media, size):
    head = b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n" % media
    head += b"Content-Length: %d\r\n\r\n" % size
    answers, lost = answers_over_one_connection(gunicorn, head, b" " * size, 10)
    status = 415 if media == b"text/plain" else 413
    assert (answers, lost) == ([(status, size > 1_048_576)] * 10, 0)


@pytest.mark.parametrize("error", [RuntimeError, InvalidHeader])
def test_a_failure_of_the_worker_is_told_without_the_request(caplog, error):
    worker = QuietWorker(0, 0, [], None, 1, Config(), logging.getLogger("worker"))
    worker.tmp.close()
    request = SimpleNamespace(method="GET", uri="/v1/topics?q=zebrafish")
    client, server = socket.socketpair()
    with client, server:
        worker.handle_error(request, server, ("127.0.0.1", 1), error("zebrafish"))
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    (record,) = caplog.records
    assert (record.levelname, error.__name__ in record.message) == ("ERROR", True)
    assert "zebrafish" not in caplog.text + answer.decode()


def test_a_new_artifact_and_a_killed_worker(tmp_path):
    ids = [save_tiny_artifact(tmp_path / name, collection=name) for name in ("one", "two")]
    link(tmp_path / "one", tmp_path / "link")
    with running_server(tmp_path / "link", tmp_path, "--server", "gunicorn") as server:
        with Askers(server) as askers:
            link(tmp_path / "two", tmp_path / "link")
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.log.count("loaded: ") == 2)
        assert askers.failures == []
        assert set(askers.answers) == {(one, one) for one in ids}
        os.kill(children(server)[0], signal.SIGKILL)
        wait_for(lambda: server.log.count("Booting worker") == 3)
        assert json.loads(server.ask("/v1/model")[2])["id"] == ids[1]
        assert server.stop(signal.SIGTERM) == 0


# --- metrics, tokens and logs of a running server -----------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode", "warnings"), [("granian", 0o644, 1), ("gunicorn", 0o640, 0)]
)
def test_metrics_tokens_and_logs(path, tmp_path, kind, mode, warnings):
    port = free_port()
    (tmp_path / "tokens").write_text(TOKEN)
    (tmp_path / "tokens").chmod(mode)
    options = ["--server", kind, "--metrics-port", str(port), "--log-sample", "1"]
    options += ["--tokens", str(tmp_path / "tokens")]
    with running_server(path, tmp_path, *options) as server:
        told = f"{tmp_path}/tokens: every user of this machine can read the tokens"
        # Once, however many workers there are.
        assert server.log.count(told) == server.log.count('"level": "warning"') == warnings
        assert server.ask("/v1/topics?q=honda")[0] == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for _ in range(10):
            assert server.ask("/v1/topics?q=honda", **headers)[0] == 200
        (tmp_path / "tokens").write_text("another" + TOKEN)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.log.count("tokens read") == 2)
        unchanged = 'topiccore_reloads_total{result="unchanged"} 2.0'
        # The artifact is looked at after the tokens, which a worker that is killed must have done.
        wait_for(lambda: unchanged in metrics(port))
        assert server.ask("/v1/topics?q=honda", **headers)[0] == 401
        name = 'topiccore_http_requests_total{method="GET",route="/v1/topics",status="%s"} %s.0\n'
        # A killed worker takes along what its log thread has not written yet.
        wait_for(lambda: server.log.count('"route": "/v1/topics"') >= 12)
        os.kill(children(server)[0], signal.SIGKILL)
        wait_for(lambda: "topiccore_lost_workers_total 1.0" in metrics(port))
        wait_for(lambda: "topiccore_workers 2.0" in metrics(port))
        text = metrics(port)
        assert name % (200, 10) in text
        assert name % (401, 2) in text
        assert 'topiccore_rejected_requests_total{reason="token"} 2.0' in text
        assert unchanged in text
        lines = [json.loads(line) for line in server.log.splitlines()]
        assert sum(line.get("route") == "/v1/topics" for line in lines) == 12
        assert server.stop(signal.SIGTERM) == 0
        assert TOKEN not in server.log


def test_metrics_port_in_use(path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ["--model", str(path), "--port", str(free_port()), "--metrics-port", str(port)]
        done = subprocess.run(
            [COMMAND, "serve", *arguments], capture_output=True, text=True, timeout=DEADLINE
        )
    message = f"cannot give metrics at 127.0.0.1:{port}: Address already in use"
    assert (done.returncode, done.stderr) == (1, f"topiccore: error: {message}\n")


def test_nothing_is_left_of_a_server(path, tmp_path):
    def shared():
        return set(Path("/dev/shm").glob("topiccore-*"))

    before = shared()
    with running_server(path, tmp_path) as server:
        (folder,) = [one for one in shared() - before if f"-{children(server)[0]}-" in names(one)]
        assert server.stop(signal.SIGTERM) == 0
        assert not folder.exists()


def names(folder):
    """The names of the files in a folder that may be gone, in one text."""
    with contextlib.suppress(FileNotFoundError):
        return " ".join(os.listdir(folder))
    return ""
