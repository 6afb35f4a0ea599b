"""Gunicorn with meinheld: answers, reloads, dies of a trailer; all servers behind nginx."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest
from service_support import (
    DEADLINE,
    Askers,
    answer,
    children,
    free_port,
    link,
    listens,
    running_server,
    save_tiny_artifact,
    wait_for,
)

from topiccore import load

pytest.importorskip("meinheld")

pytestmark = pytest.mark.system

JSON = {"Content_Type": "application/json"}
TRAILER = (
    b"POST /v1/topics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Transfer-Encoding: chunked\r\n\r\n11\r\n{"query":"honda"}\r\n0\r\nX-Trailer: 1\r\n\r\n'
)
NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {documented}
}}
"""
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "service.md"
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


@pytest.fixture
def path(tmp_path):
    save_tiny_artifact(tmp_path / "tiny")
    return tmp_path / "tiny"


def send(port, data):
    """What comes back until the connection is closed or nothing comes for a second."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.settimeout(1)
        connection.sendall(data)
        with contextlib.suppress(ConnectionResetError, TimeoutError):
            while part := connection.recv(65536):
                received += part
    return received


@contextlib.contextmanager
def nginx(folder, port):
    outside = free_port()
    documented = DOCUMENT.read_text().partition("```nginx\n")[2].partition("```")[0]
    assert "127.0.0.1:8080;" in documented
    assert "listen 80;" in documented
    documented = documented.replace("127.0.0.1:8080;", f"127.0.0.1:{port};")
    documented = documented.replace("listen 80;", f"listen 127.0.0.1:{outside};")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, documented=documented))
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(outside))
        yield outside
    finally:
        process.terminate()
        process.wait(DEADLINE)


def test_answers_and_reloads(tmp_path):
    ids = [save_tiny_artifact(tmp_path / name, collection=name) for name in ("one", "two")]
    link(tmp_path / "one", tmp_path / "link")
    with running_server(tmp_path / "link", tmp_path, "--server", "meinheld") as server:
        model = load(tmp_path / "one")
        assert json.loads(server.ask("/v1/topics?q=honda")[2]) == answer(model, "honda")
        for body in (b'{"query":"custard"}', iter([b'{"query":', b'"custard"}'])):
            found = server.ask("/v1/topics", "POST", body, **JSON)[2]
            assert json.loads(found) == answer(model, "custard")
        assert server.ask("/v1/topics", "POST", b" " * 100_000, **JSON)[0] == 413
        with Askers(server) as askers:
            link(tmp_path / "two", tmp_path / "link")
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.log.count("loaded: ") == 2)
        assert askers.failures == []
        assert set(askers.answers) == {(one, one) for one in ids}
        os.kill(children(server)[0], signal.SIGKILL)
        wait_for(lambda: server.log.count("Booting worker") == 3)
        assert server.process.poll() is None
        assert server.stop(signal.SIGTERM) == 0


def test_a_trailer_kills_a_worker_and_not_the_server(path, tmp_path):
    """The reason why meinheld stands behind a proxy only."""
    with running_server(path, tmp_path, "--server", "meinheld") as server:
        before = set(children(server))
        send(server.port, TRAILER)
        wait_for(lambda: len(set(children(server)) - before) == 1)
        wait_for(lambda: server.ask("/readyz")[0] == 200)
        assert server.process.poll() is None


@needs_nginx
@pytest.mark.parametrize("kind", ["granian", "gunicorn", "meinheld"])
def test_a_proxy_that_takes_bodies_apart_keeps_trailers_away(path, tmp_path, kind):
    with (
        running_server(path, tmp_path, "--server", kind) as server,
        nginx(tmp_path, server.port) as outside,
    ):
        before = set(children(server))
        for _ in range(20):
            received = send(outside, TRAILER.replace(b"Host: x", b"Host: x\r\nConnection: close"))
            assert b" 200 OK" in received
            body = json.loads(received.partition(b"\r\n\r\n")[2])
            assert body == answer(load(path), "honda")
        assert set(children(server)) == before


@needs_nginx
@pytest.mark.parametrize("kind", ["granian", "gunicorn"])
def test_the_proxy_ends_idle_connections_before_the_server_does(path, tmp_path, kind):
    """Who ends a connection keeps its port for a while (TIME_WAIT, 06), the other end does not."""

    def ports(state):
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ends = [[int(end.rpartition(":")[2], 16) for end in line[1:3]] for line in lines]
        return [end for line, end in zip(lines, ends, strict=True) if line[3] == state]

    with (
        running_server(path, tmp_path, "--server", kind) as server,
        nginx(tmp_path, server.port) as outside,
    ):
        wait_for(lambda: not any(server.port in ends for ends in ports("01")))
        earlier = ports("06")
        with contextlib.closing(HTTPConnection("127.0.0.1", outside, timeout=DEADLINE)) as one:
            one.request("GET", "/v1/topics?q=honda")
            assert json.loads(one.getresponse().read()) == answer(load(path), "honda")
        (kept,) = {port for ends in ports("01") if server.port in ends for port in ends} - {
            server.port
        }
        wait_for(lambda: not any(server.port in ends for ends in ports("01")))
        ended = [ends for ends in ports("06") if ends not in earlier and kept in ends]
        assert ended == [[kept, server.port]]
