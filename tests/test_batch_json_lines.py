"""Kept columns of JSON lines: every value as it was, or an error that names its place."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import expected

from batch import readers
from batch.errors import BatchError
from batch.nesting import check_depth
from topiccore.cli import main

HUGE = 123456789012345678901


@pytest.fixture
def batch(artifact_path, capfd, tmp_path, monkeypatch):
    """``batch(lines, *arguments)``: exit code and standard error for these lines in ``in.jsonl``.

    Objects are a few to a block.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readers, "BLOCK_BYTES", 200)

    def run(lines, *arguments):
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "in.jsonl").write_text("".join(f"{text}\n" for text in texts))
        code = main(["batch", "--model", str(artifact_path), "in.jsonl", *arguments])
        return code, capfd.readouterr().err

    return run


def objects(values):
    return [{"query": "used honda", "x": value} for value in values]


def kept(path):
    """The values of column x, as their text in the output."""
    lines = path.read_text().splitlines()
    return [line.split('"x": ', 1)[1].split(', "topics": ')[0] for line in lines]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (199999.5, "is not of the type int64"),
        (2.0, "is not of the type int64"),
        (True, "is not of the type int64"),
        ("5", "is not of the type int64"),
        (1 << 63, "is a number that the type int64"),
        (HUGE, "is a number that the type int64"),
    ],
)
def test_a_later_value_that_does_not_fit_is_refused(batch, tmp_path, value, told):
    code, err = batch(objects([*range(50), value]), "-o", "out.jsonl", "--keep-all")
    assert code == 1
    assert f"in.jsonl: line 51: 'x' {told}" in err
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("beside", [0.5, 1.5e300])
def test_a_later_integer_that_no_double_is_equal_to_is_refused(batch, beside):
    for value in (9007199254740993, HUGE, 1 << 80):
        lines = objects([beside, *[2.5] * 50, value])
        code, err = batch(lines, "-o", "out.jsonl", "--keep", "x")
        assert code == 1
        assert "line 52: 'x' is a number that the type double" in err
    code, _ = batch(objects([beside, 1 << 53, 1e20]), "-o", "out.jsonl", "--keep", "x")
    assert code == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([(1 << 64) - 1, 0], pa.uint64()),
        ([(1 << 63) - 1, -(1 << 63)], pa.int64()),
        ([9007199254740993, 0.5], pa.string()),
        ([9007199254740992, 0.5], pa.float64()),
        ([-1, (1 << 64) - 1], pa.string()),
        ([HUGE, None, 1], pa.string()),
        ([1 << 64, 1], pa.string()),
        ([True, 1], pa.string()),
        ([5, "5"], pa.string()),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_numbers_of_the_first_rows_are_kept_as_they_are(batch, tmp_path, values, kind, nested):
    lines = objects(values)
    if nested:
        lines[0]["deep"] = [{"a": HUGE}]
    assert batch(lines, "-o", "out.jsonl", "--keep-all")[0] == 0
    assert batch(lines, "-o", "out.parquet", "--keep-all")[0] == 0
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("x").type == kind
    found = table["x"].to_pylist()
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    if kind == pa.string():
        assert found == [v if v is None or type(v) is str else json.dumps(v) for v in values]
    else:
        assert found == values
    if "5" in values:  # a column of text
        assert [row["x"] for row in written] == ["5", "5"]
    else:
        assert [row["x"] for row in written] == values
    if nested:
        assert [row["deep"] for row in written] == [[{"a": HUGE}], *[None] * (len(values) - 1)]


def test_a_number_beyond_double_precision(batch):
    good = '{"query": "a", "x": 1.5, "y": 1e400}'
    assert batch([good], "-o", "out.jsonl", "--keep", "x")[0] == 0
    for name in ("x", "z"):
        bad = f'{{"query": "a", "x": 1e400, "z": [1e400, "{name}"]}}'
        code, err = batch([good, bad], "-o", "bad.jsonl", "--keep", name)
        assert code == 1
        assert f"line 2: '{name}' has the number 1E+400, which double precision" in err


def test_nested_values_stay_json_in_json_lines(batch, tmp_path):
    values = [{"a": [1, "ü\n"]}, [], None, {"b": None}, "text", 5]
    lines = objects(values * 20)
    assert batch(lines, "-o", "out.jsonl", "--keep", "x")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["x"] for row in rows] == values * 20
    assert batch(lines, "-o", "out.parquet", "--keep", "x")[0] == 0
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema.field("x").metadata in (None, {b"PARQUET:field_id": b"1"})
    texts = found["x"].to_pylist()
    assert [text if text is None else json.loads(text) for text in texts] == values * 20


def test_a_text_column_with_a_number_in_it_is_found(batch, model, tmp_path):
    lines = [{"n": 1, "q": "used honda"}, {"n": 2, "q": 5}]
    assert batch(lines, "-o", "out.jsonl")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["topics"] for row in rows] == [expected(model, "used honda"), []]


@pytest.mark.parametrize("first", [{"n": 1}, {"n": [1]}])
def test_a_column_that_appears_late(batch, tmp_path, first):
    lines = [{"query": "used honda", **first}] * 50 + [{"query": "a", "extra": None}]
    code, err = batch(lines, "-o", "out.jsonl", "--keep-all")
    assert code == 1
    assert "in.jsonl: line 51: new column 'extra'" in err
    assert "--keep" in err
    assert not (tmp_path / "out.jsonl").exists()
    assert batch(lines, "-o", "out.jsonl", "--keep", "n")[0] == 0


def nested(depth):
    """A line with that many lists and objects within each other."""
    return f'{{"query": "a \\" [[", "x": {"[" * (depth - 1)}{"]" * (depth - 1)}}}'


@pytest.mark.parametrize("depth", [501, 100_000])
@pytest.mark.parametrize("before", [0, 3, 50])
def test_deep_nesting_is_refused(artifact_path, tmp_path, depth, before):
    # In a process of its own: a stack that overflows ends it.
    lines = ['{"query": "a [[[", "x": [1]}'] * before + [nested(depth), nested(2)]
    (tmp_path / "in.jsonl").write_text("".join(f"{line}\n" for line in lines))
    command = [sys.executable, "-m", "topiccore.cli", "batch", "in.jsonl", "-o", "out.jsonl"]
    done = subprocess.run(
        [*command, "--model", str(artifact_path)], cwd=tmp_path, capture_output=True, text=True
    )
    told = f"topiccore: error: in.jsonl: line {before + 1}: nested deeper than 500\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_depth_is_that_outside_of_strings():
    for text in ('{"a": "]]]", "b": [{}\n', '{"a\\\\": "\\"]]\\\\", "b": [{}\n'):
        check_depth(text.encode() * 249, 1)
        with pytest.raises(BatchError, match="line 257: nested deeper than 500"):
            check_depth(text.encode() * 250, 8)
    check_depth(b'{"a": "[[{"}\n' * 1000, 1)


@pytest.mark.parametrize("before", [0, 50])
def test_nesting_as_deep_as_it_may_be(batch, tmp_path, before):
    lines = [*objects([[1]] * before), nested(500)]
    assert batch(lines, "-o", "out.jsonl", "--keep", "x")[0] == 0
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])
    assert row["x"] == json.loads(lines[-1])["x"]


def test_deep_nesting_in_later_rows(batch):
    code, err = batch([*objects([[1]] * 50), nested(501)], "-o", "out.jsonl", "--keep", "x")
    assert code == 1
    assert "in.jsonl: line 51: nested deeper than 500" in err
