"""Sides of ``benchmarks.batch``: DuckDB and Polars beside the scorer that both of them call.

Each scores the same column of strings, in memory, and gives a table that has all results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from batch.duckdb_function import register
from batch.polars_expression import topics
from batch.scoring import TOPICS, Scorer

OWN = "score_arrow"
TITLES = {
    OWN: "topiccore's score_arrow",
    "duckdb": "DuckDB function",
    "polars": "Polars expression",
}

Side = tuple[str, int]
"""One of ``TITLES``, and how many threads it is given."""


def sides(scorer: Scorer, column: pa.Array, threads: list[int]) -> dict[Side, Callable[[], Any]]:
    """What each side runs on ``column``, strings [rows]; what it returns has as many rows."""
    # As both get them: DuckDB a table of many batches that its threads share, Polars a frame.
    connection = duckdb.connect()
    register(connection, scorer)
    connection.register("log", pa.table({"query": column}))
    frame = pl.DataFrame({"query": column})

    def own(number: int) -> Any:
        return scorer.model.score_arrow(column, threads=number)

    def in_duckdb(number: int) -> pa.Table:
        connection.execute(f"SET threads = {number}")
        return connection.sql("SELECT topics(query) AS topics FROM log").to_arrow_table()

    def in_polars(number: int) -> pl.DataFrame:
        return frame.select(topics=topics("query", scorer, threads=number))

    runs = {OWN: own, "duckdb": in_duckdb, "polars": in_polars}
    return {
        (name, number): lambda run=run, number=number: run(number)
        for name, run in runs.items()
        for number in threads
    }


def same_answers(scorer: Scorer, column: pa.Array, runs: dict[Side, Callable[[], Any]]) -> int:
    """How many rows all sides gave alike; raises when any differ."""
    right = pa.chunked_array([scorer.score(column)])
    for (name, number), run in runs.items():
        if name == OWN:
            continue
        found = pa.table(run())["topics"].cast(TOPICS)
        if not found.equals(right):
            raise AssertionError(f"{TITLES[name]}, {number} threads: the results differ")
    return len(right)
