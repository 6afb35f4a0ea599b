"""Progress on standard error: rows, rate, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_TERMINAL, _LINES = 0.5, 10.0
"""Seconds between two reports, on a terminal and in a log."""


class Progress:
    """Tells how far a run is; ``total`` is the bytes of all inputs, ``None`` when unknown."""

    def __init__(
        self, total: int | None, *, shown: bool, clock: Callable[[], float] = time.monotonic
    ):
        self._total = total
        self._shown = shown and sys.stderr is not None
        self._terminal = self._shown and sys.stderr.isatty()
        self._clock = clock
        self._start = self._told = clock()

    def tell(self, rows: int, done: int) -> None:
        """``rows`` and ``done`` bytes so far."""
        now = self._clock()
        if not self._shown or now - self._told < (_TERMINAL if self._terminal else _LINES):
            return
        self._told = now
        text = self.line(rows, done, now - self._start)
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def line(self, rows: int, done: int, seconds: float) -> str:
        """``"1,200,000 rows, 40.0 %, 800,000 rows/s, 2 s left"``."""
        parts = [f"{rows:,} rows"]
        if self._total:
            parts.append(f"{min(done / self._total, 1):.1%}")
        parts.append(f"{rows / max(seconds, 1e-9):,.0f} rows/s")
        if self._total and done > 0:
            left = seconds * max(self._total - done, 0) / done
            parts.append(f"{_time(left)} left")
        return ", ".join(parts)

    def clear(self) -> None:
        """Takes the line off the terminal."""
        if self._shown and self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
