"""``python -m benchmarks.load.soak``: constant load for long, with memory that must stay flat."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import machine
from benchmarks.load import processes, servers
from benchmarks.load.generator import Generator, Load
from benchmarks.load.limit import limited
from benchmarks.load.requests import write_requests
from benchmarks.load.trial import errors_told, harmless, id_header
from benchmarks.results import bullets, write_section
from benchmarks.table import size, table

GROWTH = 0.03
"""The share by which the last quarter may be above the second one, or ``LEAST_GROWTH``."""
LEAST_GROWTH = 3e6
SHORT_SECONDS = 5.0
"""How long a client of the second load keeps its connections."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server's processes held at a time."""

    second: float
    private: int
    proportional: int
    threads: int
    descriptors: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every request was answered rightly and nothing grew, else 1."""
    chosen = _parser().parse_args(arguments)
    seconds = 60 * chosen.minutes
    measured_on = machine.description(("granian", "falcon"))
    # Starting takes some minutes at most, and so does what is under way at the end.
    with (
        limited(chosen.minutes + 5),
        tempfile.TemporaryDirectory(prefix="topiccore-soak-") as name,
    ):
        folder = Path(name)
        requests = write_requests(folder)
        artifact = chosen.artifact.resolve()
        server = servers.service(chosen.server, chosen.command)
        with servers.running(server, artifact, folder, chosen.workers, chosen.extra) as one:
            load = Load(
                requests.urls,
                rate=chosen.rate,
                seconds=seconds,
                expect=[requests.answers(artifact)],
                id_header=id_header(one),
                progress=60.0,
            )
            workers = one.workers()
            posts = replace(
                load, requests=requests.bodies, post=True, target="/v1/topics", rate=100.0
            )
            samples: list[Sample] = []
            start = time.monotonic()
            with Generator(load, one.port) as generator:
                second: list[str] = []
                wrong = 0
                while generator.running:
                    # Clients that come and go: their connections must leave nothing behind.
                    brief = replace(posts, seconds=SHORT_SECONDS, warm_up=0.0, progress=0.0)
                    left = seconds + load.warm_up - (time.monotonic() - start)
                    if left > SHORT_SECONDS + 1:
                        with Generator(replace(brief, seed=len(samples)), one.port) as clients:
                            found = clients.result()
                        if not harmless(found):
                            wrong += found.failed
                            second.append(errors_told(found))
                    else:
                        time.sleep(1)
                    samples.append(_sample(one, time.monotonic() - start))
                found = generator.result()
            same = set(workers) == set(one.workers())
    growths = [_growth(samples, name) for name in ("private", "threads", "descriptors")]
    rows = [
        [
            "GET: no error",
            f"{found.right:,} right, errors: {errors_told(found)}",
            _mark(harmless(found)),
        ],
        [
            "POST beside it, on new connections: no error",
            f"{wrong} {' '.join(second[:3])}".strip(),
            _mark(not wrong),
        ],
        ["no worker died", "none" if same else "some did", _mark(same)],
        ["private memory is flat", _told(samples, "private"), _mark(growths[0])],
        ["threads are flat", _told(samples, "threads"), _mark(growths[1])],
        ["open files and connections are flat", _told(samples, "descriptors"), _mark(growths[2])],
    ]
    notes = [
        f"command: `{machine.command('benchmarks.load.soak')}`",
        *measured_on,
        f"{chosen.rate:,.0f} GETs and 100 POSTs a second for {chosen.minutes:g} minutes, every "
        f"answer compared; {chosen.workers} workers on {chosen.server}; latency p50 "
        f"{found.latency_us['p50'] / 1000:.2f}, p99 {found.latency_us['p99'] / 1000:.2f}, p99.9 "
        f"{found.latency_us['p99.9'] / 1000:.2f}, max {found.latency_us['max'] / 1000:.0f} ms",
        f"flat: the least of the last quarter of {len(samples)} samples is at most {GROWTH:.0%} "
        f"(of memory: or {size(LEAST_GROWTH)}) above that of the second quarter",
    ]
    report = [bullets(notes), table(["criterion", "seen", ""], rows)]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "soak", "Soak", report)
    passed = harmless(found) and not wrong and same and all(growths)
    return 0 if passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.load.soak", description="Constant load for long; memory must stay flat."
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument("--server", choices=sorted(servers.WAYS), default="granian")
    parser.add_argument("--command", help="another command for it")
    parser.add_argument("--extra", default="", help="arguments to start the service with")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    return parser


def _sample(server: servers.Running, second: float) -> Sample:
    family = server.processes()
    held = processes.memory(family)
    return Sample(
        second,
        held.private,
        held.proportional,
        processes.threads(family),
        processes.descriptors(family),
    )


def quarters(samples: Sequence[Sample], name: str) -> tuple[float, float]:
    """The least of the second quarter, when all is warm, and of the last.

    Threads and their stacks come and go with the load; what leaks raises the least.
    """
    values = [getattr(sample, name) for sample in samples]
    quarter = max(1, len(values) // 4)
    return min(values[quarter : 2 * quarter] or values), min(values[-quarter:])


def _growth(samples: Sequence[Sample], name: str) -> bool:
    early, late = quarters(samples, name)
    # A thread or connection more or less is chance.
    return flat(early, late, LEAST_GROWTH if name == "private" else 8)


def flat(early: float, late: float, least: float) -> bool:
    """Whether ``late`` is not above ``early`` by more than a share and more than ``least``."""
    return late - early <= max(GROWTH * early, least)


def _told(samples: Sequence[Sample], name: str) -> str:
    early, late = quarters(samples, name)
    if name == "private":
        shared = samples[-1].proportional
        return f"{size(early)}, then {size(late)} (with shared pages {size(shared)})"
    return f"{early:g}, then {late:g}"


def _mark(passed: bool) -> str:
    return "met" if passed else "**missed**"


if __name__ == "__main__":
    sys.exit(main())
