"""What the tests of the service share: a tiny artifact, requests, problems, a running server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any

import falcon.testing
import numpy as np

from topiccore import Taxonomy, TaxonomyLabel
from topiccore._scoring import hash_tokens
from topiccore.artifact import Artifact, build_index, save

LABELS = [
    TaxonomyLabel("V", "Vehicles", None),
    TaxonomyLabel("V1", "Cars", "V"),
    TaxonomyLabel("F", "Food", None),
    TaxonomyLabel("F1", "Crème brûlée", "F"),
]
WORDS = {"honda": "V1", "civic": "V1", "truck": "V", "soup": "F", "creme": "F1", "custard": "F1"}

COMMAND = str(Path(sys.executable).with_name("topiccore"))
_PHRASES = {413: "Content Too Large", 414: "URI Too Long"}
"""Those of RFC 9110 that Python before 3.13 knows by older names."""
DEADLINE = 60
"""Seconds after which a server that does not start, answer or stop has failed the test."""


def save_tiny_artifact(
    path: Path, *, collection: str = "hand-made", training: dict[str, Any] | None = None
) -> str:
    """Writes the artifact and returns its id; each word of ``WORDS`` brings its label.

    One with another ``collection`` or ``training`` has another id.
    """
    codes = [label.code for label in LABELS]
    buckets = hash_tokens(WORDS)
    index, places, _ = build_index(buckets, np.array([], np.uint32))
    rows = np.zeros((len(WORDS), len(LABELS)), np.float32)
    for place, code in zip(places, WORDS.values(), strict=True):
        rows[place, codes.index(code)] = 8.0
    labels = len(LABELS)
    return save(
        Artifact(
            taxonomy=Taxonomy(LABELS),
            index=index,
            rows=rows,
            bias=np.full(labels, -4.0, np.float32),
            thresholds=np.zeros(labels, np.float32),
            slopes=np.ones(labels, np.float32),
            intercepts=np.zeros(labels, np.float32),
            training={"precision": 0.9, "coverage": float("nan")} | (training or {}),
            data={"collection": collection},
        ),
        path,
        overwrite=True,
    )


def post(client: falcon.testing.TestClient, body: Any, **headers: str) -> falcon.testing.Result:
    """POSTs bytes as they are and anything else as JSON to ``/v1/topics``."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return client.simulate_post("/v1/topics", body=data, headers=headers)


def post_stream(
    client: falcon.testing.TestClient, stream: Any, environ: dict[str, Any]
) -> falcon.testing.Result:
    """POSTs what ``stream.read`` gives, with only those headers that ``environ`` has."""
    stream = BytesIO(stream) if isinstance(stream, bytes) else stream
    return call(
        client,
        {"REQUEST_METHOD": "POST", "wsgi.input": stream, "CONTENT_TYPE": "application/json"}
        | environ,
    )


def call(client: falcon.testing.TestClient, environ: dict[str, Any]) -> falcon.testing.Result:
    """Calls the application with an environment of which Falcon's client would refuse parts."""
    start = falcon.testing.StartResponseMock()
    body = client.app(falcon.testing.create_environ("/v1/topics") | environ, start)
    return falcon.testing.Result(body, start.status, start.headers)


class Held:
    """A body that comes when it is let go: the given one, or as many blanks as are asked for."""

    def __init__(self, body: bytes | None = None):
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self._body = body

    def read(self, size: int = -1) -> bytes:
        """The body, after ``let_go`` is set."""
        self.asked.set()
        assert self.let_go.wait(60)
        return b" " * size if self._body is None else self._body


def answer(model: Any, query: str, **options: Any) -> dict[str, Any]:
    """What the service has to answer, from the model itself."""
    found = model.score(query, **options)
    topics = [{"code": x.code, "name": x.name, "score": round(x.score, 4)} for x in found]
    return {"topics": topics, "truncated": found.truncated, "model": model.id}


def steady_headers(result: falcon.testing.Result) -> dict[str, str]:
    """The headers of an answer but for the one that no two answers share."""
    return {name: value for name, value in result.headers.items() if name != "x-request-id"}


def check_problem(
    result: falcon.testing.Result, status: int, field: str | None = None, detail: str = ""
) -> None:
    """Holds an error answer to RFC 9457, to its status and field, and to a part of its detail."""
    assert result.status_code == status
    assert result.headers["content-type"] == "application/problem+json"
    check_problem_content(result.content, status, field, detail)


def check_problem_content(
    content: bytes, status: int, field: str | None = None, detail: str = ""
) -> None:
    """The same for the body alone."""
    problem = json.loads(content)
    found = problem.pop("detail")
    assert re.fullmatch("[0-9a-f]+-[0-9a-f]+", problem.pop("request_id"))
    assert found
    assert detail in found
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    expected = {"type": "about:blank", "title": phrase, "status": status}
    if field is not None:
        expected["field"] = field
    assert problem == expected


class RunningServer:
    """``topiccore serve`` in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path):
        self.process = process
        self.port = port
        self._log = log

    @property
    def log(self) -> str:
        """What it has written to both outputs so far."""
        return self._log.read_text(encoding="utf-8")

    def connect(self) -> HTTPConnection:
        """A new connection, for requests that are well-formed."""
        return HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and body, over a connection of its own."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()

    def stop(self, number: int) -> int:
        """Sends the main process a signal and returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@contextlib.contextmanager
def running_server(
    artifact: Path | None, folder: Path, *options: str, workers: int = 2
) -> Iterator[RunningServer]:
    """A server all of whose workers are ready; none of its processes is left at the end.

    Without an artifact, ``options`` tell what to serve.
    """
    port = free_port()
    log = folder / "server.log"
    arguments = [COMMAND, "serve", "--port", str(port), "--workers", str(workers), *options]
    if artifact is not None:
        arguments += ["--model", str(artifact)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    server = RunningServer(process, port, log)
    try:
        _wait_until_ready(server, workers)
        yield server
    finally:
        kill_group(process)


def _wait_until_ready(server: RunningServer, workers: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(OSError):
            ready = server.ask("/readyz")[0] == 200
            started = server.log.count("Started worker-")
            prepared = server.log.count("ready: ")
            # One worker that answers does not tell whether the others do.
            if ready and prepared == workers and (started == workers or "gunicorn" in server.log):
                return
        time.sleep(0.05)
    raise AssertionError(f"the server did not get ready:\n{server.log}")


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills a process that leads its group, and all that are in it; waits for the leader."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(DEADLINE)


def answers_over_one_connection(
    server: RunningServer, head: bytes, body: bytes, number: int
) -> tuple[list[tuple[int, bool]], int]:
    """Status and announced end of so many answers to one request, and how many were lost.

    Head and body go out one after the other, as most clients send them, over a connection that is
    kept unless an answer says that it closes.
    """
    answers: list[tuple[int, bool]] = []
    connection, lost = None, 0
    for _ in range(number):
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head)
            for start in range(0, len(body), 100_000):
                connection.sendall(body[start : start + 100_000])
        response = HTTPResponse(connection)
        try:
            response.begin()
            response.read()
        except (HTTPException, ConnectionError):
            lost += 1
            connection.close()
            connection = None
            continue
        answers.append((response.status, response.will_close))
        if response.will_close:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    return answers, lost


def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether anything takes connections at a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def link(target, place):
    """Sets a link to a target, at once, as a registry does."""
    fresh = place.with_name("fresh")
    fresh.symlink_to(target)
    fresh.replace(place)


def children(server: RunningServer) -> list[int]:
    """The process ids of its workers."""
    path = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def wait_for(condition: Any) -> None:
    """Returns when ``condition()`` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


class Askers:
    """Threads that ask without a pause over connections that they keep."""

    def __init__(self, server, number=4):
        self.answers = []
        self.failures = []
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def _ask(self):
        with contextlib.closing(self._server.connect()) as connection:
            while not self._stop.is_set():
                try:
                    connection.request("GET", "/v1/topics?q=honda+soup")
                    response = connection.getresponse()
                    body = json.loads(response.read())
                    self.answers.append((response.headers["X-Topiccore-Model"], body["model"]))
                    if response.status != 200:
                        self.failures.append(response.status)
                except (OSError, ValueError, KeyError) as error:
                    self.failures.append(repr(error))
                    connection.close()
