"""``topiccore batch`` when something goes wrong: a clear error, nothing lost or half-written."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import QUERIES, compressed, content, expected, leftovers, rows_of
from fsspec.implementations.memory import MemoryFileSystem

from batch import formats, pipeline, readers, streams
from batch.errors import BatchError
from batch.journal import NAME, Journal
from batch.progress import Progress
from batch.writers import Writer
from topiccore.cli import main

LIMITED = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from topiccore.cli import main
sys.exit(main(sys.argv[2:]))
"""
KILLED = """\
import os, signal, sys
moment, name, *command = sys.argv[1:]
replace = os.replace
def rename(source, target):
    if os.path.basename(target) != name:
        return replace(source, target)
    if moment == "after":
        replace(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = rename
from topiccore.cli import main
main(command)
"""


@pytest.fixture
def batch_command(artifact_path, capfd, tmp_path, monkeypatch):
    """``batch_command(*arguments)``: exit code and standard error, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(["batch", "--model", str(artifact_path), *map(str, arguments)])
        return code, capfd.readouterr().err

    return run


@pytest.fixture
def refused(batch_command, tmp_path):
    """``refused(text, *arguments)``: exit code 1, an error with the text, and no new file."""

    def run(text, *arguments):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        code, err = batch_command(*arguments)
        assert code == 1
        assert err.startswith("topiccore: error: ")
        assert text in err
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before

    return run


def write(folder: Path, name: str, queries=QUERIES) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(compressed(content(name.split(".")[1], queries), name))
    return path


# --- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "jsonl"])
def test_wrong_column_names_tell_which_there_are(refused, tmp_path, kind):
    name = write(tmp_path, f"in.{kind}").name
    told = f"{name}: there is no column 'text'; there are 'id', 'query'"
    refused(told, name, "-o", "out.parquet", "--text-column", "text")
    refused(told, name, "-o", "out.parquet", "--keep", "id,text")


def test_names_that_are_not_utf8(refused, tmp_path):
    write(tmp_path, "in.csv")
    for option in ("--result-column", "--keep", "--text-column"):
        told = f"{option} 'x\\udcff' is not UTF-8"
        refused(told, "in.csv", "-o", "o.tsv", option, os.fsdecode(b"x\xff"))


def test_columns_that_cannot_be_guessed_or_scored(refused, tmp_path):
    pq.write_table(pa.table({"a": ["x"], "b": ["y"], "n": [1]}), "in.parquet")
    refused("There are 'a', 'b', 'n'", "in.parquet", "-o", "out.parquet")
    refused("'n' is of type int64", "in.parquet", "-o", "out.parquet", "--text-column", "n")
    (tmp_path / "twice.csv").write_text("query,a,a\nx,1,2\n")
    for words in (["--keep", "a"], ["--keep-all"], ["--text-column", "a"]):
        refused("more than one column 'a'", "twice.csv", "-o", "out.parquet", *words)
    told = "column 'query' is to be kept twice (--keep)"
    refused(told, "twice.csv", "-o", "out.parquet", "--keep", "query,query")
    refused("there is no column 'id'", write(tmp_path, "x.txt"), "-o", "out.tsv", "--keep", "id")


@pytest.mark.parametrize(
    "name", ["in.parquet", "in.csv.gz", "in.csv.zst", "in.jsonl", "in.jsonl.gz", "in.txt.zst"]
)
def test_input_that_is_cut_off(refused, tmp_path, name):
    random = np.random.RandomState(1)
    queries = [" ".join(map(str, random.randint(10**9, size=9))) for _ in range(500)]
    path = write(tmp_path, name, queries)
    path.write_bytes(path.read_bytes()[:-20])
    refused(str(path), path, "-o", "out.parquet")
    (tmp_path / "good.txt").write_text("used honda\n")
    refused(str(path), "good.txt", path, "-o", "out.parquet")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("in.csv", b'id,query\n1,"used\nhonda', "ends within a quoted field"),
        ("in.csv", b"id,query\n1,a\n2\n", "Expected 2 columns, got 1"),
        ("in.tsv", b"id\tquery\n1\ta\tb\n", "Expected 2 columns, got 3"),
        ("in.csv", b"", "it is empty"),
        ("in.jsonl", b'{"query": "a"}\n{"query": "b"\n', "line 2 is not JSON"),
        ("in.jsonl", b'{"query": "a"} {"query": "b"}\n', "line 1 is not JSON"),
        ("in.parquet", b"no parquet at all", "Parquet"),
        ("in.txt", b"used honda\rred dress\r", "its lines end with CR alone"),
        ("in.csv.gz", b"query\nx\n", "zlib"),
        ("in.txt.gz", b"", "Truncated compressed stream"),
        ("in.jsonl.zst", b"", "Truncated compressed stream"),
        ("in.parquet", b"", "Parquet file size is 0 bytes"),
        ("in.tsv.zst", b"query\nx\n", "ZSTD"),
    ],
)
def test_input_that_is_broken(refused, tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    refused(told, name, "-o", "out.jsonl")
    refused(name, name, "-o", "out.jsonl")


def test_a_later_line_is_named(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BLOCK_BYTES", 64)
    lines = ['{"query": "used honda", "n": 1}'] * 50
    for bad, told in (
        ("{", "line 51 is not JSON"),
        ('{"query": "a", "n": "x"}', "line 51: 'n' is not of the type int64"),
    ):
        (tmp_path / "in.jsonl").write_text("\n".join([*lines, bad]))
        refused(told, "in.jsonl", "-o", "out.jsonl", "--keep", "n")


@pytest.mark.parametrize("name", ["in.txt", "in.jsonl", "in.txt.gz"])
@pytest.mark.parametrize(("before", "more"), [(0, 1), (3, 1), (30, 1), (0, 500), (30, 500)])
def test_a_line_that_is_too_long(batch_command, refused, tmp_path, monkeypatch, name, before, more):
    monkeypatch.setattr(readers, "BLOCK_BYTES", 64)
    monkeypatch.setattr(streams, "LONGEST_LINE", 1 << 20)
    start, end = ('{"query": "', '"}') if "json" in name else ("", "")
    short, room = f"{start}a{end}\n", (1 << 20) - len(start + end)
    for length, after in ((room, short), (room + more, short), (room + more, "")):
        data = short * before + start + "x" * length + end + "\n" * bool(after) + after
        (tmp_path / name).write_bytes(compressed(data.encode(), name))
        if length == room:
            assert batch_command(name, "-o", "out.jsonl")[0] == 0
            (tmp_path / "out.jsonl").unlink()
        else:
            told = f"{name}: line {before + 1} is longer than 1 MiB"
            refused(told, name, "-o", "out.jsonl")


def test_nothing_from_a_pipe_that_should_be_compressed(artifact_path, tmp_path):
    command = [sys.executable, "-m", "topiccore.cli", "batch", "-", "-o", "-", "--quiet"]
    for kind, data, told in (
        ("txt.gz", b"", "cannot read standard input: Truncated compressed stream: it is empty"),
        ("csv.zst", b"", "cannot read standard input: Truncated compressed stream: it is empty"),
        ("txt.gz", gzip.compress(b""), None),
    ):
        done = subprocess.run(
            [*command, "--from", kind, "--model", str(artifact_path)],
            input=data,
            cwd=tmp_path,
            capture_output=True,
        )
        errors = f"topiccore: error: {told}\n" if told else ""
        assert (done.returncode, done.stderr.decode()) == (bool(told), errors)


def test_names_that_lead_nowhere(refused, tmp_path):
    write(tmp_path, "in.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "dangling.txt").symlink_to("nowhere")
    refused("no.txt: there is no such file", "no.txt", "-o", "out.parquet")
    refused("*.csv: no file is of that pattern", "*.csv", "-o", "out.parquet")
    refused("empty: the folder holds no file", "empty", "-o", "out.parquet")
    refused("notes.md: its ending tells no format", "notes.md", "-o", "out.parquet")
    refused("in.txt is named twice", "in.txt", "./in.txt", "-o", "out.parquet")
    refused("dangling.txt: there is no such file", "dangling.txt", "-o", "out.parquet")
    refused("no such format: 'xml'", "in.txt", "--from", "xml", "-o", "out.parquet")
    refused("nosuch://x/y", "nosuch://x/y", "-o", "out.parquet")


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder in ``in`` that may not be looked into, even by root."""
    write(tmp_path, "in/a.txt")
    write(tmp_path, "in/locked/b.txt")
    scandir, stat = os.scandir, os.stat

    def look(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    def status(path, **options):
        if "locked/" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, **options)

    monkeypatch.setattr(os, "scandir", look)
    monkeypatch.setattr(os, "stat", status)
    return str(tmp_path / "in/locked")


def test_folders_that_cannot_be_looked_into(refused, batch_command, locked):
    told = f"cannot read {locked}, in {{}}: Permission denied"
    refused(told.format("in"), "in", "-o", "out")
    refused("cannot read in/locked: Permission denied", "in/locked", "-o", "out")
    inner = told.replace("locked,", "locked/b.txt,")
    refused(inner.format("in/*/b.txt"), "in/*/b.txt", "-o", "out")
    for pattern in ("in/**", "in/l*/*", "in/**/*.txt"):
        refused(told.format(pattern), pattern, "-o", "out")
    # What the pattern leads past does not matter.
    assert batch_command("in/*.txt", "in/k*/*.txt", "-o", "out")[0] == 1
    assert batch_command("in/*.txt", "-o", "out")[0] == 0


def test_a_place_that_cannot_be_told_is_not_missing(refused, monkeypatch, tmp_path):
    write(tmp_path, "in.txt")
    os.symlink("loop", "loop")
    refused("cannot read loop: Too many levels", "loop", "-o", "out.tsv")
    refused("cannot read loop/out.tsv: Too many levels", "in.txt", "-o", "loop/out.tsv")


def test_errors_of_a_store_that_are_no_oserror(refused, monkeypatch, tmp_path):
    write(tmp_path, "in.txt")
    (tmp_path / "bad.zip").write_text("no zip")
    refused("zip://a.csv::bad.zip: File is not a zip file", "zip://a.csv::bad.zip", "-o", "o.tsv")

    def broken(*_, **__):
        raise RuntimeError("no such bucket")

    for method, where in (("open", "out.tsv"), ("mv", "out.tsv"), ("exists", "x/out.tsv")):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, method, broken)
            told = f"{where}: no such bucket"
            refused(told, "in.txt", "-o", f"memory://{where}")
    with fsspec.open("memory://resume-in.txt", "wb") as stream:
        stream.write(b"used honda\n")
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "_open", broken)
        told = "cannot read memory://resume-in.txt: no such bucket"
        refused(told, "memory://resume-in.txt", "-o", "out.tsv")
    fsspec.filesystem("memory").rm("/resume-in.txt")


def test_a_stray_file_in_a_folder(refused, tmp_path):
    write(tmp_path, "in/a.csv")
    (tmp_path / "in/README.md").write_text("x")
    told = (
        "in/README.md: its ending tells no format; name one (--from), or choose files ('in/*.csv')"
    )
    refused(told, "in/", "-o", "out")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that fails to read")
def test_input_that_cannot_be_read(refused):
    refused("cannot read /proc/self/mem: ", "/proc/self/mem", "--from", "txt", "-o", "out.jsonl")


# --- output -------------------------------------------------------------------------------------


def test_outputs_that_exist(refused, batch_command, model, tmp_path):
    write(tmp_path, "in/a.txt")
    (tmp_path / "out.jsonl").write_text("kept")
    write(tmp_path, "out/a.parquet", ["old"])
    refused("out.jsonl: exists already", "in/a.txt", "-o", "out.jsonl")
    refused("out/a.parquet: exists already", "in", "-o", "out")
    assert batch_command("in/a.txt", "-o", "out.jsonl", "--overwrite")[0] == 0
    assert batch_command("in", "-o", "out", "--overwrite")[0] == 0
    for name in ("out.jsonl", "out/a.parquet"):
        assert rows_of(tmp_path / name) == [expected(model, q) for q in QUERIES]


def test_outputs_that_cannot_be(refused, tmp_path):
    write(tmp_path, "a.jsonl")
    write(tmp_path, "a.txt")
    (tmp_path / "file").write_text("x")
    refused("a.jsonl is an input too", "a.jsonl", "-o", "a.jsonl", "--overwrite")
    refused("a.jsonl is an input too", "a.jsonl", "-o", ".", "--to", "jsonl", "--overwrite")
    write(tmp_path, "in/a.txt")
    refused("in/out lies in the folder in,", "in", "-o", "in/out")
    refused("in lies in the folder in/,", "in/", "-o", "in")
    refused("file: exists already", "a.txt", "-o", "out.jsonl", "--summary", "file")
    refused("would both become", "a.jsonl", "a.txt", "-o", "out")
    refused("file is a file", "a.txt", "-o", "file")
    refused("cannot write file/x.jsonl: ", "a.txt", "-o", "file/x.jsonl")
    refused("csv is no format of outputs", "a.txt", "-o", "out.csv")
    for name in ("x.parquet.gz", "zz.jsonl.bz2", "in/x.gz", "a.tsv.zip", "x.csv.part", "x.xz"):
        told = f"{name}: its ending is no format of outputs; end the name with / for a folder"
        refused(told, "a.txt", "-o", name)
        refused(told, "a.txt", "-o", name, "--to", "jsonl")
    refused("no such format: 'txt'", "a.txt", "-o", "out", "--to", "txt")
    refused("not of the format tsv", "a.txt", "-o", "out.jsonl", "--to", "tsv")


def test_an_output_that_is_an_input_by_another_name(refused, tmp_path):
    write(tmp_path, "in/a.jsonl")
    (tmp_path / "in/sub").mkdir()
    (tmp_path / "link").symlink_to("in")
    for name in ("in/sub/../a.jsonl", "link/a.jsonl"):
        refused(f"{name} is an input too", "in/a.jsonl", "-o", name, "--overwrite")
        refused(f"{name} is named twice: it is in/a.jsonl", "in/a.jsonl", name, "-o", "out.jsonl")
    told = "link/a.jsonl is an input too"
    refused(told, "in/a.jsonl", "-o", "link/", "--to", "jsonl", "--overwrite")
    refused("link/out lies in the folder in,", "in", "-o", "link/out")
    os.link("in/a.jsonl", "other.jsonl")
    refused("other.jsonl is an input too", "in/a.jsonl", "-o", "other.jsonl", "--overwrite")


def test_a_summary_replaces_no_other_file(refused, tmp_path):
    write(tmp_path, "in/a.txt")
    (tmp_path / "link").symlink_to("in")
    os.mkfifo("pipe")
    (tmp_path / "file").touch()
    for name, told in (
        ("in/a.txt", "in/a.txt is an input too"),
        ("link/a.txt", "link/a.txt is an input too"),
        ("out/a.parquet", "out/a.parquet is an output too"),
        ("in/../out/a.parquet", "in/../out/a.parquet is an output too"),
        ("out", "out is an output too"),
        ("in", "in is no regular file"),
        ("pipe", "pipe is no regular file"),
        ("file/s.json", "cannot write file/s.json: "),
    ):
        refused(told, "in", "-o", "out", "--summary", name, "--overwrite")
        assert not (tmp_path / "out").exists()
    told = "out.tsv is an output too"
    refused(told, "in/a.txt", "-o", "out.tsv", "--summary", "./out.tsv", "--overwrite")


def test_a_failed_run_leaves_no_empty_folder(batch_command, tmp_path):
    (tmp_path / "in/b").mkdir(parents=True)
    (tmp_path / "in/b/a.csv").write_text("query\n1,2\n")
    for name, summary in (("out", "x/s.json"), ("deep/er/out.tsv", "deep/s.json")):
        assert batch_command("in", "-o", name, "--summary", summary)[0] == 1
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.csv", "b", "in"]


def test_kept_columns_of_other_types_than_before(refused):
    pq.write_table(pa.table({"query": ["a"], "n": [1]}), "a.parquet")
    pq.write_table(pa.table({"query": ["a"], "n": [1.5]}), "b.parquet")
    told = "b.parquet: its kept columns differ from those of the files before it: n double"
    refused(told, "a.parquet", "b.parquet", "-o", "out.parquet", "--keep", "n")


@pytest.mark.parametrize("output", ["out.parquet", "out.jsonl", "out.jsonl.gz", "out.tsv"])
def test_a_full_disk(artifact_path, model, tmp_path, output):
    # A limit on the size of files fails as a full disk does: in the middle of writing.
    write(tmp_path, "in.txt", [f"used honda {i} {i * 7919}" for i in range(30_000)])
    command = ["batch", "in.txt", "-o", output, "--keep-all", "--min-score", "0.05"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "20000", *command, "--model", str(artifact_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"topiccore: error: cannot write {output}: File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


# --- interrupted runs ---------------------------------------------------------------------------


def _folder(tmp_path: Path, files: int = 5) -> list[str]:
    names = [f"{number}.csv" for number in range(files)]
    for number, name in enumerate(names):
        write(tmp_path, f"in/{name}", QUERIES[number:] * (number + 1))
    return names


def _outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def test_a_failed_run_goes_on_where_it_stopped(batch_command, tmp_path):
    _folder(tmp_path)
    assert batch_command("in", "-o", "whole", "--summary", "whole.json")[0] == 0
    bad = tmp_path / "in" / "3.csv"
    good = bad.read_bytes()
    bad.write_bytes(good + b"1,2,3\n")
    code, err = batch_command("in", "-o", "out")
    assert code == 1
    assert "in/3.csv" in err
    # What was finished stays, and is not done again.
    first = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("*.parquet")}
    assert sorted(first) == ["0.parquet", "1.parquet", "2.parquet"]
    bad.write_bytes(good)
    assert batch_command("in", "-o", "out", "--summary", "s.json", "--threads", 3)[0] == 0
    after = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("*.parquet")}
    assert first.items() <= after.items()
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")
    assert leftovers(tmp_path) == []
    found, whole = (json.loads((tmp_path / name).read_text()) for name in ("s.json", "whole.json"))
    assert found["rows_scored_now"] == len(QUERIES[3:] * 4) + len(QUERIES[4:] * 5)
    for name in ("seconds", "rows_scored_now", "rows_per_second"):
        del found[name], whole[name]
    assert found == whole


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_killed_run_goes_on_where_it_stopped(batch_command, artifact_path, tmp_path, number):
    _folder(tmp_path)
    assert batch_command("in", "-o", "whole")[0] == 0
    # The fourth file is a pipe: the run waits there for us.
    os.rename(tmp_path / "in/3.csv", tmp_path / "3.csv")
    os.mkfifo(tmp_path / "in/3.csv")
    command = [sys.executable, "-m", "topiccore.cli", "batch", "in", "-o", "out"]
    process = subprocess.Popen(
        [*command, "--model", str(artifact_path)], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        with (tmp_path / "in/3.csv").open("wb") as pipe:
            pipe.write((tmp_path / "3.csv").read_bytes()[:100])
            pipe.flush()
            deadline = time.monotonic() + 60
            while not (tmp_path / "out/2.parquet").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(number)
            assert process.wait(60) == {1: 129, 2: 130, 9: -9, 15: 143}[number]
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "out/3.parquet").exists()
    if number != signal.SIGKILL:
        assert leftovers(tmp_path) == [str(tmp_path / "out" / NAME)]
    os.replace(tmp_path / "3.csv", tmp_path / "in/3.csv")
    assert batch_command("in", "-o", "out")[0] == 0
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")
    assert leftovers(tmp_path) == []


def test_a_hangup_that_is_ignored_stays_so(batch_command, monkeypatch, tmp_path):
    write(tmp_path, "in.txt")
    write_rows, seen = Writer.write, []

    def look(*arguments):
        seen.append(signal.getsignal(signal.SIGHUP))
        return write_rows(*arguments)

    monkeypatch.setattr(Writer, "write", look)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert batch_command("in.txt", "-o", "out.tsv")[0] == 0
        assert seen == [signal.SIG_IGN]
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert batch_command("in.txt", "-o", "two.tsv")[0] == 0
        assert callable(seen[1])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_killed_beside_a_rename_goes_on(batch_command, artifact_path, tmp_path, moment):
    _folder(tmp_path)
    assert batch_command("in", "-o", "whole")[0] == 0
    model = ["--model", str(artifact_path)]
    process = subprocess.run(
        [sys.executable, "-c", KILLED, moment, "2.parquet", "batch", "in", "-o", "out", *model],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "out/2.parquet").exists() == (moment == "after")
    assert batch_command("in", "-o", "out")[0] == 0
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")
    assert leftovers(tmp_path) == []


def test_two_runs_at_once_do_not_mix(batch_command, artifact_path, tmp_path):
    # The first run holds its output open, since its second input is a pipe.
    write(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "b.txt")
    command = [sys.executable, "-m", "topiccore.cli", "batch", "a.txt", "b.txt", "-o", "out.tsv"]
    process = subprocess.Popen([*command, "--model", str(artifact_path)], cwd=tmp_path)
    try:
        with (tmp_path / "b.txt").open("wb") as pipe:
            deadline = time.monotonic() + 60
            while not (tmp_path / ".out.tsv.partial").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            code, err = batch_command("a.txt", "-o", "out.tsv")
            assert code == 1
            assert "out.tsv is being written by another run" in err
            pipe.write(content("txt", QUERIES))
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert len(rows_of(tmp_path / "out.tsv")) == 2 * len(QUERIES)
    assert leftovers(tmp_path) == []


def test_what_a_killed_run_has_left_is_no_hindrance(batch_command, model, tmp_path):
    write(tmp_path, "in.txt")
    (tmp_path / ".out.tsv.partial").write_bytes(b"x" * 100_000)
    assert batch_command("in.txt", "-o", "out.tsv")[0] == 0
    assert rows_of(tmp_path / "out.tsv") == [expected(model, q) for q in QUERIES]
    assert leftovers(tmp_path) == []


def test_an_unfinished_run_of_other_settings(batch_command, refused, tmp_path):
    _folder(tmp_path)
    assert batch_command("in", "-o", "whole", "--topics-only")[0] == 0
    (tmp_path / "in/2.csv").write_bytes(b"")
    assert batch_command("in", "-o", "out")[0] == 1
    write(tmp_path, "in/2.csv", QUERIES[2:] * 3)
    refused(
        "unfinished run with another model or other options", "in", "-o", "out", "--topics-only"
    )
    assert batch_command("in", "-o", "out", "--topics-only", "--overwrite")[0] == 0
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")
    assert leftovers(tmp_path) == []


def test_a_journal_that_is_broken_is_no_journal(batch_command, refused, tmp_path):
    _folder(tmp_path)
    (tmp_path / "in/2.csv").write_bytes(b"")
    assert batch_command("in", "-o", "out")[0] == 1
    write(tmp_path, "in/2.csv", QUERIES[2:] * 3)
    for path in (tmp_path / "out" / NAME).iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    refused("0.parquet: exists already", "in", "-o", "out")
    assert batch_command("in", "-o", "out", "--overwrite")[0] == 0
    assert leftovers(tmp_path) == []


def test_changed_inputs_and_lost_outputs_are_done_again(batch_command, tmp_path):
    _folder(tmp_path)
    (tmp_path / "in/4.csv").write_bytes(b"")
    assert batch_command("in", "-o", "out")[0] == 1
    write(tmp_path, "in/4.csv", QUERIES[4:] * 5)
    write(tmp_path, "in/1.csv", ["red dress", "used honda"])
    (tmp_path / "out/0.parquet").unlink()
    assert batch_command("in", "-o", "out")[0] == 0
    assert batch_command("in", "-o", "whole")[0] == 0
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")


def test_an_interrupted_run_that_overwrites_goes_on_too(batch_command, tmp_path):
    _folder(tmp_path)
    assert batch_command("in", "-o", "out", "--topics-only")[0] == 0
    assert batch_command("in", "-o", "whole")[0] == 0
    (tmp_path / "in/2.csv").write_bytes(b"")
    assert batch_command("in", "-o", "out", "--overwrite")[0] == 1
    done = (tmp_path / "out/0.parquet").stat().st_ino
    write(tmp_path, "in/2.csv", QUERIES[2:] * 3)
    assert batch_command("in", "-o", "out")[0] == 0
    assert (tmp_path / "out/0.parquet").stat().st_ino == done
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")


def _half_done(batch_command, tmp_path, *options):
    """A run of two files into ``out`` that failed at the second; what it has done of the first."""
    write(tmp_path, "in/0.csv")
    (tmp_path / "in/1.csv").write_bytes(b"")
    assert batch_command("in", "-o", "out", *options)[0] == 1
    return (tmp_path / "out/0.parquet").read_bytes()


def test_results_of_another_format_are_not_taken_for_own(batch_command, tmp_path):
    before = _half_done(batch_command, tmp_path)
    (tmp_path / "in/1.csv").write_text("query\nred dress\n")
    assert batch_command("in", "-o", "out", "--from", "txt")[0] == 0
    assert batch_command("in", "-o", "whole", "--from", "txt")[0] == 0
    assert _outputs(tmp_path / "out") == _outputs(tmp_path / "whole")
    assert (tmp_path / "out/0.parquet").read_bytes() != before


def test_results_of_another_folder_are_not_taken_for_own(batch_command, tmp_path):
    _half_done(batch_command, tmp_path)
    stamp = (tmp_path / "in/0.csv").stat()
    write(tmp_path, "other/0.csv", [query.upper() for query in QUERIES])
    os.utime(tmp_path / "other/0.csv", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert (tmp_path / "other/0.csv").stat().st_size == stamp.st_size
    assert batch_command("other", "-o", "out", "--summary", "s.json")[0] == 0
    assert json.loads((tmp_path / "s.json").read_text())["rows_scored_now"] == len(QUERIES)


def test_standard_input_is_never_done_already(batch_command, monkeypatch, tmp_path):
    (tmp_path / "bad.csv").write_bytes(b"")
    for query in ("used honda", "red dress"):
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content("csv", [query]))))
        monkeypatch.setattr(sys, "stdin", stream)
        words = ["--from", "csv", "--keep", "query"]
        assert batch_command("-", "bad.csv", "-o", "out", *words)[0] == 1
        assert pq.read_table(tmp_path / "out/stdin.parquet")["query"].to_pylist() == [query]


def test_a_pipe_is_never_done_already(batch_command, tmp_path):
    (tmp_path / "bad.csv").write_bytes(b"")
    os.mkfifo("pipe.csv")
    for query in ("used honda", "red dress"):
        thread = threading.Thread(
            target=(tmp_path / "pipe.csv").write_bytes,
            args=(content("csv", [query]),),
            daemon=True,
        )
        thread.start()
        assert batch_command("pipe.csv", "bad.csv", "-o", "out", "--keep", "query")[0] == 1
        thread.join(60)
        assert pq.read_table(tmp_path / "out/pipe.parquet")["query"].to_pylist() == [query]


@pytest.mark.parametrize("change", [{"counts": {}}, {"counts": []}, {"size": None}, None])
def test_an_entry_of_another_version_is_not_done(batch_command, tmp_path, change):
    _half_done(batch_command, tmp_path)
    [entry] = set((tmp_path / "out" / NAME).iterdir()) - {tmp_path / "out" / NAME / "settings.json"}
    found = json.loads(entry.read_text())
    entry.write_text(json.dumps({"version": 7} if change is None else found | change))
    (tmp_path / "in/1.csv").write_text("query\nred dress\n")
    assert batch_command("in", "-o", "out", "--summary", "s.json")[0] == 0
    assert json.loads((tmp_path / "s.json").read_text())["rows_scored_now"] == len(QUERIES) + 1


def test_what_a_killed_run_has_left_of_an_input_since_gone(batch_command, tmp_path):
    write(tmp_path, "in/a.txt")
    (tmp_path / "out").mkdir()
    for name in (".b.parquet.partial", ".b.jsonl.partial", "b.parquet.partial", ".busy.pq.partial"):
        (tmp_path / "out" / name).touch()
    with (tmp_path / "out/.busy.pq.partial").open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert batch_command("in", "-o", "out")[0] == 0
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"a.parquet", ".b.jsonl.partial", "b.parquet.partial", ".busy.pq.partial"}


def test_an_input_that_is_removed_while_it_is_scored(batch_command, model, monkeypatch, tmp_path):
    write(tmp_path, "a.txt")
    write(tmp_path, "b.txt")
    plain = Writer.write

    def write_and_remove(*arguments):
        for name in ("a.txt", "b.txt"):
            (tmp_path / name).unlink(missing_ok=True)
        return plain(*arguments)

    # All has been read by then: the reader is ahead of the writer.
    monkeypatch.setattr(Writer, "write", write_and_remove)
    monkeypatch.setattr(readers, "_opened", _opened_before(tmp_path))
    assert batch_command("a.txt", "b.txt", "-o", "out.tsv")[0] == 0
    assert rows_of(tmp_path / "out.tsv") == [expected(model, q) for q in QUERIES] * 2


def _opened_before(folder: Path):
    files = {path.name: pa.OSFile(str(path)) for path in folder.glob("*.txt")}
    return lambda source: files[source.relative]


def test_file_names_that_are_not_utf8(batch_command, model, tmp_path):
    os.makedirs(b"in")
    Path(os.fsdecode(b"in/\xff.txt")).write_text("used honda\n")
    assert batch_command("in", "-o", "out", "--to", "tsv")[0] == 0
    found = rows_of(tmp_path / "out" / os.fsdecode(b"\xff.tsv"))
    assert found == [expected(model, "used honda")]


@pytest.fixture
def store():
    """A store that is not of this machine's files, empty again afterwards."""
    system = fsspec.filesystem("memory")
    yield system
    for path in ("/resume-in", "/resume-out", "/resume-whole"):
        if system.exists(path):
            system.rm(path, recursive=True)


@pytest.mark.parametrize("moment", ["announce", "record", "read"])
def test_an_interrupted_run_on_a_store_goes_on(batch_command, store, monkeypatch, tmp_path, moment):
    for number in range(4):
        store.pipe(f"/resume-in/{number}.csv", content("csv", QUERIES[number:] * (number + 1)))
    source, out = "memory://resume-in", "memory://resume-out/x"
    assert batch_command(source, "-o", "memory://resume-whole", "--summary", "whole.json")[0] == 0
    whole = {
        path: store.cat(f"/resume-whole/{path}") for path in map("{}.parquet".format, range(4))
    }

    def interrupted(owner, name, at):
        plain = getattr(owner, name)

        def call(*arguments):
            if at in str(arguments):
                raise KeyboardInterrupt
            return plain(*arguments)

        return owner, name, call

    # Before its third output takes its name, after that, or while it reads the input for it.
    place = {
        "announce": (Journal, "announce", "2.parquet"),
        "record": (Journal, "record", "2.parquet"),
        "read": (readers, "_opened", "2.csv"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*interrupted(*place[moment]))
        assert batch_command(source, "-o", out)[0] == 130
    found = store.find("/resume-out", withdirs=False)
    assert [path for path in found if path.endswith(".partial")] == []
    finished = [path for path in found if path.endswith(".parquet")]
    assert len(finished) == (3 if moment == "record" else 2)
    before = {path: store.info(path)["created"] for path in finished[:2]}
    assert batch_command(source, "-o", out, "--summary", "s.json", "--threads", 2)[0] == 0
    assert {path: store.info(path)["created"] for path in before} == before
    assert {path: store.cat(f"/resume-out/x/{path}") for path in whole} == whole
    assert len(store.find("/resume-out")) == 4
    told, all_rows = (
        json.loads((tmp_path / name).read_text()) for name in ("s.json", "whole.json")
    )
    assert told["rows_scored_now"] == len(QUERIES[2:] * 3) + len(QUERIES[3:] * 4)
    assert told["topics"] == all_rows["topics"]


# --- parts --------------------------------------------------------------------------------------


def test_results_come_in_order_before_the_error_of_a_later_item():
    def items():
        yield from range(20)
        raise BatchError("the last")

    found = []
    with pipeline.in_order(items(), lambda item: item * item, 3) as results:
        found.extend(next(results) for _ in range(20))
        with pytest.raises(BatchError, match="the last"):
            next(results)
    assert found == [item * item for item in range(20)]


def test_no_more_is_drawn_than_is_used():
    drawn = []

    def items():
        for item in range(10_000):
            drawn.append(item)
            yield item

    with pipeline.in_order(items(), lambda item: item, 2) as results:
        assert [next(results) for _ in range(5)] == list(range(5))
        time.sleep(0.05)
    assert len(drawn) < 20
    assert not any(thread.name == "read" for thread in threading.enumerate())


def test_time_left():
    clock = iter([0.0, 10.0]).__next__
    progress = Progress(1000, shown=False, clock=clock)
    assert progress.line(50, 250, 10.0) == "50 rows, 25.0%, 5 rows/s, 30 s left"
    assert progress.line(50, 10, 60.0).endswith("1 h 39 min left")
    assert Progress(None, shown=False).line(5, 0, 1.0) == "5 rows, 5 rows/s"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/b.csv.gz", "a/b"),
        ("b.parquet", "b"),
        ("part-0.x.tsv", "part-0.x"),
        ("2026.11.25.jsonl.zst", "2026.11.25"),
        ("plain", "plain"),
        (".csv", ".csv"),
        ("a.json.csv", "a.json"),
    ],
)
def test_stems(name, stem):
    assert formats.stem(name) == stem


@pytest.mark.parametrize(
    ("words", "closed", "told"),
    [
        ("- -o out.tsv", "<&-", "standard input: it is closed"),
        ("in.txt -o -", ">&-", "cannot write standard output: it is closed"),
    ],
)
def test_closed_streams(artifact_path, tmp_path, words, closed, told):
    write(tmp_path, "in.txt")
    command = f"{sys.executable} -m topiccore.cli batch {words} --model {artifact_path} {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"topiccore: error: {told}\n")


@pytest.mark.parametrize("option", ["--progress", "--quiet", ""])
def test_closed_standard_error(artifact_path, tmp_path, option):
    write(tmp_path, "in.txt")
    words = f"in.txt -o - {option} --model {artifact_path} 2>&-"
    command = f"{sys.executable} -m topiccore.cli batch {words}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert all(line.startswith('{"topics": ') for line in done.stdout.splitlines())


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_is_gone(artifact_path, tmp_path, buffered):
    write(tmp_path, "in.txt", ["used honda"] * 50_000)
    command = [sys.executable, "-m", "topiccore.cli", "batch", "in.txt", "-o", "-"]
    process = subprocess.Popen(
        [*command, "--model", str(artifact_path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": buffered},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read()
    assert process.wait(60) == 1
    assert b"Traceback" not in errors


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_slow_reader_gets_all(artifact_path, tmp_path, buffered):
    write(tmp_path, "in.txt", ["used honda"] * 20_000)
    command = [sys.executable, "-m", "topiccore.cli", "batch", "in.txt", "-o", "-", "--keep-all"]
    process = subprocess.Popen(
        [*command, "--model", str(artifact_path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONUNBUFFERED": buffered},
    )
    with process, process.stdout as stream:
        time.sleep(0.5)  # long enough for the pipe to be full
        assert len(stream.readlines()) == 20_000
    assert process.returncode == 0
