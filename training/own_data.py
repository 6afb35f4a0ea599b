"""Anyone's data: taxonomies, labelled and unlabelled texts, from the files people have.

Tables are CSV (``.csv``), TSV (``.tsv``), JSON lines (``.jsonl``, ``.ndjson``) or Parquet
(``.parquet``) with named columns; unlabelled text may be plain lines too (``.txt``).
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from topiccore.taxonomy import Taxonomy, TaxonomyLabel
from training.collections import normal_form
from training.errors import DataError
from training.labels import NO_LABEL, LabelledQueries, gold_sets

Row = tuple[int, dict[str, Any]]
"""The number of a line or row (from 1, a header counts) and its columns."""

_SEPARATORS = re.compile(r"[\s,;|]+")
_SHOWN = 5


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a table that has at least these columns, as its name says how.

    Raises ``DataError`` that names the file, and the line or row where one is bad.
    """
    kind = path.suffix.lower()
    try:
        if kind in (".csv", ".tsv"):
            yield from _read_csv(path, columns)
        elif kind in (".jsonl", ".ndjson"):
            yield from _read_json_lines(path, columns)
        elif kind == ".parquet":
            yield from _read_parquet(path, columns)
        else:
            raise DataError(f"{path}: not .csv, .tsv, .jsonl, .ndjson or .parquet")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{_undecodable_line(path)}: not UTF-8: {error.reason}") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _undecodable_line(path: Path) -> int:
    # The decoder counts bytes from the start of its own buffer, not of the file.
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _read_csv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            _require(path, columns, header)
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise DataError(
                        f"{path}:{reader.line_num}: {len(fields)} columns, the header has "
                        f"{len(header)}"
                    )
                yield reader.line_num, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from error


def _read_json_lines(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: not a JSON object")
            _require(f"{path}:{number}", columns, list(row))
            yield number, row


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as file:
            _require(path, columns, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise DataError(f"{path}: no Parquet file: {error}") from error


def _require(place: Path | str, columns: Sequence[str], found: Sequence[str]) -> None:
    if missing := [name for name in columns if name not in found]:
        raise DataError(
            f"{place}: no column {missing[0]!r}; there are {', '.join(map(repr, found)) or 'none'}"
        )


def read_own_taxonomy(path: Path) -> Taxonomy:
    """A table with the columns code, name and, for two levels, parent: the code of the topic.

    A column ``note`` becomes the label's scope.  Rows may stand in any order.  Raises ``DataError``
    that names the line.
    """
    topics: dict[str, TaxonomyLabel] = {}
    subtopics: dict[str, list[TaxonomyLabel]] = {}
    lines: dict[str, int] = {}
    for number, row in read_rows(path, ["code", "name"]):
        code, name, parent, note = (
            str(row.get(column) or "").strip() for column in ("code", "name", "parent", "note")
        )
        place = f"{path}:{number}"
        if not code or not name:
            raise DataError(f"{place}: empty code or name")
        if _SEPARATORS.search(code) or code == NO_LABEL:
            raise DataError(f"{place}: code {code!r}: a code is one word without , ; or |")
        if code in lines:
            raise DataError(f"{place}: code {code!r} stands in line {lines[code]} too")
        lines[code] = number
        if parent:
            subtopics.setdefault(parent, []).append(TaxonomyLabel(code, name, parent, note))
        else:
            topics[code] = TaxonomyLabel(code, name, None, note)
    for parent, children in subtopics.items():
        if parent not in topics:
            what = "is a subtopic itself" if parent in lines else "is no code of this file"
            raise DataError(f"{path}:{lines[children[0].code]}: parent {parent!r} {what}")
    if not topics:
        raise DataError(f"{path}: no label")
    return Taxonomy(
        [label for topic in topics.values() for label in (topic, *subtopics.get(topic.code, []))]
    )


def read_own_labels(
    paths: Sequence[Path], taxonomy: Taxonomy, report: Callable[[str], None]
) -> LabelledQueries:
    """Labelled texts from tables with the columns text and labels, and perhaps id and count.

    ``labels`` is a list, or codes separated by blanks, commas, semicolons or bars; ``-`` says that
    no label is right, and a row without labels is skipped.  A text that stands in several rows with
    the same labels is one query with the sum of their counts; a subtopic's topic may be left out.
    Raises ``DataError`` that names the file and line of a bad row, or both of two rows that
    contradict each other.
    """
    texts: dict[str, int] = {}
    places: list[str] = []
    ids: list[str] = []
    counts: list[int] = []
    codes: list[list[str]] = []
    skipped = joined = 0
    for path in paths:
        for number, row in read_rows(path, ["text", "labels"]):
            place = f"{path}:{number}"
            found = _codes_of(row["labels"], taxonomy, place)
            if found is None:
                skipped += 1
                continue
            text, count = _text_of(row, place), _count_of(row, place)
            if text in texts:
                first = texts[text]
                if _complete(codes[first], taxonomy) != _complete(found, taxonomy):
                    raise DataError(f"{place}: the text of {places[first]} with other labels")
                counts[first] += count
                joined += 1
                continue
            texts[text] = len(places)
            places.append(place)
            ids.append(str(row.get("id") or f"{path.name}:{number}"))
            counts.append(count)
            codes.append(found)
    where = ", ".join(str(path) for path in paths)
    if not places:
        raise DataError(f"{where}: no labelled text")
    if skipped:
        report(f"{where}: {skipped} rows without labels skipped")
    if joined:
        report(f"{where}: {joined} repeated rows joined")
    return LabelledQueries(ids, list(texts), np.array(counts, np.int64), gold_sets(codes, taxonomy))


def read_texts(paths: Sequence[Path]) -> list[str]:
    """Unlabelled texts, each once, in normal form: lines of ``.txt``, else the column text.

    Raises ``DataError`` that names the file, and the line of a bad row.
    """
    found: dict[str, None] = {}
    for path in paths:
        if path.suffix.lower() == ".txt":
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except UnicodeDecodeError as error:
                place = f"{path}:{_undecodable_line(path)}"
                raise DataError(f"{place}: not UTF-8: {error.reason}") from error
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}") from error
            found.update((normal_form(line), None) for line in lines if line.strip())
        else:
            for number, row in read_rows(path, ["text"]):
                if row["text"] not in ("", None):
                    found[_text_of(row, f"{path}:{number}")] = None
    return list(found)


def refuse_labels_without_examples(train: LabelledQueries, taxonomy: Taxonomy, place: str) -> None:
    """Raises ``DataError`` naming labels of the taxonomy that no training query has."""
    empty = [taxonomy[place].code for place in np.flatnonzero(~train.gold.any(axis=0)).tolist()]
    if empty:
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        raise DataError(
            f"{place}: no training query has the label {', '.join(empty[:_SHOWN])}{more}; "
            "add some, or take the label out of the taxonomy"
        )


def set_aside(
    queries: LabelledQueries, share: float, seed: int, later: int = 0
) -> tuple[LabelledQueries, LabelledQueries]:
    """(the rest, about a ``share``), both in the order given; the rest keeps one of each label.

    A query's side hangs on a hash of ``seed`` and its text, so that it stays on it when others
    come.  Only a label whose texts would all be set aside keeps some back; the last ``later``
    queries have no part in that choice among the others.
    """
    drawn = np.array([_draw(seed, text) for text in queries.texts])
    first = len(queries) - later
    order = [*np.argsort(-drawn[:first], kind="stable").tolist(), *range(first, len(queries))]
    kept = np.zeros(queries.gold.shape[1], bool)
    aside = np.zeros(len(queries), bool)
    for row in order:
        own = queries.gold[row]
        aside[row] = drawn[row] < share and kept[own].all()
        if not aside[row]:
            kept |= own
    return queries.take(np.flatnonzero(~aside)), queries.take(np.flatnonzero(aside))


def _draw(seed: int, text: str) -> float:
    # Uniform in [0, 1).
    digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _text_of(row: dict[str, Any], place: str) -> str:
    text = row["text"]
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{place}: text is {text!r}")
    return normal_form(text)


def _count_of(row: dict[str, Any], place: str) -> int:
    value = row.get("count")
    if value in (None, ""):
        return 1
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if count < 1 or count != float(value):
        raise DataError(f"{place}: count {value!r} is not a whole number from 1 on")
    return count


def _codes_of(value: Any, taxonomy: Taxonomy, place: str) -> list[str] | None:
    # ``None`` for a row that nobody has labelled.
    if isinstance(value, str):
        value = [code for code in _SEPARATORS.split(value.strip()) if code]
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise DataError(f"{place}: labels {value!r} are no codes")
    if value == [NO_LABEL]:
        return []
    for code in value:
        if code not in taxonomy:
            raise DataError(f"{place}: label {code!r} is not in the taxonomy")
    return list(dict.fromkeys(value))


def _complete(codes: Sequence[str], taxonomy: Taxonomy) -> set[int]:
    # The places of the labels and of the topics that they bring.
    places = {taxonomy.index_of(code) for code in codes}
    return places | {int(taxonomy.parents[place]) for place in places} - {-1}
