"""``python -m benchmarks.scaling``: cost against the length of a query and the number of labels.

Made-up models throughout (``benchmarks.made_up``): the weights of a row follow a trained model's,
and a row speaks of at most 400 labels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

import topiccore
from benchmarks import machine, made_up, timing
from benchmarks.collection import tell
from benchmarks.results import bullets, write_section
from benchmarks.table import duration, size, table
from topiccore import TopicModel

LABELS = (24, 356, 2_000, 10_000)
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TEXT_TOKENS = (10_000,)
WORDS = 5_000  # the same words for every number of labels: 10,000 of 60,000 rows take 2 GB to make
QUERIES = 8_000
PASSES = 3  # a round is the quickest of so many
LEAST_QUERIES = 200
TOTAL_TOKENS = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args(arguments)
    models = {}
    for labels in LABELS:
        tell(f"making up a model of {labels:,} labels")
        models[labels] = TopicModel(made_up.artifact(labels, WORDS))
    report = [
        bullets(
            [
                f"command: `{machine.command('benchmarks.scaling')}`",
                *machine.description(),
                f"made-up compact models over {WORDS:,} words; the kernel alone, from an Arrow "
                f"column on one thread; medians of {chosen.rounds} rounds, cases "
                f"in turns, a round being the quickest of {PASSES} passes",
            ]
        ),
        _by_labels(models, chosen.rounds),
        _by_length(models[made_up.LABELS], chosen.rounds),
    ]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "scaling", "Cost by labels and by length", report)
    return 0


def medians(cases: Mapping[int, tuple[TopicModel, pa.Array]], rounds: int) -> dict[int, float]:
    """Seconds per query of each case's column; cases take turns in an order drawn anew."""
    random = np.random.default_rng(1)
    taken: dict[int, list[float]] = {name: [] for name in cases}
    for model, column in cases.values():
        model.score_arrow(column)
    for _ in range(rounds):
        for name in random.permutation(list(cases)).tolist():
            model, column = cases[name]
            with timing.without_collector():
                taken[name].append(min(_seconds(model, column) for _ in range(PASSES)))
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def _seconds(model: TopicModel, column: pa.Array) -> float:
    start = time.perf_counter()
    model.score_arrow(column)
    return (time.perf_counter() - start) / len(column)


def _by_labels(models: Mapping[int, TopicModel], rounds: int) -> str:
    column = pa.array(made_up.queries(made_up.words(WORDS), QUERIES, seed=11))
    found = medians({labels: (model, column) for labels, model in models.items()}, rounds)
    rows = []
    for labels, model in models.items():
        artifact = model.artifact
        stored = sum(artifact.array(name).nbytes for name in topiccore.artifact.ARRAYS)
        more, cost = labels / made_up.LABELS, found[labels] / found[made_up.LABELS]
        rows.append(
            [f"{labels:,}", size(stored), duration(found[labels]), f"{more:.2f}", f"{cost:.2f}"]
        )
    return table(
        ["labels", "arrays", "a query", "labels, times 356", "cost, times that at 356"], rows
    )


def _by_length(model: TopicModel, rounds: int) -> str:
    vocabulary = made_up.words(WORDS)[:2000]
    random = np.random.RandomState(5)
    cases = {}
    for tokens in (*TOKENS, *TEXT_TOKENS):
        # Enough queries that the cost of a call is none of theirs.
        count = int(np.clip(TOTAL_TOKENS // tokens, LEAST_QUERIES, QUERIES))
        texts = [
            " ".join(vocabulary[place] for place in random.randint(2000, size=tokens))
            for _ in range(count)
        ]
        cases[tokens] = model, pa.array(texts)
    found = medians(cases, rounds)
    rows = []
    for tokens, seconds in found.items():
        column = cases[tokens][1]
        text = size(column.nbytes / len(column))
        counted = min(tokens, topiccore.MAX_TOKENS)
        rows.append([f"{tokens:,}", text, duration(seconds), duration(seconds / counted)])
    note = f"(the first {topiccore.MAX_TOKENS} tokens of a query count; the rest is not read)"
    return table(["tokens", "text", "a query", "a counted token"], rows) + "\n\n" + note


if __name__ == "__main__":
    sys.exit(main())
