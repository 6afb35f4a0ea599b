from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS: int
MAX_QUERY_BYTES: int

class EmittedLabel:
    code: str
    name: str
    score: float
    def __init__(self, code: str, name: str, score: float) -> None: ...

class Answer(list[EmittedLabel]):
    truncated: bool
    tokens: int
    unknown: int

class Kernel:
    def __init__(
        self,
        groups: NDArray[np.uint32],
        keys: NDArray[np.uint16],
        entries: NDArray[np.uint32],
        rows: NDArray[Any],
        encoding: str,
        bias: NDArray[np.float32],
        thresholds: NDArray[np.float32],
        beside: NDArray[np.float32],
        slopes: NDArray[np.float32],
        intercepts: NDArray[np.float32],
        bends: NDArray[np.float32],
        context: NDArray[np.float32],
        parents: NDArray[np.int32],
        names: Sequence[tuple[str, str]],
        ngrams: tuple[int, int],
    ) -> None: ...
    def score(self, query: str | bytes, floor: float, limit: int) -> Answer: ...
    def score_batch(
        self, queries: Iterable[str | bytes], floor: float, limit: int
    ) -> list[Answer]: ...
    def logits(self, queries: Iterable[str | bytes]) -> NDArray[np.float32]: ...
    def score_rows(
        self, column: Column, start: int, stop: int, position: int, floor: float, limit: int
    ) -> Block: ...

class Tally:
    def __init__(self, values: memoryview, codes: Iterable[str]) -> None: ...
    def add(self, answer: Answer, whole: bool) -> None: ...

class Timings:
    def __init__(self, values: memoryview, bounds: NDArray[np.int64]) -> None: ...
    def add(self, place: int) -> None: ...
    def observe(self, histogram: int, duration: int) -> None: ...

class JsonWriter:
    def __init__(
        self,
        kernel: Kernel,
        start: bytes,
        openings: Iterable[bytes],
        endings: tuple[bytes, bytes],
    ) -> None: ...
    def write(self, query: str | bytes, tally: Tally | None) -> bytes: ...

def score_text(score: float) -> bytes: ...

class Block:
    queries: int
    total: int
    def write(
        self,
        query: int,
        label: int,
        offsets: NDArray[np.int32],
        labels: NDArray[np.int32],
        scores: NDArray[np.float64],
        truncated: NDArray[np.uint8],
        tokens: NDArray[np.uint16],
        unknown: NDArray[np.uint16],
    ) -> None: ...

class Column:
    def __len__(self) -> int: ...

def import_columns(source: object) -> list[Column]: ...
def export_schema() -> object: ...
def export_array(
    offsets: NDArray[np.int32],
    labels: NDArray[np.int32],
    scores: NDArray[np.float64],
    code_offsets: NDArray[np.int32],
    code_bytes: NDArray[np.uint8],
) -> object: ...
def tokenize(query: str | bytes) -> tuple[list[str], bool]: ...
def features(
    queries: Iterable[str | bytes],
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.int32]]: ...
def hash_tokens(words: Iterable[str]) -> NDArray[np.uint32]: ...
