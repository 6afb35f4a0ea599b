"""``python -m benchmarks.encodings``: what the encodings of rows cost and save, on one student.

Takes the float32 rows of a training run (``topiccore train``) and makes them compact at several
prunings: size, quality on the test queries and time of one query, the kinds in turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.collection import tell
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, size, table
from topiccore import TopicModel, compact
from topiccore.artifact import ARRAYS, Artifact
from training.collections import default_cache
from training.command import DEFAULT_FOLDER
from training.config import DEFAULT, read_config
from training.labels import LabelledQueries
from training.quality import measure
from training.run_folder import RunFolder
from training.stages import Run, compact_artifact, trained_artifact

PRUNINGS = (0.0, 0.1, 0.2, 0.4, 0.8)
NO_LIMIT = 10**12
ROUNDS = 15


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.encodings", description="Size, quality and speed of the encodings."
    )
    parser.add_argument("--run", type=Path, default=DEFAULT_FOLDER, help="folder of a run")
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args(arguments)
    run = Run(read_config(DEFAULT), RunFolder(chosen.run), default_cache(), tell, print)
    dense = trained_artifact(run, run.folder.load_arrays("thresholds"))
    kinds = {"float32": dense}
    halves = dense.rows.astype(np.float16).astype(np.float32)
    simulated = {
        # Their values in float32 rows: quality is theirs, size is computed, speed is not shown.
        "float16 (simulated)": (replace(dense, rows=halves), dense.rows.nbytes // 2),
        "int8, a step per row (simulated)": (
            compact(dense, prune=0, max_bytes=NO_LIMIT),
            dense.rows.size + 4 * len(dense.rows),
        ),
    }
    for prune in PRUNINGS:
        tell(f"compact, weights below {prune}")
        kinds[f"sparse8, below {prune}"] = compact(dense, prune=prune, max_bytes=NO_LIMIT)
    kinds["sparse8, as shipped"] = compact_artifact(run, run.folder.load_arrays("thresholds"))
    blocks = [
        bullets(
            [
                f"command: `{machine.command('benchmarks.encodings')}`",
                *machine.description(),
                f"{len(run.data.test)} test queries, {ROUNDS} rounds, kinds in turns",
            ]
        ),
        _table(kinds, simulated, run.data.test),
    ]
    print("\n\n".join(blocks))
    if chosen.write:
        write_section(chosen.write, "encodings", "Encodings of the rows", blocks)
    return 0


def _table(
    kinds: dict[str, Artifact],
    simulated: dict[str, tuple[Artifact, int]],
    queries: LabelledQueries,
) -> str:
    models = {name: TopicModel(kind) for name, kind in kinds.items()}
    medians: dict[str, list[float]] = {name: [] for name in models}
    for number in range(ROUNDS):
        tell(f"one query: round {number + 1}/{ROUNDS}")
        for name, model in models.items():
            medians[name].append(_median(model, queries.texts))
    rows = []
    for name, model in models.items():
        arrays = sum(kinds[name].array(array).nbytes for array in ARRAYS)
        time_of_one = duration(statistics.median(medians[name]))
        rows.append([name, size(arrays), *_quality(model, queries), time_of_one])
    for name, (kind, count) in simulated.items():
        rows.append([name, size(count), *_quality(TopicModel(kind), queries), ""])
    head = [
        *("rows", "arrays", "coverage at 90 %", "topics", "subtopics"),
        *("emitted: precision / coverage", "score, median"),
    ]
    return table(head, rows)


def _quality(model: TopicModel, queries: LabelledQueries) -> list[str]:
    figures = measure(model, queries)
    views = ("all labels", "topics", "subtopics")
    emitted = figures["all labels"]["queries"]
    return [
        *(f"{figures[view]['queries']['coverage_at_90']:.1%}" for view in views),
        f"{emitted['precision']:.1%} / {emitted['coverage']:.1%}",
    ]


def _median(model: TopicModel, queries: Sequence[str]) -> float:
    times = []
    for query in queries:
        start = time.perf_counter_ns()
        model.score(query)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e9


if __name__ == "__main__":
    sys.exit(main())
