"""``python -m benchmarks.gate --base COMMIT``: 0 no regression, 1 regression, 2 cannot be told."""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks import collection, machine, made_up
from benchmarks.collection import tell
from benchmarks.gate import build
from benchmarks.gate.build import BuildError, Side
from benchmarks.gate.verdict import Bounds, Verdict, judge
from benchmarks.table import duration, table

WORKER = Path(__file__).with_name("worker.py")
MADE_UP = "made-up"
LOAD = "import, load, first answer"
MORE_LOADS = 5
Times = dict[str, dict[str, list[list[float]]]]
"""Seconds per query: by measure, side, launch and round."""


@dataclass
class Suite:
    """One model as each side has it; a side without an artifact only has why."""

    name: str
    queries: Path
    artifacts: dict[str, Path]
    remarks: list[str] = field(default_factory=list)


class Worker:
    """A fresh process of one side."""

    def __init__(self, side: Side, artifact: Path, queries: Path):
        self.side = side
        command = [sys.executable, "-P", str(WORKER), str(side.packages), str(artifact)]
        self.process = subprocess.Popen(
            [*command, str(queries)],
            cwd=side.source.parent,
            env={**os.environ, "PYTHONPATH": str(side.packages), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._receive()

    def time(self, measure: str) -> float:
        assert self.process.stdin is not None
        print(json.dumps(measure), file=self.process.stdin, flush=True)
        return float(self._receive())

    def _receive(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate()
            raise BuildError(f"{self.side.name}: a process ended with {self.process.returncode}")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.communicate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code that the module's first line names."""
    chosen = _parser().parse_args(arguments)
    bounds = Bounds(chosen.ratio, chosen.seconds)
    with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
        try:
            head, base, remarks = _sides(chosen.base, Path(scratch))
            suites = _suites(head, base, chosen.artifact, Path(scratch))
            verdicts = []
            for suite in suites:
                verdicts += _measure(suite, head, base, chosen, bounds)
                remarks += suite.remarks
        except BuildError as error:
            print(f"gate: {error}", file=sys.stderr)
            return 2
    for line in machine.description():
        print(line)
    print(_table(verdicts))
    for remark in remarks:
        print(f"note: {remark}")
    bad = [verdict for verdict in verdicts if verdict.failed]
    print(
        f"gate: {len(bad)} of {len(verdicts)} measures failed"
        if bad
        else f"gate: passed, {len(verdicts)} measures"
    )
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.gate", description="Compare latencies with those of a base commit."
    )
    parser.add_argument(
        "--base", help="default: HEAD when the working tree has changes on it, else HEAD~1"
    )
    parser.add_argument("--artifact", type=Path, help="measure this artifact too")
    parser.add_argument("--launches", type=int, default=8, help="pairs of fresh processes")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of each launch")
    parser.add_argument("--ratio", type=float, default=1.10, help="largest ratio to the base")
    parser.add_argument("--seconds", type=float, default=0.010, help="largest time of a request")
    return parser


def _sides(wanted: str | None, scratch: Path) -> tuple[Side, Side | None, list[str]]:
    tell("building the working tree")
    head = build.working_tree(scratch / "head")
    revision = build.resolve(wanted or ("HEAD" if machine.commit().endswith("+") else "HEAD~1"))
    if revision is None and wanted:
        raise BuildError(f"there is no commit {wanted!r}")
    if revision is None:
        return head, None, ["there is no base commit: the absolute bound alone was checked"]
    tell(f"building the base {revision[:12]}")
    try:
        return head, build.commit(revision, scratch / "base"), []
    except BuildError as error:
        return head, None, [f"absolute bound alone, for the base is not to be had: {error}"]


def _suites(head: Side, base: Side | None, given: Path | None, scratch: Path) -> list[Suite]:
    tell("writing the made-up artifact")
    queries = scratch / "made-up.json"
    queries.write_text(json.dumps(made_up.cases()), encoding="utf-8")
    suite = Suite(MADE_UP, queries, {head.name: _make_up(head)})
    if base:
        # Each side writes the same weights in its own format where it can.
        if _spec(base) == _spec(head):
            suite.artifacts[base.name] = _make_up(base)
        else:
            suite.artifacts[base.name] = suite.artifacts[head.name]
            suite.remarks.append(f"{base.name} does not make up the same model: it loads this one")
    suites = [suite]
    if given:
        texts = scratch / "given.json"
        texts.write_text(json.dumps({"test queries": collection.labelled().test.texts}))
        sides = [side.name for side in (head, base) if side]
        suites.append(Suite(str(given), texts, dict.fromkeys(sides, given.resolve())))
    return suites


def _spec(side: Side) -> str | None:
    # What made-up model a side makes; read, not run: its imports are of its own packages.
    path = side.source / "benchmarks" / "made_up.py"
    if not path.exists():
        return None
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "SPEC":
            return str(ast.literal_eval(statement.value))
    return None


def _make_up(side: Side) -> Path:
    path = side.source.parent / "made-up"
    outcome = subprocess.run(
        [sys.executable, "-P", str(side.source / "benchmarks" / "made_up.py"), str(path)],
        env={**os.environ, "PYTHONPATH": str(side.packages)},
        capture_output=True,
        text=True,
    )
    if outcome.returncode:
        raise BuildError(f"{side.name}: made_up.py failed:\n{outcome.stderr.strip()}")
    return path


def _measure(
    suite: Suite, head: Side, base: Side | None, chosen: argparse.Namespace, bounds: Bounds
) -> list[Verdict]:
    times: Times = {}
    sides = [side for side in (head, base) if side]
    random = np.random.default_rng(1)
    for launch in range(chosen.launches):
        workers: dict[str, Worker] = {}
        try:
            for place in random.permutation(len(sides)):
                side = sides[place]
                workers[side.name] = Worker(side, suite.artifacts[side.name], suite.queries)
            _drop_refusing(suite, head, sides, workers)
            if launch == 0:
                _note_absent(suite, workers)
            for name, worker in workers.items():
                times.setdefault(LOAD, {}).setdefault(name, []).append([worker.ready["load"]])
            _load_again(suite, [side for side in sides if side.name in workers], times, random)
            for measure in workers[head.name].ready["measures"]:
                _rounds(chosen.rounds, workers, measure, times, random)
        finally:
            for worker in workers.values():
                with worker:
                    pass
        tell(f"{suite.name}: launch {launch + 1}/{chosen.launches}")
    return [
        judge(f"{suite.name}: {measure}", seconds, head.name, bounds, measure != LOAD)
        for measure, seconds in times.items()
    ]


def _load_again(suite: Suite, sides: list[Side], times: Times, random: np.random.Generator) -> None:
    # One process tells little of loading: more of them, in turns, that do nothing else.
    for _ in range(MORE_LOADS):
        for place in random.permutation(len(sides)):
            side = sides[place]
            with Worker(side, suite.artifacts[side.name], suite.queries) as worker:
                times[LOAD][side.name][-1].append(worker.ready["load"])


def _drop_refusing(suite: Suite, head: Side, sides: list[Side], workers: dict[str, Worker]) -> None:
    # A base that cannot read the artifact is no base for it.
    for side in list(sides):
        if refused := workers[side.name].ready.get("refused"):
            if side is head:
                raise BuildError(f"{side.name}: {refused}")
            suite.remarks.append(
                f"{suite.name}: absolute bound alone, {side.name} refuses the artifact: {refused}"
            )
            with workers.pop(side.name):
                sides.remove(side)


def _note_absent(suite: Suite, workers: dict[str, Worker]) -> None:
    for name, worker in workers.items():
        for measure, reason in worker.ready["absent"].items():
            suite.remarks.append(f"{suite.name}: {name} has no {measure} ({reason})")


def _rounds(
    rounds: int,
    workers: dict[str, Worker],
    measure: str,
    times: Times,
    random: np.random.Generator,
) -> None:
    able = [name for name, worker in workers.items() if measure in worker.ready["measures"]]
    launches = times.setdefault(measure, {})
    for name in able:
        launches.setdefault(name, []).append([])
    for _ in range(rounds):
        # Neighbours in time, in an order drawn anew.
        for place in random.permutation(len(able)):
            name = able[place]
            launches[name][-1].append(workers[name].time(measure))


def _table(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [
            verdict.measure,
            duration(verdict.base) if verdict.base else "-",
            duration(verdict.head),
            f"{verdict.ratio.value:.3f}" if verdict.ratio else "-",
            f"{verdict.ratio.low:.3f} to {verdict.ratio.high:.3f}" if verdict.ratio else "-",
            verdict.text,
        ]
        for verdict in verdicts
    ]
    return table(["per query", "base", "now", "ratio", "95 % interval", "verdict"], rows)


if __name__ == "__main__":
    sys.exit(main())
