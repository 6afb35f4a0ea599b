"""Runs the load generator and reads what it found."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.load.compiled import program


class GeneratorError(Exception):
    """The generator could not run: no connection, a bad file."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.  ``requests`` is a file with one request a line, sent in random order.

    A line is the end of the URL, after ``target``; with ``post`` it is a body for ``target``.
    ``expect`` are files of answers: the id of an artifact, then the answer to each line.
    """

    requests: Path
    rate: float | None = 2000.0
    """Requests per second; ``None``: as many as are answered (closed loop)."""
    seconds: float = 10.0
    warm_up: float = 1.0
    """Seconds before those that count."""
    connections: int = 32
    timeout: float = 10.0
    target: str = "/v1/topics?q="
    post: bool = False
    headers: Sequence[str] = ()
    check: bool = False
    """Every answer must have a field ``model``."""
    id_header: str | None = None
    """The header that must name the same artifact as the field."""
    expect: Sequence[Path] = ()
    seed: int = 1
    progress: float = 0.0
    """Seconds between lines of progress on standard error; 0: none."""
    counts: Path | None = None
    """Where to write every 50 ms what was counted so far: JSON lines of ``time`` (seconds of
    ``time.monotonic``), ``answered``, ``failed`` and ``models``."""

    def arguments(self, port: int) -> list[str]:
        """The generator's command line."""
        words = [f"--port={port}", f"--requests={self.requests}", f"--seconds={self.seconds:g}"]
        words += [f"--warm-up={self.warm_up:g}", f"--connections={self.connections}"]
        words += [f"--timeout={self.timeout:g}", f"--target={self.target}", f"--seed={self.seed}"]
        words += [f"--progress={self.progress:g}"]
        words += [f"--rate={self.rate:g}"] if self.rate is not None else []
        words += [f"--counts={self.counts}"] if self.counts else []
        words += ["--post"] if self.post else []
        words += ["--check"] if self.check else []
        words += [f"--id-header={self.id_header}"] if self.id_header else []
        words += [f"--header={header}" for header in self.headers]
        return words + [f"--expect={path}" for path in self.expect]


@dataclass(frozen=True, slots=True)
class Found:
    """What the generator counted; latencies are in microseconds, from when a request was due."""

    issued: int
    """Requests that were due in the time that counts."""
    answered: int
    """Those with a whole answer, right or not."""
    right: int
    answered_per_second: float
    errors: Mapping[str, int]
    statuses: Mapping[str, int]
    models: Mapping[str, int]
    """Answers by the artifact that they name."""
    latency_us: Mapping[str, float]
    """A request that timed out is in here with the timeout."""
    lateness_us: Mapping[str, float]
    """How long after it was due the generator sent a request that had a free connection."""
    warm_up_errors: int
    connects: int
    connect_failures: int
    idle_closes: int
    cpu_seconds: float
    """CPU time of the generator itself."""
    seconds: float
    examples: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """The first errors: kind, line of the requests file (never its text) and status."""

    @property
    def failed(self) -> int:
        """All errors, those of the warm-up too."""
        return sum(self.errors.values()) + self.warm_up_errors

    def errors_told(self) -> str:
        """The errors by kind, for people."""
        told = [f"{name} {count}" for name, count in self.errors.items() if count]
        told += [f"in warm-up {self.warm_up_errors}"] if self.warm_up_errors else []
        return ", ".join(told) or "none"


class Generator:
    """A load under way; leaving the block stops it."""

    def __init__(self, load: Load, port: int):
        self._process = subprocess.Popen(
            [str(program("generator")), *load.arguments(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if not load.progress else sys.stderr,
            text=True,
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> Found:
        """Ends the load now; what is under way counts as unfinished."""
        self._process.send_signal(signal.SIGINT)
        return self.result()

    def result(self, timeout: float | None = None) -> Found:
        """Waits for the end of the load; raises ``GeneratorError``."""
        output, errors = self._process.communicate(timeout=timeout)
        if self._process.returncode:
            raise GeneratorError((errors or "").strip() or f"ended: {self._process.returncode}")
        content = json.loads(output)
        return Found(**{name: content[name] for name in Found.__dataclass_fields__})

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.running:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


def send(load: Load, port: int) -> Found:
    """Sends a load to a port of this machine; raises ``GeneratorError``."""
    with Generator(load, port) as generator:
        return generator.result()
