"""``python -m benchmarks.load.worker_memory``: what each more worker of the service costs."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import machine
from benchmarks.collection import tell
from benchmarks.load import processes, servers
from benchmarks.load.generator import GeneratorError, Load, send
from benchmarks.load.limit import limited
from benchmarks.load.processes import Shares
from benchmarks.load.requests import write_requests
from benchmarks.load.servers import ServerError
from benchmarks.results import bullets, write_section
from benchmarks.table import size, table
from topiccore import ArtifactError, load


@dataclass(frozen=True, slots=True)
class Run:
    """One server after it has answered for a while."""

    every: Shares
    """All its processes."""
    main: Shares
    """The main process alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 where a server could not be measured."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        model = load(chosen.artifact)
    except ArtifactError as error:
        parser.error(str(error))
    artifact = chosen.artifact.resolve()
    measured_on = machine.description(("granian", "gunicorn", "falcon"))
    found: dict[tuple[str, int], list[Run]] = {}
    with limited(chosen.limit), tempfile.TemporaryDirectory(prefix="topiccore-memory-") as name:
        folder = Path(name)
        asked = Load(
            write_requests(folder).urls, rate=chosen.rate, seconds=chosen.seconds, connections=64
        )
        for number in range(chosen.runs):
            for way in chosen.servers:
                for workers in chosen.workers:
                    tell(f"run {number + 1}/{chosen.runs}: {way}, {workers} workers")
                    try:
                        run = _measure(
                            way, workers, artifact, folder, replace(asked, seed=number + 1)
                        )
                    except (ServerError, GeneratorError, OSError) as error:
                        tell(f"error: {error}")
                        return 1
                    found.setdefault((way, workers), []).append(run)
    report = [
        bullets(
            [
                f"command: `{machine.command('benchmarks.load.worker_memory')}`",
                *measured_on,
                f"artifact {model.id[:12]}; all processes of `topiccore serve` after "
                f"{chosen.seconds:g} s of {chosen.rate:,.0f} real queries/s over 64 connections; "
                f"medians of {chosen.runs} runs",
                "PSS: resident memory, each page that processes share counted in equal parts, so "
                "that the sum is what the machine has less; pages of the interpreter and its "
                "libraries are shared with other processes of the machine, too",
            ]
        ),
        summary(found),
    ]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "worker-memory", "Memory of workers", report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.load.worker_memory", description="Memory of the service by its workers."
    )
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument(
        "--servers", nargs="+", choices=sorted(servers.WAYS), default=["granian"], metavar="WAY"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], metavar="N")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of requests before a look")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=15.0, help="minutes after which all is stopped"
    )
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    return parser


def _measure(way: str, workers: int, artifact: Path, folder: Path, asked: Load) -> Run:
    with servers.running(servers.service(way), artifact, folder, workers) as server:
        found = send(asked, server.port)
        if found.failed:
            raise ServerError(f"{way}, {workers} workers: {found.errors_told()}")
        every = server.processes()
        return Run(processes.shares(every, artifact), processes.shares(every[:1], artifact))


def summary(found: dict[tuple[str, int], list[Run]]) -> str:
    """The table of the runs of each way and number of workers: medians, and what a worker adds."""
    header = ["server, workers", "all", "model's files", "the rest", "of it in no file"]
    header += ["main process", "each more worker"]
    rows = []
    before: tuple[str, int, float] | None = None
    for (way, workers), runs in found.items():
        every = _median(runs, lambda run: run.every.files + run.every.rest)
        more = ""
        if before is not None and before[0] == way and workers > before[1]:
            more = size((every - before[2]) / (workers - before[1]))
        before = (way, workers, every)
        rows.append(
            [
                f"{way}, {workers}",
                size(every),
                size(_median(runs, lambda run: run.every.files)),
                size(_median(runs, lambda run: run.every.rest)),
                size(_median(runs, lambda run: run.every.anonymous)),
                size(_median(runs, lambda run: run.main.files + run.main.rest)),
                more,
            ]
        )
    return table(header, rows)


def _median(runs: Sequence[Run], figure: Callable[[Run], int]) -> float:
    return statistics.median(map(figure, runs))


if __name__ == "__main__":
    sys.exit(main())
