"""``python -m benchmarks.roofline``: what the kernel reads, against how fast memory can be read."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

import topiccore
from benchmarks import collection, machine, timing
from benchmarks.collection import tell
from benchmarks.footprint import Footprint, footprint
from benchmarks.memory import Memory, MemorySpeed
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, size, table
from topiccore import TopicModel

REPEATS = 50


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.roofline",
        description="Memory read per query against memory speed.",
    )
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", type=Path, help="the page to write a section of")
    chosen = parser.parse_args(arguments)
    model = topiccore.load(chosen.artifact)
    queries = collection.labelled().test.texts
    found = footprint(model.artifact, queries)
    tell("measuring memory")
    memory = Memory()
    speeds = [memory.measure(bytes_) for bytes_ in _sizes(found)]
    tell("measuring the kernel")
    cold, hot = kernel_seconds(model, queries, chosen.rounds)
    report = _report(model, found, speeds, cold, hot, len(queries))
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "roofline", "Roofline, measured", report)
    return 0


def kernel_seconds(model: TopicModel, queries: Sequence[str], rounds: int) -> tuple[float, float]:
    """Seconds per query of the kernel from an Arrow column: ``(all, again)``, medians of rounds.

    ``all``: the queries in random order, many times over.  ``again``: each query as often, but one
    time after the other, so that what it reads is in the nearest cache: what is left is computing.
    """
    random = np.random.default_rng(1)
    cold, hot = [], []
    for _ in range(rounds):
        order = random.permutation(len(queries))
        shuffled = np.concatenate([random.permutation(len(queries)) for _ in range(REPEATS)])
        cold.append(_seconds(model, pa.array([queries[place] for place in shuffled])))
        hot.append(_seconds(model, pa.array([queries[place] for place in order.repeat(REPEATS)])))
    return float(np.median(cold)), float(np.median(hot))


def _seconds(model: TopicModel, column: pa.Array) -> float:
    with timing.without_collector():
        start = time.perf_counter()
        model.score_arrow(column)
        return (time.perf_counter() - start) / len(column)


def _sizes(found: Footprint) -> list[int]:
    # From the first cache to beyond the last, and the sizes that matter here.
    wanted = {16 << 10, 512 << 10, 8 << 20, 128 << 20, found.size}
    return sorted(wanted | {touched.size for touched in found.arrays})


def _report(
    model: TopicModel,
    found: Footprint,
    speeds: list[MemorySpeed],
    cold: float,
    hot: float,
    queries: int,
) -> list[str]:
    whole = _nearest(speeds, found.size)
    # Group, key, entry, row: each read needs the one before it.  Features need not wait for others.
    chain = sum(_nearest(speeds, touched.size).latency for touched in found.arrays)
    gathered = sum(
        touched.lines * _nearest(speeds, touched.size).gather for touched in found.arrays
    )
    streamed = found.lines * 64 / whole.bandwidth
    bound = max(chain, gathered)
    notes = [
        f"command: `{machine.command('benchmarks.roofline')}`",
        *machine.description(),
        f"artifact {model.id[:12]}, encoding {model.artifact.encoding}, {len(model.taxonomy)} "
        f"labels, {len(model.artifact.index.keys):,} features, {size(found.size)}; "
        f"{queries} test queries",
        f"a query has {found.tokens:.2f} tokens and {found.features:.2f} features, of which the "
        f"artifact has {found.found:.2f}",
    ]
    touched_rows = [
        [touched.array, size(touched.size), f"{touched.bytes:,.0f}", f"{touched.lines:.2f}"]
        for touched in found.arrays
    ]
    touched_rows.append(["all", size(found.size), f"{found.bytes:,.0f}", f"{found.lines:.2f}"])
    speed_rows = [
        [size(s.size), duration(s.latency), duration(s.gather), f"{s.bandwidth / 1e9:.1f} GB/s"]
        for s in speeds
    ]
    result_rows = [
        ["group, key, entry, row: four reads, each waiting for the last", duration(chain)],
        ["all lines at random, as many at once as the core can", duration(gathered)],
        ["all lines at streaming speed", duration(streamed)],
        ["memory's share at least: the larger of the first two", duration(bound)],
        ["kernel, test queries in random order", duration(cold)],
        ["kernel, each query again and again: computing alone", duration(hot)],
        ["kernel, waiting for memory (the difference)", duration(max(cold - hot, 0.0))],
        ["kernel over memory's least share", f"{cold / bound:.1f} times"],
    ]
    return [
        bullets(notes),
        table(["touched by a query", "array", "bytes", "cache lines"], touched_rows),
        table(["working set", "dependent read", "random line", "streaming"], speed_rows),
        table(["per query", "time"], result_rows),
    ]


def _nearest(speeds: Sequence[MemorySpeed], bytes_: int) -> MemorySpeed:
    return min(speeds, key=lambda speed: abs(speed.size - bytes_))


if __name__ == "__main__":
    sys.exit(main())
