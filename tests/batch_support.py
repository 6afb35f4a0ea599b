"""What the tests of batch scoring share: queries in every format, and readers of the outputs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

QUERIES = [
    *("used honda civic", "cheap hotel dallas", "nothing of it", "", "red dress", "Café 東 京"),
    *('say "running shoes"', "a\\b pizza", "x " * 300 + "honda", "beach, flight", "2012"),
]


def expected(model: Any, query: str | bytes | None, **options: Any) -> list[dict[str, Any]]:
    """The result of one row."""
    if query is None:
        return []
    return [{"code": x.code, "score": x.score} for x in model.score(query, **options)]


def rows_of(path: Path, column: str = "topics") -> list[list[dict[str, Any]]]:
    """The results of an output file, whatever its format."""
    if path.suffix == ".parquet":
        return pq.read_table(path)[column].to_pylist()
    text = plain(path.read_bytes(), path.name).decode()
    if ".jsonl" in path.name:
        return [json.loads(line)[column] for line in text.splitlines()]
    header, *lines = text.split("\n")[:-1]
    place = header.split("\t").index(column)
    return [parse_tsv(line.split("\t")[place]) for line in lines]


def parse_tsv(text: str) -> list[dict[str, Any]]:
    """``V:0.5,V1:0.25`` as a result."""
    pairs = [item.rsplit(":", 1) for item in text.split(",") if item]
    return [{"code": code, "score": float(score)} for code, score in pairs]


def plain(data: bytes, name: str) -> bytes:
    """The bytes without the compression that the name tells."""
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zst"):
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    return data


def compressed(data: bytes, name: str) -> bytes:
    """The bytes with the compression that the name tells."""
    if name.endswith(".gz"):
        return gzip.compress(data)
    if name.endswith(".zst"):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(data)
        return sink.getvalue().to_pybytes()
    return data


def content(kind: str, queries: list[str]) -> bytes:
    """A file of queries with an ``id`` column, where the format has columns."""
    numbered = list(enumerate(queries))
    if kind == "txt":
        return "".join(f"{q}\n" for q in queries).encode()
    if kind == "jsonl":
        return "".join(json.dumps({"id": i, "query": q}) + "\n" for i, q in numbered).encode()
    if kind == "csv":
        quoted = ['"' + q.replace('"', '""') + '"' for q in queries]
        return ("id,query\n" + "".join(f"{i},{q}\n" for i, q in enumerate(quoted))).encode()
    if kind == "tsv":
        return ("id\tquery\n" + "".join(f"{i}\t{q}\n" for i, q in numbered)).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": range(len(queries)), "query": queries}), sink)
    return sink.getvalue().to_pybytes()


def leftovers(folder: Path) -> list[str]:
    """Hidden files that a run has left."""
    return [str(path) for path in folder.rglob(".*")]
