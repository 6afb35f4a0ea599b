"""``topiccore batch``: files that are not alike in one output."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import QUERIES, content, expected, rows_of

import batch.alike
from topiccore.cli import main


@pytest.fixture
def run(artifact_path, capfd, tmp_path, monkeypatch):
    """``run(files, *arguments)``: exit code and standard error for these JSON lines, by name."""
    monkeypatch.chdir(tmp_path)

    def call(files, *arguments):
        for number, rows in enumerate(files):
            lines = [json.dumps(row) + "\n" for row in rows]
            (tmp_path / f"{number}.jsonl").write_text("".join(lines))
        names = [f"{number}.jsonl" for number in range(len(files))]
        code = main(["batch", "--model", str(artifact_path), *names, *arguments])
        return code, capfd.readouterr().err

    return call


def kept(path):
    """The kept values of a JSON lines or Parquet file."""
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "topics"} for row in rows]


A, B = {"id": 1, "query": "used honda"}, {"id": 2, "query": "red dress"}
NULL = {"id": None, "query": "beach"}


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize(
    "files",
    [[[], [A], [], [B]], [[A], [], [B]], [[NULL], [A]], [[A], [NULL], [B]], [[NULL] * 3, [], [A]]],
)
@pytest.mark.parametrize("words", [["--keep-all"], ["--keep", "id,query"]])
def test_files_without_rows_and_columns_without_values(run, tmp_path, output, files, words):
    assert run(files, "-o", output, *words)[0] == 0
    assert kept(tmp_path / output) == [row for rows in files for row in rows]
    if output == "out.parquet":
        assert pq.read_schema(output).field("id").type == pa.int64()


@pytest.mark.parametrize("output", ["out.jsonl", "out.parquet", "out.tsv"])
def test_columns_in_another_order(run, model, tmp_path, output):
    other = dict(reversed(B.items()))
    assert run([[A], [other], [NULL]], "-o", output, "--keep-all")[0] == 0
    queries = [row["query"] for row in (A, B, NULL)]
    assert rows_of(tmp_path / output) == [expected(model, query) for query in queries]
    if output == "out.tsv":
        lines = (tmp_path / output).read_text().splitlines()
        assert [line.split("\t")[:2] for line in lines[:3]] == [
            ["id", "query"],
            ["1", "used honda"],
            ["2", "red dress"],
        ]
    else:
        assert [list(row.items()) for row in kept(tmp_path / output)] == [
            list(row.items()) for row in (A, B, NULL)
        ]


@pytest.mark.parametrize("last", [[], [NULL]])
def test_nothing_but_nulls_or_no_rows(run, tmp_path, last):
    for output in ("out.jsonl", "out.parquet"):
        assert run([[], last], "-o", output, "--keep", "id")[0] == 0
        assert kept(tmp_path / output) == [{"id": None} for _ in last]


def test_columns_that_differ_are_refused(run):
    told = "1.jsonl: its kept columns differ from those of the files before it: "
    fraction, more = {"id": 0.5, "query": "a"}, {**A, "x": 1}
    assert told + "id double" in run([[A], [fraction]], "-o", "out.parquet", "--keep-all")[1]
    assert run([[A], [fraction]], "-o", "out.jsonl", "--keep-all")[0] == 0
    for output in ("more.parquet", "more.jsonl"):
        assert told in run([[A], [more]], "-o", output, "--keep-all")[1]


def test_a_type_is_waited_for_in_bounded_memory(run, monkeypatch):
    files = [[NULL], [NULL], [A]]
    monkeypatch.setattr(batch.alike, "HELD_BYTES", 1)
    assert "2.jsonl: its kept columns differ" in run(files, "-o", "x.parquet", "--keep", "id")[1]
    monkeypatch.setattr(batch.alike, "HELD_BYTES", 1000)
    assert run(files, "-o", "out.parquet", "--keep", "id")[0] == 0


def test_an_empty_table_of_other_types(artifact_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"query": pa.array([], pa.string()), "id": pa.array([], "f8")}), "0.pq")
    (tmp_path / "1.parquet").write_bytes(content("parquet", QUERIES))
    words = ["0.pq", "1.parquet", "-o", "out.parquet", "--keep-all"]
    assert main(["batch", "--model", str(artifact_path), *words]) == 0
    assert kept(tmp_path / "out.parquet") == [{"id": i, "query": q} for i, q in enumerate(QUERIES)]
