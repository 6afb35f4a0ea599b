"""``python -m benchmarks.load.bars``: constant load and capacity, ours beside others."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import machine, timing
from benchmarks.collection import tell
from benchmarks.load import others, processes, servers
from benchmarks.load.generator import Found, GeneratorError, Load, send
from benchmarks.load.limit import limited
from benchmarks.load.requests import Requests, write_requests
from benchmarks.load.servers import Running, Server, ServerError
from benchmarks.load.trial import id_header
from benchmarks.machine import ROOT
from benchmarks.peers.cache import PeerError
from benchmarks.results import bullets, write_section
from benchmarks.table import size, table
from benchmarks.timing import Interval
from topiccore import ArtifactError, load

NULL = "null server in C"


@dataclass
class Measured:
    """The runs of one server."""

    title: str
    constant: list[Found] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Cores that all its processes used, per run at the constant rate."""
    capacity: list[Found] = field(default_factory=list)
    wrk: list[float] = field(default_factory=list)
    memory: processes.Memory | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """What the service must reach, and what it did."""

    told: str
    reached: str
    met: bool


@dataclass
class Run:
    """All that one call of the command shares."""

    chosen: argparse.Namespace
    requests: Requests
    answers: Path
    body: bytes
    """The answer of a usual size."""
    folder: Path
    measured_on: list[str]
    """The machine, told before the run loads it."""
    remarks: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every bar is met, else 1."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        load(chosen.artifact)
    except ArtifactError as error:
        parser.error(str(error))
    commands = dict(text.split("=", 1) for text in chosen.command)
    chosen.artifact = chosen.artifact.resolve()
    packages = ("granian", "falcon", "gunicorn", "meinheld", "flask", "scikit-learn")
    measured_on = machine.description(packages)
    with (
        limited(chosen.limit),
        tempfile.TemporaryDirectory(prefix="topiccore-load-") as name,
    ):
        requests = write_requests(Path(name))
        answers = requests.answers(chosen.artifact)
        run = Run(chosen, requests, answers, _usual(answers), Path(name), measured_on)
        (run.folder / "body.json").write_bytes(run.body)
        null = Measured(NULL)
        ours: dict[str, Measured] = {}
        constants: dict[str, Measured] = {}
        for number in range(chosen.runs):
            tell(f"run {number + 1}/{chosen.runs}")
            for way in chosen.servers:
                service = servers.service(way, commands.get(way))
                response = _guarded(run, way, partial(_service, run, service, ours, way))
                if response:
                    _null(run, response, null)
                    constant = _constant_server(run, way)
                    _guarded(
                        run,
                        f"constant on {way}",
                        partial(_constant, run, constant, constants, way),
                    )
        shares: dict[str, Interval] = {}
        for way in ours:
            service = servers.service(way, commands.get(way))
            _guarded(run, f"{way} beside a constant", partial(_beside, run, service, shares, way))
        rest = _others(run)
    bars = [(way, _bars(one, shares.get(way), chosen.rate)) for way, one in ours.items()]
    report = _report(run, null, ours, constants, rest, bars)
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "load", "The service under load", report)
    failed = not bars or any(not bar.met for _, found in bars for bar in found)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.load.bars", description="The service under constant load, and its limit."
    )
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument(
        "--servers", nargs="+", choices=sorted(servers.WAYS), default=["granian"], metavar="WAY"
    )
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="WAY=COMMAND",
        help="another command for a way, with {model}, {port} and {workers}",
    )
    parser.add_argument("--rate", type=float, default=2000.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run at that rate")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--capacity-seconds", type=float, default=10.0)
    parser.add_argument(
        "--share-rounds", type=int, default=12, help="of the service and the constant, in turns"
    )
    parser.add_argument("--share-seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument(
        "--others", nargs="*", choices=["flask", "litserve"], default=["flask", "litserve"]
    )
    parser.add_argument("--others-seconds", type=float, default=20.0, help="of their one run")
    parser.add_argument("--peers-cache", type=Path, default=Path("runs/peers"))
    parser.add_argument(
        "--litserve-folder", type=Path, default=ROOT / "build" / "load" / "litserve"
    )
    parser.add_argument(
        "--note", action="append", default=[], help="what else to say of the machine in the report"
    )
    parser.add_argument(
        "--limit", type=float, default=60.0, help="minutes after which all is stopped"
    )
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    return parser


def _guarded(run: Run, name: str, measure: Callable[[], bytes]) -> bytes:
    # A server that cannot be measured is told of, and the others are measured all the same.
    try:
        return measure()
    except (ServerError, GeneratorError, OSError) as error:
        remark = f"{name}: not measured: {str(error).splitlines()[0][:200]}"
        tell(f"error: {error}")
        if remark not in run.remarks:
            run.remarks.append(remark)
        return b""


def _service(run: Run, server: Server, ours: dict[str, Measured], way: str) -> bytes:
    chosen = run.chosen
    with servers.running(server, chosen.artifact, run.folder, chosen.workers) as one:
        base = Load(run.requests.urls, expect=[run.answers], id_header=id_header(one))
        measured = ours.setdefault(way, Measured(f"topiccore on {way}"))
        _measure(run, measured, one, base)
        line = run.answers.read_text(encoding="ascii").splitlines().index(run.body.decode())
        url = run.requests.urls.read_text(encoding="ascii").splitlines()[line - 1]
        request = f"GET /v1/topics?q={url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        response = one.raw(request.encode())
    # The null server keeps its connections.
    lines = response.split(b"\r\n")
    return b"\r\n".join(one for one in lines if not one.lower().startswith(b"connection:"))


def _null(run: Run, response: bytes, measured: Measured) -> None:
    with servers.null_server(response, run.folder) as port:
        _measure(run, measured, None, Load(run.requests.urls), port)


def _constant_server(run: Run, way: str) -> Server:
    body = str(run.folder / "body.json")
    return Server(
        f"constant-{way}", servers.CONSTANT_WAYS[way], environment={"CONSTANT_BODY": body}
    )


def _constant(run: Run, server: Server, found: dict[str, Measured], way: str) -> bytes:
    with servers.running(server, run.chosen.artifact, run.folder, run.chosen.workers) as one:
        measured = found.setdefault(way, Measured(f"constant in Falcon on {way}"))
        _measure(run, measured, one, Load(run.requests.urls))
    return b"measured"


def _beside(run: Run, server: Server, shares: dict[str, Interval], way: str) -> bytes:
    # In turns, because the speed of a shared machine wanders by more than the two differ.
    chosen = run.chosen
    pair = (server, _constant_server(run, way))
    rates = np.zeros((2, chosen.share_rounds))
    with contextlib.ExitStack() as stack:
        ports = [
            stack.enter_context(
                servers.running(one, chosen.artifact, run.folder, chosen.workers)
            ).port
            for one in pair
        ]
        for number in range(chosen.share_rounds):
            load = Load(
                run.requests.urls,
                rate=None,
                seconds=chosen.share_seconds,
                connections=chosen.connections,
                seed=number,
            )
            for side in (0, 1) if number % 2 else (1, 0):
                rates[side, number] = send(load, ports[side]).answered_per_second
    share = shares[way] = timing.median_ratio(rates[0], rates[1])
    tell(f"  topiccore on {way}: {_share(share)} of a constant's capacity, in turns")
    return b"measured"


def _share(share: Interval) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"


def _others(run: Run) -> list[Measured]:
    chosen = run.chosen
    found: list[Measured] = []
    makers = {
        "flask": lambda: others.flask(chosen.peers_cache),
        "litserve": lambda: others.litserve(chosen.litserve_folder),
    }
    for name in chosen.others:
        try:
            other = makers[name]()
        except (others.OtherMissingError, PeerError) as error:
            run.remarks.append(f"{name}: not measured: {error}")
            continue
        _guarded(run, name, partial(_other, run, other, found))
    return found


def _other(run: Run, other: others.Other, found: list[Measured]) -> bytes:
    with servers.running(other.server, run.chosen.artifact, run.folder, run.chosen.workers) as one:
        base = Load(run.requests.urls)
        if other.post:
            base = Load(run.requests.bodies, post=True, target="/v1/topics")
        measured = Measured(other.title)
        _measure(run, measured, one, base, seconds=run.chosen.others_seconds)
        found.append(measured)
    return b"measured"


def _measure(
    run: Run,
    measured: Measured,
    server: Running | None,
    base: Load,
    port: int = 0,
    seconds: float | None = None,
) -> None:
    # Once at the constant rate, once as fast as it goes.  A server that cannot keep up is asked for
    # the latter first: of the former it has a queue left.
    chosen = run.chosen
    number = len(measured.constant) + 1
    port = server.port if server else port
    base = replace(base, connections=chosen.connections, seed=number)
    if seconds:
        _limit(run, measured, server, base, port, timeout=60.0)
    start, used = time.monotonic(), server.cpu_seconds() if server else 0.0
    found = send(replace(base, rate=chosen.rate, seconds=seconds or chosen.seconds), port)
    if server:
        measured.cpu.append((server.cpu_seconds() - used) / (time.monotonic() - start))
        measured.memory = processes.memory(server.processes())
    measured.constant.append(found)
    tell(f"  {measured.title}: {_latencies(found)}, errors: {found.errors_told()}")
    if not seconds:
        _limit(run, measured, server, base, port)


def _limit(
    run: Run,
    measured: Measured,
    server: Running | None,
    base: Load,
    port: int,
    timeout: float = 10.0,
) -> None:
    # Answers are not compared here: that takes the generator time, which would count against the
    # servers whose answers can be.
    unchecked = replace(base, rate=None, expect=(), id_header=None, timeout=timeout)
    limit = send(replace(unchecked, seconds=run.chosen.capacity_seconds), port)
    measured.capacity.append(limit)
    tell(f"  {measured.title}: {limit.answered_per_second:,.0f}/s at most")
    if server and not base.post and shutil.which("wrk"):
        measured.wrk.append(_wrk(run, port))


def _wrk(run: Run, port: int) -> float:
    script = run.folder / "wrk.lua"
    script.write_text(
        "local paths = {}\n"
        "local place = 0\n"
        # Before this the requests would have no Host.
        "init = function(args)\n"
        f"  for line in io.lines('{run.requests.urls}') do\n"
        "    paths[#paths + 1] = wrk.format('GET', '/v1/topics?q=' .. line)\n"
        "    if #paths == 20000 then break end\n"
        "  end\n"
        "end\n"
        "request = function()\n"
        "  place = place % #paths + 1\n"
        "  return paths[place]\n"
        "end\n"
    )
    seconds = max(1, round(run.chosen.capacity_seconds))
    words = ["wrk", "--threads", "1", "--connections", str(run.chosen.connections)]
    words += ["--duration", f"{seconds}s", "--script", str(script), f"http://127.0.0.1:{port}"]
    done = subprocess.run(words, capture_output=True, text=True)
    shown = done.stdout
    if done.returncode or "Non-2xx" in shown:
        raise ServerError(f"wrk failed, or had answers other than 200\n{shown}{done.stderr}")
    lines = [line.split() for line in shown.splitlines() if line.startswith("Requests/sec:")]
    return float(lines[0][1]) if lines else 0.0


def _usual(answers: Path) -> bytes:
    # The answer whose size is the median.
    lines = answers.read_text(encoding="ascii").splitlines()[1:]
    return sorted(lines, key=len)[len(lines) // 2].encode()


def _bars(one: Measured, share: Interval | None, rate: float) -> list[Bar]:
    errors = sum(found.failed for found in one.constant)
    p50, p99, p999 = (_median(one.constant, name) / 1000 for name in ("p50", "p99", "p99.9"))
    cpu = statistics.median(one.cpu)
    capacity = _capacity(one)
    limit = _median(one.capacity, "p99") / 1000
    failed = sum(found.failed for found in one.capacity)
    bars = [
        Bar(f"{rate:,.0f}/s: no error", f"{errors}", errors == 0),
        Bar("p50 at most 0.4 ms", f"{p50:.2f} ms", p50 <= 0.4),
        Bar("p99 at most 3 ms", f"{p99:.2f} ms", p99 <= 3),
        Bar("p99.9 at most 10 ms", f"{p999:.2f} ms", p999 <= 10),
        Bar("server CPU at most 50 % of a core", f"{cpu:.0%}", cpu <= 0.5),
        Bar("capacity at least 10,000/s", f"{capacity:,.0f}/s", capacity >= 10_000),
        Bar(
            "p99 at capacity below 10 ms",
            f"{limit:.2f} ms, {failed} errors",
            limit < 10 and failed == 0,
        ),
    ]
    if share:
        told = "capacity at least 85 % of a constant's on the same server, in turns"
        bars.append(Bar(told, _share(share), share.value >= 0.85))
    return bars


def _median(runs: list[Found], name: str) -> float:
    return statistics.median(found.latency_us[name] for found in runs)


def _capacity(one: Measured) -> float:
    return statistics.median(found.answered_per_second for found in one.capacity)


def _latencies(found: Found) -> str:
    ms = {name: found.latency_us[name] / 1000 for name in ("p50", "p99", "p99.9", "max")}
    return ", ".join(f"{name} {value:.2f} ms" for name, value in ms.items())


def _report(
    run: Run,
    null: Measured,
    ours: dict[str, Measured],
    constants: dict[str, Measured],
    rest: list[Measured],
    bars: list[tuple[str, list[Bar]]],
) -> list[str]:
    chosen = run.chosen
    notes = [
        f"command: `{machine.command('benchmarks.load.bars')}`",
        *run.measured_on,
        *chosen.note,
        f"artifact {load(chosen.artifact).id[:12]}; {len(run.requests.queries):,} real queries in "
        f"random order over {chosen.connections} keep-alive connections; {chosen.workers} workers; "
        "the generator is on the same cores",
        f"constant rate: {chosen.rate:,.0f} requests/s for {chosen.seconds:g} s, latency from when "
        f"a request was due, the median of {chosen.runs} runs; a request not answered in "
        f"{Load(run.requests.urls).timeout:g} s is an error and counts with that latency; servers "
        f"that are not topiccore's run once, {chosen.others_seconds:g} s",
        "at the constant rate every answer of topiccore was compared with what its artifact says "
        "in another process",
        f"capacity: the same connections ask again at once, {chosen.capacity_seconds:g} s; wrk "
        "beside, where it is installed",
        "late: how long after it was due the generator itself sent a request, p99: what part of "
        "the latency is not the server's",
        "CPU: of all processes of the server, in parts of one core; memory: all its processes, "
        "shared pages counted once (PSS)",
    ]
    header = ["", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "late p99 ms", "errors", "CPU"]
    header += ["capacity/s", "p99 there ms", "wrk/s", "memory"]
    rows = [_row(one) for one in [null, *ours.values(), *constants.values(), *rest] if one.constant]
    blocks = [bullets(notes), table(header, rows)]
    for way, found in bars:
        lines = [[bar.told, bar.reached, "met" if bar.met else "**missed**"] for bar in found]
        blocks += [table([f"bars: topiccore on {way}", "reached", ""], lines)]
    if run.remarks:
        blocks.append(bullets(run.remarks))
    return blocks


def _row(one: Measured) -> list[str]:
    late = statistics.median(found.lateness_us["p99"] for found in one.constant)
    errors, issued = (
        sum(sum(found.errors.values()) for found in one.constant),
        sum(found.issued for found in one.constant),
    )
    return [
        one.title,
        *(f"{_median(one.constant, name) / 1000:.2f}" for name in ("p50", "p99", "p99.9", "max")),
        f"{late / 1000:.2f}",
        f"{errors:,} of {issued:,}",
        f"{statistics.median(one.cpu):.0%}" if one.cpu else "-",
        f"{_capacity(one):,.0f}",
        f"{_median(one.capacity, 'p99') / 1000:.2f}",
        f"{statistics.median(one.wrk):,.0f}" if one.wrk else "-",
        size(one.memory.proportional) if one.memory else "-",
    ]


if __name__ == "__main__":
    sys.exit(main())
