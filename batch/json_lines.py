"""JSON lines: an object a line; empty lines are none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from batch.block import Block, Columns
from batch.errors import BatchError
from batch.streams import ByteStream


def read(stream: ByteStream, columns: Columns) -> Iterator[Block]:
    """A row for each object.  The types of kept columns are those of the first block."""
    plan: _Plan | None = None
    number = 1
    for data in stream.whole_lines():
        if not data.strip():
            number += data.count(b"\n")
            continue
        if plan is None:
            plan = _Plan(data, columns)
        batch, not_text = plan.parse(data, number)
        number += data.count(b"\n")
        yield Block.of(batch, plan.text, plan.kept, stream.consumed, not_text)
    if plan is None:
        text = columns.text or "query"
        kept = list(columns.keep or ())
        names = list(dict.fromkeys([text, *kept]))
        schema = pa.schema([(name, pa.string()) for name in names])
        batch = pa.RecordBatch.from_pylist([], schema=schema)
        yield Block.of(batch, text, kept, stream.consumed)


class _Plan:
    """Names and types of the columns, learned from the first block."""

    def __init__(self, data: bytes, columns: Columns):
        try:
            found = _parsed(data, None).schema
        except (pa.ArrowException, UnicodeError):
            # Rows that do not agree with each other.
            rows = [row for _, row in _rows(data, 1) if isinstance(row, dict)]
            found = _schema_of(rows)
        names = list(found.names)
        possible = [field.name for field in found if pa.types.is_string(field.type)]
        self.text = columns.text_of(names, possible)
        self.kept = columns.kept_of(names)
        self._nested = False
        fields = {self.text: pa.field(self.text, pa.string())}
        for name in self.kept:
            kind = found.field(name).type
            # Arrow would drop what later rows have more in a nested value, so it is kept as JSON;
            # text can hold, too, what comes where all was null or looked like a time.
            nested = pa.types.is_nested(kind)
            self._nested |= nested
            plain = nested or pa.types.is_null(kind) or pa.types.is_timestamp(kind)
            fields.setdefault(name, pa.field(name, pa.string() if plain else kind))
        self.schema = pa.schema(list(fields.values()))

    def parse(self, data: bytes, number: int) -> tuple[pa.RecordBatch, int]:
        """The rows of a block that begins in that line, and how many texts are none."""
        if self._nested:
            return self._parse_slowly(data, number)
        try:
            batch = _parsed(data, self.schema)
        except (pa.ArrowException, UnicodeError):
            return self._parse_slowly(data, number)
        # Two objects may share a line, and Arrow does not mind.
        if len(batch) != _line_count(data):
            return self._parse_slowly(data, number)
        return batch, 0

    def _parse_slowly(self, data: bytes, number: int) -> tuple[pa.RecordBatch, int]:
        not_text = 0
        texts: list[bytes | None] = []
        kept: dict[str, list[Any]] = {name: [] for name in self.schema.names if name != self.text}
        for line, row in _rows(data, number):
            fields = row if isinstance(row, dict) else {}
            text = fields.get(self.text)
            not_text += not (text is None and isinstance(row, dict)) and not isinstance(text, str)
            texts.append(text.encode("utf-8", "replace") if isinstance(text, str) else None)
            for name, values in kept.items():
                value = fields.get(name)
                if pa.types.is_string(self.schema.field(name).type) and value is not None:
                    value = value if isinstance(value, str) else json.dumps(value)
                    value = value.encode("utf-8", "replace").decode()
                try:
                    pa.scalar(value, self.schema.field(name).type)
                except (pa.ArrowException, TypeError, ValueError) as error:
                    raise BatchError(
                        f"line {line}: {name!r} is not of the type "
                        f"{self.schema.field(name).type} that it has in the first rows; "
                        "leave it out of the kept columns"
                    ) from error
                values.append(value)
        arrays = [pa.array(texts, pa.binary()).cast(pa.string())]
        arrays += [pa.array(values, self.schema.field(name).type) for name, values in kept.items()]
        names = [self.text, *kept]
        ordered = [arrays[names.index(name)] for name in self.schema.names]
        return pa.RecordBatch.from_arrays(ordered, schema=self.schema), not_text


def _parsed(data: bytes, schema: pa.Schema | None) -> pa.RecordBatch:
    if not data.strip():
        return pa.RecordBatch.from_pylist([], schema=schema or pa.schema([]))
    table = pa_json.read_json(
        pa.BufferReader(data),
        read_options=pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pa_json.ParseOptions(
            explicit_schema=schema,
            unexpected_field_behavior="infer" if schema is None else "ignore",
        ),
    )
    [batch] = table.combine_chunks().to_batches() or [
        pa.RecordBatch.from_pylist([], schema=table.schema)
    ]
    # Bad UTF-8 is left to the slow way, which replaces it.
    batch.validate(full=True)
    return batch


def _line_count(data: bytes) -> int:
    lines = data.split(b"\n")
    return len(lines) - sum(not line.strip() for line in lines)


def _rows(data: bytes, number: int) -> Iterator[tuple[int, Any]]:
    for line, text in enumerate(data.split(b"\n"), start=number):
        if text.strip():
            try:
                yield line, json.loads(text.decode("utf-8", "replace"))
            except (ValueError, RecursionError) as error:
                raise BatchError(f"line {line} is not JSON: {error}") from error


def _schema_of(rows: list[dict[str, Any]]) -> pa.Schema:
    fields: dict[str, pa.DataType] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        try:
            fields[name] = pa.array(values).type
        except (pa.ArrowException, UnicodeError, OverflowError):
            fields[name] = pa.string()
    return pa.schema(list(fields.items()))
