"""Answers to Arrow columns of queries, by any number of threads, as flat arrays.

Nothing here needs an Arrow library: columns come in and answers go out by the Arrow PyCapsule
interface, which pyarrow, polars, DuckDB and others speak.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore._scoring import Block, Column, Kernel, export_array, export_schema, import_columns

_ROWS = 4096
_MOST_LABELS = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class ArrowAnswers:
    """The answers to ``queries`` rows, one label after the other, best first within a query.

    An Arrow array of ``list<struct<label: dictionary<int32, string>, score: double>>`` too:
    ``pyarrow.array(answers)`` and the like take it over without a copy.
    """

    offsets: NDArray[np.int32]
    """int32 [queries + 1]: query ``i`` has the labels ``offsets[i]`` up to ``offsets[i + 1]``."""
    labels: NDArray[np.int32]
    """int32 [emitted]: positions in the taxonomy."""
    scores: NDArray[np.float64]
    """float64 [emitted]: the same bits that ``TopicModel.score`` gives."""
    truncated: NDArray[np.bool_]
    """bool [queries]: whether only the first ``MAX_TOKENS`` tokens were scored."""
    tokens: NDArray[np.uint16]
    """uint16 [queries]: how many tokens were scored; 0 for a null."""
    unknown: NDArray[np.uint16]
    """uint16 [queries]: how many of these the model has no row for."""
    codes: tuple[str, ...]
    """The codes of the taxonomy, by position."""

    def __len__(self) -> int:
        return len(self.truncated)

    def __getitem__(self, query: int) -> list[tuple[str, float]]:
        """The (code, score) pairs of one query."""
        if not -len(self) <= query < len(self):
            raise IndexError(f"query {query} of {len(self)}")
        chosen = slice(*self.offsets[query % len(self) :][:2].tolist())
        codes = [self.codes[label] for label in self.labels[chosen]]
        return list(zip(codes, self.scores[chosen].tolist(), strict=True))

    def __arrow_c_schema__(self) -> object:
        return export_schema()

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        encoded = [code.encode() for code in self.codes]
        ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
        names = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return export_schema(), export_array(self.offsets, self.labels, self.scores, ends, names)


def score_columns(
    kernel: Kernel, queries: Any, codes: tuple[str, ...], floor: float, limit: int, threads: int
) -> ArrowAnswers:
    """``TopicModel.score_arrow`` with checked arguments."""
    tasks: list[tuple[Column, int, int, int]] = []
    position = 0
    for column in import_columns(queries):
        for start in range(0, len(column), _ROWS):
            tasks.append((column, start, min(start + _ROWS, len(column)), position))
        position += len(column)
    return _joined(_scored(kernel, tasks, floor, limit, threads), position, codes)


def _scored(
    kernel: Kernel,
    tasks: list[tuple[Column, int, int, int]],
    floor: float,
    limit: int,
    threads: int,
) -> list[Block]:
    """The block of each task; raises the error of the first task that has one."""
    todo = deque(range(len(tasks)))
    blocks: dict[int, Block] = {}
    errors: dict[int, BaseException] = {}

    def work() -> None:
        # Tasks begin in order, so every task before a failed one is done by someone.
        while True:
            try:
                place = todo.popleft()
            except IndexError:
                return
            try:
                blocks[place] = kernel.score_rows(*tasks[place], floor, limit)
            except BaseException as error:
                errors[place] = error
                todo.clear()

    helpers = [threading.Thread(target=work) for _ in range(min(threads, len(tasks)) - 1)]
    for helper in helpers:
        helper.start()
    try:
        work()
    finally:
        todo.clear()
        for helper in helpers:
            helper.join()
    if errors:
        raise errors[min(errors)]
    return [blocks[place] for place in range(len(tasks))]


def _joined(blocks: list[Block], queries: int, codes: tuple[str, ...]) -> ArrowAnswers:
    total = sum(block.total for block in blocks)
    if total > _MOST_LABELS:
        raise OverflowError(f"{total} labels are emitted, a list array has at most {_MOST_LABELS}")
    offsets = np.zeros(queries + 1, dtype=np.int32)
    labels = np.empty(total, dtype=np.int32)
    scores = np.empty(total, dtype=np.float64)
    truncated = np.empty(queries, dtype=np.bool_)
    tokens = np.empty(queries, dtype=np.uint16)
    unknown = np.empty(queries, dtype=np.uint16)
    query = label = 0
    for block in blocks:
        block.write(
            query, label, offsets, labels, scores, truncated.view(np.uint8), tokens, unknown
        )
        query += block.queries
        label += block.total
    return ArrowAnswers(offsets, labels, scores, truncated, tokens, unknown, codes)
