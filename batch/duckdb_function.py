"""``topics(query)`` in DuckDB: a function that scores a column of a SQL query."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from batch.scoring import Scorer


def register(connection: duckdb.DuckDBPyConnection, scorer: Scorer, name: str = "topics") -> None:
    """Makes ``name(VARCHAR)`` a function of the connection.

    It returns ``STRUCT(code VARCHAR, score DOUBLE)[]``: the emitted labels, best first; for NULL an
    empty list.
    """

    def topics(column: pa.ChunkedArray) -> pa.Array:
        return scorer.score(column)

    connection.create_function(  # type: ignore[call-overload]  # its words are enums there
        name,
        topics,
        [duckdb.sqltype("VARCHAR")],
        duckdb.sqltype("STRUCT(code VARCHAR, score DOUBLE)[]"),
        type="arrow",
        null_handling="special",
    )
