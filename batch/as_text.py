"""Result columns and kept columns as JSON or TSV text, made by Arrow, column by column."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batch.scoring import Emitted

JSON_TEXT = {b"topiccore": b"json"}
"""Metadata of the field of a kept column whose strings are JSON already."""
_CONTROL = r"[\x00-\x1f]"
_TSV_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


class LabelText:
    """The labels of rows as text."""

    def __init__(self, codes: pa.Array):
        names = codes.to_pylist()
        self._json = pa.array([f'{{"code": {json.dumps(code)}, "score": ' for code in names])
        self._tsv = pa.array([f"{code}:" for code in names])

    def json(self, emitted: Emitted) -> pa.Array:
        """string [rows]: ``[{"code": "V", "score": 0.75}, ...]``."""
        joined = self._joined(emitted, self._json, "}", ", ")
        return pc.binary_join_element_wise("[", joined, "]", "")

    def tsv(self, emitted: Emitted) -> pa.Array:
        """string [rows]: ``V:0.75,V1:0.5``."""
        return self._joined(emitted, self._tsv, "", ",")

    def _joined(self, emitted: Emitted, heads: pa.Array, tail: str, between: str) -> pa.Array:
        # The shortest text that reads back as the same number.
        scores = _fractions(pa.array(emitted.scores))
        items = pc.binary_join_element_wise(heads.take(pa.array(emitted.labels)), scores, tail, "")
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(emitted.offsets), items), between)


def json_lines(kept: pa.RecordBatch, result_column: str, labels: pa.Array) -> pa.Buffer:
    """The text of all rows, an object a line."""
    parts: list[Any] = []
    names = [*kept.schema.names, result_column]
    fields = zip(kept.schema, kept.columns, strict=True)
    columns = [
        pc.fill_null(column, "null") if field.metadata == JSON_TEXT else _json_values(column)
        for field, column in fields
    ]
    for name, column in zip(names, [*columns, labels], strict=True):
        parts += [("{" if not parts else ", ") + json.dumps(name) + ": ", column]
    return _text(pc.binary_join_element_wise(*parts, "}\n", ""))


def tsv_lines(kept: pa.RecordBatch, labels: pa.Array) -> pa.Buffer:
    """The text of all rows; tabs and line ends in values are written ``\\t``, ``\\n``, ``\\r``."""
    parts: list[Any] = []
    for column in [*map(_tsv_values, kept.columns), labels]:
        parts += ["\t", column] if parts else [column]
    return _text(pc.binary_join_element_wise(*parts, "\n", ""))


def tsv_header(kept: pa.Schema, result_column: str) -> bytes:
    """The first line of a TSV file."""
    return ("\t".join(map(_escaped, [*kept.names, result_column])) + "\n").encode()


def as_strings(column: pa.Array) -> pa.Array:
    """Text in any layout as ``string``; bytes that are not UTF-8 become U+FFFD."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    other = _is_view(column.type) or pa.types.is_fixed_size_binary(column.type)
    raw = column.cast(pa.large_binary()) if other else column
    try:
        text = raw.cast(pa.string())
        text.validate(full=True)
    except pa.ArrowInvalid:
        values = raw.cast(pa.large_binary()).to_pylist()
        return pa.array([v if v is None else v.decode("utf-8", "replace") for v in values])
    return text


def _is_view(kind: pa.DataType) -> bool:
    return kind in (pa.string_view(), pa.binary_view())


def is_stringlike(kind: pa.DataType) -> bool:
    """Whether ``as_strings`` takes a column of that type."""
    if pa.types.is_dictionary(kind):
        return is_stringlike(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or _is_view(kind)
    )


def _json_values(column: pa.Array) -> pa.Array:
    kind = column.type
    if is_stringlike(kind):
        return pc.fill_null(_quoted(as_strings(column)), "null")
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pc.fill_null(column.cast(pa.string()), "null")
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        finite = pc.fill_null(pc.is_finite(column), False)
        return pc.if_else(finite, _fractions(column), "null")
    if pa.types.is_null(kind):
        return pa.array(np.repeat("null", len(column)), pa.string())
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return pc.fill_null(_quoted(column.cast(pa.string())), "null")
    return pa.array(map(_nested, column.to_pylist()), pa.string())


def _nested(value: Any) -> str:
    """A value in JSON, which knows neither bytes nor numbers that are not finite."""
    try:
        return json.dumps(value, allow_nan=False, default=_text_of)
    except ValueError:
        return json.dumps(_finite(value), default=_text_of)


def _text_of(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tsv_values(column: pa.Array) -> pa.Array:
    if is_stringlike(column.type):
        text = as_strings(column)
    elif pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
        values = column.to_pylist()
        text = pa.array([v if v is None else _nested(v) for v in values], pa.string())
    elif pa.types.is_floating(column.type):
        text = _fractions(column)
    else:
        text = column.cast(pa.string())
    text = text.cast(pa.string())
    for character, escape in _TSV_ESCAPES.items():
        text = pc.replace_substring(text, character, escape)
    return pc.fill_null(text, "")


def _fractions(column: pa.Array) -> pa.Array:
    """Floating-point numbers as text that reads back as such: 1.0, which Arrow calls 1."""
    text = column.cast(pa.string())
    values = column.to_numpy(zero_copy_only=False)
    if not np.any(values == np.trunc(values)):
        return text
    return pc.replace_substring_regex(text, r"^(-?\d+)$", r"\1.0")


def _escaped(name: str) -> str:
    for character, escape in _TSV_ESCAPES.items():
        name = name.replace(character, escape)
    return name


def _quoted(text: pa.Array) -> pa.Array:
    text = pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), '"', '\\"')
    if pc.any(pc.match_substring_regex(text, _CONTROL)).as_py():
        for code in range(0x20):
            text = pc.replace_substring(text, chr(code), json.dumps(chr(code))[1:-1])
    return pc.binary_join_element_wise('"', text, '"', "")


def _text(rows: pa.Array) -> pa.Buffer:
    if not len(rows):
        return pa.py_buffer(b"")
    offsets = np.frombuffer(rows.buffers()[1], dtype=np.int32)[rows.offset :][: len(rows) + 1]
    return rows.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
