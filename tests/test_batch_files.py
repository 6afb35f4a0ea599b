"""``topiccore batch`` on files: every format in and out, rows and order kept."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import (
    QUERIES,
    compressed,
    content,
    expected,
    leftovers,
    parse_tsv,
    plain,
    rows_of,
)
from hypothesis import given
from hypothesis import strategies as st

from batch import readers
from batch.inputs import find_inputs
from batch.plain_text import lines
from topiccore.cli import main


@pytest.fixture
def batch(artifact_path, capfd, tmp_path, monkeypatch):
    """``batch(*arguments)``: exit code and both outputs, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(["batch", "--model", str(artifact_path), *map(str, arguments)])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows, so that small files have many."""
    monkeypatch.setattr(readers, "BLOCK_BYTES", 700)
    monkeypatch.setattr(readers, "ROWS", 3)


INPUTS = [
    *("in.parquet", "in.csv", "in.csv.gz", "in.csv.zst", "in.tsv", "in.tsv.gz", "in.jsonl"),
    *("in.jsonl.gz", "in.ndjson.zst", "in.json", "in.txt", "in.txt.gz", "in.txt.zst"),
]
OUTPUTS = [
    *("out.parquet", "out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.tsv", "out.tsv.gz"),
    "out.tsv.zst",
]


def kind_of(name):
    return {"ndjson": "jsonl", "json": "jsonl"}.get(name.split(".")[1], name.split(".")[1])


def write(folder, name, queries=QUERIES):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(compressed(content(kind_of(name), queries), name))
    return path


@pytest.mark.parametrize("source", INPUTS)
@pytest.mark.usefixtures("small_blocks")
def test_every_input(batch, model, tmp_path, source):
    write(tmp_path, source, QUERIES * 3)
    assert batch(source, "-o", "out.parquet", "--min-score", "0.2")[0] == 0
    rows = rows_of(tmp_path / "out.parquet")
    assert rows == [expected(model, q, min_score=0.2) for q in QUERIES * 3]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.usefixtures("small_blocks")
def test_every_output_the_same_at_any_number_of_threads(batch, model, tmp_path, output):
    write(tmp_path, "in.jsonl", QUERIES * 20)
    found = []
    for threads in (1, 2, 5):
        out = tmp_path / f"{threads}" / output
        assert batch("in.jsonl", "-o", out, "--threads", threads)[0] == 0
        assert rows_of(out) == [expected(model, q) for q in QUERIES * 20]
        found.append(out.read_bytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("source", INPUTS)
@pytest.mark.parametrize("output", ["out.parquet", "out.jsonl", "out.tsv"])
def test_kept_columns(batch, model, tmp_path, source, output):
    write(tmp_path, source)
    assert batch(source, "-o", output, "--keep-all")[0] == 0
    out = tmp_path / output
    assert rows_of(out) == [expected(model, q) for q in QUERIES]
    if output == "out.parquet":
        kept = pq.read_table(out).drop_columns(["topics"]).to_pylist()
    elif output == "out.jsonl":
        kept = [json.loads(line) for line in out.read_text().splitlines()]
        kept = [{k: v for k, v in row.items() if k != "topics"} for row in kept]
    else:
        header, *lines = (line.split("\t")[:-1] for line in out.read_text().split("\n")[:-1])
        kept = [dict(zip(header, line, strict=True)) for line in lines]
    textual = kind_of(source) in ("csv", "tsv") or output == "out.tsv"
    rows = [{"id": str(i) if textual else i, "query": q} for i, q in enumerate(QUERIES)]
    if kind_of(source) == "txt":
        rows = [{"query": q} for q in QUERIES]
    assert kept == rows


def test_chosen_columns_and_names(batch, model, tmp_path):
    pq.write_table(pa.table({"a": [1], "b": ["used honda"], "topics": ["t"]}), "in.parquet")
    options = ["--text-column", "b", "--keep", "topics,a", "--result-column", "labels"]
    assert batch("in.parquet", "-o", "out.parquet", *options)[0] == 0
    table = pq.read_table("out.parquet")
    assert table.schema.names == ["topics", "a", "labels"]
    assert table["labels"].to_pylist() == [expected(model, "used honda")]
    code, _, err = batch("in.parquet", "-o", "x.parquet", "--text-column", "b", "--keep-all")
    assert code == 1
    assert "--result-column" in err


def test_options_for_labels(batch, model, tmp_path):
    write(tmp_path, "in.txt")
    batch("in.txt", "-o", "out.jsonl", "--min-score", "0.1", "--max-labels", "2", "--topics-only")
    topics = {label.code for label in model.taxonomy.topics}
    assert rows_of(tmp_path / "out.jsonl") == [
        [x for x in expected(model, q, min_score=0.1) if x["code"] in topics][:2] for q in QUERIES
    ]


def test_values_of_every_type_as_json_and_tsv(batch, tmp_path):
    table = pa.table(
        {
            "query": ["used honda", None, 'a\x01"\\\t\r\nb'],
            "f": [1.5, float("nan"), None],
            "t": pa.array([0, None, 1], pa.timestamp("s")),
            "l": [[1], None, []],
            "d": pa.array(["x", None, "y"]).dictionary_encode(),
            "b": [True, None, False],
            "n": pa.nulls(3),
            "v": pa.array(["a", "b", None], pa.string_view()),
            "i": pa.array([b"\xff", b"ok", None]),
        }
    )
    pq.write_table(table, "in.parquet")
    assert batch("in.parquet", "-o", "out.jsonl", "--keep-all")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == table["query"].to_pylist()
    assert [row["f"] for row in rows] == [1.5, None, None]
    assert [row["l"] for row in rows] == [[1], None, []]
    assert [row["d"] for row in rows] == ["x", None, "y"]
    assert [row["b"] for row in rows] == [True, None, False]
    assert [row["n"] for row in rows] == [None] * 3
    assert [row["v"] for row in rows] == ["a", "b", None]
    assert [row["i"] for row in rows] == ["\ufffd", "ok", None]
    assert rows[0]["t"].startswith("1970-01-01")
    assert batch("in.parquet", "-o", "out.tsv", "--keep", "query,l,i")[0] == 0
    lines = (tmp_path / "out.tsv").read_bytes().decode().split("\n")[:-1]
    assert [line.split("\t")[:3] for line in lines[1:]] == [
        ["used honda", "[1]", "\ufffd"],
        ["", "", "ok"],
        ['a\x01"\\\\t\\r\\nb', "[]", ""],
    ]
    assert batch("in.parquet", "-o", "out.parquet", "--keep-all")[0] == 0
    kept = pq.read_table("out.parquet").drop_columns(["topics", "f"])
    assert kept.to_pylist() == table.drop_columns(["f"]).to_pylist()


def test_values_that_json_does_not_know(batch, tmp_path):
    nan, inf = float("nan"), float("inf")
    table = pa.table(
        {
            "query": ["a", "b", None],
            "l": [[1.5, nan], [], None],
            "s": [{"a": [{"b": -inf}], "c": b"x\xff"}, None, {"a": [], "c": None}],
            "m": pa.array([[("k", inf)], None, []], pa.map_(pa.string(), pa.float64())),
            "f": pa.array([b"abcd", None, b"x\xffyz"], pa.binary(4)),
        }
    )
    pq.write_table(table, "in.parquet")
    assert batch("in.parquet", "-o", "out.jsonl", "--keep-all")[0] == 0
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=lambda text: pytest.fail(text)) for line in lines]
    assert [row["l"] for row in rows] == [[1.5, None], [], None]
    assert rows[0]["s"] == {"a": [{"b": None}], "c": "x\ufffd"}
    assert rows[0]["m"] == [["k", None]]
    assert [row["f"] for row in rows] == ["abcd", None, "x\ufffdyz"]
    assert batch("in.parquet", "-o", "out.tsv", "--keep", "l,f")[0] == 0
    found = (tmp_path / "out.tsv").read_text().split("\n")[1:-1]
    assert [line.split("\t")[:2] for line in found] == [
        ["[1.5, null]", "abcd"],
        ["[]", ""],
        ["", "x\ufffdyz"],
    ]


def test_whole_floats_stay_floats(batch, tmp_path):
    values = [0.0, -0.0, 2.0, 1.5, 1e20, None, float("nan")]
    columns = {"query": ["a"] * 7, "d": values, "s": pa.array(values, pa.float32())}
    pq.write_table(pa.table(columns), "in.parquet")
    texts = ["0.0", "-0.0", "2.0", "1.5", "1e+20"]
    assert batch("in.parquet", "-o", "out.jsonl", "--keep", "d,s")[0] == 0
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    found = [line.partition(', "topics"')[0] for line in lines]
    assert found[1:4] == [f'{{"d": {text}, "s": {text}' for text in texts[1:4]]
    assert [json.loads(line)["d"] for line in lines] == [*values[:5], None, None]
    assert batch("in.parquet", "-o", "out.tsv", "--keep", "d")[0] == 0
    lines = (tmp_path / "out.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == [*texts, "", "nan"]


# --- rows ---------------------------------------------------------------------------------------


def test_rows_that_are_null_or_no_text(batch, model, tmp_path):
    values = ["used honda", None, 5, ["x"], {"a": 1}, "red dress", True]
    lines = [json.dumps({"query": value, "n": i}) for i, value in enumerate(values)]
    lines += ["", '{"n": 7}', "[1]", '{"query": "\\ud83d honda", "n": 9}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    code, _, err = batch("in.jsonl", "-o", "out.jsonl", "--keep", "n", "--summary", "s.json")
    assert code == 0
    texts = ["used honda", *[None] * 4, "red dress", None, None, None, b"? honda"]
    assert rows_of(tmp_path / "out.jsonl") == [expected(model, text) for text in texts]
    numbers = [json.loads(x)["n"] for x in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert numbers == [0, 1, 2, 3, 4, 5, 6, 7, None, 9]
    found = json.loads((tmp_path / "s.json").read_text())
    assert (found["rows"], found["null_or_not_text"], found["not_text"]) == (10, 7, 5)
    assert "7 rows without a query" in err


def test_lines_of_plain_text(batch, model, tmp_path):
    data = b"used honda\r\n\nred \xff dress\n\xef\xbb\xbfpizza\n a\tb \nlast dallas"
    (tmp_path / "in.txt").write_bytes(data)
    assert batch("in.txt", "-o", "out.jsonl", "--keep-all")[0] == 0
    lines = [line.rstrip(b"\r\n") for line in io.BytesIO(data)]
    assert rows_of(tmp_path / "out.jsonl") == [expected(model, line) for line in lines]
    texts = [json.loads(x)["query"] for x in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert texts == [line.decode("utf-8", "replace") for line in lines]


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xff"]), max_size=12))
def test_where_lines_end(pieces):
    data = b"".join(pieces)
    found = [line.removesuffix(b"\n").removesuffix(b"\r") for line in io.BytesIO(data + b"\n")]
    if not data or data.endswith(b"\n"):
        found.pop()
    assert lines(data).to_pylist() == found


@pytest.mark.parametrize("blocks", [False, True])
def test_csv_as_it_is_found(batch, model, tmp_path, request, blocks):
    if blocks:
        request.getfixturevalue("small_blocks")
    filler = "".join(f'{i},"red ""dress"" {i}"\n' for i in range(100))
    data = '\ufeffid,query\r\n007,"used\nhonda"\r\n1,5" pizza\n\n2,\n' + filler + '3,"a,b"'
    (tmp_path / "in.csv").write_text(data, newline="")
    assert batch("in.csv", "-o", "out.jsonl", "--keep-all")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["007", "1", "2", *map(str, range(100)), "3"]
    texts = ["used\nhonda", '5" pizza', "", *[f'red "dress" {i}' for i in range(100)], "a,b"]
    assert [row["query"] for row in rows] == texts
    assert [row["topics"] for row in rows] == [expected(model, text) for text in texts]


def test_one_column_has_a_row_for_every_line(batch, tmp_path):
    for name in ("in.csv", "in.tsv"):
        (tmp_path / name).write_text("text\nused honda\n\nred dress\n\n")
        assert batch(name, "-o", "out.jsonl", "--overwrite")[0] == 0
        assert len(rows_of(tmp_path / "out.jsonl")) == 4


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("last", [True, False])
def test_csv_and_tsv_with_any_line_ends(batch, model, tmp_path, end, last):
    for name, delimiter in (("in.csv", ","), ("in.tsv", "\t")):
        lines = [f"id{delimiter}query", f"1{delimiter}used honda", f"2{delimiter}red dress"]
        (tmp_path / name).write_text(end.join(lines) + end * last, newline="")
        assert batch(name, "-o", "out.jsonl", "--keep-all", "--overwrite")[0] == 0
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [(row["id"], row["query"]) for row in rows] == [
            ("1", "used honda"),
            ("2", "red dress"),
        ]
        assert rows[0]["topics"] == expected(model, "used honda")


@pytest.mark.parametrize("name", ["in.txt", "in.csv", "in.tsv", "in.jsonl", "in.jsonl.gz"])
def test_a_byte_order_mark_is_no_text(batch, model, tmp_path, name):
    data = b"\xef\xbb\xbf" + content(kind_of(name), ["used honda", "red dress"])
    (tmp_path / name).write_bytes(compressed(data, name))
    assert batch(name, "-o", "out.jsonl", "--keep-all")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == ["used honda", "red dress"]
    assert rows[0]["topics"] == expected(model, "used honda")


def test_a_byte_order_mark_before_nested_values(batch, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"query": "a", "x": [1]}\n')
    assert batch("in.jsonl", "-o", "out.jsonl", "--keep", "x")[0] == 0
    assert json.loads((tmp_path / "out.jsonl").read_text())["x"] == [1]


def test_without_a_header(batch, model, tmp_path):
    (tmp_path / "in.tsv").write_text('1\tused "honda\n2\tred dress\n')
    options = ["--no-header", "--text-column", "f1", "--keep", "f0"]
    assert batch("in.tsv", "-o", "out.tsv", *options)[0] == 0
    assert (tmp_path / "out.tsv").read_text().startswith("f0\ttopics\n1\t")
    assert rows_of(tmp_path / "out.tsv")[0] == expected(model, 'used "honda')


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *(("in.txt", b""), ("in.jsonl", b""), ("in.jsonl", b"\n\n"), ("in.csv", b"query\n")),
        *(("in.csv", b"id,query"), ("in.tsv", b"query"), ("in.parquet", None)),
    ],
)
@pytest.mark.parametrize("output", ["out.parquet", "out.jsonl", "out.tsv.gz"])
def test_no_rows(batch, tmp_path, name, data, output):
    (tmp_path / name).write_bytes(content("parquet", []) if data is None else data)
    if name == "in.parquet":
        pq.write_table(pa.table({"query": pa.array([], pa.string())}), name)
    code, _, err = batch(name, "-o", output)
    assert (code, rows_of(tmp_path / output)) == (0, [])
    assert err.startswith("0 rows")


def test_later_rows_may_say_more_in_nested_values(batch, tmp_path, request):
    request.getfixturevalue("small_blocks")
    values = [{"a": i} for i in range(60)] + [{"a": 1, "b": [None, "ü"]}]
    lines = [json.dumps({"query": "q", "x": value}) for value in values]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert batch("in.jsonl", "-o", "out.parquet", "--keep", "x")[0] == 0
    kept = pq.read_table(tmp_path / "out.parquet")["x"].to_pylist()
    assert [json.loads(text) for text in kept] == values


def test_a_row_group_of_long_texts_comes_in_small_blocks():
    texts = ["x" * 100_000] * 50
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"query": texts}), sink, use_dictionary=False, compression="none")
    metadata = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata
    assert readers._batch_rows(metadata, {"query"}) == 4 * readers.BLOCK_BYTES * 50 // sum(
        metadata.row_group(i).column(0).total_uncompressed_size
        for i in range(metadata.num_row_groups)
    )


# --- where files are ----------------------------------------------------------------------------


def test_folders_and_globs_have_a_file_for_each_input(batch, model, tmp_path):
    for name in ("in/b.csv.gz", "in/a/b.txt", "in/a/c.parquet"):
        write(tmp_path, name)
    for name in ("in/_SUCCESS", "in/.x.txt"):
        (tmp_path / name).touch()
    assert batch("in", "-o", "out", "--to", "jsonl.gz")[0] == 0
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.gz"))
    assert found == ["a/b.jsonl.gz", "a/c.jsonl.gz", "b.jsonl.gz"]
    for name in found:
        assert rows_of(tmp_path / "out" / name) == [expected(model, q) for q in QUERIES]
    assert batch("in/*/*", "-o", "two")[0] == 0
    assert sorted(p.name for p in (tmp_path / "two" / "a").iterdir()) == ["b.parquet", "c.parquet"]
    assert leftovers(tmp_path) == [str(tmp_path / "in/.x.txt")]


def test_hidden_files_are_of_a_pattern_that_names_them(batch, tmp_path):
    names = ["in/a.txt", "in/.h.txt", "in/.d/b.txt", "in/c/d.txt", "in/c/.e.txt", "in/_f.txt"]
    for name in names:
        write(tmp_path, name, [name])
    (tmp_path / "in/link").symlink_to("../out")
    write(tmp_path, "out/d.txt")
    write(tmp_path, "out/.e.txt")
    for pattern, found in (
        ("in/*.txt", ["in/_f.txt", "in/a.txt"]),
        ("in/*/*.txt", ["in/c/d.txt", "in/link/d.txt"]),
        ("in/[!a]/*", ["in/c/d.txt"]),
        ("in/c/*.*", ["in/c/d.txt"]),
        ("in/**", ["in/_f.txt", "in/a.txt", "in/c/d.txt"]),
        ("in/**/d.txt", ["in/c/d.txt"]),
        ("in/.*.txt", ["in/.h.txt"]),
        ("in/.d/*.txt", ["in/.d/b.txt"]),
        ("in/*/.e.txt", ["in/c/.e.txt", "in/link/.e.txt"]),
        ("[i]n/?.txt", ["in/a.txt"]),
        (f"{tmp_path}/**/in/c/?.txt", [f"{tmp_path}/in/c/d.txt"]),
    ):
        assert [str(one) for one in find_inputs([pattern], None)] == found


def test_hidden_files_of_a_store(batch, tmp_path):
    store = fsspec.filesystem("memory")
    for name in ("a.txt", ".h.txt", ".d/b.txt"):
        store.pipe(f"/batch-glob/{name}", b"used honda\n")
    try:
        found = find_inputs(["memory://batch-glob/**"], None)
        assert list(map(str, found)) == ["memory://batch-glob/a.txt"]
        found = find_inputs(["memory://batch-glob/.*.txt"], None)
        assert list(map(str, found)) == ["memory://batch-glob/.h.txt"]
    finally:
        store.rm("/batch-glob", recursive=True)


def test_a_name_with_colons_is_a_local_file(batch, model, tmp_path):
    write(tmp_path, "a::b.txt")
    assert batch("a::b.txt", "-o", "c::d.tsv")[0] == 0
    assert rows_of(tmp_path / "c::d.tsv") == [expected(model, q) for q in QUERIES]


def test_many_files_in_one(batch, model, tmp_path):
    write(tmp_path, "a.txt", QUERIES[:3])
    write(tmp_path, "b.csv", QUERIES[3:])
    write(tmp_path, "c.jsonl", [])
    assert batch("b.csv", "a.txt", "c.jsonl", "-o", "out.tsv")[0] == 0
    rows = [expected(model, q) for q in QUERIES[3:] + QUERIES[:3]]
    assert rows_of(tmp_path / "out.tsv") == rows


@pytest.mark.parametrize("source", ["in.txt", "in.csv", "in.jsonl.gz", "in.tsv.zst"])
def test_standard_input_and_output(batch, model, tmp_path, monkeypatch, source):
    data = write(tmp_path, source).read_bytes()
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)))
    monkeypatch.setattr(sys, "stdin", stream)
    code, out, err = batch("-", "--from", source.removeprefix("in."), "-o", "-")
    assert code == 0
    rows = [json.loads(line)["topics"] for line in out.splitlines()]
    assert rows == [expected(model, q) for q in QUERIES]
    assert "coverage" in err


@pytest.mark.parametrize("piped", [False, True])
def test_parquet_from_standard_input(artifact_path, model, tmp_path, piped):
    data = write(tmp_path, "in.parquet").read_bytes()
    command = [sys.executable, "-m", "topiccore.cli", "batch", "-", "--from", "parquet"]
    command += ["-o", "out.tsv", "--model", str(artifact_path)]
    with (tmp_path / "in.parquet").open("rb") as file:
        given = {"input": data} if piped else {"stdin": file}
        subprocess.run(command, cwd=tmp_path, check=True, **given)
    assert rows_of(tmp_path / "out.tsv") == [expected(model, q) for q in QUERIES]


def test_standard_output_as_tsv(batch, model, tmp_path):
    write(tmp_path, "in.txt")
    code, out, err = batch("in.txt", "-o", "-", "--to", "tsv", "--quiet")
    assert (code, err) == (0, "")
    assert [parse_tsv(x) for x in out.split("\n")[1:-1]] == [expected(model, q) for q in QUERIES]


def test_object_stores(batch, model, tmp_path):
    store = fsspec.filesystem("memory")
    for number, name in enumerate(("a.parquet", "b/c.csv.gz", "b/d.jsonl")):
        queries = QUERIES[number:]
        store.pipe(
            f"/batch-in/{name}",
            compressed(content(kind_of("x." + name.split(".")[1]), queries), name),
        )
    try:
        assert batch("memory://batch-in", "-o", "memory://batch-out/x")[0] == 0
        assert store.find("/batch-out") == [
            "/batch-out/x/a.parquet",
            "/batch-out/x/b/c.parquet",
            "/batch-out/x/b/d.parquet",
        ]
        table = pq.read_table(io.BytesIO(store.cat("/batch-out/x/b/c.parquet")))
        assert table["topics"].to_pylist() == [expected(model, q) for q in QUERIES[1:]]
        code, _, err = batch("memory://batch-in/b/*", "-o", "memory://batch-out/x/b")
        assert code == 1
        assert "memory://batch-out/x/b/c.parquet: exists already" in err
        assert batch("memory://batch-in/b/*", "-o", "memory://all.jsonl.gz")[0] == 0
        text = plain(store.cat("/all.jsonl.gz"), "all.jsonl.gz").decode()
        rows = [json.loads(line)["topics"] for line in text.splitlines()]
        assert rows == [expected(model, q) for q in QUERIES[1:] + QUERIES[2:]]
    finally:
        for path in ("/batch-in", "/batch-out", "/all.jsonl.gz"):
            if store.exists(path):
                store.rm(path, recursive=True)


# --- what is told -------------------------------------------------------------------------------


def test_summary(batch, model, tmp_path):
    queries = [*QUERIES * 5, "qqq honda qqq"]
    write(tmp_path, "in.csv", queries)
    code, out, err = batch("in.csv", "-o", "out.parquet", "--summary", "deep/s.json")
    assert (code, out) == (0, "")
    found = json.loads((tmp_path / "deep" / "s.json").read_text())
    rows = [expected(model, q) for q in queries]
    assert found["model"] == model.id
    assert found["rows"] == found["rows_scored_now"] == len(queries)
    assert found["covered"] == sum(bool(row) for row in rows)
    assert found["coverage"] == found["covered"] / len(queries)
    assert found["truncated"] == 5
    for label in found["topics"] + found["subtopics"]:
        having = sum(any(x["code"] == label["code"] for x in row) for row in rows)
        assert (label["rows"], label["share"]) == (having, having / len(queries))
    assert {"token": "qqq", "times": 2} in found["unknown_tokens"]["frequent"]
    assert found["unknown_tokens"]["frequent_in_rows"] == len(queries)
    assert f"coverage: {found['coverage']:.1%}" in err
    assert "Vehicles" in err


def test_progress_when_asked(batch, tmp_path, monkeypatch):
    monkeypatch.setattr("batch.progress._LINES", 0.0)
    write(tmp_path, "in.csv")
    _, _, err = batch("in.csv", "-o", "out.parquet", "--progress")
    assert "11 rows, 100.0%, " in err.splitlines()[0]
    assert err.splitlines()[0].endswith("0 s left")
    _, _, err = batch("in.csv", "-o", "two.parquet")
    assert "left" not in err


def test_help_tells_the_result_and_how_a_run_goes_on(capsys):
    with pytest.raises(SystemExit):
        main(["batch", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("topiccore batch ") == 4  # the usage and three examples
    assert "list<struct<code: string, score: double>>" in told
    assert "interrupted goes on where it stopped when the same command is given again" in told
    assert "s3fs" in told
    assert "default: as many as there are cores" in told
