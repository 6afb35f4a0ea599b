"""Kept columns of several files that make one output: in one order, and nulls of one type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from batch.block import Block
from batch.parts import Part

HELD_BYTES = 32 << 20
"""So much is held back at most, until a column that begins with nulls has a type."""


def alike(parts: Iterator[Part], *, typed: bool) -> Iterator[Part]:
    """The parts of an output, as alike as their values allow.

    Parts without rows are left out, unless there are no others.  Columns take the order of the
    first part and, if ``typed``, a column that has nothing but nulls in a part takes the type that
    it has in other parts.
    """
    columns = _Columns()
    none: Part | None = None
    found = False
    held: list[Part] = []
    size = 0
    for part in parts:
        if not len(part.block.text):
            none = none or part
            continue
        found = True
        columns.learn(part.block)
        held.append(part)
        size += part.block.kept.nbytes + part.block.text.nbytes
        if not typed or columns.known or size > HELD_BYTES:
            columns.settle()
            yield from (columns.fitted(one, typed) for one in held)
            held = []
    columns.settle()
    yield from (columns.fitted(one, typed) for one in held)
    if none is not None and not found:
        yield none


class _Columns:
    """Order and types of kept columns, from the first blocks."""

    def __init__(self) -> None:
        self.fields: dict[str, pa.Field] = {}
        self._open: set[str] = set()
        self._settled = False

    @property
    def known(self) -> bool:
        """Whether each column has had a value."""
        return not self._open

    def learn(self, block: Block) -> None:
        if self._settled:
            return
        if not self.fields:
            self.fields = {field.name: field for field in block.kept.schema}
            self._open = set(self.fields)
        for name in self._open & set(block.kept.schema.names):
            column = block.kept.column(name)
            if column.null_count < len(column):
                self.fields[name] = block.kept.schema.field(name)
                self._open.discard(name)

    def settle(self) -> None:
        """What is known by now stays."""
        self._settled = True

    def fitted(self, part: Part, typed: bool) -> Part:
        kept = part.block.kept
        if set(kept.schema.names) != set(self.fields) or kept.schema == pa.schema(
            list(self.fields.values())
        ):
            return part
        fields, columns = [], []
        for name, known in self.fields.items():
            field, column = kept.schema.field(name), kept.column(name)
            if typed and field.type != known.type and column.null_count == len(column):
                field, column = known, pa.nulls(len(column), known.type)
            fields.append(field)
            columns.append(column)
        chosen = pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
        return replace(part, block=replace(part.block, kept=chosen))
