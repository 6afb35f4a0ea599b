"""``topiccore serve`` as a process: starts, answers, refuses to start half, stops."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from service_support import (
    COMMAND,
    DEADLINE,
    answer,
    check_problem_content,
    free_port,
    kill_group,
    listens,
    running_server,
    save_tiny_artifact,
)

from topiccore import load

JSON = {"Content_Type": "application/json"}
SECRET = "zebrafish"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return path


@pytest.fixture(scope="module")
def server(path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with running_server(path, folder, "--max-query-bytes", "100") as server:
        yield server


def failed_start(*arguments):
    """Exit code and both outputs of a ``topiccore serve`` that must end by itself."""
    process = subprocess.Popen(
        [COMMAND, "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=DEADLINE)
    finally:
        kill_group(process)
    return process.returncode, output, errors


def group_is_empty(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


# --- answers ------------------------------------------------------------------------------------


def test_get(server, path):
    status, headers, body = server.ask("/v1/topics?q=used+honda&min_score=0&max_labels=3")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == answer(load(path), "used honda", min_score=0, max_labels=3)


def test_post(server, path):
    for query in ("crème brûlée", "🚗 honda", ""):
        body = json.dumps({"query": query}, ensure_ascii=False).encode()
        status, headers, found = server.ask("/v1/topics", "POST", body, **JSON)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(found) == answer(load(path), query)


def test_chunked_post(server, path):
    with contextlib.closing(server.connect()) as connection:
        pieces = iter([b'{"query":', b'"used ', b'honda"}'])
        connection.request("POST", "/v1/topics", pieces, {"Content-Type": "application/json"})
        assert json.loads(connection.getresponse().read()) == answer(load(path), "used honda")


def test_head(server):
    for target, status in (("/v1/topics?q=honda", 200), ("/v1/topics", 400), ("/healthz", 200)):
        found = server.ask(target, "HEAD")
        full = server.ask(target)
        assert found[0] == full[0] == status
        assert found[2] == b""
        assert found[1]["content-type"] == full[1]["content-type"]


def test_model_and_health(server, path):
    assert json.loads(server.ask("/v1/model")[2])["id"] == load(path).id
    assert server.ask("/healthz")[2] == b'{"status":"ok"}'
    assert server.ask("/readyz")[2] == b'{"status":"ready"}'


@pytest.mark.parametrize(
    ("target", "method", "body", "status", "field"),
    [
        ("/nowhere", "GET", None, 404, None),
        ("/v1/topics", "DELETE", None, 405, None),
        ("/v1/topics", "GET", None, 400, "q"),
        ("/v1/topics?q=%FF", "GET", None, 400, "q"),
        ("/v1/topics?q=a&min_score=2", "GET", None, 400, "min_score"),
        ("/v1/topics?q=" + "a" * 101, "GET", None, 413, "q"),
        ("/v1/topics", "POST", b'{"query":5}', 400, "query"),
        ("/v1/topics", "POST", b'{"query":"%s"}' % (b"a" * 101), 413, "query"),
        ("/v1/topics", "POST", b" " * 100_000, 413, None),
    ],
)
def test_problems(server, target, method, body, status, field):
    found, headers, content = server.ask(target, method, body, **JSON)
    assert (found, headers["content-type"]) == (status, "application/problem+json")
    check_problem_content(content, status, field)


def test_connection_is_kept_through_answers_and_problems(server):
    with contextlib.closing(server.connect()) as connection:
        connection.connect()
        socket = connection.sock
        for target, status in (("/healthz", 200), ("/v1/topics", 400), ("/x", 404)) * 3:
            connection.request("GET", target)
            response = connection.getresponse()
            assert response.status == status
            response.read()
        assert connection.sock is socket


# --- starting -----------------------------------------------------------------------------------


def test_port_in_use(server, path):
    code, output, errors = failed_start("--model", str(path), "--port", str(server.port))
    message = f"cannot listen at 127.0.0.1:{server.port}: Address already in use"
    assert (code, output, errors) == (1, "", f"topiccore: error: {message}\n")
    assert server.ask("/healthz")[0] == 200


def truncate(path):
    with (path / "rows.npy").open("r+b") as file:
        file.truncate(100)


def flip_a_bit(path):
    data = bytearray((path / "bias.npy").read_bytes())
    data[-1] ^= 1
    (path / "bias.npy").write_bytes(data)


def spoil_manifest(path):
    (path / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (truncate, "rows.npy"),
        (flip_a_bit, "bias.npy"),
        (spoil_manifest, "manifest.json"),
        (shutil.rmtree, "manifest.json"),
    ],
)
def test_artifact_that_does_not_load(path, tmp_path, spoil, file):
    shutil.copytree(path, tmp_path / "bad")
    spoil(tmp_path / "bad")
    port = free_port()
    code, output, errors = failed_start("--model", str(tmp_path / "bad"), "--port", str(port))
    assert (code, output) == (1, "")
    assert errors.startswith(f"topiccore: error: {tmp_path / 'bad' / file}: ")
    assert errors.count("\n") == 1
    assert not listens(port)


def test_workers_that_cannot_start_end_the_server(tmp_path):
    """The artifact vanishes between the check and the start of the workers."""
    port = free_port()
    code = (
        "from pathlib import Path\n"
        "from service.server import serve\n"
        "from service.options import ServerOptions\n"
        "from service.settings import Settings\n"
        f"serve(Path({str(tmp_path / 'gone')!r}), ServerOptions(port={port}), Settings())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 1
    assert str(tmp_path / "gone" / "manifest.json") in done.stderr
    assert not listens(port)


# --- stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal(path, tmp_path, number):
    with running_server(path, tmp_path) as server:
        with contextlib.closing(server.connect()) as connection:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            # The open connection, idle now, must not keep the server from stopping.
            assert server.stop(number) == 0
        assert not listens(server.port)
        assert group_is_empty(server.process.pid)
        assert "Traceback" not in server.log


def test_the_log_says_nothing_of_queries(path, tmp_path):
    with running_server(path, tmp_path, workers=1) as server:
        for target in ("?q={}", "?q={}%zz", "?q={}%FF", "?{}=1", "/{}", "?q=a&min_score={}"):
            server.ask("/v1/topics" + target.format(SECRET))
        for body in ('{{"query":"{}"}}', '{{"{}":1}}', "{}", '{{"query":"{}"', '["{}"]'):
            server.ask("/v1/topics", "POST", body.format(SECRET).encode(), **JSON)
        server.ask("/v1/topics", SECRET.upper())
        assert server.stop(signal.SIGTERM) == 0
        assert SECRET not in server.log.lower()
        assert "WARNING" not in server.log
