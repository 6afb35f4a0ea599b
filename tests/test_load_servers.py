"""Servers under load: command lines, processes, requests with their answers, judging outcomes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from service_support import save_tiny_artifact

from benchmarks.load import hostile, lives, processes, servers, worker_memory
from benchmarks.load.failures import TESTS
from benchmarks.load.hostile import Criterion, Input, Outcome, exchange
from benchmarks.load.limit import limited
from benchmarks.load.processes import Shares
from benchmarks.load.requests import write_requests
from benchmarks.load.servers import Server, ServerError, running
from benchmarks.load.soak import Sample, flat, quarters
from benchmarks.load.trial import Trial, id_header, variant
from benchmarks.load.worker_memory import Run, summary
from topiccore import load

QUERIES = ["used honda", "crème brûlée", "a & b + c", "soup", '100% \\ "x"', "車"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("load") / "tiny"
    save_tiny_artifact(path)
    return path


def trial(artifact: Path, folder: Path, server: Server | None = None) -> Trial:
    return Trial(
        server=server or servers.service("granian"),
        artifact=artifact,
        requests=write_requests(folder, QUERIES),
        folder=folder,
        workers=2,
        rate=100,
        seconds=4,
        reloads=2,
        reload_signal=None,
        extra="",
    )


def test_places_are_filled_in() -> None:
    server = Server("x", "run --model {model} {extra} --at=127.0.0.1:{port} 'two words'")
    words = server.words(model="a b", port=1, workers=2, extra="--one 'x y'")
    assert words == ["run", "--model", "a b", "--one", "x y", "--at=127.0.0.1:1", "two words"]
    assert "" not in server.words(model="m", port=1, workers=2)


def test_server_that_fails_is_told_with_its_log(artifact: Path, tmp_path: Path) -> None:
    server = Server("broken", "{python} -c 'raise SystemExit(\"no such thing\")'")
    with pytest.raises(ServerError, match="no such thing"), running(server, artifact, tmp_path, 1):
        pass


def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    done = tmp_path / "done"

    def wait() -> None:
        try:
            time.sleep(60)
        finally:
            done.touch()

    with pytest.raises(SystemExit, match=r"more than 0\.001 minutes"), limited(0.001):
        wait()
    assert done.exists()
    with pytest.raises(SystemExit, match="stopped"), limited(1):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_service_under_load_and_under_attack(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole path once: start, compare every answer, kill a worker, judge.
    monkeypatch.setattr(lives, "KILLS", 1)
    one = trial(artifact, tmp_path)
    verdicts = lives.killed_workers(one)
    assert [verdict.passed for verdict in verdicts] == [True, True, True], verdicts
    with one.running() as server:
        family = server.processes()
        assert family[0] == server.process.pid
        assert len(server.workers()) == 2
        assert set(server.workers()) < set(family)
        assert server.cpu_seconds() > 0
        held = processes.memory(family)
        assert held.private > 0
        assert held.proportional > 0
        assert processes.threads(family) >= len(family)
        assert processes.descriptors(family) > 2
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            held_by = [processes.connections(one, server.port) for one in server.workers()]
            assert sum(held_by) == 1
        header = id_header(server)
        assert header is None or header.startswith("x-")
        chosen = {one.name: one for one in hostile.inputs()}
        for name in ("two different lengths", "chunk of size 'zz'", "NUL in a value"):
            outcome = exchange(server.port, chosen[name])
            assert chosen[name].criterion.met(outcome), (name, outcome)
        outcome = exchange(server.port, chosen["50 requests at once"])
        # The tiny query of the inputs is answered by any artifact.
        assert outcome.statuses == (200,) * 50
    assert not server.alive
    assert processes.family(server.process.pid) == []


def test_answers_are_the_artifacts(artifact: Path, tmp_path: Path) -> None:
    requests = write_requests(tmp_path, [*QUERIES, "x" * 5000])
    # A query longer than the service takes is left out.
    assert requests.queries == tuple(QUERIES)
    lines = requests.answers(artifact).read_text().splitlines()
    assert lines[0] == load(artifact).id
    assert len(lines) == len(QUERIES) + 1
    assert '"Vehicles"' in lines[1]
    urls = requests.urls.read_text().splitlines()
    assert urls[:3] == ["used+honda", "cr%C3%A8me+br%C3%BBl%C3%A9e", "a+%26+b+%2B+c"]
    assert len(requests.bodies.read_text().splitlines()) == len(QUERIES)


def test_variant_answers_unlike_its_source(artifact: Path, tmp_path: Path) -> None:
    path = variant(artifact, tmp_path / "variant")
    first, second = load(artifact), load(path)
    assert first.id != second.id
    assert (second.artifact.thresholds < first.artifact.thresholds).all()


@pytest.mark.parametrize(
    ("criterion", "outcome", "met"),
    [
        (hostile.REFUSED, Outcome((400,), True, False), True),
        (hostile.REFUSED, Outcome((), True, False), True),
        (hostile.REFUSED, Outcome((), False, True), False),
        (hostile.REFUSED, Outcome((200,), True, False), False),
        (hostile.REFUSED, Outcome((500,), True, False), False),
        (hostile.REFUSED, Outcome((400, 200), True, False), False),
        (hostile.REFUSED, Outcome((400, 404), True, False), False),
        (hostile.ONE_ANSWER, Outcome((200,), False, False), True),
        (hostile.ONE_ANSWER, Outcome((200, 200), False, False), False),
        (hostile.TOO_LARGE, Outcome((404,), True, False), False),
        (hostile.answered(2), Outcome((200, 200), False, False), True),
        (hostile.answered(2), Outcome((200,), True, False), False),
        (hostile.answered(2), Outcome((), True, False), False),
        (Criterion("", frozenset({200}), closes=True), Outcome((200,), False, False), False),
    ],
)
def test_criteria(criterion: Criterion, outcome: Outcome, met: bool) -> None:
    assert criterion.met(outcome) is met


def test_every_input_has_a_name_of_its_own() -> None:
    names = [one.name for one in hostile.inputs()]
    assert len(names) == len(set(names)) > 80
    assert len(TESTS) == 11


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Outcome((400,), True, False)),
        (b"", Outcome((), True, False)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Outcome((200,), True, False)),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Outcome((200, 200), True, False)),
    ],
)
def test_exchange_sees_what_comes_back(reply: bytes, expected: Outcome) -> None:
    code = (
        "import socket,sys\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(listener.getsockname()[1], flush=True)\n"
        "connection = listener.accept()[0]\n"
        "connection.recv(100)\n"
        f"connection.sendall({reply!r})\n"
        "connection.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert exchange(port, Input("x", b"GET / HTTP/1.1\r\n\r\n")) == expected


def test_memory_that_grows_is_not_flat() -> None:
    def samples(values: list[int]) -> list[Sample]:
        return [Sample(i, value, value, 1, 1) for i, value in enumerate(values)]

    # What grows at the start alone is warm-up.
    assert quarters(samples([10, 90, 100, 100, 100, 100, 100, 100]), "private") == (100, 100)
    assert quarters(samples([1, 2, 3, 4, 5, 6, 7, 8]), "private") == (3, 7)
    assert flat(100e6, 102e6, 3e6)
    assert flat(10e6, 12e6, 3e6)
    assert not flat(100e6, 104e6, 3e6)


def test_own_process_is_counted() -> None:
    me = os.getpid()
    assert processes.family(me)[0] == me
    assert processes.cpu_seconds([me]) > 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert processes.listens(me, port)
        assert processes.connections(me, port) == 0
    assert not processes.listens(me, port)


def test_memory_is_split_by_where_its_pages_come_from(tmp_path: Path) -> None:
    (tmp_path / "model files").mkdir()
    path = tmp_path / "model files" / "rows.npy"
    np.save(path, np.ones(2_000_000, np.uint8))
    before = processes.shares([os.getpid()], path.parent)
    assert before.files == 0
    assert before.other_files > 1_000_000
    mapped = np.load(path, mmap_mode="r")
    assert mapped.sum() == 2_000_000
    private = np.ones(64_000_000, np.uint8)
    after = processes.shares([os.getpid()], path.parent)
    assert 1_900_000 < after.files < 2_100_000
    assert after.anonymous - before.anonymous > private.nbytes * 0.9
    assert after.rest == after.other_files + after.anonymous
    assert processes.shares([os.getpid()], tmp_path / "model").files == 0
    whole = processes.memory([os.getpid()]).proportional
    assert abs(whole - after.files - after.rest) < whole * 0.1


def test_the_memory_of_workers_makes_a_section(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(
        worker_memory, "write_requests", lambda folder: write_requests(folder, QUERIES)
    )
    page = tmp_path / "RESULTS.md"
    options = ["--workers", "2", "--rate", "50", "--seconds", "1", "--runs", "1"]
    assert worker_memory.main([f"--artifact={artifact}", *options, f"--write={page}"]) == 0
    text = page.read_text()
    assert "## Memory of workers" in text
    row = next(line for line in text.splitlines() if line.startswith("| granian, 2"))
    assert row.count("MB") >= 4
    assert str(artifact) not in text


def test_what_each_more_worker_adds() -> None:
    def run(size: int) -> Run:
        return Run(Shares(size, size, size), Shares(0, 1, 2))

    found = {
        ("granian", 1): [run(10_000_000), run(9_000_000), run(90_000_000)],
        ("granian", 4): [run(20_000_000)],
        ("gunicorn", 1): [run(1)],
    }
    rows = [[cell.strip() for cell in row.split("|")] for row in summary(found).splitlines()[2:]]
    assert rows[0][1:-1] == ["granian, 1", "30.0 MB", "10.0 MB", "20.0 MB", "10.0 MB", "3.00 B", ""]
    assert rows[1][1:3] == ["granian, 4", "60.0 MB"]
    assert rows[1][-2] == "10.0 MB"
    assert rows[2][-2] == ""
