"""How fast this machine reads memory, by the size of what is read from."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LINE = 64
STEPS = 10_000  # reads of a part
LEAST_PARTS = 20
STREAMED = 10_000_000  # bytes of a part, at least once through


@dataclass(frozen=True)
class MemorySpeed:
    """Of a working set of ``size`` bytes: seconds a line, and bytes per second."""

    size: int
    latency: float
    """A line whose address comes from the line before."""
    gather: float
    """A line at random whose address is known beforehand."""
    bandwidth: float
    """All lines in order."""


class Memory:
    """Measures working sets; compiles its loops when it is made."""

    def __init__(self) -> None:
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "memory.so"
            source = Path(__file__).with_name("memory.c")
            subprocess.run(
                [*compiler, "-O3", "-shared", "-fPIC", str(source), "-o", str(library)], check=True
            )
            self._library = ctypes.CDLL(str(library))
        for name in ("chase", "gather", "stream"):
            getattr(self._library, name).restype = ctypes.c_uint64
        self._random = np.random.default_rng(1)

    def measure(self, size: int) -> MemorySpeed:
        """The quickest of many parts each, over ``size`` bytes (rounded to whole lines)."""
        lines = max(2, size // LINE)
        data = _aligned(lines * LINE)
        order = self._random.permutation(lines).astype(np.uint64)
        # One cycle through all lines: each holds the offset of the next.
        data.view(np.uint64)[(order * np.uint64(LINE // 8)).astype(np.int64)] = np.roll(
            order, -1
        ) * np.uint64(LINE)
        base = data.ctypes.data_as(ctypes.c_char_p)
        parts = max(-(-lines // STEPS), LEAST_PARTS)
        return MemorySpeed(
            lines * LINE,
            min(self._chase(base, parts)) / STEPS,
            min(self._gather(base, order.astype(np.uint32), parts)) / STEPS,
            lines * LINE / min(self._stream(base, lines * LINE)),
        )

    def _chase(self, base: ctypes.c_char_p, parts: int) -> Iterator[float]:
        # In parts short enough to lie between two interruptions; twice round, the first to warm up.
        place = 0
        for part in range(2 * parts):
            start = time.perf_counter()
            place = self._library.chase(base, ctypes.c_uint64(place), ctypes.c_uint64(STEPS))
            taken = time.perf_counter() - start
            if part >= parts:
                yield taken

    def _gather(
        self, base: ctypes.c_char_p, order: NDArray[np.uint32], parts: int
    ) -> Iterator[float]:
        places = np.resize(order, parts * STEPS)
        for part in range(2 * parts):
            chosen = places[part % parts * STEPS :][:STEPS]
            pointer = chosen.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
            start = time.perf_counter()
            self._library.gather(base, pointer, ctypes.c_uint64(STEPS))
            taken = time.perf_counter() - start
            if part >= parts:
                yield taken

    def _stream(self, base: ctypes.c_char_p, size: int) -> Iterator[float]:
        # Seconds of one round.
        rounds = max(1, STREAMED // size)
        for _ in range(LEAST_PARTS):
            start = time.perf_counter()
            self._library.stream(base, ctypes.c_uint64(size), ctypes.c_uint64(rounds))
            yield (time.perf_counter() - start) / rounds


def _aligned(size: int) -> NDArray[np.uint8]:
    # NumPy aligns to less than a line.
    block = np.zeros(size + LINE, dtype=np.uint8)
    start = -block.ctypes.data % LINE
    return block[start : start + size]
