"""Rows as readers hand them on, and which of a file's columns these have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass

import pyarrow as pa

from batch.as_text import JSON_TEXT, as_strings
from batch.errors import BatchError
from batch.scoring import listed

DEFAULT_TEXT = "query"


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file."""

    text: pa.Array
    """The queries [rows], of any type that ``Scorer`` takes."""
    kept: pa.RecordBatch
    """The columns of the output [rows]; may have none."""
    consumed: int
    """Bytes of the file that have been read for this block and all before it."""
    not_text: int = 0
    """Nulls of ``text`` that hold something else than text in the file."""

    def slice(self, start: int, rows: int | None = None) -> Block:
        """Some of the rows; what is no text is told by the first of them."""
        not_text = self.not_text if not start else 0
        text, kept = self.text.slice(start, rows), self.kept.slice(start, rows)
        return Block(text, kept, self.consumed, not_text)

    @classmethod
    def of(
        cls,
        batch: pa.RecordBatch,
        text: str,
        kept: Sequence[str],
        consumed: int,
        not_text: int = 0,
        *,
        decode: bool = False,
        json_text: Container[str] = (),
    ) -> Block:
        """The block of a batch with all columns that are wanted.

        ``decode``: kept columns are bytes that stand for text.  ``json_text``: those that are JSON.
        """
        names = batch.schema.names
        fields = [batch.schema.field(name).remove_metadata() for name in kept]
        fields = [f.with_metadata(JSON_TEXT) if f.name in json_text else f for f in fields]
        arrays = [batch.column(names.index(name)) for name in kept]
        if decode:
            fields = [pa.field(name, pa.string()) for name in kept]
            arrays = [as_strings(array) for array in arrays]
        chosen = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        return cls(batch.column(names.index(text)), chosen, consumed, not_text)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a user asks for; ``keep`` is ``None`` for all."""

    text: str | None
    keep: Sequence[str] | None

    def text_of(self, names: Sequence[str], possible: Sequence[str]) -> str:
        """The name of the text column; ``possible`` are those that hold text.

        Raises ``BatchError`` with the columns there are.
        """
        text = self._text_of(names, possible)
        _check_single(text, names.count(text))
        return text

    def _text_of(self, names: Sequence[str], possible: Sequence[str]) -> str:
        if self.text is not None:
            if self.text not in names:
                raise BatchError(
                    f"there is no column {self.text!r}; there are {listed(list(names))}"
                )
            return self.text
        if DEFAULT_TEXT in names:
            return DEFAULT_TEXT
        if len(possible) == 1:
            return possible[0]
        raise BatchError(
            f"which column holds the queries (--text-column)? There are {listed(list(names))}"
        )

    def kept_of(self, names: Sequence[str]) -> list[str]:
        """The names of the kept columns; raises ``BatchError`` for one that is not there once."""
        kept = list(names if self.keep is None else self.keep)
        times = Counter(names)
        for name in kept:
            if name not in times:
                raise BatchError(f"there is no column {name!r}; there are {listed(list(names))}")
            _check_single(name, times[name])
        for name, wanted in Counter(kept).items():
            if wanted > 1:
                raise BatchError(f"column {name!r} is to be kept twice (--keep)")
        return kept


def _check_single(name: str, times: int) -> None:
    if times > 1:
        raise BatchError(f"it has more than one column {name!r}")
