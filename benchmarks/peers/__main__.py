"""``python -m benchmarks.peers``: trains the peers, then measures all of them in one run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import collection, machine, timing
from benchmarks.collection import tell
from benchmarks.peers import PEERS, cache
from benchmarks.peers.server import Server
from benchmarks.peers.targets import training_set
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, rate, size, table
from training.dataset import Dataset
from training.evaluate import coverage_at_precision, topic_scores
from training.report.curves import CURVES, add_curves, curves

OURS = "topiccore_artifact"


@dataclass
class Measured:
    """What was found of one peer; ``single`` has the seconds of each query, by round."""

    name: str
    peer: ModuleType
    folder: Path
    coverage: float
    first: float = 0.0
    single: list[NDArray[np.float64]] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 when a peer that could run failed; the others are measured all the same."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    failures: list[str] = []
    skipped: list[str] = []
    measured: list[Measured] = []
    dataset = collection.labelled()
    texts, targets, sums = training_set(dataset, chosen.annotations)
    with tempfile.TemporaryDirectory() as scratch:
        inputs = {"queries": Path(scratch) / "train.json", "targets": Path(scratch) / "train.npy"}
        inputs["queries"].write_text(json.dumps(texts), encoding="utf-8")
        np.save(inputs["targets"], targets)
        questions = Path(scratch) / "test.json"
        questions.write_text(json.dumps(dataset.test.texts), encoding="utf-8")
        for name in chosen.peers or PEERS:
            try:
                peer = cache.module(name)
                folder = (
                    _artifact(chosen.artifact)
                    if name == OURS
                    else cache.trained(name, peer, chosen.cache, sums, inputs, _teller(name))
                )
                output = Path(scratch) / f"{name}.npy"
                cache.run(
                    cache.worker_command(
                        "probabilities", name, folder, queries=questions, output=output
                    ),
                    _teller(name),
                )
                probabilities = np.load(output)
                coverage = _coverage(probabilities, dataset)
                if chosen.write and name != OURS:
                    learned = " and annotations" if chosen.annotations else ""
                    drawn = curves(probabilities, dataset.test, dataset.taxonomy)
                    add_curves(
                        CURVES, dataset.sums["test"], {f"{peer.TITLE}; same labels{learned}": drawn}
                    )
                measured.append(Measured(name, peer, folder, coverage))
                tell(f"{name}: coverage {coverage:.1%}")
            except cache.PeerMissingError as error:
                skipped.append(f"{name}: not measured, {error}")
                tell(skipped[-1])
            except cache.PeerError as error:
                failures.append(f"{name}: {error}")
                tell(f"error: {failures[-1]}")
        _time(measured, questions, chosen, failures)
    report = _report(measured, [*skipped, *failures], chosen, len(dataset.test), sums)
    print("\n\n".join(report))
    if chosen.write and not failures:
        if chosen.annotations:
            write_section(chosen.write, "annotated", "Peers that learned the annotations", report)
        else:
            write_section(chosen.write, "peers", "Peers side by side", report)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers", description="Quality, speed and memory of peers, in one run."
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"all, or of {', '.join(PEERS)}")
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="teach the peers these annotations too"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/peers"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0, help="longest round of a peer")
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    return parser


def _teller(name: str) -> Any:
    return lambda line: tell(f"{name}: {line}")


def _artifact(path: Path) -> Path:
    if not path.is_dir():
        raise cache.PeerMissingError(f"there is no artifact at {path}")
    return path.resolve()


def _coverage(probabilities: NDArray[np.float32], dataset: Dataset) -> float:
    raised = topic_scores(probabilities, dataset.taxonomy)
    return coverage_at_precision(raised, dataset.test.gold, 0.9).coverage


def _time(
    measured: list[Measured], questions: Path, chosen: argparse.Namespace, failures: list[str]
) -> None:
    # One process at a time answers; the order of the peers is drawn anew each round.
    servers: dict[str, Server] = {}
    try:
        for one in measured:
            servers[one.name] = Server(one.name, one.folder, questions)
            one.first = servers[one.name].first
            tell(f"{one.name}: loaded, first answer after {duration(one.first)}")
        random = np.random.default_rng(1)
        for number in range(chosen.rounds):
            for place in random.permutation(len(measured)):
                one = measured[place]
                seconds = servers[one.name].ask("single", number, chosen.seconds)
                one.single.append(np.array(seconds))
            for place in random.permutation(len(measured)):
                one = measured[place]
                one.batch.append(servers[one.name].ask("batch", number, chosen.seconds))
            tell(f"round {number + 1}/{chosen.rounds}")
        for one in measured:
            one.memory = servers[one.name].ask("memory")
    except cache.PeerError as error:
        failures.append(str(error))
        tell(f"error: {error}")
    finally:
        for server in servers.values():
            with server:
                pass


def _report(
    measured: list[Measured],
    remarks: list[str],
    chosen: argparse.Namespace,
    queries: int,
    sums: Mapping[str, str],
) -> list[str]:
    timed = [one for one in measured if one.memory]
    ours = next((one for one in timed if one.name == OURS), None)
    header = ["", "coverage at 90 % precision", "median", "p99", "times topiccore's median"]
    header += ["batch, queries/s", "load + first", "model", "peak memory", "of it private"]
    rows = []
    for one in timed:
        pooled = np.concatenate(one.single)
        rows.append(
            [
                one.peer.TITLE,
                f"{one.coverage:.1%}",
                duration(float(np.median(pooled))),
                duration(float(np.quantile(pooled, 0.99))),
                _times(one, ours),
                rate(float(np.median(one.batch))),
                duration(one.first),
                size(cache.model_bytes(one.folder)),
                size(one.memory["peak"]),
                size(one.memory["private"]),
            ]
        )
    packages = sorted({package for one in timed for package in one.peer.PACKAGES})
    notes = [
        f"command: `{machine.command('benchmarks.peers')}`",
        *machine.description(packages),
        f"{queries} test queries in random order, {chosen.rounds} rounds (one of a peer lasts "
        f"{chosen.seconds:g} s at most), peers taking turns; each peer in its own process on one "
        "thread",
        "median, p99: one query from Python to labels; times topiccore's median: median over "
        "rounds of the ratio of a round's medians, with its 95 % bootstrap interval",
        "coverage: the largest share of test queries that one cut on the scores labels with a "
        "precision of at least 90 %; a topic has at least the score of its subtopics",
        "trained on " + ", ".join(f"{name} {value[:12]}" for name, value in sums.items()),
        "peak memory: of the whole process with Python and the library; what is not private is "
        "mapped from files and shared between processes",
    ]
    if ours:
        notes.append(f"topiccore's artifact was trained on: {_artifact_data(ours.folder)}")
    blocks = [bullets(notes), table(header, rows)]
    if remarks:
        blocks.append(bullets(remarks))
    return blocks


def _times(one: Measured, ours: Measured | None) -> str:
    if ours is None:
        return "-"
    if one is ours:
        return "1"
    found = timing.median_ratio(
        np.array([[np.median(seconds)] for seconds in one.single]),
        np.array([[np.median(seconds)] for seconds in ours.single]),
    )
    low, value, high = (f"{float(f'{x:.3g}'):,.7g}" for x in (found.low, found.value, found.high))
    return f"{value} ({low} to {high})"


def _artifact_data(folder: Path) -> str:
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return json.dumps(content.get("data", {}), ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
