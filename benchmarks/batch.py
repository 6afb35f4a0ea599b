"""``python -m benchmarks.batch``: files of queries scored end to end, beside batch peers."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import topiccore
from batch.inputs import find_inputs
from batch.outputs import make_plan
from batch.readers import ReadOptions, read_blocks
from batch.scoring import Scorer
from batch.writers import Renderer, Writer
from benchmarks import collection, frames, machine, timing
from benchmarks.collection import tell
from benchmarks.peers import cache
from benchmarks.peers.server import Server
from benchmarks.peers.targets import training_set
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, rate, size, table
from topiccore.model import default_model
from training.collections import default_cache, load_queries

PEERS = {"fasttext_words": 20, "sklearn_hashing": 1000}
"""The peers, and how many times their rate is the bar."""
BUDGETS = {"fasttext_words": 4.0, "sklearn_hashing": 1000.0}
"""What the peers' worker divides by the seconds of a single query for the rows of a batch.

scikit-learn takes a thousand times less for a row of a large batch, so it gets the large one.
"""
ONE_BY_ONE = "sklearn_hashing"
"""The peer that is measured a query a call too."""
LEAST_RATE = 400_000
MOST_MEMORY = 1 << 30
LOOK_SECONDS = 0.02
SAMPLE = 200_000  # rows of the file that the peers are given, as texts in memory
CHUNK = 1_000_000
STAGE_ROWS = 1_000_000
FRAME_ROWS = 1_000_000  # rows that DuckDB and Polars are given, in memory


@dataclass
class Runs:
    """Rounds of one command; ``seconds`` and ``cpu`` per row."""

    title: str
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.batch", description=__doc__)
    parser.add_argument("--artifact", type=Path, default=default_model())
    parser.add_argument("--cache", type=Path, default=Path("runs/peers"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args(arguments)
    pool = list(load_queries(default_cache(), tell).values())
    with tempfile.TemporaryDirectory(prefix="topiccore-") as scratch:
        folder = Path(scratch)
        source = folder / "queries.parquet"
        texts = _write_queries(source, pool, chosen.rows)
        tell(f"{chosen.rows:,} queries in {size(source.stat().st_size)} of Parquet")
        try:
            commands, peers, single, framed = _measure(chosen, folder, source, texts)
        except (cache.PeerError, cache.PeerMissingError) as error:
            print(f"benchmarks.batch: {error}", file=sys.stderr)
            return 1
        stages = _stages(chosen.artifact, source, folder, min(STAGE_ROWS, chosen.rows))
        report = _report(chosen, source, commands, peers, single, stages)
        report += _frames_report(framed, min(FRAME_ROWS, chosen.rows))
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "batch", "Files end to end", report)
    return 0


def _write_queries(path: Path, pool: list[str], rows: int) -> list[str]:
    """Writes rows drawn with replacement; returns the first of them."""
    random = np.random.default_rng(1)
    column = pa.array(pool)
    first: list[str] = []
    with pq.ParquetWriter(path, pa.schema([("query", pa.string())])) as writer:
        for start in range(0, rows, CHUNK):
            drawn = random.integers(len(pool), size=min(CHUNK, rows - start))
            texts = column.take(pa.array(drawn))
            writer.write_table(pa.table({"query": texts}))
            first += texts[: max(0, SAMPLE - len(first))].to_pylist()
    return first


def _measure(
    chosen: argparse.Namespace, folder: Path, source: Path, texts: list[str]
) -> tuple[dict[int, Runs], dict[str, list[float]], list[float], dict[frames.Side, list[float]]]:
    """Runs by threads; seconds per row of each peer's batches, of single calls, of ``frames``."""
    questions = folder / "questions.json"
    questions.write_text(json.dumps(texts), encoding="utf-8")
    models = _trained(chosen, folder)
    cores = os.cpu_count() or 1
    commands = {n: Runs(f"topiccore batch --threads {n}") for n in sorted({1, cores})}
    column = pq.read_table(source).slice(0, FRAME_ROWS)["query"].combine_chunks()
    scorer = Scorer(topiccore.load(chosen.artifact))
    framed = frames.sides(scorer, column, sorted(commands))
    frames.same_answers(scorer, column, framed)
    framed_taken: dict[frames.Side, list[float]] = {side: [] for side in framed}
    peers: dict[str, list[float]] = {name: [] for name in PEERS}
    single: list[float] = []
    servers: dict[str, Server] = {}
    try:
        for name, model in models.items():
            servers[name] = Server(name, model, questions)
        for number in range(chosen.rounds):
            for threads, runs in commands.items():
                _command(chosen, source, folder / "topics.parquet", threads, runs)
            for side, run in framed.items():
                start = time.perf_counter()
                run()
                framed_taken[side].append((time.perf_counter() - start) / len(column))
            for name, server in servers.items():
                peers[name].append(server.ask("batch", number, BUDGETS[name]))
            alone = servers[ONE_BY_ONE].ask("single", number, 2.0)
            single.append(float(np.median(alone)))
            tell(
                f"round {number + 1}/{chosen.rounds}: rows/s "
                + ", ".join(f"{runs.title} {rate(runs.seconds[-1])}" for runs in commands.values())
                + "".join(f", {name} {rate(taken[-1])}" for name, taken in peers.items())
                + "".join(f", {n} {t} {rate(taken[-1])}" for (n, t), taken in framed_taken.items())
            )
    finally:
        for server in servers.values():
            with server:
                pass
    return commands, peers, single, framed_taken


def _trained(chosen: argparse.Namespace, folder: Path) -> dict[str, Path]:
    texts, targets, sums = training_set(collection.labelled())
    inputs = {"queries": folder / "train.json", "targets": folder / "train.npy"}
    inputs["queries"].write_text(json.dumps(texts), encoding="utf-8")
    np.save(inputs["targets"], targets)
    return {
        name: cache.trained(name, cache.module(name), chosen.cache, sums, inputs, tell)
        for name in PEERS
    }


def _command(
    chosen: argparse.Namespace, source: Path, output: Path, threads: int, runs: Runs
) -> None:
    """One run of the command in a process of its own, from its start to its end."""
    words = ["batch", str(source), "-o", str(output), "--overwrite", "--quiet"]
    words += ["--model", str(chosen.artifact), "--threads", str(threads)]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "topiccore.cli", *words])
    usage, peak = _waited_for(process)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise cache.PeerError(f"topiccore batch ended with {process.returncode}")
    if (found := pq.ParquetFile(output).metadata.num_rows) != chosen.rows:
        raise cache.PeerError(f"topiccore batch wrote {found} rows of {chosen.rows}")
    runs.seconds.append(seconds / chosen.rows)
    runs.cpu.append((usage.ru_utime + usage.ru_stime) / chosen.rows)
    runs.peak = max(runs.peak, peak)


def _waited_for(process: subprocess.Popen[bytes]) -> tuple[resource.struct_rusage, int]:
    """What a process has used at its end, and its most resident bytes.

    These are looked at all the while: ``ru_maxrss`` begins with those of the process that starts
    another, and this one holds the texts of the peers.
    """
    peak = 0
    while True:
        with contextlib.suppress(OSError, KeyError):
            peak = max(peak, machine.peak_memory(process.pid)["peak"])
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage, peak
        time.sleep(LOOK_SECONDS)


def _stages(artifact: Path, source: Path, folder: Path, rows: int) -> dict[str, float]:
    """CPU seconds per row of each stage, one after the other on one thread."""
    scorer = Scorer(topiccore.load(artifact))
    plan = make_plan(find_inputs([str(source)], None), str(folder / "stages.parquet"), None)
    renderer = Renderer(scorer, "parquet", "topics")
    taken = dict.fromkeys(("reading Parquet", "scoring", "result column", "writing Parquet"), 0.0)
    blocks = read_blocks(plan.jobs[0].inputs[0], ReadOptions())
    done = 0
    with (folder / "stages.parquet").open("wb") as sink, Writer(sink, plan.format, "topics") as out:
        while done < rows:
            times = [time.process_time()]
            block = next(blocks)
            times.append(time.process_time())
            emitted = scorer.emitted(block.text)
            times.append(time.process_time())
            rendered = renderer.render(block.kept, emitted)
            times.append(time.process_time())
            out.write(block.kept.schema, rendered)
            times.append(time.process_time())
            for name, seconds in zip(taken, np.diff(times), strict=True):
                taken[name] += float(seconds)
            done += len(block.text)
    return {name: seconds / done for name, seconds in taken.items()}


def _report(
    chosen: argparse.Namespace,
    source: Path,
    commands: dict[int, Runs],
    peers: dict[str, list[float]],
    single: list[float],
    stages: dict[str, float],
) -> list[str]:
    cores = max(commands)
    whole = commands[cores]
    median = float(np.median(whole.seconds))
    beside = whole.peak - cache.model_bytes(chosen.artifact)
    rows = [
        ["all cores, rows/s", rate(median), f"{LEAST_RATE:,} at least", 1 / median >= LEAST_RATE],
        ["peak memory beside the model", size(beside), "1.07 GB at most", beside < MOST_MEMORY],
    ]
    for name, times in PEERS.items():
        ratio = timing.median_ratio(
            np.array(peers[name])[:, None], np.array(whole.seconds)[:, None]
        )
        told = f"{ratio.value:,.1f} ({ratio.low:,.1f} to {ratio.high:,.1f})"
        title = cache.module(name).TITLE
        rows.append(
            [f"times {title}, large batches", told, f"{times:,} at least", ratio.value >= times]
        )
    alone = timing.median_ratio(np.array(single)[:, None], np.array(whole.seconds)[:, None])
    rows.append(
        [
            f"times {cache.module(ONE_BY_ONE).TITLE}, a query a call",
            f"{alone.value:,.0f} ({alone.low:,.0f} to {alone.high:,.0f})",
            f"{PEERS[ONE_BY_ONE]:,} at least",
            alone.value >= PEERS[ONE_BY_ONE],
        ]
    )
    verdicts = [[*map(str, row[:3]), "yes" if row[3] else "**no**"] for row in rows]
    figures = [
        [runs.title, rate(float(np.median(runs.seconds))), duration(float(np.median(runs.cpu)))]
        for runs in commands.values()
    ]
    figures += [
        [cache.module(name).TITLE + " (texts in memory)", rate(float(np.median(taken))), "-"]
        for name, taken in peers.items()
    ]
    notes = [
        f"command: `{machine.command('benchmarks.batch')}`",
        *machine.description(["pyarrow", "fasttext-community", "scikit-learn", "duckdb", "polars"]),
        f"{chosen.rows:,} logged queries drawn with replacement, {size(source.stat().st_size)} of "
        f"Parquet in, Parquet out; {chosen.rounds} rounds, sides in turns; the command from the "
        f"start of its process to its end, all cores being {cores} threads",
        f"peers: their own batch prediction of the first {SAMPLE:,} rows in large batches "
        "of several seconds (fastText) and of some ten thousand rows (scikit-learn), from texts in "
        "memory, without reading and writing, one thread",
        "ratios: median over rounds, with the 95 % bootstrap interval",
    ]
    return [
        bullets(notes),
        table(["", "measured", "bar", "met"], verdicts),
        table(["", "rows/s", "CPU time a row"], figures),
        table(
            ["stage, alone on one thread", "CPU time a row"],
            [[name, duration(seconds)] for name, seconds in stages.items()],
        ),
    ]


def _frames_report(taken: dict[frames.Side, list[float]], rows: int) -> list[str]:
    lines = []
    for (name, threads), seconds in taken.items():
        own = np.array(taken[frames.OWN, threads])[:, None]
        share = timing.median_ratio(own, np.array(seconds)[:, None])
        told = f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
        lines.append(
            [
                frames.TITLES[name],
                str(threads),
                rate(float(np.median(seconds))),
                told if name != frames.OWN else "",
            ]
        )
    return [
        bullets(
            [
                f"DuckDB and Polars: the first {rows:,} rows as a column in memory, results as a "
                "table in memory, in the same rounds; all their rows are equal to the command's "
                "scorer's",
            ]
        ),
        table(["a column in memory", "threads", "rows/s", "of score_arrow"], lines),
    ]


if __name__ == "__main__":
    sys.exit(main())
