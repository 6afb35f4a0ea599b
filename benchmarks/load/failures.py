"""``python -m benchmarks.load.failures``: what goes wrong on purpose, each with its criterion."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.collection import tell
from benchmarks.load import crowds, hostile, lives, servers
from benchmarks.load.generator import GeneratorError
from benchmarks.load.limit import limited
from benchmarks.load.requests import write_requests
from benchmarks.load.servers import ServerError
from benchmarks.load.trial import Trial, Verdict
from benchmarks.results import bullets, write_section
from benchmarks.table import table
from topiccore import ArtifactError, load

TESTS: dict[str, Callable[[Trial], list[Verdict]]] = {
    "malformed": hostile.malformed,
    "slow-headers": crowds.slow_headers,
    "slow-bodies": crowds.slow_bodies,
    "slow-readers": crowds.slow_readers,
    "idle-flood": crowds.idle_flood,
    "short-flood": crowds.short_flood,
    "reset-flood": crowds.reset_flood,
    "killed-workers": lives.killed_workers,
    "reloads": lives.reloads,
    "broken-artifact": lives.broken_artifact,
    "full-disk": lives.full_disk,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every criterion is met, else 1."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.tests) - set(TESTS):
        parser.error(f"no such test: {', '.join(sorted(unknown))}")
    try:
        load(chosen.artifact)
    except ArtifactError as error:
        parser.error(str(error))
    measured_on = machine.description(("granian", "falcon", "gunicorn", "meinheld"))
    verdicts: list[Verdict] = []
    with limited(chosen.limit), tempfile.TemporaryDirectory(prefix="topiccore-failures-") as name:
        trial = Trial(
            server=servers.service(chosen.server, chosen.command),
            artifact=chosen.artifact.resolve(),
            requests=write_requests(Path(name)),
            folder=Path(name),
            workers=chosen.workers,
            rate=chosen.rate,
            seconds=chosen.seconds,
            reloads=chosen.reloads,
            reload_signal=_signal(chosen.reload_signal),
            extra=chosen.extra,
        )
        for test in chosen.tests or TESTS:
            start = time.monotonic()
            tell(f"{test}: under way")
            try:
                found = TESTS[test](trial)
            except (ServerError, GeneratorError, OSError) as error:
                tell(f"error: {error}")
                told = str(error).splitlines()[0]
                found = [Verdict(test, "the test runs to its end", told, False)]
            for one in found:
                if not one.passed:
                    tell(f"  FAILED {one.test}: {one.criterion}: {one.seen}")
            bad = sum(not one.passed for one in found)
            tell(f"{test}: {len(found) - bad} of {len(found)}, {time.monotonic() - start:.0f} s")
            verdicts += found
    report = _report(verdicts, chosen, measured_on)
    print("\n\n".join(report))
    if chosen.write:
        title = f"Failures on purpose: {chosen.server}"
        write_section(chosen.write, f"failures-{chosen.server}", title, report)
    return 0 if all(one.passed for one in verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.load.failures", description="Unkind clients and accidents, judged."
    )
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"all, or of {', '.join(TESTS)}")
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument("--server", choices=sorted(servers.WAYS), default="granian")
    parser.add_argument(
        "--command", help="another command for it, with {model}, {port}, {workers} and {extra}"
    )
    parser.add_argument("--extra", default="", help="arguments to start the service with")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests per second under load")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a test under load")
    parser.add_argument("--reloads", type=int, default=20, help="in those seconds")
    parser.add_argument(
        "--reload-signal",
        default="HUP",
        help="what makes the main process look for a new artifact; 'none' where it watches",
    )
    parser.add_argument(
        "--limit", type=float, default=20.0, help="minutes after which all is stopped"
    )
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    return parser


def _signal(name: str) -> int | None:
    if name == "none":
        return None
    try:
        return int(signal.Signals[f"SIG{name.removeprefix('SIG')}"])
    except KeyError:
        raise SystemExit(f"there is no signal {name}") from None


def _report(
    verdicts: list[Verdict], chosen: argparse.Namespace, measured_on: list[str]
) -> list[str]:
    passed = sum(one.passed for one in verdicts)
    notes = [
        f"command: `{machine.command('benchmarks.load.failures')}`",
        *measured_on,
        f"{chosen.workers} workers; other clients send 200 checked requests per second while "
        f"malformed, slow and many clients do their worst; {chosen.rate:g} requests per second "
        f"for {chosen.seconds:g} s else",
        f"{passed} of {len(verdicts)} criteria met",
    ]
    rows = [
        [one.test, one.criterion, one.seen.replace("|", "/").replace("\n", " "), _mark(one)]
        for one in verdicts
    ]
    return [bullets(notes), table(["test", "criterion", "seen", ""], rows)]


def _mark(verdict: Verdict) -> str:
    return "met" if verdict.passed else "**missed**"


if __name__ == "__main__":
    sys.exit(main())
