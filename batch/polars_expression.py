"""Topics as a Polars expression."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from batch.scoring import Scorer

TOPICS = pl.List(pl.Struct({"code": pl.String, "score": pl.Float64}))
"""The type of a result: the emitted labels of a query, best first."""


def topics(query: pl.Expr | str, scorer: Scorer, *, threads: int = 1) -> pl.Expr:
    """Scores a column of strings (or categories), lazy and streaming; a null's list is empty.

    ``query`` is an expression or the name of a column, ``threads`` how many share its rows.
    """
    column = pl.col(query) if isinstance(query, str) else query

    def score(series: pl.Series) -> pl.Series:
        return pl.Series(scorer.score(pa.chunked_array(series), threads=threads), dtype=TOPICS)

    return column.map_batches(score, return_dtype=TOPICS, is_elementwise=True)
