"""``python -m benchmarks.score_latency``: topiccore's own speed and size against their bars."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

import topiccore
from benchmarks import collection, machine, timing
from benchmarks.collection import tell
from benchmarks.peers import cache
from benchmarks.peers.server import Server
from benchmarks.peers.targets import training_set
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, rate, size, table
from topiccore import TopicModel

OURS, PEER = "topiccore_artifact", "fasttext_words"
REPEATS = 100  # the test queries this often make a column long enough for threads
PROCESSES = 15
FRESH = """\
import sys, time
start = time.perf_counter()
import topiccore
imported = time.perf_counter()
topiccore.load(sys.argv[1]).score(sys.argv[2])
print(imported - start, time.perf_counter() - imported)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.score_latency", description="Figures of topiccore and their bars."
    )
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument("--cache", type=Path, default=Path("runs/peers"))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args(arguments)
    dataset = collection.labelled()
    queries = dataset.test.texts
    model = topiccore.load(chosen.artifact)
    try:
        ours, peer = _single(chosen, queries, *training_set(dataset))
    except (cache.PeerError, cache.PeerMissingError) as error:
        print(f"score_latency: {PEER}: {error}", file=sys.stderr)
        return 1
    kernel, both = _columns(model, queries, chosen.rounds)
    imported, answered, whole = _fresh(chosen.artifact, queries[0])
    report = _report(model, chosen, len(queries), ours, peer, kernel, both)
    report += [_loading(imported, answered, whole)]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "score", "topiccore's own figures", report)
    return 0


def _single(
    chosen: argparse.Namespace,
    queries: list[str],
    texts: list[str],
    targets: np.ndarray,
    sums: dict[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each query by round, float64 [rounds, queries], of topiccore and of fastText."""
    with tempfile.TemporaryDirectory() as scratch:
        inputs = {"queries": Path(scratch) / "train.json", "targets": Path(scratch) / "train.npy"}
        inputs["queries"].write_text(json.dumps(texts), encoding="utf-8")
        np.save(inputs["targets"], targets)
        peer = cache.trained(PEER, cache.module(PEER), chosen.cache, sums, inputs, tell)
        questions = Path(scratch) / "test.json"
        questions.write_text(json.dumps(queries), encoding="utf-8")
        found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        with (
            Server(OURS, chosen.artifact.resolve(), questions) as ours,
            Server(PEER, peer, questions) as theirs,
        ):
            for number in range(chosen.rounds):
                sides = [(ours, found[0]), (theirs, found[1])]
                for server, rounds in sides if number % 2 else sides[::-1]:
                    rounds.append(np.array(server.ask("single", number, 10.0)))
                tell(f"one query: round {number + 1}/{chosen.rounds}")
    return np.array(found[0]), np.array(found[1])


def _columns(model: TopicModel, queries: list[str], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per query by round of an Arrow column, on one thread and on two."""
    random = np.random.default_rng(1)
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        order = random.permutation(len(queries) * REPEATS) % len(queries)
        column = pa.array([queries[place] for place in order])
        for threads in (1, 2) if number % 2 else (2, 1):
            with timing.without_collector():
                start = time.perf_counter()
                model.score_arrow(column, threads=threads)
                found[threads].append((time.perf_counter() - start) / len(column))
    tell(f"Arrow columns: {rounds} rounds")
    return np.array(found[1]), np.array(found[2])


def _fresh(artifact: Path, query: str) -> tuple[float, float, float]:
    """Medians over fresh processes: importing, loading with the first answer, all of it."""
    rows = []
    for _ in range(PROCESSES):
        start = time.perf_counter()
        outcome = subprocess.run(
            [sys.executable, "-c", FRESH, str(artifact), query],
            check=True,
            capture_output=True,
            text=True,
        )
        rows.append([*map(float, outcome.stdout.split()), time.perf_counter() - start])
    imported, answered, whole = (statistics.median(column) for column in zip(*rows, strict=True))
    return imported, answered, whole


def _report(
    model: TopicModel,
    chosen: argparse.Namespace,
    queries: int,
    ours: np.ndarray,
    peer: np.ndarray,
    kernel: np.ndarray,
    both: np.ndarray,
) -> list[str]:
    ratio = timing.median_ratio(
        np.median(peer, axis=1, keepdims=True), np.median(ours, axis=1, keepdims=True)
    )
    threads = timing.median_ratio(kernel[:, None], both[:, None])
    stored = cache.model_bytes(chosen.artifact)
    single, column = float(np.median(ours)), float(np.median(kernel))
    rows = [
        ["score of one query, median", duration(single), "4 µs at most", single <= 4e-6],
        ["score of one query, p99", duration(float(np.quantile(ours, 0.99))), "-", None],
        ["fastText, predict(k=5, threshold), median", duration(float(np.median(peer))), "-", None],
        [
            "fastText's median over topiccore's",
            f"{ratio.value:.1f} ({ratio.low:.1f} to {ratio.high:.1f})",
            "10 at least",
            ratio.value >= 10,
        ],
        [
            "kernel alone (Arrow column, one thread)",
            duration(column),
            "2 µs at most",
            column <= 2e-6,
        ],
        ["Arrow, one thread, queries/s", rate(column), "500,000 at least", column <= 2e-6],
        ["Arrow, two threads, queries/s", rate(float(np.median(both))), "-", None],
        [
            "two threads over one",
            f"{threads.value:.2f} ({threads.low:.2f} to {threads.high:.2f})",
            "1.8 at least",
            threads.value >= 1.8,
        ],
        ["artifact", size(stored), "25 MB at most", stored <= 25e6],
    ]
    notes = [
        f"command: `{machine.command('benchmarks.score_latency')}`",
        *machine.description(["fasttext-community", "pyarrow"]),
        f"artifact {model.id[:12]}, encoding {model.artifact.encoding}; {queries} test queries in "
        f"random order, {chosen.rounds} rounds, sides in turns, each in its own process",
        "ratios: median over rounds, with the 95 % bootstrap interval",
    ]
    return [bullets(notes), table(["", "measured", "bar", "met"], [_with_verdict(r) for r in rows])]


def _with_verdict(row: list[object]) -> list[str]:
    *cells, met = row
    return [*map(str, cells), "" if met is None else "yes" if met else "**no**"]


def _loading(imported: float, answered: float, whole: float) -> str:
    rows = [
        ["load and first answer", duration(answered), "100 ms at most", answered <= 0.1],
        ["import topiccore, load and first answer", duration(imported + answered), "-", None],
        ["the whole process, interpreter included", duration(whole), "-", None],
    ]
    return table(
        [f"fresh process, median of {PROCESSES}", "measured", "bar", "met"],
        [_with_verdict(row) for row in rows],
    )


if __name__ == "__main__":
    sys.exit(main())
