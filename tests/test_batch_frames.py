"""Topics in DuckDB and Polars, and what docs/batch.md shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import QUERIES, expected, rows_of

import topiccore
from batch.scoring import Options, Scorer

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
TEXTS = [*QUERIES, None]


def test_duckdb_function(model):
    duckdb = pytest.importorskip("duckdb")
    from batch.duckdb_function import register

    with duckdb.connect() as connection:
        register(connection, Scorer(model))
        register(connection, Scorer(model, Options(min_score=0.1)), "many")
        connection.execute("create table log (n integer, q varchar)")
        connection.executemany("insert into log values (?, ?)", list(enumerate(TEXTS * 300)))
        found = connection.sql("select topics(q), many(q) from log order by n").fetchall()
        assert [row[0] for row in found] == [expected(model, q) for q in TEXTS] * 300
        assert [row[1] for row in found] == [expected(model, q, min_score=0.1) for q in TEXTS] * 300
        counted = connection.sql(
            "select code, count(*) from (select unnest(topics(q), recursive := true) from log) "
            "group by code"
        ).fetchall()
        codes = [x["code"] for q in TEXTS for x in expected(model, q)]
        assert dict(counted) == {code: 300 * codes.count(code) for code in set(codes)}


def test_polars_expression(model):
    pl = pytest.importorskip("polars")
    from batch.polars_expression import TOPICS, topics

    scorer = Scorer(model, Options(min_score=0.1))
    rows = [expected(model, q, min_score=0.1) for q in TEXTS]
    frame = pl.DataFrame({"n": range(len(TEXTS)), "q": TEXTS})
    for column in (pl.String, pl.Categorical):
        typed = frame.with_columns(pl.col("q").cast(column))
        for threads in (1, 2):
            found = typed.with_columns(topics=topics("q", scorer, threads=threads))
            assert found["topics"].dtype == TOPICS
            assert found["topics"].to_list() == rows
            assert found["n"].to_list() == list(range(len(TEXTS)))
    lazy = frame.lazy().filter(pl.col("n") % 2 == 0).with_columns(t=topics(pl.col("q"), scorer))
    assert lazy.collect_schema()["t"] == TOPICS
    for engine in ("in-memory", "streaming"):
        assert lazy.sort("n").collect(engine=engine)["t"].to_list() == rows[::2]
    assert frame.clear().with_columns(t=topics("q", scorer))["t"].to_list() == []


@pytest.fixture
def place(tmp_path, artifact_path, monkeypatch):
    """A folder with all that the examples of the page need: a model, a log."""
    shutil.copytree(artifact_path, tmp_path / "runs" / "demo" / "artifact")
    (tmp_path / "logs").mkdir()
    pq.write_table(pa.table({"id": range(len(TEXTS)), "query": TEXTS}), tmp_path / "log.parquet")
    shutil.copy(tmp_path / "log.parquet", tmp_path / "logs" / "monday.parquet")
    (tmp_path / "logs" / "tuesday.csv").write_text("time,text,query\n1,a,used honda\n")
    (tmp_path / "queries.txt").write_text("".join(f"{q}\n" for q in QUERIES))
    (tmp_path / "log.csv").write_text("time,q,user\n1,used honda,2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_commands_of_the_page(place):
    commands = [line[2:] for text in blocks("console") for line in text.splitlines()]
    commands = [line for line in commands if "://" not in line]
    assert len(commands) >= 5
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    # None of them names a model: they score with the one that comes with the package.
    model = topiccore.load()
    assert rows_of(place / "topics.parquet") == [expected(model, q) for q in TEXTS]


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_of_the_page(place, model, number):
    [code] = blocks("python")[number : number + 1]
    for package in ("duckdb", "polars"):
        if f"import {package}" in code:
            pytest.importorskip(package)
    names: dict[str, object] = {}
    exec(compile(code, "docs/batch.md", "exec"), names)
    assert names["found"] == [expected(model, q) for q in TEXTS]
