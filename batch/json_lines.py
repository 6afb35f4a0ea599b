"""JSON lines: an object a line; empty lines are none."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pa_json

from batch.as_text import JSON_TEXT
from batch.block import Block, Columns
from batch.errors import BatchError
from batch.nesting import check_depth
from batch.streams import ByteStream

_EXACT = 1 << 53
"""Up to here every integer is a double, and written with its own digits."""
_INTEGERS = {
    pa.float64(): (-_EXACT, _EXACT),
    pa.int64(): (-(1 << 63), (1 << 63) - 1),
    pa.uint64(): (0, (1 << 64) - 1),
}


def read(stream: ByteStream, columns: Columns) -> Iterator[Block]:
    """A row for each object.

    The types of kept columns are those of the first block, chosen so that no value changes; what a
    later block has beside these is an error.
    """
    plan: _Plan | None = None
    for data in stream.whole_lines():
        if not data.strip():
            continue
        if plan is None:
            # Arrow recurses where it infers types, and would end the process.
            check_depth(data, stream.line)
            plan = _Plan(data, columns)
        batch, not_text = plan.parse(data, stream.line)
        yield Block.of(
            batch, plan.text, plan.kept, stream.consumed, not_text, json_text=plan.json_text
        )
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
        rows: list[dict[str, Any]] | None = None
        try:
            batch = _parsed(data, None)
        except (pa.ArrowException, UnicodeError):
            # Rows that do not agree with each other.
            rows = _objects(data)
            names = list(dict.fromkeys(name for row in rows for name in row))
            fields = {name: _field_of(name, rows) for name in names}
        else:
            names = batch.schema.names
            fields = {field.name: _text_if_open(field) for field in batch.schema}
        possible = [name for name in names if _is_text(fields[name])]
        self.text = columns.text_of(names, possible)
        self.kept = columns.kept_of(names)
        if rows is None and (large := _large(batch, set(self.kept))):
            # Arrow has rounded them.
            rows = _objects(data)
            fields |= {name: _field_of(name, rows) for name in large}
        # None where it does not matter which columns there are besides.
        self._known = frozenset(names) if columns.keep is None else None
        chosen = {name: fields[name] for name in self.kept}
        chosen = {self.text: pa.field(self.text, pa.string())} | chosen
        chosen[self.text] = pa.field(self.text, pa.string())
        self.schema = pa.schema(list(chosen.values()))
        self.json_text = frozenset(f.name for f in self.schema if f.metadata == JSON_TEXT)

    def parse(self, data: bytes, number: int) -> tuple[pa.RecordBatch, int]:
        """The rows of a block that begins in that line, and how many texts are none."""
        if self.json_text:
            return self._parse_slowly(data, number)
        try:
            batch = _parsed(data, self.schema, "ignore" if self._known is None else "error")
        except (pa.ArrowException, UnicodeError):
            return self._parse_slowly(data, number)
        # Two objects may share a line, and Arrow does not mind.
        if len(batch) != _line_count(data) or _large(batch, set(self.kept)):
            return self._parse_slowly(data, number)
        return batch, 0

    def _parse_slowly(self, data: bytes, number: int) -> tuple[pa.RecordBatch, int]:
        not_text = 0
        texts: list[bytes | None] = []
        fields = [field for field in self.schema if field.name != self.text]
        kept: dict[str, list[Any]] = {field.name: [] for field in fields}
        for line, row in _rows(data, number):
            values = row if isinstance(row, dict) else {}
            if self._known is not None and not values.keys() <= self._known:
                new = next(name for name in values if name not in self._known)
                raise BatchError(
                    f"line {line}: new column {new!r}, which is not in the first rows; "
                    "name the columns with --keep"
                )
            text = values.get(self.text)
            not_text += not (text is None and isinstance(row, dict)) and not isinstance(text, str)
            texts.append(text.encode("utf-8", "replace") if isinstance(text, str) else None)
            for field in fields:
                try:
                    kept[field.name].append(_fitting(values.get(field.name), field))
                except ValueError as error:
                    raise BatchError(
                        f"line {line}: {field.name!r} {error}; leave it out of the kept columns"
                    ) from error
        arrays = {self.text: pa.array(texts, pa.binary()).cast(pa.string())}
        arrays |= {field.name: pa.array(kept[field.name], field.type) for field in fields}
        ordered = [arrays[name] for name in self.schema.names]
        return pa.RecordBatch.from_arrays(ordered, schema=self.schema), not_text


def _parsed(data: bytes, schema: pa.Schema | None, others: str = "infer") -> pa.RecordBatch:
    if not data.strip():
        return pa.RecordBatch.from_pylist([], schema=schema or pa.schema([]))
    table = pa_json.read_json(
        pa.BufferReader(data),
        read_options=pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=pa_json.ParseOptions(
            explicit_schema=schema,
            unexpected_field_behavior=others,
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
            check_depth(text, line)
            try:
                yield line, json.loads(text.decode("utf-8", "replace"), parse_float=_fraction)
            except (ValueError, RecursionError) as error:
                raise BatchError(f"line {line} is not JSON: {error}") from error


def _objects(data: bytes) -> list[dict[str, Any]]:
    return [row for _, row in _rows(data, 1) if isinstance(row, dict)]


def _fraction(text: str) -> float | Decimal:
    value = float(text)
    return Decimal(text) if math.isinf(value) else value


def _large(batch: pa.RecordBatch, names: Container[str]) -> list[str]:
    """Columns of doubles that may have been integers which no double is equal to."""
    return [
        field.name
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if field.name in names
        and pa.types.is_float64(field.type)
        and np.any(np.abs(column.to_numpy(zero_copy_only=False)) >= _EXACT)
    ]


def _text_if_open(field: pa.Field) -> pa.Field:
    """The field as it is kept, for a type that Arrow has inferred."""
    if pa.types.is_nested(field.type):
        # Arrow would drop what later rows have more in a nested value.
        return _json_text(field.name)
    # Text can hold, too, what comes where all was null or looked like a time.
    if pa.types.is_null(field.type) or pa.types.is_timestamp(field.type):
        return pa.field(field.name, pa.string())
    return field


def _field_of(name: str, rows: list[dict[str, Any]]) -> pa.Field:
    """The field that holds all values of the rows exactly."""
    values = [value for row in rows if (value := row.get(name)) is not None]
    kinds = {type(value) for value in values}
    if not values or (str in kinds and not kinds & {dict, list}):
        return pa.field(name, pa.string())
    for kind in (pa.bool_(), pa.int64(), pa.uint64(), pa.float64()):
        if all(_holds(kind, value) for value in values):
            return pa.field(name, kind)
    return _json_text(name)


def _json_text(name: str) -> pa.Field:
    return pa.field(name, pa.string(), metadata=JSON_TEXT)


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type)) and field.metadata != JSON_TEXT


def _holds(kind: pa.DataType, value: Any) -> bool:
    if kind == pa.bool_():
        return isinstance(value, bool)
    if type(value) is int:
        low, high = _INTEGERS.get(kind, (0, -1))
        return low <= value <= high
    return kind == pa.float64() and type(value) is float


def _fitting(value: Any, field: pa.Field) -> Any:
    """The value for a column of that type; raises ``ValueError`` if it would be another there."""
    if value is None:
        return None
    if pa.types.is_string(field.type):
        if not isinstance(value, str) or field.metadata == JSON_TEXT:
            value = json.dumps(value, allow_nan=False, default=_refused)
        return value.encode("utf-8", "replace").decode()
    if _holds(field.type, value):
        return value
    if type(value) in (int, Decimal) and field.type != pa.bool_():
        raise ValueError(f"is a number that the type {field.type} of the first rows cannot hold")
    raise ValueError(f"is not of the type {field.type} that it has in the first rows")


def _refused(value: Decimal) -> Any:
    raise ValueError(f"has the number {value}, which double precision cannot hold")
