"""CSV and TSV: where records and files end, and which columns are told apart."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import readers
from batch.block import Columns
from batch.delimited import read
from batch.errors import BatchError
from batch.streams import ByteStream
from topiccore.cli import main

OPEN = "it ends within a quoted field: is it cut off?"


@pytest.fixture
def batch(artifact_path, capfd, tmp_path, monkeypatch):
    """``batch(data, *arguments)``: exit code, standard error and kept rows, of that CSV file."""
    monkeypatch.chdir(tmp_path)

    def run(data, *arguments, name="in.csv"):
        (tmp_path / name).write_bytes(data)
        words = [name, "-o", "out.jsonl", "--overwrite", *arguments]
        code = main(["batch", "--model", str(artifact_path), *words])
        rows = []
        if code == 0:
            rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
            rows = [[row[name] for name in row if name != "topics"] for row in rows]
        return code, capfd.readouterr().err, rows

    return run


def parsed(data, header=True, block=1 << 20):
    """All rows of CSV, all columns."""
    names = next(csv.reader(io.StringIO(data.decode())))
    names = names if header else [f"f{place}" for place in range(len(names))]
    stream = ByteStream(io.BytesIO(data), None, block)
    blocks = list(read(stream, Columns(names[0], None), ",", header))
    return [list(row.values()) for block in blocks for row in block.kept.to_pylist()]


@pytest.mark.parametrize("blocks", [64, 1 << 20])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("last", "whole"),
    [
        ('5" pizza', True),
        ('"tv,"', True),
        ('"say ""hi"""', True),
        ('""', True),
        ("", True),
        ('a"', True),
        ('"say ""hi', False),
        ('"', False),
        ('"a,b', False),
        ('"""', False),
        ('"5,', False),
    ],
)
def test_where_a_file_ends(batch, monkeypatch, blocks, end, last, whole):
    monkeypatch.setattr(readers, "BLOCK_BYTES", blocks)
    data = f'id,query\n1,5" pizza\n2,"used\nhonda"\n3,{last}{end}'.encode()
    code, err, rows = batch(data, "--keep-all")
    assert code == 1 - whole
    if whole:
        assert [row[0] for row in rows] == ["1", "2", "3"]
        assert rows[2] == next(csv.reader([f"3,{last}"]))
    else:
        assert f"in.csv: {OPEN}" in err


@pytest.mark.parametrize("data", [b'"id,query', b'id,query\n"1', b'a,query\n1,x\n"', b'"'])
def test_a_file_that_ends_before_its_last_column(batch, data):
    text = "id,query" if data.startswith(b'"id') else "" if data == b'"' else "query"
    code, err, _ = batch(data, "--text-column", text)
    assert (code, err) == (1, f"topiccore: error: in.csv: {OPEN}\n")


@pytest.mark.parametrize("length", [0, 10, *range(55, 100), 500])
def test_what_is_told_of_a_record_of_too_few_columns(batch, capfd, length):
    row = b"\xff" + b"x" * length
    code, err, _ = batch(b"id,query\n1,a\n" + row)
    assert (code, err.count("\n")) == (1, 1)
    assert "Expected 2 columns, got 1: \ufffdx"[: 28 + (length > 0)] in err
    code, err, _ = batch(b'id,query\n1,a\n"' + row)
    assert code == 1
    assert OPEN in err or ("Expected 2 columns" in err and length > 80)


@given(
    st.lists(st.lists(st.text('ab ",\n\r\t', max_size=4), min_size=2, max_size=2), max_size=6),
    st.booleans(),
    st.integers(0, 60),
)
def test_rows_are_those_of_another_reader(rows, header, cut):
    sink = io.StringIO(newline="")
    csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["x", "y"], *rows])
    data = sink.getvalue().encode()
    assert parsed(data, header) == ([] if header else [["x", "y"]]) + rows
    # Cut inside the quotes of any field.
    cut = 9 + cut
    if cut < len(data) and data[:cut].count(b'"') % 2:
        with pytest.raises(BatchError):
            parsed(data[:cut], header)


@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
@pytest.mark.parametrize(
    ("data", "words", "rows"),
    [
        (b"query", [], []),
        (b"query\n", [], []),
        (b"query\na", [], [["a"]]),
        (b"query\na\n\n", [], [["a"], [""]]),
        (b"a", ["--no-header"], [["a"]]),
        (b"a\n", ["--no-header"], [["a"]]),
        (b"\xef\xbb\xbfquery\r", [], []),
    ],
)
def test_few_rows_of_one_column(batch, data, words, rows, name):
    code, _, found = batch(data, "--keep-all", *words, name=name)
    assert (code, found) == (0, rows)


def test_columns_of_one_name_that_are_not_needed(batch):
    data = b"id,,,query,x,x\n1,2,3,used honda,4,5\n"
    assert batch(data, "--keep", "id")[2] == [["1"]]
    assert "more than one column ''" in batch(data, "--keep-all")[1]
    assert "more than one column 'x'" in batch(data, "--keep", "x")[1]


def test_a_long_first_field(batch):
    limit = csv.field_size_limit()
    data = b"x" * 220_000 + b",b\nc,d\n"
    words = ["--no-header", "--text-column", "f1", "--keep", "f1"]
    code, _, rows = batch(data, *words)
    assert (code, rows) == (0, [["b"], ["d"]])
    # The limit of other readers in this process stays theirs.
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(("name", "doubt"), [("in.csv", ": an open quote?"), ("in.tsv", "")])
def test_records_longer_than_a_block(batch, monkeypatch, name, doubt):
    monkeypatch.setattr(readers, "BLOCK_BYTES", 1 << 10)
    told = "a record after row {} is longer than 0.000976562 MiB" + doubt + "\n"
    long = b"x" * 5000
    _, err, _ = batch(b"query\n" + b"a\n" * 1000 + long + b"\nb\n", name=name)
    rows = int(err.split("after row ")[1].split()[0])
    assert err.endswith(told.format(rows))
    assert 400 <= rows <= 1000
    assert batch(b"query" + long + b"\nb\n", name=name)[1].endswith(told.format(0))
    assert batch(long + b"\nb\n", "--no-header", name=name)[1].endswith(told.format(0))
