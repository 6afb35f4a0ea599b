"""Counters in shared memory: each process counts in a file of its own, one process reads all.

A file holds a JSON header, which names every counter, and the counters as unsigned 64-bit numbers.
To count is one addition in mapped memory, without a system call and without waiting for others.
A file is locked (``flock``) while its process lives, so a reader can tell what the dead have left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIX = ".counters"
_WORD = 8

Series = tuple[str, tuple[str, ...]]
"""The name of a metric and the values of its labels."""


class CounterFile:
    """Counters that this process adds to; ``values[i]`` belongs to ``series[i]``."""

    def __init__(self, folder: Path, kind: str, series: Sequence[Series], **about: Any):
        header = json.dumps({"kind": kind, "series": series, **about}).encode()
        header += b" " * (-len(header) % _WORD)
        size = _WORD + len(header) + _WORD * len(series)
        self.path = folder / f"{kind}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        hidden = self.path.with_suffix(".new")
        with hidden.open("x+b") as file:
            # The map has a descriptor of its own, which holds the lock as long as the map lives.
            fcntl.flock(file, fcntl.LOCK_EX)
            # Without its blocks a full disk would kill the process when it first adds.
            os.posix_fallocate(file.fileno(), 0, size)
            self._map = mmap.mmap(file.fileno(), size)
        self._map[:_WORD] = len(header).to_bytes(_WORD, "little")
        self._map[_WORD : _WORD + len(header)] = header
        hidden.rename(self.path)
        self.values = memoryview(self._map)[_WORD + len(header) :].cast("Q")

    def remove(self) -> None:
        """Takes the file away from the readers; who still holds ``values`` adds to nothing."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one file says; ``alive`` tells whether its process still counts."""

    path: Path
    about: dict[str, Any]
    series: list[Series]
    values: NDArray[np.uint64]
    alive: bool


def read_all(folder: Path, kind: str = "*") -> Iterator[Counted]:
    """What every file of a folder says now, or every file of one kind."""
    for path in sorted(folder.glob(f"{kind}-*{SUFFIX}")):
        # A file may vanish at any time: its artifact was replaced.
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            alive = _locked(file.fileno())
            data = file.read()
            end = _WORD + int.from_bytes(data[:_WORD], "little")
            about = json.loads(data[_WORD:end])
            series = [(name, tuple(labels)) for name, labels in about.pop("series")]
            values = np.frombuffer(data, "<u8", offset=end).copy()
            yield Counted(path, about, series, values, alive)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
