"""pytest-benchmark suites: ``pytest benchmarks/test_latency.py``; no assertion on time.

Every figure is of one pass over a list of queries; ``extra_info`` has its number and the median
per query.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.made_up import KINDS
from topiccore import TopicModel
from topiccore._scoring import features, tokenize

FIRST_ANSWER = "import sys, topiccore; topiccore.load(sys.argv[1]).score(sys.argv[2])"


def per_query(benchmark: BenchmarkFixture, queries: int, call: Callable[[], Any]) -> Any:
    """Times ``call``, which handles so many queries."""
    result = benchmark(call)
    if benchmark.stats is not None:  # None with --benchmark-disable
        median = benchmark.stats.stats.median / queries
        benchmark.extra_info.update(queries=queries, median_us_per_query=round(median * 1e6, 4))
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_tokenize(benchmark: BenchmarkFixture, cases: dict[str, list[str]], kind: str) -> None:
    queries = cases[kind]
    found = per_query(benchmark, len(queries), lambda: [tokenize(query) for query in queries])
    assert all(words for words, _ in found)


def test_features(benchmark: BenchmarkFixture, cases: dict[str, list[str]]) -> None:
    queries = cases["mix"]
    offsets, _, _ = per_query(benchmark, len(queries), lambda: features(queries))
    assert len(offsets) == len(queries) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_score(
    benchmark: BenchmarkFixture, model: TopicModel, cases: dict[str, list[str]], kind: str
) -> None:
    queries, score = cases[kind], model.score
    answers = per_query(benchmark, len(queries), lambda: [score(query) for query in queries])
    assert len(answers) == len(queries)


def test_score_batch(
    benchmark: BenchmarkFixture, model: TopicModel, cases: dict[str, list[str]]
) -> None:
    queries = cases["mix"] * 20
    answers = per_query(benchmark, len(queries), lambda: model.score_batch(queries))
    assert len(answers) == len(queries)


@pytest.mark.parametrize("threads", [1, 2])
def test_score_arrow(
    benchmark: BenchmarkFixture, model: TopicModel, cases: dict[str, list[str]], threads: int
) -> None:
    queries = pa.array(cases["mix"] * 100)
    answers = per_query(
        benchmark, len(queries), lambda: model.score_arrow(queries, threads=threads)
    )
    assert len(answers) == len(queries)


def test_load_and_first_answer(
    benchmark: BenchmarkFixture, artifact_path: Path, cases: dict[str, list[str]]
) -> None:
    """A fresh process: interpreter, import, load with its checks, one answer."""
    command = [sys.executable, "-c", FIRST_ANSWER, str(artifact_path), cases["median"][0]]
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True), rounds=15, warmup_rounds=2, iterations=1
    )
