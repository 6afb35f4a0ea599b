"""A bound on the time of a whole run, whatever hangs in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def limited(minutes: float) -> Iterator[None]:
    """Ends the program with code 1 when the block takes longer, and when it is told to stop.

    It ends as by an exception: servers and loads that were started are stopped as well.
    """

    def end(number: int, _: FrameType | None) -> None:
        if number == signal.SIGALRM:
            raise SystemExit(f"stopped: it took more than {minutes:g} minutes")
        raise SystemExit("stopped")

    before = {one: signal.signal(one, end) for one in (signal.SIGALRM, signal.SIGTERM)}
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in before.items():
            signal.signal(one, handler)
