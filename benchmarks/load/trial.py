"""What the failure tests share: the server under test, its other clients, verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load import servers
from benchmarks.load.generator import Found, Generator, Load
from benchmarks.load.requests import Requests
from topiccore import artifact as artifacts

BYSTANDER_TIMEOUT = 5.0
"""Seconds in which the other clients must have their answers, whatever happens beside them."""
RECOVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One criterion, what was seen, and whether it was met."""

    test: str
    criterion: str
    seen: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """What to test and how hard."""

    server: servers.Server
    artifact: Path
    requests: Requests
    folder: Path
    workers: int
    rate: float
    """Requests per second of the tests under load."""
    seconds: float
    """How long a test under load, or a slow client, goes on."""
    reloads: int
    reload_signal: int | None
    """What tells the main process to look for a new artifact; ``None``: it watches by itself."""
    extra: str
    """Arguments that every start of the server gets."""

    @contextmanager
    def running(
        self, model: Path | None = None, extra: str = "", prefix: tuple[str, ...] = ()
    ) -> Iterator[servers.Running]:
        """The server, started for one test."""
        options = f"{self.extra} {extra}".strip()
        with servers.running(
            self.server, model or self.artifact, self.folder, self.workers, options, prefix
        ) as one:
            yield one

    def checked_load(self, server: servers.Running, *models: Path) -> Load:
        """A load of which every answer is compared with what the models say."""
        return Load(
            self.requests.urls,
            rate=self.rate,
            seconds=self.seconds,
            timeout=BYSTANDER_TIMEOUT,
            expect=[self.requests.answers(model) for model in models or (self.artifact,)],
            id_header=id_header(server),
        )


class Bystanders:
    """Clients that do nothing wrong, while something else goes on."""

    def __init__(self, trial: Trial, server: servers.Running):
        load = trial.checked_load(server)
        self._trial = trial
        self._server = server
        self._workers = server.workers()
        # Without end: the block that they stand beside decides.
        self._generator = Generator(
            replace(load, rate=200.0, seconds=3600.0, warm_up=0.0, connections=8), server.port
        )

    def __enter__(self) -> Bystanders:
        return self

    def __exit__(self, *error: object) -> None:
        self._generator.__exit__(None, None, None)

    def verdicts(self, test: str) -> list[Verdict]:
        """Ends their load; tells whether they, and the server's processes, came to harm."""
        found = self._generator.stop()
        return [
            Verdict(
                test,
                f"other clients: every answer right, within {BYSTANDER_TIMEOUT:g} s",
                f"{found.right} right, errors: {errors_told(found)}, "
                f"p99 {found.latency_us['p99'] / 1000:.1f} ms",
                harmless(found),
            ),
            alive(test, self._server, self._workers),
        ]


def harmless(found: Found) -> bool:
    """Whether all but what was under way at the end was answered rightly."""
    bad = found.failed - found.errors["unfinished"]
    return bad == 0 and found.right > 0


def errors_told(found: Found) -> str:
    """The errors by kind, without what was under way when the load was stopped."""
    return replace(found, errors={**found.errors, "unfinished": 0}).errors_told()


def alive(test: str, server: servers.Running, workers: list[int]) -> Verdict:
    """Whether the processes are the same as before and the server is ready."""
    same = server.alive and set(workers) == set(server.workers())
    ready = server.wait_until_ready(RECOVERY_SECONDS)
    return Verdict(
        test,
        "no process died, the server is ready",
        f"{'the same' if same else 'other'} processes, {'ready' if ready else 'not ready'}",
        same and ready,
    )


def id_header(server: servers.Running) -> str | None:
    """The header that names the artifact like the field ``model``; ``None`` where none does."""
    raw = server.raw(b"GET /v1/topics?q=car HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    model = json.loads(body)["model"]
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if value.strip() == model:
            return name.strip().lower()
    return None


def variant(source: Path, path: Path) -> Path:
    """An artifact that answers unlike its source: its thresholds are lower by half a logit."""
    model = artifacts.load(source)
    artifacts.save(replace(model, thresholds=model.thresholds - 0.5, id="", path=None), path)
    return path
