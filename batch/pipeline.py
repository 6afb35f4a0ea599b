"""Reading, scoring and writing at the same time, in order and in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2
"""So many items wait between two stages."""


@contextmanager
def in_order(items: Iterable[T], work: Callable[[T], R], threads: int) -> Iterator[Iterator[R]]:
    """``map(work, items)`` with ``items`` drawn by one thread and the work shared by others.

    Results come in the order of the items; an error of drawing or of work is raised where its
    item's turn has come.  Leaving the block ends all threads.
    """
    with _drawn(items) as ahead, ThreadPoolExecutor(threads, "score") as pool:
        pending: deque[Future[R]] = deque()
        try:
            yield _results(ahead, lambda item: pool.submit(work, item), pending, threads + _AHEAD)
        finally:
            for future in pending:
                future.cancel()


def _results(
    items: Iterator[T],
    submit: Callable[[T], Future[R]],
    pending: deque[Future[R]],
    most: int,
) -> Iterator[R]:
    failure: Exception | None = None
    while failure is None:
        try:
            pending.append(submit(next(items)))
        except StopIteration:
            break
        except Exception as error:
            failure = error
        else:
            if len(pending) >= most:
                yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
    if failure is not None:
        raise failure


@contextmanager
def _drawn(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """The items, drawn ahead by a thread of their own."""
    waiting: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> None:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def draw() -> None:
        try:
            for item in items:
                put((item, None, False))
                if stop.is_set():
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))

    def received() -> Iterator[T]:
        while True:
            item, error, last = waiting.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]

    # A daemon: a read from a pipe that never ends must not keep the process.
    thread = threading.Thread(target=draw, name="read", daemon=True)
    thread.start()
    try:
        yield received()
    finally:
        stop.set()
        thread.join(timeout=5)
