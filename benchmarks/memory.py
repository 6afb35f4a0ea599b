"""How fast this machine reads memory, by the size of what is read from."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LINE = 64
REPEATS = 15
STREAMED = 20_000_000  # bytes of a repeat, at least once through


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
        """The best of a few repeats each, over ``size`` bytes (rounded to whole lines)."""
        lines = max(2, size // LINE)
        data = _aligned(lines * LINE)
        order = self._random.permutation(lines).astype(np.uint64)
        # One cycle through all lines: each holds the offset of the next.
        data.view(np.uint64)[(order * np.uint64(LINE // 8)).astype(np.int64)] = np.roll(
            order, -1
        ) * np.uint64(LINE)
        base = data.ctypes.data_as(ctypes.c_char_p)
        steps = max(lines, 200_000)
        chase = self._seconds("chase", base, ctypes.c_uint64(steps)) / steps
        places = np.tile(order.astype(np.uint32), -(-steps // lines))[:steps]
        pointer = places.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
        gather = self._seconds("gather", base, pointer, ctypes.c_uint64(steps)) / steps
        rounds = max(1, STREAMED // size)
        streamed = self._seconds(
            "stream", base, ctypes.c_uint64(lines * LINE), ctypes.c_uint64(rounds)
        )
        return MemorySpeed(lines * LINE, chase, gather, rounds * lines * LINE / streamed)

    def _seconds(self, name: str, *arguments: object) -> float:
        call = getattr(self._library, name)
        call(*arguments)
        taken = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            call(*arguments)
            taken.append(time.perf_counter() - start)
        return min(taken)


def _aligned(size: int) -> NDArray[np.uint8]:
    # NumPy aligns to less than a line.
    block = np.zeros(size + LINE, dtype=np.uint8)
    start = -block.ctypes.data % LINE
    return block[start : start + size]
