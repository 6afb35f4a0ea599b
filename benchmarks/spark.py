"""Rate per core of Spark against the batch command's, on the same file, in turns.

    python -m benchmarks.spark [--rows 10000000] [--write benchmarks/RESULTS.md]

Two executor processes of one core each read Parquet, score and write Parquet; the batch command
does the same with two threads.  What starts once is not counted: Spark by a round before the first,
the command by scoring a file of no rows.  Spark needs Java 17 and ``topiccore[spark]``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pyspark
from pyspark.sql import DataFrame, SparkSession

from batch.scoring import TOPICS
from benchmarks import machine
from benchmarks.collection import tell
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, rate, table
from benchmarks.timing import median_ratio
from topiccore.model import default_model
from topiccore.spark import score_table, ship, topics_udf
from topiccore.spark_tables import write_options
from training.collections import default_cache, load_queries

MASTER = "local-cluster[2,1,1024]"
CORES = 2
FILES = 8
LEAST = 0.6
PART = 1_000_000
"""Rows that are compared at a time."""
SCHEMA = pa.schema([("id", pa.int64()), ("query", pa.string()), ("topics", TOPICS)])
QUERIES, CLUSTER = 1_000_000_000, 100
"""What the plan is for: so many queries, on so many cores."""
SIDES = ("batch command", "Spark, score_table", "Spark, topics_udf", "Spark, copy only")


def main() -> int:
    """Measures, prints, and with ``--write`` puts the figures into the results page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--artifact", type=Path, default=default_model())
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="topiccore-") as scratch:
        folder = Path(scratch)
        source = folder / "queries"
        write_queries(source, chosen.rows)
        taken, start_up = _measure(chosen, folder, source)
        equal = _same_rows(folder, chosen.rows)
    report = _report(chosen, taken, start_up, equal)
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "spark", "Spark", report)
    return 0


def write_queries(folder: Path, rows: int) -> None:
    """Writes ``FILES`` files with ``id`` and ``query``, drawn with replacement."""
    folder.mkdir()
    pool = pa.array(list(load_queries(default_cache(), tell).values()))
    random = np.random.default_rng(1)
    for number, ids in enumerate(np.array_split(np.arange(rows), FILES)):
        texts = pool.take(pa.array(random.integers(len(pool), size=len(ids))))
        pq.write_table(pa.table({"id": ids, "query": texts}), folder / f"{number}.parquet")


@contextmanager
def _cluster() -> Iterator[SparkSession]:
    os.environ |= {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    builder = SparkSession.builder.master(MASTER)
    spark = (
        builder.config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    try:
        yield spark
    finally:
        spark.stop()


def _measure(
    chosen: argparse.Namespace, folder: Path, source: Path
) -> tuple[dict[str, list[float]], float]:
    """Seconds per row and core of each side's rounds; seconds of a command without rows."""
    empty = folder / "empty.parquet"
    pq.write_table(pq.read_table(source / "0.parquet").slice(0, 0), empty)
    taken: dict[str, list[float]] = {side: [] for side in SIDES}

    def command(path: Path, output: str) -> float:
        words = ["batch", str(path), "-o", str(folder / output), "--keep-all", "--overwrite"]
        words += ["--quiet", "--model", str(chosen.artifact), "--threads", str(CORES)]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "topiccore.cli", *words], check=True)
        return time.perf_counter() - start

    start_up = float(np.median([command(empty, "none.parquet") for _ in range(3)]))
    with _cluster() as spark:
        model = ship(spark, chosen.artifact)
        frame = spark.read.parquet(str(source))
        topics = topics_udf(model)
        sides: dict[str, Callable[[], float]] = {
            SIDES[0]: lambda: command(source, "batch.parquet") - start_up,
            SIDES[1]: lambda: _written(score_table(frame, "query", model), folder / "table"),
            SIDES[2]: lambda: _written(
                frame.withColumn("topics", topics("query")), folder / "expression"
            ),
            SIDES[3]: lambda: _written(frame, folder / "copy"),
        }
        for number in range(-1, chosen.rounds):
            for side, run in sides.items():
                seconds = run() * CORES / chosen.rows
                if number >= 0:
                    taken[side].append(seconds)
                    tell(f"round {number + 1}/{chosen.rounds}: {side} {rate(seconds)} a core")
    return taken, start_up


def _written(frame: DataFrame, path: Path) -> float:
    options = write_options("topics.list.element.score")
    start = time.perf_counter()
    frame.write.options(**options).mode("overwrite").parquet(str(path))
    return time.perf_counter() - start


def _same_rows(folder: Path, rows: int) -> int:
    """How many rows Spark and the command gave alike; raises when any differ."""
    found = [pads.dataset(folder / name) for name in ("batch.parquet", "table", "expression")]
    equal = 0
    # Some ids at a time: all rows of all three would not fit into memory.
    for start in range(0, rows, PART):
        chosen = (pads.field("id") >= start) & (pads.field("id") < start + PART)
        command, *spark = [
            data.to_table(["id", "query", "topics"], filter=chosen).sort_by("id").cast(SCHEMA)
            for data in found
        ]
        if not all(command.equals(other) for other in spark):
            raise AssertionError(f"the results differ, ids from {start} on")
        equal += command.num_rows
    if equal != rows:
        raise AssertionError(f"{equal} of {rows} rows were found again")
    return equal


def _report(
    chosen: argparse.Namespace, taken: dict[str, list[float]], start_up: float, equal: int
) -> list[str]:
    batch = np.array(taken[SIDES[0]])[:, None]
    rows = []
    for side in SIDES:
        shares = median_ratio(batch, np.array(taken[side])[:, None])
        median = float(np.median(taken[side]))
        told = f"{shares.value:.0%} ({shares.low:.0%} to {shares.high:.0%})"
        rows.append([side, rate(median), duration(median), told if side != SIDES[0] else ""])
    share = median_ratio(batch, np.array(taken[SIDES[1]])[:, None]).value
    alone, spark = (float(np.median(taken[side])) for side in SIDES[:2])
    hours = [QUERIES * seconds / CLUSTER for seconds in (alone, spark)]
    return [
        bullets(
            [
                f"command: `{machine.command('benchmarks.spark')}`",
                *machine.description(["pyspark", "pyarrow"]),
                f"{chosen.rows:,} logged queries drawn with replacement, with an id, in {FILES} "
                f"files of Parquet; Parquet out; {chosen.rounds} rounds, sides in turns; "
                f"Spark on `{MASTER}`, the command with {CORES} threads",
                f"start-up is not counted: {start_up:.1f} s of the command, all of Spark's",
                f"all {equal:,} rows of the command and both of Spark's are equal",
                "ratios: median over rounds, with the 95 % bootstrap interval",
            ]
        ),
        table(["", "rows/s a core", "core time a row", "of the batch command"], rows),
        bullets(
            [
                f"bar: score_table has at least {LEAST:.0%} of the batch command's rate a core: "
                f"{share:.0%}, {'met' if share >= LEAST else '**not met**'}",
                f"{QUERIES:,} queries on {CLUSTER} such cores: {hours[1]:,.0f} s "
                f"by score_table, {hours[0]:,.0f} s at the rate of the command",
            ]
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
